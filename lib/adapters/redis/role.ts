// Detects a Redis replica, which the adapter refuses.
import { debugBackplane } from '../../debug.ts'
import { AdapterError } from '../../errors.ts'
import type { RedisConnection } from './connection.ts'
import { isRefusal, textOf } from './replies.ts'

/** Asks servers for their role: a PUBLISH on a replica reaches only its own subscribers. */
export class RoleCheck {
  /** The command that this user may use, as far as known; a refused command is not repeated. */
  #may: 'INFO' | 'ROLE' | null = 'INFO'

  /** Rejects for a replica outside a Redis Cluster, and when the server cannot answer. */
  async check(connection: RedisConnection): Promise<void> {
    const role = await this.#roleOf(connection)
    if (role !== 'slave' && role !== 'replica') return
    // The nodes of a Redis Cluster forward a publish to all nodes, masters and replicas.
    if (await this.#isCluster(connection)) return
    throw new AdapterError(
      'ERR_KOAWS_BACKPLANE',
      'this Redis is a replica, and a publish to a replica reaches only its own subscribers: connect to the primary, by a name or a proxy that follows it after a failover',
    )
  }

  async #roleOf(connection: RedisConnection): Promise<string | undefined> {
    if (this.#may === 'INFO') {
      try {
        const info = String(await connection.command('INFO', 'replication'))
        return /^role:(\S+)/m.exec(info)?.[1]
      } catch (error) {
        this.#refused(error, 'INFO', 'ROLE')
      }
    }
    if (this.#may === 'ROLE') {
      try {
        const answer = await connection.command('ROLE')
        return Array.isArray(answer) ? String(answer[0]) : undefined
      } catch (error) {
        this.#refused(error, 'ROLE', null)
      }
    }
    return undefined
  }

  async #isCluster(connection: RedisConnection): Promise<boolean> {
    if (this.#may !== 'INFO') return false
    return /^cluster_enabled:1/m.test(String(await connection.command('INFO', 'cluster')))
  }

  /**
   * Records a refused command.
   *
   * @throws the error when another attempt may succeed
   */
  #refused(error: unknown, asked: 'INFO' | 'ROLE', next: 'ROLE' | null): void {
    if (!isRefusal(error)) throw error
    if (this.#may !== asked) return // the other connection has recorded it already
    this.#may = next
    debugBackplane('Redis refuses %s: %s', asked, textOf(error))
    if (next === null) {
      debugBackplane(
        'Redis: this user may not ask for the role of the server, so a replica is not detected: allow +info or +role',
      )
    }
  }
}

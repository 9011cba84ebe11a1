// One period in which the history works: the connections for the keys, with the scripts loaded.
import { performance } from 'node:perf_hooks'
import { REMEMBERED } from '../../../history/store.ts'
import { type Masters, type RedisConnection, SLOTS, type Word } from '../connection.ts'
import { codeOf, isRefusal, textOf } from '../replies.ts'
import { broken, refusal } from './failures.ts'
import { namesOf, slotOf } from './keys.ts'
import { MARK, PROBE, SCRIPTS, type Script } from './scripts.ts'

/** The time limit for the connections, and for an answer to a check, in milliseconds. */
const PATIENCE = 5_000

/** The part of a hub's link, and of its settings, that the history uses. */
export interface HistoryHost {
  readonly prefix: string
  /** The interval of the checks, in milliseconds. */
  readonly heartbeat: number
  /** Runs a command on the link's connection. */
  run(words: readonly [string, ...Word[]]): Promise<unknown>
  /** Replaces the connections of the link. */
  fail(error: Error): void
  /** Connects to the masters of a cluster; without it, the link's server has all keys. */
  readonly masters?: ((ended: (error: Error) => void) => Promise<Masters>) | undefined
}

/** A server with a part of the logs. */
interface Shard {
  readonly run: (words: readonly [string, ...Word[]]) => Promise<unknown>
  /** A log name with its keys on this server. */
  readonly probe: string
  /** The process of the server: changes with each restart. Empty if it is unknown. */
  process: string
  /** When the present check began; null if it has been answered. */
  checking: number | null
  /** How often the check was found unanswered. */
  missed: number
}

/** What a session tells its store. */
export interface HistorySessionOwner {
  /** Reports the end of the session. Called at most once, and not after `end()`. */
  lost(session: HistorySession, error: unknown): void
}

/**
 * One period in which the history works. On one server it uses the link's connection, so that the
 * entries and the other messages of an instance keep their order. In a cluster, it has a connection
 * to each master.
 */
export class HistorySession {
  readonly #owner: HistorySessionOwner
  readonly #host: HistoryHost
  #masters: Masters | null = null
  #shards: readonly Shard[] = []
  #shardOf: (key: string) => Shard | undefined = () => undefined
  #watch: NodeJS.Timeout | undefined
  #over = false
  #takesMany = false
  /** Rejects `open()` while it is pending. */
  #fail: ((error: unknown) => void) | null = null

  constructor(owner: HistorySessionOwner, host: HistoryHost) {
    this.#owner = owner
    this.#host = host
  }

  /** Whether a script may use the keys of several logs: only if the server is known to have no slots. */
  get takesMany(): boolean {
    return this.#takesMany
  }

  /** Connects, loads the scripts and checks the rights. When it rejects, the session has ended. */
  async open(): Promise<void> {
    const failed = new Promise<never>((_resolve, reject) => {
      this.#fail = reject
    })
    const late = `Redis did not answer within ${PATIENCE} ms`
    const timer = setTimeout(() => this.#fail?.(broken(late)), PATIENCE)
    timer.unref()
    const opened = this.#open()
    opened.catch(ignore) // another error may have come first
    try {
      await Promise.race([opened, failed])
      if (this.#over) throw broken('the attempt was abandoned')
    } catch (error) {
      this.end()
      throw error
    } finally {
      this.#fail = null
      clearTimeout(timer)
    }
    this.#watch = setInterval(() => this.#check(), this.#host.heartbeat)
    this.#watch.unref()
  }

  /** Runs a script on a log. Rejects with the error of Redis. */
  runOn(script: Script, log: string, words: readonly Word[]): Promise<unknown> {
    const { meta, list } = namesOf(this.#host.prefix, log)
    return this.run(script, [meta, list], words)
  }

  /** Runs a script on keys of one server, and of one slot unless it `takesMany`. Rejects with the error of Redis. */
  async run(script: Script, keys: readonly string[], words: readonly Word[]): Promise<unknown> {
    const shard = this.#of(keys[0] as string)
    const answer = await shard.run(['EVALSHA', script.sha, String(keys.length), ...keys, ...words])
    if (this.#over) throw broken('the connection had ended')
    return answer
  }

  /** Returns since when it is known whether a log exists, as of now. */
  judgedFrom(log: string): Promise<number> {
    return this.#mark(this.#of(namesOf(this.#host.prefix, log).meta))
  }

  /** Ends the session at once. The connections of the link stay. */
  end(): void {
    this.#over = true
    this.#fail?.(broken('the attempt was abandoned'))
    clearInterval(this.#watch)
    for (const connection of this.#masters?.connections ?? []) connection.destroy()
    this.#masters = null
  }

  /** Ends the session because of an error. */
  lose(error: unknown): void {
    if (this.#over) return
    const isOpening = this.#fail !== null
    this.#fail?.(error)
    this.end()
    if (!isOpening) this.#owner.lost(this, error)
  }

  async #open(): Promise<void> {
    const { masters, run } = this.#host
    if (masters) await this.#connect(await masters((error) => this.lose(error)))
    else {
      const shard = shardOf(run, 'probe:0')
      this.#shards = [shard]
      this.#shardOf = () => shard
    }
    await Promise.all(this.#shards.map((shard) => this.#prepare(shard)))
  }

  async #connect(masters: Masters): Promise<void> {
    this.#masters = masters
    if (this.#over) {
      this.end()
      return
    }
    const owners = new Set<RedisConnection>()
    for (let slot = 0; slot < SLOTS; slot++) {
      const owner = masters.of(slot)
      if (owner) owners.add(owner)
    }
    const byConnection = new Map<RedisConnection, Shard>()
    // A log name for each master with slots. A master with one slot has one of 16,384 names.
    for (let i = 0; byConnection.size < owners.size && i < 20 * SLOTS; i++) {
      const probe = `probe:${i}`
      const connection = masters.of(slotOf(namesOf(this.#host.prefix, probe).meta))
      if (!connection || byConnection.has(connection)) continue
      byConnection.set(
        connection,
        shardOf((words) => connection.run(words), probe),
      )
    }
    this.#shards = [...byConnection.values()]
    this.#shardOf = (key) => {
      const connection = masters.of(slotOf(key))
      return connection && byConnection.get(connection)
    }
    await Promise.all([...byConnection.keys()].map((connection) => connection.connect()))
  }

  async #prepare(shard: Shard): Promise<void> {
    const { prefix } = this.#host
    const { meta, list, channel } = namesOf(prefix, shard.probe)
    try {
      for (const { text } of SCRIPTS) await shard.run(['SCRIPT', 'LOAD', text])
      await shard.run(['EVALSHA', PROBE.sha, '2', meta, list, channel])
    } catch (error) {
      if (codeOf(error) !== 'NOPERM') throw error
      const names = `~${prefix}log:* &${prefix}log:*`
      throw refusal(`Redis refuses a right of the history (${names}): ${textOf(error)}`, error)
    }
    const server = await this.#facts(shard, 'server')
    shard.process = /^run_id:(\w+)/m.exec(server)?.[1] ?? ''
    this.#takesMany = !this.#host.masters && /^redis_mode:standalone\b/m.test(server)
    await this.#mark(shard)
  }

  /** Returns facts about the server, or an empty string if this user may not ask for them. */
  async #facts(shard: Shard, section: string): Promise<string> {
    try {
      return String(await shard.run(['INFO', section]))
    } catch (error) {
      if (!isRefusal(error)) throw error
      return ''
    }
  }

  /** Returns since when the data of a server are known to be complete. */
  async #mark(shard: Shard): Promise<number> {
    const stats = await this.#facts(shard, 'stats')
    const evicted = /^evicted_keys:(\d+)/m.exec(stats)?.[1] ?? ''
    const key = namesOf(this.#host.prefix, shard.probe).meta.replace(/meta$/, 'since')
    const words = [key, `${shard.process}.${evicted}`, String(2 * REMEMBERED)]
    return Number(await shard.run(['EVALSHA', MARK.sha, '1', ...words]))
  }

  #of(key: string): Shard {
    const shard = this.#shardOf(key)
    if (!shard || this.#over)
      throw broken(shard ? 'Redis is not connected' : 'no node has the slot')
    return shard
  }

  /** Sees that the servers answer, and that they still have the scripts. */
  #check(): void {
    for (const shard of this.#shards) {
      if (shard.checking === null) {
        shard.checking = performance.now()
        shard.missed = 0
        this.#mark(shard).then(
          () => {
            shard.checking = null
          },
          (error: unknown) => this.lose(error),
        )
      } else if (++shard.missed > 1 && performance.now() - shard.checking > PATIENCE) {
        // Found twice: the answer is not only waiting for this process.
        this.lose(broken(`Redis did not answer within ${PATIENCE} ms`))
      }
    }
  }
}

function shardOf(run: Shard['run'], probe: string): Shard {
  return { run, probe, process: '', checking: null, missed: 0 }
}

function ignore(): void {}

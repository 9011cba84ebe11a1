// Implements the option `maxPerUser`.

import { type Connection, coreOf } from '../connection/connection.ts'
import { UpgradeError } from '../errors.ts'
import { CloseCode } from '../protocol/close-codes.ts'

/** The option `maxPerUser`. */
export interface UserLimit {
  /** The most connections of one user to this instance. */
  readonly connections: number
  /**
   * What happens beyond the limit. `'reject'` answers the upgrade with 429; `'replace'` lets it in,
   * and closes the user's oldest connection with 4612. @default 'reject'
   */
  readonly when?: 'reject' | 'replace' | undefined
}

/** The connections of this instance by user, oldest first, including connections in no audience. */
export class UserConnections {
  readonly #limit: UserLimit
  readonly #held = new Map<string, Set<Connection>>()

  constructor(limit: UserLimit) {
    this.#limit = limit
  }

  /** Returns the error that rejects another connection of this user; null when it is allowed. */
  refusal(userId: string | undefined): UpgradeError | null {
    if (userId === undefined || this.#limit.when === 'replace') return null
    if (this.#open(userId).length < this.#limit.connections) return null
    return new UpgradeError('ERR_KOAWS_MAX_PER_USER', 'Too many connections of this user.', {
      headers: { 'Retry-After': '5' },
    })
  }

  /** Counts a connection that has got a user. With `'replace'` it counts later, in `entered`. */
  arrived(connection: Connection): void {
    if (this.#limit.when !== 'replace') this.#add(connection)
  }

  /**
   * With `'replace'`, counts a connection that is let in, and closes the oldest above the limit.
   * @returns how many it replaces
   */
  entered(connection: Connection): number {
    const { userId } = connection
    if (this.#limit.when !== 'replace' || userId === undefined) return 0
    this.#add(connection)
    const surplus = this.#open(userId).slice(0, -this.#limit.connections)
    for (const one of surplus) {
      coreOf(one).closeForCause(CloseCode.replaced, 'replaced by a newer login')
    }
    return surplus.length
  }

  delete(connection: Connection): void {
    const { userId } = connection
    const held = userId === undefined ? undefined : this.#held.get(userId)
    if (held?.delete(connection) && held.size === 0) this.#held.delete(userId as string)
  }

  #add(connection: Connection): void {
    const { userId } = connection
    if (userId === undefined) return
    const held = this.#held.get(userId)
    if (held) held.add(connection)
    else this.#held.set(userId, new Set([connection]))
  }

  /** Returns the open connections of a user: a closing connection no longer counts. */
  #open(userId: string): Connection[] {
    return [...(this.#held.get(userId) ?? [])].filter((one) => one.readyState === one.OPEN)
  }
}

// Bounds what recoveries cost: bytes under way, and how often a user may recover.

import type { Connection } from '../connection/connection.ts'

/** The most bytes of replays that are under way to one connection, and to all of an instance. */
const PER_CONNECTION = 1024 * 1024
const IN_ALL = 64 * 1024 * 1024
/** The most recoveries of one user, or of one address without a user, in a minute. */
const PER_MINUTE = 60
const MINUTE = 60_000
/** The most users that are counted. */
const MOST_COUNTED = 100_000

/** The bytes of all replays that are under way. */
export class ReplayBudget {
  #total = 0
  readonly #ofConnection = new WeakMap<Connection, number>()

  /** The bytes under way in all. */
  get total(): number {
    return this.#total
  }

  reserve(connection: Connection, bytes: number): boolean {
    const before = this.#ofConnection.get(connection) ?? 0
    if (before + bytes > PER_CONNECTION || this.#total + bytes > IN_ALL) return false
    this.#ofConnection.set(connection, before + bytes)
    this.#total += bytes
    return true
  }

  release(connection: Connection, bytes: number): void {
    if (bytes === 0) return
    this.#total -= bytes
    this.#ofConnection.set(connection, (this.#ofConnection.get(connection) ?? 0) - bytes)
  }
}

/** Counts the recoveries of each user within a minute. */
export class RecoveryRate {
  #counts = new Map<string, number>()
  #since = performance.now()

  /** Counts one more. Returns false when that is too many. */
  admit({ userId, ip }: Connection): boolean {
    const now = performance.now()
    if (now - this.#since > MINUTE || this.#counts.size > MOST_COUNTED) {
      this.#counts = new Map()
      this.#since = now
    }
    const key = userId === undefined ? `address ${ip}` : `user ${userId}`
    const count = (this.#counts.get(key) ?? 0) + 1
    this.#counts.set(key, count)
    return count <= PER_MINUTE
  }
}

// Remembers the receivers of messages to several rooms: clients that do not know history, and those with a replay.

import type { Connection } from '../connection/connection.ts'

/** The most messages with remembered receivers. */
const MOST = 256
/** The most messages of replays to one connection that are remembered. */
const MOST_REPLAYED = 1_024

/** The receivers of the latest messages to several rooms. */
export class Served {
  readonly #receivers = new Map<string, WeakSet<Connection>>()
  /** What connections with a replay have got. */
  readonly #replayed = new WeakMap<Connection, Set<string>>()

  /** Returns the connections that have got a message, to add others to; null for a message to one room. */
  of(once: string | null): WeakSet<Connection> | null {
    if (once === null) return null
    const known = this.#receivers.get(once)
    if (known) return known
    const receivers = new WeakSet<Connection>()
    this.#receivers.set(once, receivers)
    if (this.#receivers.size > MOST) {
      const [oldest] = this.#receivers.keys()
      if (oldest !== undefined) this.#receivers.delete(oldest)
    }
    return receivers
  }

  /**
   * Returns whether a replay leaves a message out, because the connection has got it in another room. A client
   * remembers fewer messages than a replay may have.
   */
  isRepeat(connection: Connection, once: string): boolean {
    const got = this.#replayed.get(connection) ?? new Set<string>()
    this.#replayed.set(connection, got)
    return got.has(once) || this.#receivers.get(once)?.has(connection) === true
  }

  /** A connection has got a message, in a replay or outside of it. */
  got(connection: Connection, once: string): void {
    const got = this.#replayed.get(connection)
    if (got) note(got, once)
  }
}

function note(got: Set<string>, once: string): void {
  got.delete(once)
  got.add(once)
  if (got.size <= MOST_REPLAYED) return
  const [oldest] = got
  if (oldest !== undefined) got.delete(oldest)
}

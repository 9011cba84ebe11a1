// Knows which connections belong to the hub, and which of them are sockets of the inspector.

import { Connection, type Hub } from '../index.ts'

/** The connections of one hub: the channels report those of all hubs of a process. */
export class Members {
  /** The name of the instance. */
  readonly instance: string
  readonly #hub: Pick<Hub, 'localConnections'>
  readonly #known = new WeakSet<Connection>()
  readonly #own = new WeakSet<Connection>()
  readonly #states = new WeakSet<object>()

  constructor(hub: Pick<Hub, 'localConnections' | 'status'>) {
    this.#hub = hub
    this.instance = hub.status().id
    for (const connection of hub.localConnections.values()) this.#known.add(connection)
  }

  /** Takes a connection that was accepted by any hub. @returns it, if it is one of this hub */
  accepted(connection: unknown): Connection | null {
    if (!(connection instanceof Connection) || this.find(connection.id) !== connection) return null
    this.#known.add(connection)
    if (this.#states.has(connection.state)) this.#own.add(connection)
    return connection
  }

  /** An upgrade with this `ctx.state` becomes a socket of the inspector. */
  expectOwn(state: object): void {
    this.#states.add(state)
  }

  /** Whether it is a connection of this hub, open or ended. */
  has(connection: unknown): connection is Connection {
    return connection instanceof Connection && this.#known.has(connection)
  }

  /** Whether its messages count: those of the inspector do not. */
  counts(connection: unknown): boolean {
    return this.has(connection) && !this.#own.has(connection)
  }

  /** Returns an open connection of this instance. */
  find(id: string): Connection | undefined {
    return this.#hub.localConnections.get(id)
  }
}

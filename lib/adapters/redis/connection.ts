// The interface of a Redis connection, independent of the library.

/** The time limit for a connection to become ready, in milliseconds. */
export const CONNECT_TIMEOUT = 2_000

/** Receives a payload on a channel. */
export type Hear = (payload: Buffer, channel: string | Buffer) => void

/** A part of a command. */
export type Word = string | Buffer

/** One connection to one Redis server. It never reconnects: a new connection replaces it. */
export interface RedisConnection {
  /** Connects. Rejects when that fails. Called once, first. */
  connect(): Promise<unknown>
  /** Publishes on channels. Publishes in the same turn leave together, in order. */
  publish(channels: readonly string[], payload: Buffer): Promise<unknown>
  subscribe(channels: readonly string[], hear: Hear): Promise<unknown>
  unsubscribe(channels: readonly string[]): Promise<unknown>
  /** Sends any other command; not on a connection that has subscribed. */
  command(...words: string[]): Promise<unknown>
  /** Sends any other command with the publishes of its turn, in order. Strings come as Buffers. */
  run(words: readonly [string, ...Word[]]): Promise<unknown>
  /** Ends the connection at once. Never throws; pending commands reject. */
  destroy(): void
}

/** Creates connections from a client that the application has configured. */
export interface RedisDialect {
  /**
   * Creates the two connections of one session, to the same server. In a cluster, it chooses one
   * node: publishes there reach the subscribers of all nodes, in order.
   *
   * @param ended called at the end of either connection
   */
  pair(
    ended: (error: Error) => void,
  ): Promise<{ publisher: RedisConnection; subscriber: RedisConnection }>
  /**
   * Creates a connection to each master of a cluster, for commands with keys. Without it, the
   * server of the pair has all keys.
   *
   * @param ended called at the end of any of the connections
   */
  masters?(ended: (error: Error) => void): Promise<Masters>
}

/** Connections to the masters of a Redis Cluster, as it was when they were created. */
export interface Masters {
  readonly connections: ReadonlySet<RedisConnection>
  /** Returns the connection to the master of a slot. */
  of(slot: number): RedisConnection | undefined
}

/** The number of slots of a Redis Cluster. */
export const SLOTS = 16_384

/** How long a connection may take to be ready, in milliseconds. */
export const CONNECT_TIMEOUT = 2_000

/** One connection to one server of Redis, of whatever library. It never comes back: another is made. */
export interface RedisConnection {
  /** Rejects when it cannot be made. Called once, first. */
  connect(): Promise<unknown>
  /** All that is given here at once leaves together, in order. */
  publish(channels: readonly string[], payload: Buffer): Promise<unknown>
  subscribe(channels: readonly string[], hear: (payload: Buffer) => void): Promise<unknown>
  unsubscribe(channels: readonly string[]): Promise<unknown>
  /** Ends it at once. Never throws; what is under way rejects. */
  destroy(): void
}

/** Makes connections after the pattern of a client that the application has configured. */
export interface RedisDialect {
  /**
   * The two connections of one session, to the same server. Of a cluster, one node is chosen: what is
   * published there reaches the subscribers of all nodes, and the order is kept.
   *
   * @param ended hears of the end of either connection
   */
  pair(
    ended: (error: Error) => void,
  ): Promise<{ publisher: RedisConnection; subscriber: RedisConnection }>
}

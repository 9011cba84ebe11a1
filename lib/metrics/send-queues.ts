// Looks at what waits for clients, at a bounded number of connections for each reading.

/** The part of a connection that is looked at. */
export interface Queued {
  /** How many bytes wait for the client. */
  readonly bufferedAmount: number
}

/** The most connections for one reading: about 0.2 ms. */
export const MOST_LOOKED_AT = 1000

export interface QueueReading {
  /** The largest number of bytes that wait for one client. */
  readonly max: number
  /** The share of connections for which anything waits. */
  readonly behind: number
}

/** Goes around the connections of a hub: a reading continues where the last one stopped. */
export class SendQueues {
  readonly #connections: ReadonlyMap<string, Queued>
  #next: Iterator<Queued> | null = null

  constructor(connections: ReadonlyMap<string, Queued>) {
    this.#connections = connections
  }

  read(): QueueReading {
    const many = Math.min(MOST_LOOKED_AT, this.#connections.size)
    let max = 0
    let behind = 0
    for (let i = 0; i < many; i++) {
      const bytes = this.#step()?.bufferedAmount ?? 0
      if (bytes > max) max = bytes
      if (bytes > 0) behind++
    }
    return { max, behind: many === 0 ? 0 : behind / many }
  }

  /** Returns the next connection; after the last one the first. */
  #step(): Queued | undefined {
    const step = this.#next?.next()
    if (step !== undefined && step.done !== true) return step.value
    this.#next = this.#connections.values()
    const first = this.#next.next()
    return first.done === true ? undefined : first.value
  }
}

// Which instances may have the only copy of a log: their end may lose it.

/** Ends that are remembered. */
const MOST = 64
/** Stands for what happened before this instance came. */
const EARLIER = ''

/**
 * Tells whether a log may be lost with an instance. After an instance was killed, each other one counts as
 * exposed until it has said that its logs are on two instances again. A position from the time before a
 * log existed is worthless when that log may have been recorded and lost since.
 */
export class Exposure {
  /** The ends that each instance has not answered. */
  readonly #open = new Map<string, Set<string>>()
  /** The ends that each instance has answered last. */
  readonly #answered = new Map<string, readonly string[]>()
  /** Instances that have handed over everything. */
  readonly #empty = new Set<string>()
  readonly #ends: string[] = []
  /** Whether this instance has told the others that its logs are on two instances. */
  isTold = true

  /** The ends that this instance answers when its logs are on two instances. */
  get ends(): readonly string[] {
    return [EARLIER, ...this.#ends]
  }

  /** An instance that was there before says which ends it answers. */
  met(id: string, ends: readonly string[]): void {
    for (const end of this.ends) if (!ends.includes(end)) this.#opened(id, end)
    this.secure(id, ends)
  }

  /** The logs of an instance are on two instances after these ends. */
  secure(id: string, ends: readonly string[]): void {
    if (ends.length > 0) this.#answered.set(id, ends)
    for (const end of ends) this.#open.get(id)?.delete(end)
  }

  /** An instance has handed over all logs. */
  empty(id: string): void {
    this.#empty.add(id)
  }

  hasLeft(id: string): boolean {
    return this.#empty.has(id)
  }

  /** An instance has ended. @returns whether the only copy of a log may be lost */
  ended(id: string, others: Iterable<string>): boolean {
    const isExposed = (this.#open.get(id)?.size ?? 0) > 0
    this.#open.delete(id)
    this.#answered.delete(id)
    if (this.#empty.delete(id)) return false
    for (const other of others) {
      if (!this.#answered.get(other)?.includes(id)) this.#opened(other, id)
    }
    this.#ends.push(id)
    if (this.#ends.length > MOST) this.#ends.shift()
    this.isTold = false
    return isExposed
  }

  #opened(id: string, end: string): void {
    const open = this.#open.get(id) ?? new Set()
    this.#open.set(id, open.add(end))
  }
}

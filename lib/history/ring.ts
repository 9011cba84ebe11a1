// The latest entries of a log that an instance follows, so that most recoveries need no engine.

import { holds } from './place.ts'
import type { Entry, HistoryLimits, Place } from './store.ts'

/** The memory of an entry beside its payload, in bytes. */
const ENTRY = 400

/** The size of all rings of a hub, in bytes. */
export interface RingSizes {
  total: number
}

/** The tail of one log, within the same bounds as the store; all rings together are within `maxTotal`. */
export class Ring {
  readonly #limits: HistoryLimits
  readonly #sizes: RingSizes
  /** What is removed is undefined until the array is made anew. */
  #entries: (Entry | undefined)[] = []
  /** When each entry was added. */
  #times: number[] = []
  /** The index of the first entry that is kept. */
  #start = 0
  #messages = 0
  #bytes = 0

  constructor(limits: HistoryLimits, sizes: RingSizes = { total: 0 }) {
    this.#limits = limits
    this.#sizes = sizes
  }

  get bytes(): number {
    return this.#bytes
  }

  clear(): void {
    while (this.#start < this.#entries.length) this.#removeFirst()
    this.#entries = []
    this.#times = []
    this.#start = 0
  }

  add(entry: Entry): void {
    const { messages, bytes, maxTotal } = this.#limits
    this.#entries.push(entry)
    this.#times.push(performance.now())
    this.#messages += entry.count
    this.#bytes += entry.payload.length
    this.#sizes.total += entry.payload.length + ENTRY
    this.expire()
    while (this.#messages > messages || this.#bytes > bytes) this.#removeFirst()
    // A ring that grows makes room itself: what it has no more is read from the store.
    while (this.#sizes.total > maxTotal && this.#messages > 0) this.#removeFirst()
    if (this.#start > this.#entries.length / 2 && this.#start > 16) {
      this.#entries = this.#entries.slice(this.#start)
      this.#times = this.#times.slice(this.#start)
      this.#start = 0
    }
  }

  /** Removes what is older than `ttl`. */
  expire(): void {
    const oldest = performance.now() - this.#limits.ttl
    while ((this.#times[this.#start] ?? Infinity) <= oldest) this.#removeFirst()
  }

  /** Returns the entries after a place of this epoch; null where they are not all here, or the place does not fit. */
  after(since: Place): readonly Entry[] | null {
    this.expire()
    const first = this.#entries[this.#start]
    if (!first) return null
    if (since.offset === first.offset - first.count) {
      return since.key === first.previous ? this.#from(this.#start) : null
    }
    const index = this.#indexOf(since.offset)
    const entry = index < this.#start ? undefined : this.#entries[index]
    if (!entry || !holds(entry, since)) return null
    return this.#from(since.offset === entry.offset ? index + 1 : index)
  }

  /** @param index that of an entry that is kept, or the length */
  #from(index: number): readonly Entry[] {
    return this.#entries.slice(index) as Entry[]
  }

  #removeFirst(): void {
    const first = this.#entries[this.#start] as Entry
    this.#entries[this.#start++] = undefined
    this.#messages -= first.count
    this.#bytes -= first.payload.length
    this.#sizes.total -= first.payload.length + ENTRY
  }

  /** Returns the index of the entry with the message at an offset; below the start where it is not kept. */
  #indexOf(offset: number): number {
    let low = this.#start
    let high = this.#entries.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#entries[middle] as Entry).offset < offset) low = middle + 1
      else high = middle
    }
    const entry = this.#entries[low]
    return entry && offset > entry.offset - entry.count ? low : -1
  }
}

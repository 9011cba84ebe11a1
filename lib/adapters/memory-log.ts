// One log of `memoryHistory()`: its epoch, its top, and the entries that are kept.

import { timeOf } from '../history/place.ts'
import type { Entry, HistoryLimits, Missing, NewEntry, Place, Reading } from '../history/store.ts'
import { Ring } from './ring.ts'

/** The memory of an entry beside its payload, in bytes (290 to 380 on Node 20). */
const ENTRY = 400
/** The memory of a log without entries beside its name, in bytes (about 680 on Node 20). */
export const LEAST_SIZE = 800

interface Kept {
  readonly entry: Entry
  /** When it was recorded, on a clock that never goes back. */
  readonly at: number
}

/** The record of one log. Entries are removed as a whole, oldest first. */
export class MemoryLog {
  readonly name: string
  readonly epoch: string
  /** Whether the log existed before this epoch. */
  readonly renewed: boolean
  /** When the last entry was recorded. */
  last = 0
  readonly #kept = new Ring<Kept>()
  readonly #offsets = new Map<string, number>()
  #offset = 0
  #key = ''
  /** The end of the last entry that was removed. */
  #floor = 0
  #floorKey = ''
  #why: Missing = 'trimmed'
  #messages = 0
  #bytes = 0

  constructor(name: string, epoch: string, renewed = false) {
    this.name = name
    this.epoch = epoch
    this.renewed = renewed
  }

  get birth(): number {
    return timeOf(this.epoch)
  }

  get isEmpty(): boolean {
    return this.#kept.length === 0
  }

  /** When the first entry that is kept was recorded; infinite without one. */
  get first(): number {
    return this.#kept.at(0)?.at ?? Number.POSITIVE_INFINITY
  }

  /** The memory of the log, in bytes. */
  get size(): number {
    return LEAST_SIZE + 2 * this.name.length + this.#kept.length * ENTRY + this.#bytes
  }

  get top(): Place {
    return { epoch: this.epoch, offset: this.#offset, key: this.#key }
  }

  /** Returns the place of an entry that is kept, or is the last one; null for any other key. */
  placeOf(key: string): Place | null {
    const offset = key === this.#key ? this.#offset : this.#offsets.get(key)
    return offset === undefined ? null : { epoch: this.epoch, offset, key }
  }

  add({ key, count, payload }: NewEntry, now: number): Entry {
    const offset = this.#offset + count
    const entry: Entry = { key, count, payload, offset, previous: this.#key }
    this.#kept.push({ entry, at: now })
    this.#offsets.set(key, offset)
    this.#offset = offset
    this.#key = key
    this.#messages += count
    this.#bytes += payload.length
    this.last = now
    return entry
  }

  /** Removes what was recorded up to a time. */
  expire(until: number): void {
    for (let first = this.#kept.at(0); first && first.at <= until; first = this.#kept.at(0)) {
      this.removeFirst('expired')
    }
  }

  /** Removes the oldest entries until the rest is within the bounds of one log. */
  trim({ messages, bytes }: HistoryLimits): void {
    while (this.#messages > messages || this.#bytes > bytes) this.removeFirst('trimmed')
  }

  /** Removes the oldest entry. */
  removeFirst(why: 'trimmed' | 'expired'): void {
    const entry = this.#kept.shift()?.entry
    if (!entry) return
    this.#offsets.delete(entry.key)
    this.#floor = entry.offset
    this.#floorKey = entry.key
    this.#why = why
    this.#messages -= entry.count
    this.#bytes -= entry.payload.length
  }

  /** Returns all entries that are kept. */
  readAll(): Reading {
    return this.#from(0)
  }

  /** Returns the entries after an offset of this epoch. The first may contain this offset. */
  read(offset: number, key: string): Reading {
    const found = this.#find(offset, key)
    return typeof found === 'number' ? this.#from(found) : { top: this.top, missing: found }
  }

  /** Returns whether the log holds an entry, or may have held it: what was removed cannot be judged. */
  mayHave(offset: number, key: string): boolean {
    const found = this.#find(offset, key)
    return found !== 'ahead' && found !== 'epoch'
  }

  #from(index: number): Reading {
    const entries: Entry[] = []
    for (let i = index; i < this.#kept.length; i++) entries.push((this.#kept.at(i) as Kept).entry)
    return { top: this.top, entries }
  }

  /** Returns the index of the first entry that goes beyond a place, or why the place does not fit. */
  #find(offset: number, key: string): number | Missing {
    if (offset > this.#offset) return 'ahead'
    if (offset < this.#floor) return this.#why
    if (offset === this.#floor) return key === this.#floorKey ? 0 : 'epoch'
    const index = this.#indexOf(offset)
    const { entry } = this.#kept.at(index) as Kept
    if (entry.key !== key) return 'epoch'
    return entry.offset === offset ? index + 1 : index
  }

  /** Returns the index of the entry that holds the message with an offset above the floor. */
  #indexOf(offset: number): number {
    let low = 0
    let high = this.#kept.length - 1
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#kept.at(middle) as Kept).entry.offset < offset) low = middle + 1
      else high = middle
    }
    return low
  }
}

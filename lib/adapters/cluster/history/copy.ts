// A copy of one log: its entries, what was removed, and what each publisher has recorded.

import { holds, isNowhere, isUnborn, timeOf } from '../../../history/place.ts'
import type { Entry, HistoryLimits, Missing, Place, Reading } from '../../../history/store.ts'
import { REMEMBERED } from '../../../history/store.ts'

/** The approximate memory of an entry, and of a log, beyond its payloads. */
const ENTRY_SIZE = 256
export const LOG_SIZE = 512

/** An entry as owner and replica keep it. */
export interface Kept extends Entry {
  /** Its number in the epoch, from 1: an entry may have several messages. */
  readonly seq: number
  /** When the owner received it. */
  readonly at: number
  /** The publisher, and the instance through which it published. */
  readonly from: string
  readonly via: string
  /** The number that the publisher gave it, within its series. */
  readonly series: number
  readonly n: number
  /** The publisher knows the places of its entries up to this number. */
  readonly known: number
}

/** The end of a log, or of its committed part. */
export interface Mark {
  readonly seq: number
  readonly offset: number
  readonly key: string
}

/** Where an entry of a publisher is. */
export interface Spot {
  readonly n: number
  readonly seq: number
  readonly offset: number
}

/** What one publisher has recorded. */
export interface Source {
  series: number
  /** The number of its last entry. */
  n: number
  /** The instance through which it publishes. */
  via: string
  /** When its last entry was recorded. */
  at: number
  /** Entries with places that it may not know. */
  spots: Spot[]
}

/** A copy as it is sent to another instance. */
export interface Snapshot {
  readonly epoch: string
  readonly ballot: string
  readonly zero: number
  readonly at: number
  readonly entries: readonly Kept[]
  readonly last: Mark
  readonly done: Mark
  readonly cut: { readonly offset: number; readonly key: string }
  readonly trimmed: number
  readonly sources: readonly (readonly [string, Source])[]
}

const START: Mark = { seq: 0, offset: 0, key: '' }

/** A copy of one log. Its owner and its replica have one each. */
export class Copy {
  readonly epoch: string
  /** The claim under which it was written. */
  ballot: string
  /** A place with offset 0 from this time or before is not valid: an earlier epoch was lost. */
  readonly zero: number
  /** When the last entry was added, or the epoch began. */
  at: number
  readonly sources: Map<string, Source>
  /** The payloads and messages that are committed and kept. */
  bytes = 0
  messages = 0
  /** The payloads that are not committed. */
  uncommitted = 0
  /** The approximate memory. */
  size: number = LOG_SIZE
  #entries: Kept[] = []
  #last: Mark
  #done: Mark
  /** The last entry that was removed. */
  #cut: { readonly offset: number; readonly key: string }
  /** The offset up to which entries were removed before their time. */
  #trimmed: number

  constructor(snapshot: Snapshot) {
    this.epoch = snapshot.epoch
    this.ballot = snapshot.ballot
    this.zero = snapshot.zero
    this.at = snapshot.at
    this.#last = snapshot.last
    this.#done = snapshot.done
    this.#cut = snapshot.cut
    this.#trimmed = snapshot.trimmed
    this.sources = new Map(copied(snapshot.sources))
    for (const entry of snapshot.entries) this.#keep(entry)
  }

  static begin(epoch: string, ballot: string, zero: number, at: number): Copy {
    const cut = { offset: 0, key: '' }
    const marks = { last: START, done: START, cut, trimmed: 0 }
    return new Copy({ epoch, ballot, zero, at, entries: [], ...marks, sources: [] })
  }

  /** The last entry, committed or not. */
  get last(): Mark {
    return this.#last
  }

  /** The last committed entry. */
  get done(): Mark {
    return this.#done
  }

  get top(): Place {
    return { epoch: this.epoch, offset: this.#done.offset, key: this.#done.key }
  }

  get isEmpty(): boolean {
    return this.#entries.length === 0
  }

  snapshot(): Snapshot {
    const { epoch, ballot, zero, at } = this
    return {
      epoch,
      ballot,
      zero,
      at,
      entries: [...this.#entries],
      last: this.#last,
      done: this.#done,
      cut: this.#cut,
      trimmed: this.#trimmed,
      sources: copied(this.sources),
    }
  }

  /** Returns whether it has more than a copy with this ballot and this last number. */
  exceeds(ballot: string, seq: number): boolean {
    return this.ballot === ballot ? this.#last.seq > seq : this.ballot > ballot
  }

  /** Adds the entry that follows the last one. */
  add(entry: Kept): void {
    this.#keep(entry)
    this.at = entry.at
    this.#last = { seq: entry.seq, offset: entry.offset, key: entry.key }
    const spot = { n: entry.n, seq: entry.seq, offset: entry.offset }
    const source = this.sources.get(entry.from)
    const isSame = source?.series === entry.series
    const spots = isSame ? source.spots.filter(({ n }) => n > entry.known) : []
    spots.push(spot)
    const { series, n, via, at } = entry
    this.sources.set(entry.from, { series, n, via, at, spots })
  }

  /** Commits entries up to a number, and removes those beyond the limits. @returns the entries */
  commit(seq: number, limits: HistoryLimits): Kept[] {
    const first = this.#entries[0]?.seq ?? 0
    const committed = this.#entries.slice(this.#done.seq + 1 - first, seq + 1 - first)
    for (const entry of committed) {
      this.#done = { seq: entry.seq, offset: entry.offset, key: entry.key }
      this.uncommitted -= entry.payload.length
      this.bytes += entry.payload.length
      this.messages += entry.count
    }
    while (this.bytes > limits.bytes || this.messages > limits.messages) if (!this.trim()) break
    return committed
  }

  /** Removes the oldest entry, unless it is not committed. @returns whether one was removed */
  trim(): boolean {
    const first = this.#removeFirst()
    if (first) this.#trimmed = first.offset
    return first !== null
  }

  /** Removes entries older than `ttl`. */
  expire(now: number, ttl: number): void {
    while (this.#entries[0] && now - this.#entries[0].at >= ttl) if (!this.#removeFirst()) break
  }

  /** Returns all committed entries after a place, or why they cannot be given. */
  read(since: Place | null, now: number): Reading {
    const { top } = this
    const missing = since === null ? null : this.#missing(since, now)
    if (missing !== null) return { top, missing }
    const after = since?.epoch === this.epoch ? since.offset : 0
    const { seq } = this.#done
    const entries = this.#entries.filter((entry) => entry.offset > after && entry.seq <= seq)
    return { top, entries }
  }

  /** Returns whether it certainly lacks an entry that an instance has seen. */
  lacks({ epoch, offset, key }: Place): boolean {
    if (epoch !== this.epoch) return epoch > this.epoch && !isUnborn(epoch)
    if (offset > this.#last.offset) return true
    const at = this.#entries.find((entry) => entry.offset >= offset)
    if (offset === this.#cut.offset) return key !== this.#cut.key
    return offset > this.#cut.offset && at !== undefined && at.key !== key
  }

  #missing(since: Place, now: number): Missing | null {
    const { epoch, offset, key } = since
    if (epoch !== this.epoch) {
      if (!this.#isBefore(since, now)) return 'epoch'
      return this.#cut.offset > 0 ? this.#removed(0) : null
    }
    if (offset > this.#done.offset) return 'ahead'
    if (offset < this.#cut.offset) return this.#removed(offset)
    if (offset === this.#cut.offset) return key === this.#cut.key ? null : 'epoch'
    return this.#entries.some((entry) => holds(entry, since)) ? null : 'epoch'
  }

  /** Returns whether a place was given before this log existed, and nothing was lost since. */
  #isBefore(place: Place, now: number): boolean {
    if (!isNowhere(place)) return false
    const asked = timeOf(place.epoch)
    return asked > this.zero && now - asked < REMEMBERED && timeOf(this.epoch) >= asked
  }

  #removed(offset: number): Missing {
    return offset < this.#trimmed ? 'trimmed' : 'expired'
  }

  #keep(entry: Kept): void {
    this.#entries.push(entry)
    this.size += entry.payload.length + ENTRY_SIZE
    if (entry.seq > this.#done.seq) this.uncommitted += entry.payload.length
    else {
      this.bytes += entry.payload.length
      this.messages += entry.count
    }
  }

  #removeFirst(): Kept | null {
    const first = this.#entries[0]
    if (!first || first.seq > this.#done.seq) return null
    this.#entries.shift()
    this.size -= first.payload.length + ENTRY_SIZE
    this.bytes -= first.payload.length
    this.messages -= first.count
    this.#cut = { offset: first.offset, key: first.key }
    return first
  }
}

function copied(sources: Iterable<readonly [string, Source]>): [string, Source][] {
  return [...sources].map(([name, source]) => [name, { ...source, spots: [...source.spots] }])
}

// Keeps the order of the entries of each log, and numbers them so that none is recorded twice.
import type { NewEntry, Place } from '../../../history/store.ts'

/** An entry that Redis has not confirmed. */
export interface Waiting {
  readonly log: string
  readonly entry: NewEntry
  /** Larger for each new entry; the same at each attempt. */
  readonly number: number
}

interface Pending extends Waiting {
  resolve(place: Place): void
  reject(error: Error): void
}

type Recent = Map<string, Pick<Waiting, 'log' | 'number'>>

interface LogAppends {
  /** In order. */
  readonly pending: Pending[]
  /** Entries with an unknown outcome, by key: the hub appends them again before any new one. */
  readonly unknown: Map<string, number>
}

/** How long the hub has to append an entry of an unknown outcome again, in milliseconds. */
const KNOWN = 60_000
/** The least number of confirmed entries that are recognized when they are appended once more. */
const RECENT = 1_000

/**
 * The entries that this instance is recording. Redis runs the scripts of one log in order, but may
 * refuse one of them and take the next. So each names the number of the entry that it must come
 * after, and is sent again if that one is missing.
 */
export class Appends {
  readonly #send: (waiting: Waiting, after: number) => void
  readonly #logs = new Map<string, LogAppends>()
  /** The last confirmed entries, by key, without their payloads. */
  #recent: Recent = new Map()
  /** Those before them. Deleting the oldest of one map again and again is slow: its iterator skips the deleted ones. */
  #earlier: Recent = new Map()
  #number = 0

  /** @param send sends an entry; then `recorded`, `refused` or `again` is called, or later `fail` */
  constructor(send: (waiting: Waiting, after: number) => void) {
    this.#send = send
  }

  add(log: string, entry: NewEntry): Promise<Place> {
    let state = this.#logs.get(log)
    if (!state) {
      state = { pending: [], unknown: new Map() }
      this.#logs.set(log, state)
    }
    const { pending, unknown } = state
    const recent = this.#recent.get(entry.key) ?? this.#earlier.get(entry.key)
    const known = recent?.log === log ? recent.number : unknown.get(entry.key)
    // The hub appends entries with an unknown outcome first: it has given up the remaining ones.
    if (known === undefined) unknown.clear()
    else unknown.delete(entry.key)
    const number = known ?? ++this.#number
    return new Promise((resolve, reject) => {
      const after = pending.at(-1)?.number ?? 0
      const waiting: Pending = { log, entry, number, resolve, reject }
      pending.push(waiting)
      this.#send(waiting, after)
    })
  }

  recorded(waiting: Waiting, place: Place): void {
    const taken = this.#take(waiting)
    if (!taken) return
    this.#recent.set(waiting.entry.key, { log: waiting.log, number: waiting.number })
    if (this.#recent.size >= RECENT) {
      this.#earlier = this.#recent
      this.#recent = new Map()
    }
    taken.resolve(place)
  }

  /** The entry is not recorded; the entries after it may be. */
  refused(waiting: Waiting, error: Error): void {
    this.#take(waiting)?.reject(error)
  }

  /** The entry is not recorded because the one before it was not: sends it again. */
  again(waiting: Waiting): void {
    const { pending = [] } = this.#logs.get(waiting.log) ?? {}
    const index = pending.findIndex(({ number }) => number === waiting.number)
    // The entry before it was answered earlier: it is confirmed, refused, or sent again.
    if (index >= 0) this.#send(waiting, pending[index - 1]?.number ?? 0)
  }

  /**
   * Rejects all entries: their outcome is unknown.
   *
   * @param lasted how long Redis was connected, in milliseconds
   */
  fail(error: Error, lasted: number): void {
    const failed: Pending[] = []
    for (const [log, { pending, unknown }] of this.#logs) {
      if (lasted > KNOWN) unknown.clear()
      for (const waiting of pending) unknown.set(waiting.entry.key, waiting.number)
      failed.push(...pending.splice(0))
      if (unknown.size === 0) this.#logs.delete(log)
    }
    for (const { reject } of failed) reject(error)
  }

  #take(waiting: Waiting): Pending | undefined {
    const state = this.#logs.get(waiting.log)
    const index = state?.pending.findIndex(({ number }) => number === waiting.number) ?? -1
    if (!state || index < 0) return undefined
    const [taken] = state.pending.splice(index, 1)
    if (state.pending.length === 0 && state.unknown.size === 0) this.#logs.delete(waiting.log)
    return taken
  }
}

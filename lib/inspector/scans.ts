// Visits all connections of an instance in slices, and keeps the result as long as its cost asks for.

import { setImmediate } from 'node:timers/promises'
import type { Connection, Hub } from '../index.ts'

/** The longest time in one turn of the event loop, in milliseconds. */
const SLICE = 3
/** How many connections are visited between two looks at the clock. */
const STRIDE = 128
/** After this many milliseconds of work a scan ends with what it has. */
const MOST_WORK = 1_000
/**
 * A result is kept for this many times its cost: pages that refresh by themselves take at most a quarter of a percent of
 * a core, for any number of pages.
 */
const KEPT = 400
/** The least and the longest time that a result is kept, in milliseconds. */
const LEAST_KEPT = 1_500
const LONGEST_KEPT = 60_000
/** The most results that are kept, and the most scans that wait. */
const MOST_RESULTS = 16
const MOST_WAITING = 16

/** What a scan collects. */
export interface Visitor<T> {
  visit(connection: Connection): void
  /** @param isWhole false when the scan ended early */
  result(isWhole: boolean): T
}

interface Kept {
  readonly until: number
  readonly result: unknown
}

/** The scans of one hub: one at a time. */
export class Scans {
  readonly #hub: Pick<Hub, 'localConnections'>
  readonly #now: () => number
  readonly #kept = new Map<string, Kept>()
  readonly #running = new Map<string, Promise<unknown>>()
  #last: Promise<unknown> = Promise.resolve()

  /** @param now a monotonic clock, in milliseconds */
  constructor(hub: Pick<Hub, 'localConnections'>, now: () => number = () => performance.now()) {
    this.#hub = hub
    this.#now = now
  }

  /**
   * Returns the result of a scan: a kept one, that of an equal scan that runs, or a new one.
   *
   * @param key the same for equal scans
   * @throws Error when too many scans wait
   */
  async run<T>(key: string, visitor: () => Visitor<T>): Promise<T> {
    const kept = this.#kept.get(key)
    // The key is of one kind of scan, which has one type of result.
    if (kept && kept.until > this.#now()) return kept.result as T
    const running = this.#running.get(key)
    if (running !== undefined) return running as Promise<T>
    if (this.#running.size >= MOST_WAITING) throw new Error('too many searches at a time')
    const scan = this.#last.then(() => this.#scan(key, visitor()))
    this.#running.set(key, scan)
    this.#last = scan.catch(() => {})
    return scan.finally(() => this.#running.delete(key))
  }

  async #scan<T>(key: string, visitor: Visitor<T>): Promise<T> {
    let work = 0
    let began = this.#now()
    let i = 0
    let isWhole = true
    for (const connection of this.#hub.localConnections.values()) {
      visitor.visit(connection)
      if (++i % STRIDE !== 0) continue
      const took = this.#now() - began
      if (took < SLICE) continue
      work += took
      if (work > MOST_WORK) {
        isWhole = false
        break
      }
      await setImmediate()
      began = this.#now()
    }
    const result = visitor.result(isWhole)
    const now = this.#now()
    work += now - began
    this.#keep(key, result, now + Math.min(LONGEST_KEPT, Math.max(LEAST_KEPT, work * KEPT)))
    return result
  }

  #keep(key: string, result: unknown, until: number): void {
    this.#kept.delete(key)
    this.#kept.set(key, { until, result })
    const [oldest] = this.#kept.keys()
    if (this.#kept.size > MOST_RESULTS && oldest !== undefined) this.#kept.delete(oldest)
  }
}

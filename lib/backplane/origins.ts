// Remembers the origins of arrivals, and the time of the last arrival.
import { REMEMBERED } from './tops.ts'

/**
 * Origins are remembered longer than they remember their own publishes, by this margin in
 * milliseconds.
 */
const MARGIN = 60_000
/** The most origins to remember after they left. */
const MOST = 10_000

/**
 * Instances and emitters, with the time of their last arrival. Times are monotonic, in
 * milliseconds.
 */
export class Origins {
  readonly #received = new Map<string, number>()
  /**
   * Instances that fell silent or said goodbye, and when they were last heard. An instance may come
   * back at any time, and may have forgotten what it published.
   */
  readonly #left = new Map<string, number>()

  received(origin: string, now: number): void {
    this.#received.set(origin, now)
  }

  left(origin: string, heardAt: number): void {
    this.#left.set(origin, heardAt)
    if (this.#left.size <= MOST) return
    const [first] = this.#left.keys()
    this.#left.delete(first as string)
  }

  /**
   * Removes an instance that is back. @returns when it was last heard before; Infinity for a new
   * one
   */
  back(origin: string): number {
    const at = this.#left.get(origin) ?? Infinity
    this.#left.delete(origin)
    return at
  }

  /** Forgets origins that have been silent for long, and yields them. */
  *expire(now: number): Generator<string> {
    for (const [origin, at] of this.#received) {
      if (now - at < REMEMBERED + MARGIN) continue
      this.#received.delete(origin)
      yield origin
    }
  }
}

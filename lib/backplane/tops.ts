import type { Numbered, Top } from './wire.ts'

/** How long a topic that nobody publishes on is remembered, in milliseconds. */
export const REMEMBERED = 600_000
/** So many topics are remembered. */
const MOST = 100_000
/** How often the old ones are looked for, in milliseconds. */
const SWEEP = 60_000

interface Counter {
  readonly epoch: number
  /** The number of the next order. */
  next: number
  /** When it was last published on. */
  at: number
}

/** What this instance has published on each topic: how many orders. Times are monotonic. */
export class Tops {
  /** Least recently published first. */
  readonly #counters = new Map<string, Counter>()
  #epochs = 0
  #forgotAt: number | undefined
  #sweptAt: number
  /** Published on since the last and the last but one call of `quiet()`. */
  #fresh = new Set<string>()
  #recent = new Set<string>()

  constructor(now: number) {
    this.#sweptAt = now
  }

  /** Number some orders on their topics. */
  take(topics: readonly string[], orders: number, now: number): Numbered[] {
    return topics.map((topic) => {
      const counter = this.#counters.get(topic) ?? { epoch: ++this.#epochs, next: 1, at: now }
      const { epoch, next } = counter
      const after = next === 1 ? null : Math.max(0, Math.floor(now - counter.at))
      counter.next += orders
      counter.at = now
      this.#counters.delete(topic)
      this.#counters.set(topic, counter)
      this.#fresh.add(topic)
      return { topic, epoch, next, after }
    })
  }

  /**
   * Topics that were published on before the last call and not since: the last that was said there may
   * have been missed, and nothing that follows shows it.
   */
  quiet(now: number): Top[] {
    const quiet: Top[] = []
    for (const topic of this.#recent) {
      const counter = this.#counters.get(topic)
      if (counter && !this.#fresh.has(topic)) quiet.push(topOf(topic, counter, now))
    }
    this.#recent = this.#fresh
    this.#fresh = new Set()
    this.forget(now)
    return quiet
  }

  /** Where all of them stand. */
  all(now: number): Top[] {
    return [...this.#counters].map(([topic, counter]) => topOf(topic, counter, now))
  }

  /** For how long nothing was given up for want of room; undefined when that never was. */
  forgotten(now: number): number | undefined {
    return this.#forgotAt === undefined ? undefined : Math.floor(now - this.#forgotAt)
  }

  /** Give up what is too old, or too much. `quiet()` does that too. */
  forget(now: number): void {
    for (const topic of this.#counters.keys()) {
      if (this.#counters.size <= MOST) break
      this.#counters.delete(topic)
      this.#fresh.delete(topic)
      this.#recent.delete(topic)
      this.#forgotAt = now
    }
    if (now - this.#sweptAt < SWEEP) return
    this.#sweptAt = now
    for (const [topic, { at }] of this.#counters) {
      if (now - at < REMEMBERED) break
      this.#counters.delete(topic)
      this.#fresh.delete(topic)
      this.#recent.delete(topic)
    }
  }
}

function topOf(topic: string, { epoch, next, at }: Counter, now: number): Top {
  return { topic, epoch, next, age: Math.max(0, Math.floor(now - at)) }
}

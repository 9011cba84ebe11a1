// The number of orders that this instance has published on each topic.
import type { Numbered, Top } from './wire.ts'

/** How long a topic without publishes is remembered, in milliseconds. */
export const REMEMBERED = 600_000
/** The most topics to remember. */
const MOST = 100_000
/**
 * The bound on their memory, in bytes. Above it plus `SLACK`, the oldest topics are forgotten in
 * one go.
 */
const MOST_BYTES = 16 * 1024 * 1024
const SLACK = MOST_BYTES / 16
/** The approximate memory of a topic beyond its name, in bytes. */
const OVERHEAD = 128
/** The interval between searches for old topics, in milliseconds. */
const SWEEP = 60_000

interface Counter {
  readonly epoch: number
  /** The number of the next order. */
  next: number
  /** When it was last published on. */
  at: number
}

/**
 * Counts the orders that this instance has published on each topic. Times are monotonic, in
 * milliseconds.
 */
export class Tops {
  /** Least recently published first. */
  readonly #counters = new Map<string, Counter>()
  #bytes = 0
  #epochs = 0
  #forgotAt: number | undefined
  #sweptAt: number
  /** The topics published on since the last call of `quiet()`, and between the two calls before. */
  #fresh = new Set<string>()
  #recent = new Set<string>()

  constructor(now: number) {
    this.#sweptAt = now
  }

  /** Numbers orders on their topics. */
  take(topics: readonly string[], orders: number, now: number): Numbered[] {
    if (this.#bytes > MOST_BYTES + SLACK) this.#giveUp(now)
    return topics.map((topic) => {
      const known = this.#counters.get(topic)
      if (!known) this.#bytes += bytesOf(topic)
      const counter = known ?? { epoch: ++this.#epochs, next: 1, at: now }
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
   * Returns the topics that were published on before the last call and not since. If their last
   * publish is lost, no later message reveals it.
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

  /** Returns the topics that were published on and not returned by `quiet()` since. */
  untold(): Set<string> {
    return new Set([...this.#recent, ...this.#fresh])
  }

  get topics(): IterableIterator<string> {
    return this.#counters.keys()
  }

  has(topic: string): boolean {
    return this.#counters.has(topic)
  }

  /** Returns the top of a topic; null for a forgotten topic. */
  get(topic: string, now: number): Top | null {
    const counter = this.#counters.get(topic)
    return counter ? topOf(topic, counter, now) : null
  }

  /**
   * Returns the time since a topic was last forgotten to save memory, in milliseconds; undefined if
   * that never happened.
   */
  forgotten(now: number): number | undefined {
    return this.#forgotAt === undefined ? undefined : Math.floor(now - this.#forgotAt)
  }

  /** Forgets topics that are too old or too many. `quiet()` calls it too. */
  forget(now: number): void {
    this.#giveUp(now)
    if (now - this.#sweptAt < SWEEP) return
    this.#sweptAt = now
    for (const [topic, { at }] of this.#counters) {
      if (now - at < REMEMBERED) break
      this.#delete(topic)
    }
  }

  #giveUp(now: number): void {
    for (const topic of this.#counters.keys()) {
      if (this.#counters.size <= MOST && this.#bytes <= MOST_BYTES) break
      this.#delete(topic)
      this.#forgotAt = now
    }
  }

  #delete(topic: string): void {
    this.#counters.delete(topic)
    this.#fresh.delete(topic)
    this.#recent.delete(topic)
    this.#bytes -= bytesOf(topic)
  }
}

/** Returns the approximate memory of a topic, in bytes. */
function bytesOf(topic: string): number {
  return OVERHEAD + topic.length
}

function topOf(topic: string, { epoch, next, at }: Counter, now: number): Top {
  return { topic, epoch, next, age: Math.max(0, Math.floor(now - at)) }
}

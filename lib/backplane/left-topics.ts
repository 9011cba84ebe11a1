// Remembers arrivals on topics that were left recently.
import { REMEMBERED } from './tops.ts'

/**
 * The bound on memory for topics that were left, in bytes. Above it plus `SLACK`, the oldest are
 * forgotten in one go.
 */
const MOST_BYTES = 8 * 1024 * 1024
const SLACK = MOST_BYTES / 8
/** The approximate memory of a topic beyond its name, and of a place, in bytes. */
const OVERHEAD = 256
const PLACE = 160

/** The position that an instance has reached with one origin on one topic. */
export interface Place {
  epoch: number
  /** The number of the next order. */
  next: number
  /** Whether the place is older than the subscription: a gap after it is then not a loss. */
  isOld: boolean
}

interface Left {
  readonly from: Map<string, Place>
  readonly at: number
  readonly bytes: number
}

/**
 * The places on topics that were unsubscribed within the last ten minutes, within bounds. Otherwise
 * a member that leaves and rejoins would receive again what an instance publishes again.
 */
export class LeftTopics {
  /** In the order of leaving. */
  readonly #topics = new Map<string, Left>()
  #bytes = 0

  add(topic: string, from: Map<string, Place>, now: number): void {
    if (from.size === 0) return
    const bytes = OVERHEAD + topic.length + from.size * PLACE
    this.#topics.set(topic, { from, at: now, bytes })
    this.#bytes += bytes
    if (this.#bytes <= MOST_BYTES + SLACK) return
    for (const topic of this.#topics.keys()) {
      if (this.#bytes <= MOST_BYTES) break
      this.take(topic)
    }
  }

  /** Removes and returns the places on a topic that is subscribed again. */
  take(topic: string): Map<string, Place> | null {
    const left = this.#topics.get(topic)
    if (!left) return null
    this.#topics.delete(topic)
    this.#bytes -= left.bytes
    return left.from
  }

  placeOf(topic: string, origin: string): Place | undefined {
    return this.#topics.get(topic)?.from.get(origin)
  }

  /** Forgets an instance that is gone. */
  forget(origin: string): void {
    for (const { from } of this.#topics.values()) from.delete(origin)
  }

  expire(now: number): void {
    for (const [topic, { at }] of this.#topics) {
      if (now - at < REMEMBERED) break
      this.take(topic)
    }
  }
}

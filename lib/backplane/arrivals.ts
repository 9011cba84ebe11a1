// Tracks which publishes of other instances arrived: once, twice or never.
import { LeftTopics, type Place } from './left-topics.ts'
import type { Loss } from './order.ts'
import { REMEMBERED } from './tops.ts'
import type { Numbered, Top } from './wire.ts'

/** A subscribed topic. Times are monotonic, in milliseconds. */
interface Topic {
  /** When the first member joined. */
  readonly addedAt: number
  /** Since when all publishes arrive. */
  since: number
  readonly from: Map<string, Place>
  /**
   * By origin: the last payload for several topics that members may have received through another
   * of its topics.
   */
  reached: Map<string, Mark> | null
}

type Mark = Pick<Place, 'epoch' | 'next'>

/**
 * How to treat orders that arrived. `new`: carry them out. `past`: they were published before any
 * present member joined, so they update this instance's knowledge but do not reach members.
 * `known`: they arrived before, or are not for this instance.
 */
export type Arrival = 'new' | 'past' | 'known'

/**
 * The relative drift allowed between the clocks of two instances. In case of doubt, a message
 * counts as published after a member joined.
 */
const DRIFT = 0.001

/**
 * Tracks what arrived from each instance on each subscribed topic, and detects duplicates and
 * losses.
 */
export class Arrivals {
  readonly #topics = new Map<string, Topic>()
  readonly #left = new LeftTopics()
  readonly #lost: (loss: Loss) => void

  constructor(lost: (loss: Loss) => void) {
    this.#lost = lost
  }

  get topics(): IterableIterator<string> {
    return this.#topics.keys()
  }

  has(topic: string): boolean {
    return this.#topics.has(topic)
  }

  /**
   * Begins the subscription of a topic: arrivals count from now on, losses from `hold` on.
   *
   * @returns when the first member joined
   */
  add(topic: string, now: number): number {
    const known = this.#topics.get(topic)
    if (known) return known.addedAt
    const from = this.#left.take(topic) ?? new Map<string, Place>()
    for (const place of from.values()) place.isOld = true
    this.#topics.set(topic, { addedAt: now, since: Infinity, from, reached: null })
    return now
  }

  /**
   * Confirms a subscription: all publishes on the topic arrive from now on.
   *
   * @param addedAt the result of `add`: an earlier subscription does not confirm a later one
   */
  hold(topic: string, now: number, addedAt?: number): void {
    const known = this.#topics.get(topic)
    if (known?.since !== Infinity || (addedAt ?? known.addedAt) !== known.addedAt) return
    known.since = now
  }

  /**
   * Removes a topic after its last member left. Its places are kept for a while: an instance may
   * publish earlier orders again.
   */
  delete(topic: string, now: number): void {
    const known = this.#topics.get(topic)
    if (!known) return
    this.#topics.delete(topic)
    this.#left.add(topic, known.from, now)
  }

  /** Forgets an instance that is gone; its id is never used again. */
  forget(origin: string): void {
    for (const { from, reached } of this.#topics.values()) {
      from.delete(origin)
      reached?.delete(origin)
    }
    this.#left.forget(origin)
  }

  /**
   * Records that a payload for several topics arrived on one of them: members of the other topics
   * may have received it. An earlier payload that is published again on the others would reach them
   * out of order.
   */
  reached(origin: string, others: readonly Numbered[]): void {
    for (const { topic, epoch, next } of others) {
      const known = this.#topics.get(topic)
      const before = known?.reached?.get(origin)
      if (!known || (before && isBehind(epoch, next, before))) continue
      known.reached ??= new Map()
      known.reached.set(origin, { epoch, next })
    }
  }

  /** Forgets topics that were left long ago. */
  expire(now: number): void {
    this.#left.expire(now)
  }

  /**
   * Records orders that arrived, and returns how to treat them. When they arrived before on any of
   * their topics, they are `known`: the members of all their topics have received them.
   *
   * @param age how long they waited at their instance, in milliseconds; null for orders published
   * at once
   * @param evidence all positions that may prove an earlier arrival
   */
  arrived(
    origin: string,
    positions: readonly Numbered[],
    orders: number,
    now: number,
    age: number | null = null,
    evidence: readonly Numbered[] = positions,
  ): Arrival {
    let isWanted = false
    let isPast = true
    let cameBefore = false
    const publishedAt = age === null ? now : now - age * (1 - DRIFT)
    for (const { topic } of positions) {
      const known = this.#topics.get(topic)
      if (known) isWanted = true
      if (known && (age === null || known.addedAt <= publishedAt)) isPast = false
    }
    for (const { topic, epoch, next } of evidence) {
      const known = this.#topics.get(topic)
      const place = known ? known.from.get(origin) : this.#left.placeOf(topic, origin)
      if (place && isBehind(epoch, next, place)) cameBefore = true
    }
    if (!isWanted) return 'known'
    for (const { topic, epoch, next, after } of positions) {
      const known = this.#topics.get(topic)
      if (!known) continue
      const place = known.from.get(origin)
      if (place && isBehind(epoch, next, place)) continue
      const end = { epoch, next: next + orders }
      if (age !== null && known.addedAt > publishedAt) {
        known.from.set(origin, { ...end, isOld: true })
      } else if (!place || place.isOld) {
        const isNext = place?.epoch === epoch && place.next === next
        known.from.set(origin, { ...end, isOld: false })
        // The previous publish happened while this topic was subscribed, and did not arrive.
        if (!isNext && after !== null) this.#suspect(topic, known, origin, after + (age ?? 0), now)
      } else this.#advance(topic, origin, place, epoch, cameBefore ? end.next : next, end.next)
    }
    if (cameBefore) return 'known'
    if (isPast) return 'past'
    const overtaken = age === null ? undefined : this.#overtaken(origin, positions)
    if (overtaken === undefined) return 'new'
    this.#lost({ topic: overtaken, from: origin, count: orders })
    return 'past'
  }

  /** Compares the tops of an instance with the arrivals, to detect losses. */
  compare(origin: string, tops: readonly Top[], now: number): void {
    for (const { topic, epoch, next, age } of tops) {
      const known = this.#topics.get(topic)
      if (!known) continue
      const place = known.from.get(origin)
      if (place && !place.isOld) {
        if (isBehind(place.epoch, place.next, { epoch, next })) {
          this.#advance(topic, origin, place, epoch, next, next)
        }
        continue
      }
      if (place && !isBehind(place.epoch, place.next, { epoch, next })) {
        place.isOld = false // nothing more was published
        continue
      }
      known.from.set(origin, { epoch, next, isOld: false })
      this.#suspect(topic, known, origin, age, now)
    }
  }

  /** Reports a possible loss on all topics: the instance has forgotten what it published. */
  unknown(origin: string): void {
    for (const topic of this.#topics.keys()) this.#lost({ topic, from: origin, count: 0 })
  }

  /**
   * Returns the topic on which a later payload has reached members through another of its topics.
   */
  #overtaken(origin: string, positions: readonly Numbered[]): string | undefined {
    return positions.find(({ topic, epoch, next }) => {
      const reached = this.#topics.get(topic)?.reached?.get(origin)
      return reached && isBehind(epoch, next, reached)
    })?.topic
  }

  /** Reports a publish that did not arrive, if it happened after the subscription. */
  #suspect(topic: string, { since }: Topic, origin: string, age: number, now: number): void {
    if (age < REMEMBERED && now - age > since) this.#lost({ topic, from: origin, count: 1 })
  }

  /**
   * Advances a place, and reports the numbers that were skipped.
   *
   * @param next the number that should be next
   * @param end the number after the last arrival
   */
  #advance(
    topic: string,
    origin: string,
    place: Place,
    epoch: number,
    next: number,
    end: number,
  ): void {
    const missed = next - (epoch === place.epoch ? place.next : 1)
    place.epoch = epoch
    place.next = end
    if (missed > 0) this.#lost({ topic, from: origin, count: missed })
  }
}

/** Returns whether a number has already passed. */
function isBehind(epoch: number, next: number, place: Mark): boolean {
  return epoch < place.epoch || (epoch === place.epoch && next < place.next)
}

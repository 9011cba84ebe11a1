import type { Loss } from './order.ts'
import { REMEMBERED } from './tops.ts'
import type { Numbered, Top } from './wire.ts'

interface Place {
  epoch: number
  /** The number of the next order. */
  next: number
}

interface Topic {
  /** Since when everything that is published arrives: monotonic. */
  since: number
  readonly from: Map<string, Place>
}

/** What arrived from each instance on each topic that is subscribed: what came twice, and what never came. */
export class Arrivals {
  readonly #topics = new Map<string, Topic>()
  readonly #lost: (loss: Loss) => void

  constructor(lost: (loss: Loss) => void) {
    this.#lost = lost
  }

  get topics(): IterableIterator<string> {
    return this.#topics.keys()
  }

  /** A topic is being subscribed: what arrives counts from now on, what does not from `hold` on. */
  add(topic: string): void {
    if (!this.#topics.has(topic)) this.#topics.set(topic, { since: Infinity, from: new Map() })
  }

  /** Everything that is published on it arrives from now on. */
  hold(topic: string, now: number): void {
    const known = this.#topics.get(topic)
    if (known?.since === Infinity) known.since = now
  }

  delete(topic: string): void {
    this.#topics.delete(topic)
  }

  /** An instance is gone, and will not come back under its name. */
  forget(origin: string): void {
    for (const { from } of this.#topics.values()) from.delete(origin)
  }

  /**
   * Orders have come.
   *
   * @returns whether they are to be carried out: not when they came before by any of their topics, since
   * the members of all of them have got it then
   */
  arrived(origin: string, positions: readonly Numbered[], orders: number, now: number): boolean {
    let isKnown = false
    let cameBefore = false
    for (const { topic, epoch, next } of positions) {
      const known = this.#topics.get(topic)
      if (!known) continue
      isKnown = true
      const place = known.from.get(origin)
      if (place && isBehind(epoch, next, place)) cameBefore = true
    }
    if (!isKnown) return false
    for (const { topic, epoch, next, after } of positions) {
      const known = this.#topics.get(topic)
      if (!known) continue
      const place = known.from.get(origin)
      if (!place) {
        known.from.set(origin, { epoch, next: next + orders })
        // The one before came when this topic was subscribed already, and did not arrive.
        if (after !== null && after < REMEMBERED && now - after > known.since)
          this.#lost({ topic, from: origin, count: 1 })
      } else if (isBehind(epoch, next, place)) continue
      else if (cameBefore) this.#advance(topic, origin, place, epoch, next + orders, 0)
      else this.#advance(topic, origin, place, epoch, next, orders)
    }
    return !cameBefore
  }

  /** An instance says where it stands. */
  compare(origin: string, tops: readonly Top[], now: number): void {
    for (const { topic, epoch, next, age } of tops) {
      const known = this.#topics.get(topic)
      if (!known) continue
      const place = known.from.get(origin)
      if (place) {
        if (epoch > place.epoch || (epoch === place.epoch && next > place.next)) {
          this.#advance(topic, origin, place, epoch, next, 0)
        }
        continue
      }
      known.from.set(origin, { epoch, next })
      if (age < REMEMBERED && now - age > known.since) this.#lost({ topic, from: origin, count: 1 })
    }
  }

  /** What an instance published may have been missed, and it does not know any more what that was. */
  unknown(origin: string): void {
    for (const topic of this.#topics.keys()) this.#lost({ topic, from: origin, count: 0 })
  }

  #advance(
    topic: string,
    origin: string,
    place: Place,
    epoch: number,
    next: number,
    orders: number,
  ): void {
    const missed = next - (epoch === place.epoch ? place.next : 1)
    place.epoch = epoch
    place.next = next + orders
    if (missed > 0) this.#lost({ topic, from: origin, count: missed })
  }
}

/** Whether a number was passed already. */
function isBehind(epoch: number, next: number, place: Place): boolean {
  return epoch < place.epoch || (epoch === place.epoch && next < place.next)
}

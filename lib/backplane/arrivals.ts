import type { Loss } from './order.ts'
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

  has(topic: string): boolean {
    return this.#topics.has(topic)
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

  /** Orders have come. @returns whether any topic of theirs has not had them yet */
  arrived(origin: string, positions: readonly Numbered[], orders: number, now: number): boolean {
    let fresh = false
    for (const { topic, epoch, next, after } of positions) {
      const known = this.#topics.get(topic)
      if (!known) continue
      const place = known.from.get(origin)
      if (!place) {
        known.from.set(origin, { epoch, next: next + orders })
        // The one before came when this topic was subscribed already, and did not arrive.
        if (after !== null && now - after > known.since)
          this.#lost({ topic, from: origin, count: 1 })
      } else if (epoch < place.epoch || (epoch === place.epoch && next < place.next)) continue
      else this.#advance(topic, origin, place, epoch, next, orders)
      fresh = true
    }
    return fresh
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
      if (now - age > known.since) this.#lost({ topic, from: origin, count: 1 })
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

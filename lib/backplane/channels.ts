// Checks that a message may arrive on its topic, and carries out payloads for several topics.
import type { Arrival, Arrivals } from './arrivals.ts'
import { EVERYBODY, type Order, topicOf, topicOfInstance } from './order.ts'
import type { Message } from './wire.ts'

/** The most payloads that wait for arrivals on all of their topics. */
const MOST = 100

const NOTHING: ReadonlySet<object> = new Set()

/** The connections that an order has already reached, and the connections that it reaches now. */
export interface Served {
  readonly before: ReadonlySet<object>
  readonly now: Set<object>
}

/**
 * Returns whether a message may be published on a topic. An engine may limit a publisher to some
 * topics: messages there must not act on others.
 */
export function belongsOn(topic: string, message: Message, id: string): boolean {
  if (message.kind === 'orders') return message.positions.some((one) => one.topic === topic)
  if (topic === EVERYBODY || topic === topicOfInstance(id)) return true
  return message.kind === 'tops' && message.tops.every((one) => one.topic === topic)
}

/** Returns an order limited to the part of its target that one topic reaches. */
function onlyOn(topic: string, order: Order): Order {
  const { kind, names } = order.target
  if (kind !== 'rooms' && kind !== 'users') return order
  const target = { ...order.target, names: names.filter((name) => topicOf(kind, name) === topic) }
  return { ...order, target }
}

interface Entry {
  readonly payload: Buffer
  /** The topics that the payload has not arrived on. */
  readonly open: Set<string>
  readonly served: Set<object>
}

/** Carries out an order: `deliver` of `BackplaneHost`. */
export type Deliver = (
  order: Order,
  from: string,
  served: Served | null,
  age: number | null,
) => void

type Orders = Extract<Message, { kind: 'orders' }>

/**
 * Carries out orders that arrive. A payload for several topics arrives once on each. Each arrival
 * reaches the members of its own topic, except members that an earlier arrival has reached.
 */
export class OrderIntake {
  readonly #arrivals: Arrivals
  readonly #deliver: Deliver
  /** The entries by checksum. */
  #young = new Map<number, Entry>()
  #old = new Map<number, Entry>()

  constructor(arrivals: Arrivals, deliver: Deliver) {
    this.#arrivals = arrivals
    this.#deliver = deliver
  }

  /**
   * Carries out the orders of a payload.
   *
   * @param topic the topic that the payload arrived on; undefined when the engine does not pass it,
   * and then for all topics
   */
  arrived(
    origin: string,
    { positions, orders, ...waited }: Orders,
    now: number,
    payload: Buffer,
    topic: string | undefined,
  ): void {
    const age = waited.age ?? null
    const act = (arrival: Arrival, served: Served | null, of: (order: Order) => Order): void => {
      for (const order of orders) {
        // Presence is state: it also applies to members that joined later.
        if (arrival === 'new' || order.type === 'presence') {
          this.#deliver(of(order), origin, served, age)
        }
      }
    }
    if (topic === undefined || positions.length === 1) {
      const arrival = this.#arrivals.arrived(origin, positions, orders.length, now, age)
      if (arrival !== 'known') act(arrival, null, (order) => order)
      return
    }
    const here = positions.filter((one) => one.topic === topic)
    // A payload that is published again may have reached its members through another of its topics.
    const evidence = age !== null && !this.#find(payload) ? positions : here
    const arrival = this.#arrivals.arrived(origin, here, orders.length, now, age, evidence)
    if (arrival === 'known') return
    const others = positions.filter((one) => one.topic !== topic)
    if (arrival === 'new') this.#arrivals.reached(origin, others)
    const topics = positions.map((one) => one.topic)
    this.#share(payload, topics, topic, (served) => {
      act(arrival, served, (order) => onlyOn(topic, order))
    })
  }

  #share(
    payload: Buffer,
    topics: readonly string[],
    topic: string,
    act: (served: Served) => void,
  ): void {
    const checksum = payload.readUInt32BE(4)
    const entry = this.#find(payload)
    const now = new Set<object>()
    act({ before: entry?.served ?? NOTHING, now })
    if (entry) {
      entry.open.delete(topic)
      for (const one of now) entry.served.add(one)
      if (entry.open.size === 0) {
        this.#young.delete(checksum)
        this.#old.delete(checksum)
      }
      return
    }
    const open = new Set(topics.filter((one) => one !== topic && this.#arrivals.has(one)))
    if (open.size === 0) return
    if (this.#young.size >= MOST) this.expire()
    this.#young.set(checksum, { payload, open, served: now })
  }

  #find(payload: Buffer): Entry | null {
    const checksum = payload.readUInt32BE(4)
    const found = this.#young.get(checksum) ?? this.#old.get(checksum)
    // The checksum alone could be forged by a publisher that may use one of the topics.
    return found?.payload.equals(payload) ? found : null
  }

  /** Forgets the entries of the call before: their remaining arrivals are lost. */
  expire(): void {
    this.#old = this.#young
    this.#young = new Map()
  }
}

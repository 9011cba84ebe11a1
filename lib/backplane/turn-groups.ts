// Groups the orders of one turn by their topics: one payload each.
import { type Order, type PublishResult, topicsOfOrder } from './order.ts'

/** A group above this size, in bytes, accepts no more orders. */
const LARGEST = 256 * 1024
/** The approximate size of an order beyond its frame and names, in bytes. */
const OVERHEAD = 32

/** The result of a publish. The promise is created on first access. */
export class Publication {
  #result: PublishResult | null = null
  #promise: Promise<PublishResult> | null = null
  #resolve: ((result: PublishResult) => void) | null = null

  get result(): Promise<PublishResult> {
    this.#promise ??= this.#result
      ? Promise.resolve(this.#result)
      : new Promise((resolve) => {
          this.#resolve = resolve
        })
    return this.#promise
  }

  /** Settles the result; later calls do nothing. */
  settle(result: PublishResult): void {
    if (this.#result) return
    this.#result = result
    this.#resolve?.(result)
  }
}

/** The orders of one turn for the same topics, published together. */
export interface Group {
  readonly topics: readonly string[]
  readonly orders: Order[]
  readonly publication: Publication
  /** The approximate size in bytes. */
  bytes: number
  /** Whether all orders of the group are volatile. */
  volatile: boolean
}

/** Groups the orders of one turn of the event loop by their topics. */
export class TurnGroups {
  #groups: Group[] = []
  /**
   * The latest group of each topic: a later order of the topic must not go into an earlier group.
   */
  readonly #last = new Map<string, Group>()

  get isEmpty(): boolean {
    return this.#groups.length === 0
  }

  add(order: Order): Publication {
    const { names } = order.target
    const topics = topicsOfOrder(order)
    const volatile = order.type === 'send' && order.volatile
    let group = this.#open(topics)
    if (!group || group.bytes > LARGEST) {
      group = { topics, orders: [], publication: new Publication(), bytes: 0, volatile }
      this.#groups.push(group)
      for (const topic of topics) this.#last.set(topic, group)
    }
    group.orders.push(order)
    group.volatile &&= volatile
    group.bytes += OVERHEAD * (1 + names.length) + lengthOf(order)
    // An order that changes membership keeps its place between all sends.
    if (order.type !== 'send' && order.type !== 'presence') this.#last.clear()
    return group.publication
  }

  /** Removes and returns all groups, in the order of publishing. */
  take(): Group[] {
    const groups = this.#groups
    this.#groups = []
    this.#last.clear()
    return groups
  }

  /** Returns the group that accepts an order for these topics. */
  #open(topics: readonly string[]): Group | undefined {
    const group = this.#last.get(topics[0] ?? '')
    if (!group || group.topics.length !== topics.length) return undefined
    if (topics.length === 1) return group
    for (const [i, topic] of topics.entries()) {
      if (group.topics[i] !== topic || this.#last.get(topic) !== group) return undefined
    }
    return group
  }
}

function lengthOf(order: Order): number {
  if (order.type === 'send') return order.frame.length
  return order.type === 'presence' ? order.text.length : 0
}

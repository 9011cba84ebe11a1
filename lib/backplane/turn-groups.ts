import { type Order, type PublishResult, topicsOf } from './order.ts'

/** A group above this many bytes takes no more. */
const LARGEST = 256 * 1024
/** What an order takes beyond its frame and names, about. */
const OVERHEAD = 32

/** What became of what was published; the promise is made when somebody asks. */
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

  /** The first verdict stands. */
  settle(result: PublishResult): void {
    if (this.#result) return
    this.#result = result
    this.#resolve?.(result)
  }
}

/** Orders of one turn for the same topics: they are published together. */
export interface Group {
  readonly topics: readonly string[]
  readonly orders: Order[]
  readonly publication: Publication
  /** About so many. */
  bytes: number
  /** All of them may be dropped. */
  volatile: boolean
}

/** Gathers the orders of one turn of the event loop by their topics. */
export class TurnGroups {
  #groups: Group[] = []
  /** The group that a topic was last in: nothing may be put before it. */
  readonly #last = new Map<string, Group>()

  get isEmpty(): boolean {
    return this.#groups.length === 0
  }

  add(order: Order): Publication {
    const { names } = order.target
    const topics = topicsOf(order.target)
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
    // What changes who is in a room keeps its place between all sends.
    if (order.type !== 'send' && order.type !== 'presence') this.#last.clear()
    return group.publication
  }

  /** Everything, in the order of publishing. */
  take(): Group[] {
    const groups = this.#groups
    this.#groups = []
    this.#last.clear()
    return groups
  }

  /** The group that an order for these topics can be put behind. */
  #open(topics: readonly string[]): Group | undefined {
    const group = this.#last.get(topics[0] as string)
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

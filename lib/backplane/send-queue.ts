// The queue of payloads that the engine has not acknowledged, and the results of publishes.
import { performance } from 'node:perf_hooks'
import { KoaWsError, toError } from '../errors.ts'
import { type AdapterLink, type MaxQueued, PayloadRefused } from './adapter.ts'
import { reasonOf } from './health.ts'
import type { Publication } from './turn-groups.ts'

/** A payload that the engine has not acknowledged. */
interface Item {
  readonly topics: readonly string[]
  readonly payload: Buffer
  /** When it was added. Monotonic, in milliseconds. */
  readonly at: number
  /** The number of orders in the payload. */
  readonly orders: number
  readonly publication: Pick<Publication, 'settle'> | null
}

/** What a queue tells. */
export interface QueueEvents {
  /** Reports orders that no other instance will receive. */
  failed(orders: number, why: string): void
  /** Reports that the engine has taken orders, in so many bytes, that were added at this time. */
  taken(orders: number, bytes: number, at: number): void
  /** Reports a publish with an unknown outcome. */
  unsure(reason: Error): void
  /** Reports that the engine refused a publish on these topics. */
  refused(topics: readonly string[], reason: Error): void
}

/**
 * Queues payloads that the engine has not acknowledged, in order. After an outage, all of them are
 * published again, since the engine may have lost any of them.
 */
export class SendQueue {
  readonly #link: Pick<AdapterLink, 'publish'>
  readonly #events: QueueEvents
  readonly #aged: (payload: Buffer, age: number) => Buffer
  readonly #mostMessages: number
  readonly #mostBytes: number
  /** The payloads in order; acknowledged ones are removed. */
  readonly #items = new Set<Item>()
  #messages = 0
  #bytes = 0
  /** The number of the present connection to the engine; 0 while the engine is unreachable. */
  #connection = 0
  #connections = 0
  #cuts = 0
  #idle: (() => void) | null = null

  /** @param aged returns the payload with the time that it waited, in milliseconds */
  constructor(
    link: Pick<AdapterLink, 'publish'>,
    { messages, bytes }: MaxQueued = {},
    events: QueueEvents,
    aged: (payload: Buffer, age: number) => Buffer = (payload) => payload,
  ) {
    this.#link = link
    this.#events = events
    this.#aged = aged
    this.#mostMessages = messages ?? 100_000
    this.#mostBytes = bytes ?? 16 * 1024 * 1024
  }

  /** The number of queued orders, each of which has its own result. */
  get messages(): number {
    return this.#messages
  }

  get bytes(): number {
    return this.#bytes
  }

  /**
   * Publishes a payload, or queues it.
   *
   * @param publication receives the result; null when no caller waits for it
   */
  add(
    topics: readonly string[],
    payload: Buffer,
    orders: number,
    publication: Pick<Publication, 'settle'> | null,
    volatile = false,
  ): void {
    const away = this.#connection === 0
    const full =
      this.#messages >= this.#mostMessages || this.#bytes + payload.length > this.#mostBytes
    if (full || (away && volatile)) {
      publication?.settle('failed')
      this.#events.failed(
        orders,
        full ? 'the queue of the backplane is full ("maxQueued")' : 'volatile',
      )
      return
    }
    const at = performance.now()
    const item: Item = { topics, payload, at, orders, publication }
    this.#items.add(item)
    this.#messages += orders
    this.#bytes += payload.length
    if (away) publication?.settle('queued')
    else this.#give(item, payload)
  }

  /**
   * Publishes messages about the instance itself: at once, ahead of the queue, and never again.
   * Resolves to whether the engine accepted the payload. Never rejects.
   */
  async urgent(topics: readonly string[], payload: Buffer): Promise<boolean> {
    const cuts = this.#cuts
    try {
      await this.#link.publish(topics, payload)
      return true
    } catch (error) {
      // A late rejection is not about the engine's new connection.
      if (cuts === this.#cuts) {
        if (isRefusal(error)) this.#refused(topics, error)
        else this.#events.unsure(toError(error))
      }
      return false
    }
  }

  /** Publishes the queue: the engine is reachable, and the other instances listen. */
  up(): void {
    this.#connection = ++this.#connections
    for (const item of this.#items) {
      if (this.#connection === 0) return
      this.#give(item, this.#aged(item.payload, performance.now() - item.at))
    }
  }

  down(): void {
    this.#connection = 0
    this.#cuts++
    for (const { publication } of this.#items) publication?.settle('queued')
  }

  /** Resolves when the queue is empty. */
  drained(): Promise<void> {
    if (this.#items.size === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#idle = resolve
    })
  }

  /** Discards the queue. @returns the number of orders in it */
  clear(): number {
    let orders = 0
    for (const item of this.#items) {
      orders += item.orders
      item.publication?.settle('failed')
    }
    this.#items.clear()
    this.#messages = 0
    this.#bytes = 0
    this.#connection = 0
    return orders
  }

  #give(item: Item, payload: Buffer): void {
    const connection = this.#connection
    this.#link.publish(item.topics, payload).then(
      () => this.#done(item, 'sent'),
      (error: unknown) => {
        if (isRefusal(error)) {
          if (this.#done(item, 'failed')) this.#events.failed(item.orders, reasonOf(error))
          if (connection === this.#connection) this.#refused(item.topics, error)
        } else if (connection === this.#connection) {
          this.down()
          this.#events.unsure(toError(error))
        }
      },
    )
  }

  #refused(topics: readonly string[], error: Error): void {
    if (!(error instanceof PayloadRefused)) this.#events.refused(topics, error)
  }

  #done(item: Item, result: 'sent' | 'failed'): boolean {
    if (!this.#items.delete(item)) return false
    this.#messages -= item.orders
    this.#bytes -= item.payload.length
    item.publication?.settle(result)
    if (result === 'sent') this.#events.taken(item.orders, item.payload.length, item.at)
    if (this.#items.size === 0) {
      this.#idle?.()
      this.#idle = null
    }
    return true
  }
}

/** Returns whether the engine refuses something for good. */
function isRefusal(error: unknown): error is KoaWsError {
  return error instanceof KoaWsError && error.code === 'ERR_KOAWS_BACKPLANE_REFUSED'
}

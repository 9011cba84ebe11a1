import { messageOf } from '../debug.ts'
import { KoaWsError } from '../errors.ts'
import type { AdapterLink, MaxQueued } from './adapter.ts'
import type { Publication } from './turn-groups.ts'

/** A payload on its way. */
interface Item {
  readonly topics: readonly string[]
  readonly payload: Buffer
  /** How many orders it holds. */
  readonly orders: number
  readonly publication: Publication | null
}

/** What a queue tells. */
export interface QueueHost {
  /** Orders that no other instance will get. */
  failed(orders: number, why: string): void
  /** The engine took a payload neither clearly nor clearly not. */
  unsure(reason: Error): void
  /** The engine refused what this instance said of itself. */
  refused(): void
}

/**
 * Payloads that the engine has not acknowledged, in order. While it is away they wait; when it is back
 * all of them are published again, since nobody knows which it had.
 */
export class SendQueue {
  readonly #link: AdapterLink
  readonly #host: QueueHost
  readonly #mostMessages: number
  readonly #mostBytes: number
  /** In order; what is acknowledged is taken out. */
  readonly #items = new Set<Item>()
  #bytes = 0
  /** Counts the times that the engine came up; 0 while it is away. */
  #connection = 0
  #connections = 0
  #cuts = 0
  #idle: (() => void) | null = null

  constructor(link: AdapterLink, { messages, bytes }: MaxQueued = {}, host: QueueHost) {
    this.#link = link
    this.#host = host
    this.#mostMessages = messages ?? 10_000
    this.#mostBytes = bytes ?? 16 * 1024 * 1024
  }

  get messages(): number {
    return this.#items.size
  }

  get bytes(): number {
    return this.#bytes
  }

  /** @param publication null for what nobody waits for */
  add(
    topics: readonly string[],
    payload: Buffer,
    orders: number,
    publication: Publication | null,
    volatile = false,
  ): void {
    const away = this.#connection === 0
    const full =
      this.#items.size >= this.#mostMessages || this.#bytes + payload.length > this.#mostBytes
    if (full || (away && volatile)) {
      publication?.settle('failed')
      this.#host.failed(orders, full ? 'too much waits for the backplane' : 'volatile')
      return
    }
    const item: Item = { topics, payload, orders, publication }
    this.#items.add(item)
    this.#bytes += payload.length
    if (away) publication?.settle('queued')
    else this.#give(item)
  }

  /** What instances say of themselves: at once, past all that waits, and never again. Never rejects. */
  async urgent(topics: readonly string[], payload: Buffer): Promise<void> {
    const cuts = this.#cuts
    try {
      await this.#link.publish(topics, payload)
    } catch (error) {
      // What is rejected late says nothing of an engine that is back.
      if (isRefusal(error)) this.#host.refused()
      else if (cuts === this.#cuts) this.#host.unsure(error as Error)
    }
  }

  /** The engine is there, and so are those who listen: what waits goes first. */
  up(): void {
    this.#connection = ++this.#connections
    for (const item of this.#items) {
      if (this.#connection === 0) return
      this.#give(item)
    }
  }

  down(): void {
    this.#connection = 0
    this.#cuts++
    for (const { publication } of this.#items) publication?.settle('queued')
  }

  /** Resolves when nothing waits. */
  drained(): Promise<void> {
    if (this.#items.size === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#idle = resolve
    })
  }

  /** Give up what waits. @returns how many orders it holds */
  clear(): number {
    let orders = 0
    for (const item of this.#items) {
      orders += item.orders
      item.publication?.settle('failed')
    }
    this.#items.clear()
    this.#bytes = 0
    this.#connection = 0
    return orders
  }

  #give(item: Item): void {
    const connection = this.#connection
    this.#link.publish(item.topics, item.payload).then(
      () => this.#done(item, 'sent'),
      (error: unknown) => {
        if (isRefusal(error)) {
          if (this.#done(item, 'failed')) this.#host.failed(item.orders, messageOf(error))
        } else if (connection === this.#connection) {
          this.down()
          this.#host.unsure(error as Error)
        }
      },
    )
  }

  #done(item: Item, result: 'sent' | 'failed'): boolean {
    if (!this.#items.delete(item)) return false
    this.#bytes -= item.payload.length
    item.publication?.settle(result)
    if (this.#items.size === 0) {
      this.#idle?.()
      this.#idle = null
    }
    return true
  }
}

function isRefusal(error: unknown): boolean {
  return error instanceof KoaWsError && error.code === 'ERR_KOAWS_BACKPLANE_REFUSED'
}

// The sending side: orders, notes, and the messages of the backplane itself.

import { performance } from 'node:perf_hooks'
import { flushAtEndOfTurn } from '../connection/turn.ts'
import { channels } from '../diagnostics.ts'
import type { AdapterLink, MaxQueued } from './adapter.ts'
import { type LinkHealth, reasonOf } from './health.ts'
import type { BackplaneHost } from './host.ts'
import { type Order, topicOfInstance } from './order.ts'
import type { Pulse } from './pulse.ts'
import type { Recovery } from './recovery.ts'
import { SendQueue } from './send-queue.ts'
import { type Publication, TurnGroups } from './turn-groups.ts'
import { aged, encode, type Message } from './wire.ts'

/** What the sending side works with. */
export interface SenderParts {
  readonly id: string
  readonly link: AdapterLink
  readonly maxQueued: MaxQueued | undefined
  readonly host: BackplaneHost
  readonly health: LinkHealth
  readonly pulse: Pulse
  readonly recovery: Recovery
  /** The engine took a payload neither clearly nor clearly not. */
  unsure(reason: Error): void
}

/** The sending side: orders in the order of publishing, notes, and what instances say of themselves. */
export class Sender {
  readonly queue: SendQueue
  readonly #parts: SenderParts
  readonly #groups = new TurnGroups()
  /** Topics that a publish was refused on. */
  #refused: readonly string[] | null = null
  #isReady = false
  #isClosed = false

  constructor(parts: SenderParts) {
    this.#parts = parts
    const { link, maxQueued, host, health, pulse } = parts
    const events = {
      // A note holds no orders, and counts as one.
      failed: (orders: number, why: string) => host.failed(Math.max(1, orders), why),
      taken: (orders: number, size: number, at: number) => {
        if (!channels.published.hasSubscribers) return
        const duration = performance.now() - at
        channels.published.publish({ instance: parts.id, orders, size, duration })
      },
      unsure: (reason: Error) => parts.unsure(reason),
      refused: (topics: readonly string[], reason: Error) => {
        pulse.echoed(performance.now()) // what refuses is alive
        this.#refused = topics
        health.fault('publish', reasonOf(reason))
      },
    }
    this.queue = new SendQueue(link, maxQueued, events, aged)
  }

  /** The engine is there, or is away. */
  turn(isReady: boolean): void {
    this.#isReady = isReady
    this.#refused = null
  }

  publish(order: Order): Publication {
    if (this.#groups.isEmpty) flushAtEndOfTurn(this)
    return this.#groups.add(order)
  }

  /** The turn has ended. */
  flush(): void {
    const { id, host, recovery } = this.#parts
    const now = performance.now()
    for (const { topics, orders, publication, volatile } of this.#groups.take()) {
      if (this.#isClosed) {
        publication.settle('failed')
        host.failed(orders.length, 'the hub is closed')
        continue
      }
      const positions = recovery.number(topics, orders.length, now)
      const payload = encode(id, { kind: 'orders', positions, orders })
      this.queue.add(topics, payload, orders.length, publication, volatile)
    }
  }

  note(to: string, text: string): void {
    if (this.#isClosed) return
    this.flush()
    const payload = encode(this.#parts.id, { kind: 'note', text })
    this.queue.add([topicOfInstance(to)], payload, 0, null)
  }

  /** Tells what instances tell each other of themselves: of no use later. Resolves to whether it was taken. */
  async tell(topics: readonly string[], message: Message): Promise<boolean> {
    return this.#isReady && this.queue.urgent(topics, encode(this.#parts.id, message))
  }

  /** Asks whether publishing on topics is still refused, with a message that says nothing. */
  async probe(): Promise<void> {
    const topics = this.#refused
    if (topics === null) return
    const nothing: Message = { kind: 'tops', tops: [] }
    if (!(await this.tell(topics, nothing)) || topics !== this.#refused) return
    this.#refused = null
    this.#parts.health.fault('publish', null)
  }

  /** Gives up what waits. @returns how many orders it holds */
  close(): number {
    this.#isClosed = true
    return this.queue.clear()
  }
}

// Samples the hub once a second, and keeps a minute of it.

import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks'
import type { Hub } from '../index.ts'
import { listen } from './listening.ts'
import type { Members } from './members.ts'
import { Latest } from './ring.ts'

/** One second of an instance. Counts are of this second. */
export interface Sample {
  /** The number of the sample, from 1. */
  readonly n: number
  /** In epoch milliseconds. */
  readonly at: number
  readonly connections: number
  readonly received: number
  readonly sent: number
  /** Bytes of messages, without compression and framing. */
  readonly bytesIn: number
  readonly bytesOut: number
  readonly drops: number
  /** The longest event-loop delay, in milliseconds. */
  readonly delay: number
}

const SAMPLES = 60
const SECOND = 1_000
/** How often the delay of the event loop is measured, in milliseconds. */
const RESOLUTION = 50

export class Sampler {
  readonly #hub: Hub
  readonly #members: Members
  readonly #samples = new Latest<Sample>(SAMPLES)
  readonly #delay: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION })
  #count = { received: 0, sent: 0, bytesIn: 0, bytesOut: 0, drops: 0 }
  #n = 0
  #end: () => void = () => {}

  constructor(hub: Hub, members: Members) {
    this.#hub = hub
    this.#members = members
  }

  start(): void {
    const { id } = this.#hub.status()
    const unlisten = listen({
      message: ({ connection, size }) => {
        if (!this.#members.counts(connection)) return
        this.#count.received++
        this.#count.bytesIn += size
      },
      sent: ({ instance, connection, size, count }) => {
        if (connection === undefined ? instance !== id : !this.#members.counts(connection)) return
        this.#count.sent += count
        this.#count.bytesOut += size * count
      },
      drop: ({ instance, count }) => {
        if (instance === id) this.#count.drops += count
      },
    })
    this.#delay.enable()
    const timer = setInterval(() => this.#take(), SECOND).unref()
    this.#end = () => {
      unlisten()
      clearInterval(timer)
      this.#delay.disable()
    }
  }

  stop(): void {
    this.#end()
  }

  /** Returns the samples after a number, oldest first. */
  since(n: number): Sample[] {
    return this.#samples.all.filter((sample) => sample.n > n)
  }

  #take(): void {
    const longest = this.#delay.max / 1e6 - RESOLUTION
    this.#delay.reset()
    this.#samples.add({
      n: ++this.#n,
      at: Date.now(),
      connections: this.#hub.localConnections.size,
      ...this.#count,
      delay: Math.max(0, Math.round(longest * 10) / 10),
    })
    this.#count = { received: 0, sent: 0, bytesIn: 0, bytesOut: 0, drops: 0 }
  }
}

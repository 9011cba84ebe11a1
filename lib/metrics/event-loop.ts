// Measures the delay and the use of the event loop between two readings.

import { type IntervalHistogram, monitorEventLoopDelay, performance } from 'node:perf_hooks'

/** The names are those of the instruments `nodejs.eventloop.*`. Seconds, except `utilization`. */
export interface LoopReading {
  readonly 'delay.mean': number
  readonly 'delay.p50': number
  readonly 'delay.p90': number
  readonly 'delay.p99': number
  readonly 'delay.max': number
  readonly utilization: number
}

const NANOSECONDS = 1e9
/** How often Node takes the time, in milliseconds. */
const RESOLUTION = 20

/** The meter of one exporter: each reading begins a new interval. */
export class EventLoop {
  readonly #delays: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION })
  #used = performance.eventLoopUtilization()

  constructor() {
    this.#delays.enable()
  }

  /** Returns the figures since the last reading, and begins the next interval. */
  read(): LoopReading {
    const delays = this.#delays
    const used = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(used, this.#used)
    this.#used = used
    const at = (nanoseconds: number): number =>
      Number.isFinite(nanoseconds) ? nanoseconds / NANOSECONDS : 0
    const reading = {
      'delay.mean': at(delays.mean),
      'delay.p50': at(delays.percentile(50)),
      'delay.p90': at(delays.percentile(90)),
      'delay.p99': at(delays.percentile(99)),
      'delay.max': at(delays.max),
      utilization: Number.isFinite(utilization) ? utilization : 0,
    }
    delays.reset()
    return reading
  }

  stop(): void {
    this.#delays.disable()
  }
}

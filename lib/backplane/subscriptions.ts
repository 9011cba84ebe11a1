// The topics that this instance subscribes to.

import { performance } from 'node:perf_hooks'
import type { AdapterLink } from './adapter.ts'
import type { Recovery } from './recovery.ts'

/** The number of heartbeats to wait for the first connection to an engine that reports no failure. */
const PATIENCE = 5

/** The topics that this instance subscribes to, and the callers that wait for that. */
export class Subscriptions {
  readonly #link: AdapterLink
  readonly #recovery: Recovery
  readonly #waiting = new Set<() => void>()
  /** Whether the first attempt to reach the engine is still under way. */
  #isStarting = true
  /** When waiting for it ends: monotonic. */
  readonly #patientUntil: number

  /** @param heartbeat the interval of the beats, in milliseconds */
  constructor(link: AdapterLink, recovery: Recovery, heartbeat: number) {
    this.#link = link
    this.#recovery = recovery
    this.#patientUntil = performance.now() + PATIENCE * heartbeat
  }

  /**
   * Subscribes to a topic.
   *
   * @param isUp whether the engine is reachable
   * @returns a promise that resolves when messages on the topic arrive, or as soon as the engine is
   * unreachable: the subscription then begins with the next connection. It never rejects
   */
  add(topic: string, isUp: boolean): Promise<void> {
    const confirm = this.#recovery.add(topic)
    return new Promise((resolve) => {
      const settle = (): void => {
        this.#waiting.delete(settle)
        resolve()
      }
      this.#waiting.add(settle)
      this.#link.subscribe([topic]).then(
        () => {
          confirm()
          settle()
        },
        () => {
          if (!this.#isStarting) settle()
        },
      )
      if (!isUp && !this.#isStarting) settle()
    })
  }

  /** Resolves all waiting promises after waiting for the first connection long enough. */
  expire(now: number): void {
    if (this.#isStarting && now > this.#patientUntil) this.settle()
  }

  /** Resolves all waiting promises: every topic is subscribed, or the engine is unreachable. */
  settle(): void {
    this.#isStarting = false
    for (const settle of [...this.#waiting]) settle()
  }
}

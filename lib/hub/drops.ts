// Counts rejections, dropped messages and pauses for `status().drops` and the channel `koaws:drop`.

import { channels } from '../diagnostics.ts'

/** Counts rejections, dropped messages and pauses under the name of the reason. */
export class Drops {
  readonly #counts = new Map<string, number>()
  readonly instance: string

  constructor(instance: string) {
    this.instance = instance
  }

  add(reason: string, many = 1, connection?: unknown): void {
    this.#counts.set(reason, (this.#counts.get(reason) ?? 0) + many)
    if (!channels.drop.hasSubscribers) return
    channels.drop.publish({ reason, count: many, connection, instance: this.instance })
  }

  /** Returns a copy for `status()`. */
  snapshot(): Record<string, number> {
    return Object.fromEntries(this.#counts)
  }
}

import { channels } from '../diagnostics.ts'

/** Counts of what was refused or dropped, each under the name of its reason. */
export class Drops {
  readonly #counts = new Map<string, number>()

  add(reason: string, many = 1, connection?: unknown): void {
    this.#counts.set(reason, (this.#counts.get(reason) ?? 0) + many)
    if (channels.drop.hasSubscribers) channels.drop.publish({ reason, count: many, connection })
  }

  /** A copy, for `status()`. */
  snapshot(): Record<string, number> {
    return Object.fromEntries(this.#counts)
  }
}

/** Counts of what was refused or dropped, each under the name of its reason. */
export class Drops {
  readonly #counts = new Map<string, number>()

  add(name: string, many = 1): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + many)
  }

  /** A copy, for `status()`. */
  snapshot(): Record<string, number> {
    return Object.fromEntries(this.#counts)
  }
}

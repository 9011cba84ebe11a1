// Keeps the number of different values of an attribute small.

import { OTHER } from './family.ts'

/** The first values that arrive are kept; all later ones become `_OTHER`. */
export class Bounded {
  /** How often a value became `_OTHER`. */
  overflow = 0
  readonly #most: number
  readonly #known = new Set<string>()

  constructor(most: number) {
    this.#most = most
  }

  /** Returns the value, or `_OTHER`. */
  of(value: string): string {
    if (this.#known.has(value)) return value
    if (this.#known.size < this.#most) {
      this.#known.add(value)
      return value
    }
    this.overflow++
    return OTHER
  }

  /** Returns whether the value is one of the first. Does not make it one. */
  knows(value: string): boolean {
    return this.#known.has(value)
  }
}

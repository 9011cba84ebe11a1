// Compares the number of present instances with the expected number.

/** Reports when fewer instances are present than expected. */
export class Headcount {
  readonly #expected: number
  readonly #patience: number
  readonly #tell: (there: number | null) => void
  #there = 0
  #timer: NodeJS.Timeout | null = null
  /** The last number reported; null while all instances are present. */
  #told: number | null = null

  /**
   * @param patience how long fewer instances may be present, in milliseconds
   * @param tell receives the number of present instances when there are too few, and null when all
   * are present again
   */
  constructor(expected: number, patience: number, tell: (there: number | null) => void) {
    this.#expected = expected
    this.#patience = patience
    this.#tell = tell
  }

  /**
   * Records the number of present instances.
   *
   * @param there all instances, including this one
   */
  count(there: number): void {
    this.#there = there
    if (there >= this.#expected) {
      this.stop()
      if (this.#told !== null) this.#say(null)
    } else if (this.#told !== null && there !== this.#told) this.#say(there)
    else if (this.#told === null) this.#timer ??= setTimeout(() => this.#late(), this.#patience)
    this.#timer?.unref()
  }

  /** Reports the last number again, after its receiver has forgotten it. */
  repeat(): void {
    if (this.#told !== null) this.#say(this.#told)
  }

  stop(): void {
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = null
  }

  /**
   * Reports after a turn of the event loop: if this process was blocked, it first reads from
   * instances that have arrived meanwhile.
   */
  #late(): void {
    setImmediate(() => {
      if (this.#timer && this.#there < this.#expected) this.#say(this.#there)
      this.stop()
    })
  }

  #say(there: number | null): void {
    this.#told = there
    this.#tell(there)
  }
}

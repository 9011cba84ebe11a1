// `Steadiness`: whether the clock of the machine has run evenly.

/** The largest difference that is no jump, in milliseconds. */
const TOLERANCE = 10_000

/**
 * Tells whether the clock of the machine has run evenly. Records expire by this clock, which all
 * processes share: after a jump forward they are gone too early.
 */
export class Steadiness {
  #offset = offset()
  /** When a jump was noticed: monotonic. */
  #jumped = Number.NEGATIVE_INFINITY

  /** Returns whether no jump was noticed within a time, in milliseconds. */
  lasts(time: number): boolean {
    this.look()
    return performance.now() - this.#jumped >= time
  }

  /** Looks for a jump. */
  look(): void {
    const now = offset()
    if (Math.abs(now - this.#offset) > TOLERANCE) this.#jumped = performance.now()
    this.#offset = now
  }
}

/** The clock of the machine against the monotonic one of this process. */
function offset(): number {
  return Date.now() - performance.now()
}

/** The longest delay that a Node timer can wait, in milliseconds: about 24.8 days. */
const LONGEST = 2 ** 31 - 1

/**
 * Ends something at a point of wall-clock time, however far away: a delay longer than a timer can
 * hold is waited for in steps, and the clock is read again after each.
 */
export class Expiry<T> {
  readonly at: number
  readonly #expire: (target: T) => void
  readonly #target: T
  #timer: NodeJS.Timeout | undefined

  /** @param at epoch milliseconds */
  constructor(at: number, expire: (target: T) => void, target: T) {
    this.at = at
    this.#expire = expire
    this.#target = target
    this.#wait()
  }

  cancel(): void {
    clearTimeout(this.#timer)
  }

  /** A step is over: end, or wait for the next. */
  step(): void {
    if (Date.now() >= this.at) this.#expire(this.#target)
    else this.#wait()
  }

  #wait(): void {
    const delay = Math.min(Math.max(this.at - Date.now(), 0), LONGEST)
    this.#timer = setTimeout(stepExpiry, delay, this)
    this.#timer.unref()
  }
}

function stepExpiry(expiry: { step(): void }): void {
  expiry.step()
}

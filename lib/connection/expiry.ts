// Reads `expiresAt`, and ends connections at that time.

import { describe } from '../validate.ts'
import { startSharedTimer } from './shared-timer.ts'

/** The longest delay that a Node timer can wait, in milliseconds: about 24.8 days. */
const LONGEST = 2 ** 31 - 1
/** What expires within the same minute of the clock waits with one timer. */
const MINUTE = 60_000

/** Something that expires. */
export interface Expiring {
  /** The time in epoch milliseconds. It does not change while the object waits. */
  readonly expiresAt: number | null
  expired(): void
}

/** What expires later than in a minute, by the minute of the clock. */
const minutes = new Map<number, Minute>()
/** What expires within a minute, each with a timer that is exact. */
const soon = new Map<Expiring, NodeJS.Timeout>()

/**
 * Calls `expired()` at `expiresAt`, a time of the wall clock, however far away. Most connections end
 * long before, so a timer for each would be memory without a use: until its last minute, a waiting
 * one is an entry in a set.
 */
export function awaitExpiry(one: Expiring): void {
  const at = one.expiresAt
  if (at === null) return
  const delay = at - Date.now()
  if (delay > MINUTE) minuteOf(at).add(one)
  else soon.set(one, startSharedTimer(expire, Math.max(delay, 0), one))
}

/** Stops waiting. Call it before `expiresAt` changes. */
export function forgetExpiry(one: Expiring): void {
  const at = one.expiresAt
  if (at === null) return
  minutes.get(Math.floor(at / MINUTE))?.delete(one)
  clearTimeout(soon.get(one))
  soon.delete(one)
}

/** Its time has come by the timer: end it, or wait on when the clock was set back. */
function expire(one: Expiring): void {
  soon.delete(one)
  if (Date.now() >= (one.expiresAt as number)) one.expired()
  else awaitExpiry(one)
}

function minuteOf(at: number): Minute {
  const number = Math.floor(at / MINUTE)
  let minute = minutes.get(number)
  if (!minute) {
    minute = new Minute(number)
    minutes.set(number, minute)
  }
  return minute
}

/** What expires within one minute of the clock, until that minute begins. */
class Minute {
  readonly #number: number
  readonly #waiting = new Set<Expiring>()
  #timer: NodeJS.Timeout | undefined

  constructor(number: number) {
    this.#number = number
    this.wait()
  }

  add(one: Expiring): void {
    this.#waiting.add(one)
  }

  delete(one: Expiring): void {
    if (this.#waiting.delete(one) && this.#waiting.size === 0) this.#end()
  }

  /** Waits for its beginning, in steps that a timer can hold; the clock is read again after each. */
  wait(): void {
    const delay = this.#number * MINUTE - Date.now()
    if (delay > 0) {
      this.#timer = startSharedTimer<Minute>(waitOn, Math.min(delay, LONGEST), this)
      return
    }
    this.#end()
    for (const one of this.#waiting) awaitExpiry(one)
  }

  #end(): void {
    clearTimeout(this.#timer)
    minutes.delete(this.#number)
  }
}

function waitOn(minute: Minute): void {
  minute.wait()
}

/**
 * Reads the value of `expiresAt`, as epoch milliseconds; null means never.
 *
 * @throws TypeError for any other value, and for a number that looks like seconds
 */
export function epochMilliseconds(value: Date | number | null): number | null {
  if (value === null) return null
  const at = value instanceof Date ? value.getTime() : value
  if (typeof at !== 'number' || !Number.isFinite(at)) {
    throw new TypeError(
      `expiresAt must be a valid Date, a number of epoch milliseconds, or null for never, not ${describe(value)}.`,
    )
  }
  if (at < 1e11) {
    throw new TypeError(
      `expiresAt is ${at}: that is in 1973 or before. Are these seconds? Multiply by 1000.`,
    )
  }
  return Math.floor(at)
}

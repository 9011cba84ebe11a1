import type { ConnectionRules } from './rules.ts'

type FloodRules = Exclude<ConnectionRules['flood'], false>

/** What a flood leads to, for one connection `C`. */
export interface FloodHost<C> {
  /** Stop reading from the client. */
  holdBack(connection: C): void
  goOn(connection: C): void
  /** It has gone on for longer than the rules allow. */
  tooMuch(connection: C): void
}

/** The clock is read once for so many messages, which is how exact the limit is. */
const EVERY = 32

/**
 * What one client may send: so many messages in each window of time. Above that reading stops until
 * the window is over; what had been read already still arrives, and counts for the windows to come.
 */
export class Flood<C> {
  readonly #rules: FloodRules
  readonly #connection: C
  readonly #host: FloodHost<C>
  #count = 0
  #windowBegan: number = performance.now()
  #timer: NodeJS.Timeout | undefined
  #releasedAt: number = -Infinity
  /** Since when it has been held back without a window of rest. */
  #since = 0

  constructor(rules: FloodRules, connection: C, host: FloodHost<C>) {
    this.#rules = rules
    this.#connection = connection
    this.#host = host
  }

  /** One more message, ping or pong. */
  arrived(): void {
    this.#count++
    if (this.#timer || (this.#count <= this.#rules.messages && this.#count % EVERY !== 0)) return
    const now = performance.now()
    if (!this.#exceeded(now)) return
    if (now - this.#releasedAt > this.#rules.per) this.#since = now
    this.#host.holdBack(this.#connection)
    this.#wait(now)
  }

  /** A wait is over: go on, or wait again for what had been read before. */
  step(): void {
    const now = performance.now()
    this.#timer = undefined
    if (this.#exceeded(now)) {
      this.#wait(now)
      return
    }
    this.#releasedAt = now
    this.#host.goOn(this.#connection)
  }

  dispose(): void {
    clearTimeout(this.#timer)
  }

  /** Forget the windows that are over, and say whether this one is full. */
  #exceeded(now: number): boolean {
    const { messages, per } = this.#rules
    const windows = Math.floor((now - this.#windowBegan) / per)
    if (windows > 0) {
      this.#windowBegan += windows * per
      this.#count = Math.max(0, this.#count - windows * messages)
    }
    return this.#count > messages
  }

  #wait(now: number): void {
    const { messages, per, close } = this.#rules
    if (close !== undefined && now - this.#since >= close) {
      this.#host.tooMuch(this.#connection)
      return
    }
    const until = this.#windowBegan + (Math.ceil(this.#count / messages) - 1) * per
    this.#timer = setTimeout(stepFlood, Math.max(1, Math.ceil(until - now)), this)
    this.#timer.unref()
  }
}

function stepFlood(flood: { step(): void }): void {
  flood.step()
}

// The option `flood`: how much one client may send.

import type { ConnectionRules } from './rules.ts'

type FloodRules = Exclude<ConnectionRules['flood'], false>

/** What a flood leads to, for one connection. */
export interface FloodHost {
  /** Stop reading from the client. */
  holdBack(): void
  goOn(): void
  /** Read from it again in a later turn of the event loop. */
  yieldTurn(): void
  /** It has gone on for longer than the rules allow. */
  tooMuch(): void
}

/** The clock is read once for so many messages, which is how exact the limit is. */
const EVERY = 32

/**
 * After so many bytes of messages in one window a client waits for its turn. Node reads up to 32 times 64 KiB
 * from one socket in a turn of the event loop, and everybody else would wait for the handlers of all of it.
 */
const PER_TURN = 32 * 1024

/**
 * What one client may send: so many messages, and bytes of messages, in each window of time. Above that
 * reading stops until the window is over; what had been read already still arrives, and counts for the
 * windows to come. So a message of any size passes.
 */
export class Flood {
  readonly #rules: FloodRules
  readonly #host: FloodHost
  #count = 0
  #bytes = 0
  /** Bytes since the last turn that it has yielded. */
  #unyielded = 0
  #windowBegan: number = performance.now()
  #timer: NodeJS.Timeout | undefined
  #releasedAt: number = -Infinity
  /** Since when it has been held back without a window of rest. */
  #since = 0

  constructor(rules: FloodRules, host: FloodHost) {
    this.#rules = rules
    this.#host = host
  }

  /** One more message of so many bytes, ping or pong. */
  arrived(bytes: number): void {
    this.#count++
    this.#bytes += bytes
    this.#unyielded += bytes
    if (this.#timer) return
    const within = this.#count <= this.#rules.messages && this.#bytes <= this.#rules.bytes
    if (within && this.#unyielded < PER_TURN && this.#count % EVERY !== 0) return
    const now = performance.now()
    if (!this.#exceeded(now)) {
      if (this.#unyielded >= PER_TURN) this.#yield()
      return
    }
    if (now - this.#releasedAt > this.#rules.per) this.#since = now
    this.#host.holdBack()
    this.#wait(now)
  }

  /** A message that the server has asked for does not count after all. */
  forgive(bytes: number): void {
    this.#count = Math.max(0, this.#count - 1)
    this.#bytes = Math.max(0, this.#bytes - bytes)
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
    this.#host.goOn()
  }

  dispose(): void {
    clearTimeout(this.#timer)
  }

  #yield(): void {
    this.#unyielded = 0
    this.#host.yieldTurn()
  }

  /** Forget the windows that are over, and say whether this one is full. */
  #exceeded(now: number): boolean {
    const { messages, bytes, per } = this.#rules
    const windows = Math.floor((now - this.#windowBegan) / per)
    if (windows > 0) {
      this.#windowBegan += windows * per
      this.#count = Math.max(0, this.#count - windows * messages)
      this.#bytes = Math.max(0, this.#bytes - windows * bytes)
      this.#unyielded = 0
    }
    return this.#count > messages || this.#bytes > bytes
  }

  #wait(now: number): void {
    const { messages, bytes, per, close } = this.#rules
    if (close !== undefined && now - this.#since >= close) {
      this.#host.tooMuch()
      return
    }
    const windows = Math.ceil(Math.max(this.#count / messages, this.#bytes / bytes))
    const until = this.#windowBegan + (windows - 1) * per
    this.#timer = setTimeout(stepFlood, Math.max(1, Math.ceil(until - now)), this)
    this.#timer.unref()
  }
}

function stepFlood(flood: { step(): void }): void {
  flood.step()
}

// Ends a stream that has data to send or receive but makes no progress.
import type { Socket } from 'node:net'
import { takenOf } from '../../connection/taken.ts'

/** The number of checks without progress after which a stream counts as stalled. */
const LOOKS = 5

/** The stream that a watch checks. */
export interface Watched {
  /** Whether bytes wait for the other side. */
  readonly isSending: boolean
  /** Whether the other side has begun a record and not ended it. */
  readonly isReceiving: boolean
  stalled(): void
}

/**
 * Ends a stream that has data to send or receive but makes no progress. Progress is counted in
 * bytes, not in complete writes. It counts checks instead of time: when this process was blocked,
 * it reads its sockets before the next check.
 */
export class StallWatch {
  readonly #watched: Watched
  readonly #interval: number
  #timer: NodeJS.Timeout | null = null
  readonly #sent: Standstill
  readonly #received: Standstill

  /** @param patience how long a stream may make no progress, in milliseconds */
  constructor(socket: Socket, watched: Watched, patience: number) {
    this.#watched = watched
    this.#interval = patience / LOOKS
    // If Node does not report the bytes that the system accepted, count complete writes.
    this.#sent = new Standstill(() => takenOf(socket) ?? socket.writableLength)
    this.#received = new Standstill(() => socket.bytesRead)
  }

  /** Starts checking, when data may be waiting. */
  start(): void {
    if (this.#timer) return
    this.#sent.reset()
    this.#received.reset()
    this.#timer = setInterval(() => this.#look(), this.#interval).unref()
  }

  stop(): void {
    if (this.#timer) clearInterval(this.#timer)
    this.#timer = null
  }

  #look(): void {
    const { isSending, isReceiving } = this.#watched
    if (!isSending && !isReceiving) this.stop()
    const looks = Math.max(this.#sent.look(isSending), this.#received.look(isReceiving))
    if (looks >= LOOKS) this.#watched.stalled()
  }
}

/** Counts how often in a row a value stayed the same. */
class Standstill {
  readonly #count: () => number
  #last = 0
  #looks = 0

  constructor(count: () => number) {
    this.#count = count
  }

  reset(): void {
    this.#last = this.#count()
    this.#looks = 0
  }

  /** Returns how often in a row the value stayed the same while data were waiting. */
  look(waits: boolean): number {
    const now = this.#count()
    this.#looks = waits && now === this.#last ? this.#looks + 1 : 0
    this.#last = now
    return this.#looks
  }
}

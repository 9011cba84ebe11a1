// `StreamTimer`: the one timer of a stream.

/**
 * What a stream waits for: the client to grant credit, the client to return, or the end of the time for
 * which an answer is kept.
 */
export type Awaited = 'credit' | 'return' | 'end'

/** The timer of a stream. It runs for as long as the stream waits for the same. */
export class StreamTimer {
  readonly #delayOf: (awaited: Awaited) => number
  readonly #due: (awaited: Awaited) => void
  #awaited: Awaited | null = null
  #timer: NodeJS.Timeout | undefined

  constructor(delayOf: (awaited: Awaited) => number, due: (awaited: Awaited) => void) {
    this.#delayOf = delayOf
    this.#due = due
  }

  /** Waits for this from now on; null for nothing. A timer that runs for it goes on. */
  set(awaited: Awaited | null): void {
    if (awaited === this.#awaited) return
    this.#awaited = awaited
    clearTimeout(this.#timer)
    if (awaited === null) return
    this.#timer = setTimeout(() => {
      this.#awaited = null
      this.#due(awaited)
    }, this.#delayOf(awaited)).unref()
  }

  /** Begins anew with the next `set()`. */
  restart(): void {
    this.set(null)
  }
}

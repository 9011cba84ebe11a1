// Queues the messages of one connection for their handlers, and applies backpressure.

import { BY_HANDLERS, type Reading } from '../connection/reading.ts'

/** Reading pauses at either limit. Parsed messages take several times their bytes. */
const HIGH = { messages: 16, bytes: 64 * 1024 }
/** The limits while the server awaits an answer of the client: only reading on can deliver it. */
const HIGH_WHILE_ASKING = { messages: 1024, bytes: 1024 * 1024 }
/** Reading resumes at this many messages, and half of the bytes. */
const LOW = 4

/**
 * Queues the messages of one connection. Handlers start in the order of arrival, up to
 * `concurrency` at a time. A client that sends faster meets TCP backpressure.
 */
export class HandlerQueue<T> {
  readonly #concurrency: number
  readonly #start: (message: T) => Promise<void> | null
  readonly #reading: () => Reading
  readonly #expects: () => boolean
  readonly #waiting: { readonly message: T; readonly bytes: number }[] = []
  #bytes = 0
  #running = 0
  #held = false
  #stopped = false
  #idle: (() => void)[] | null = null

  /**
   * @param start begins with a message: a promise, which never rejects, where that is not done at once
   * @param reading gives the switch for reading from the client
   * @param expects tells whether the server waits for an answer of the client
   */
  constructor(
    concurrency: number,
    start: (message: T) => Promise<void> | null,
    reading: () => Reading,
    expects: () => boolean,
  ) {
    this.#concurrency = concurrency
    this.#start = start
    this.#reading = reading
    this.#expects = expects
  }

  /** Whether an arriving message can be handled at once. */
  get isFree(): boolean {
    return this.#running < this.#concurrency && this.#waiting.length === 0 && !this.#held
  }

  /** Records a message that was started outside of the queue; `work` is null once handled. */
  started(work: Promise<void> | null): void {
    if (work === null) return
    this.#running++
    void work.then(this.#finished)
  }

  /** @param bytes the size of the message */
  push(message: T, bytes: number): void {
    this.#waiting.push({ message, bytes })
    this.#bytes += bytes
    if (this.#stopped || !this.#isFull(this.#expects() ? HIGH_WHILE_ASKING : HIGH)) return
    this.#stopped = true
    this.#reading().stop(BY_HANDLERS)
  }

  /** Pauses the queue until the promise settles. It must never reject. */
  hold(until: Promise<void>): void {
    this.#held = true
    void until.then(() => {
      this.#held = false
      this.#pump()
    })
  }

  /** Resumes reading for a client's answer, unless the higher limit is reached. */
  readOn(): void {
    if (this.#stopped && !this.#isFull(HIGH_WHILE_ASKING)) this.#goOnReading()
  }

  #isFull({ messages, bytes }: typeof HIGH): boolean {
    return this.#waiting.length >= messages || this.#bytes >= bytes
  }

  /** Discards the waiting messages, and returns their number. */
  discard(): number {
    const dropped = this.#waiting.splice(0).length
    this.#bytes = 0
    this.#tellIdle()
    return dropped
  }

  /** Returns a promise for an empty queue without running handlers; null when it is so. */
  idle(): Promise<void> | null {
    if (this.#isIdle) return null
    return new Promise((resolve) => {
      this.#idle ??= []
      this.#idle.push(resolve)
    })
  }

  get #isIdle(): boolean {
    return this.#running === 0 && this.#waiting.length === 0 && !this.#held
  }

  readonly #finished = (): void => {
    this.#running--
    this.#pump()
  }

  #pump(): void {
    while (this.#waiting.length > 0 && this.#running < this.#concurrency && !this.#held) {
      const { message, bytes } = this.#waiting.shift() as { message: T; bytes: number }
      this.#bytes -= bytes
      this.started(this.#start(message))
    }
    if (this.#waiting.length <= LOW && this.#bytes <= HIGH.bytes / 2) this.#goOnReading()
    this.#tellIdle()
  }

  #goOnReading(): void {
    if (!this.#stopped) return
    this.#stopped = false
    this.#reading().goOn(BY_HANDLERS)
  }

  #tellIdle(): void {
    if (this.#idle === null || !this.#isIdle) return
    for (const resolve of this.#idle.splice(0)) resolve()
    this.#idle = null
  }
}

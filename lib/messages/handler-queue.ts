import { BY_HANDLERS, type Reading } from '../connection/reading.ts'

/** At either mark reading from the client stops. What was made of a message takes several times its bytes. */
const HIGH = { messages: 16, bytes: 64 * 1024 }
/** The same while the server waits for an answer of the client, which has to be read. */
const HIGH_WHILE_ASKING = { messages: 1024, bytes: 1024 * 1024 }
/** At so many messages, and half of the bytes, it goes on. */
const LOW = 4

/** What a queue needs of its conversation. */
export interface QueueHost<T> {
  /** Begin with one. A promise, which never rejects, where that is not done at once. */
  start(message: T): Promise<void> | null
  reading(): Reading
  /** Whether an answer of the client is waited for. */
  expects(): boolean
}

/**
 * The messages of one connection that wait for a handler: as many run at a time as `concurrency`
 * allows, in the order in which they came. A client that sends faster meets TCP backpressure.
 */
export class HandlerQueue<T> {
  readonly #concurrency: number
  readonly #host: QueueHost<T>
  readonly #waiting: { readonly message: T; readonly bytes: number }[] = []
  #bytes = 0
  #running = 0
  #held = false
  #stopped = false
  #idle: (() => void)[] | null = null

  constructor(concurrency: number, host: QueueHost<T>) {
    this.#concurrency = concurrency
    this.#host = host
  }

  /** Whether a message that comes now may be handled at once. */
  get isFree(): boolean {
    return this.#running < this.#concurrency && this.#waiting.length === 0 && !this.#held
  }

  /** One was started; `work` is its promise, where it is not done yet. */
  started(work: Promise<void> | null): void {
    if (work === null) return
    this.#running++
    void work.then(this.#finished)
  }

  /** @param bytes how large it was */
  push(message: T, bytes: number): void {
    this.#waiting.push({ message, bytes })
    this.#bytes += bytes
    if (this.#stopped || !this.#isFull(this.#host.expects() ? HIGH_WHILE_ASKING : HIGH)) return
    this.#stopped = true
    this.#host.reading().stop(BY_HANDLERS)
  }

  /** Start nothing until this has settled. It never rejects. */
  hold(until: Promise<void>): void {
    this.#held = true
    void until.then(() => {
      this.#held = false
      this.#pump()
    })
  }

  /** An answer of the client is waited for from now on. */
  readOn(): void {
    if (this.#stopped && !this.#isFull(HIGH_WHILE_ASKING)) this.#goOnReading()
  }

  #isFull({ messages, bytes }: typeof HIGH): boolean {
    return this.#waiting.length >= messages || this.#bytes >= bytes
  }

  /** Drop what waits; returns how many that were. */
  discard(): number {
    const dropped = this.#waiting.splice(0).length
    this.#bytes = 0
    this.#tellIdle()
    return dropped
  }

  /** A promise for the moment at which nothing runs and nothing waits; null when that is now. */
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
      this.started(this.#host.start(message))
    }
    if (this.#waiting.length <= LOW && this.#bytes <= HIGH.bytes / 2) this.#goOnReading()
    this.#tellIdle()
  }

  #goOnReading(): void {
    if (!this.#stopped) return
    this.#stopped = false
    this.#host.reading().goOn(BY_HANDLERS)
  }

  #tellIdle(): void {
    if (this.#idle === null || !this.#isIdle) return
    for (const resolve of this.#idle.splice(0)) resolve()
    this.#idle = null
  }
}

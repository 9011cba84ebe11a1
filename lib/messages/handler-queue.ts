import { BY_HANDLERS, type Reading } from '../connection/reading.ts'

/** Waiting messages at which reading from the client stops, and at which it goes on. */
const HIGH = 16
const LOW = 4
/** The first of these, while the server waits for an answer of the client: it has to be read. */
const HIGH_WHILE_ASKING = 1024

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
  #waiting: T[] = []
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

  push(message: T): void {
    this.#waiting.push(message)
    if (this.#stopped) return
    if (this.#waiting.length < (this.#host.expects() ? HIGH_WHILE_ASKING : HIGH)) return
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
    if (this.#stopped && this.#waiting.length < HIGH_WHILE_ASKING) this.#goOnReading()
  }

  /** Drop what waits; returns how many that were. */
  discard(): number {
    const dropped = this.#waiting.splice(0).length
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
      const next = this.#waiting.shift() as T
      this.started(this.#host.start(next))
    }
    if (this.#waiting.length <= LOW) this.#goOnReading()
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

// `StreamReceiver`: the items of a client, as the handler reads them.
import { streamFault } from './faults.ts'
import type { HeldBytes } from './held-bytes.ts'

/** The credit of a client's items, in bytes. */
export const WINDOW = 65_536

/** What a receiver asks of its request. */
export interface ReceiverHost {
  /** The most time without an item while the handler waits for one, in milliseconds. */
  readonly idle: number
  /** Counts the bytes that wait. */
  readonly held: HeldBytes
  /** Grants the client this number of bytes. */
  grant(bytes: number): void
  /** Tells the client to send no more. */
  stop(): void
  /** Returns the item as the schema outputs it. @throws what the schema says */
  check(data: unknown): unknown
  /** The client was silent for too long. */
  idled(): void
}

interface Waiting {
  resolve(item: { data: unknown } | null): void
  reject(error: unknown): void
}

/** The items of a client, read by one handler. The client gets credit for what the handler has taken. */
export class StreamReceiver implements AsyncIterableIterator<unknown> {
  readonly #host: ReceiverHost
  readonly #items: { readonly data: unknown; readonly size: number }[] = []
  readonly #waiting: Waiting[] = []
  /** What the client may still send, in bytes. */
  #credit = 0
  /** Bytes that the handler has taken since the last grant. */
  #taken = 0
  #hasBegun = false
  /** No further item: the client has ended its items, or the request is over. */
  #isOver = false
  #error: unknown
  #timer: NodeJS.Timeout | undefined

  constructor(host: ReceiverHost) {
    this.#host = host
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  next(): Promise<IteratorResult<unknown, undefined>> {
    const item = this.#read()
    item.catch(ignore) // of a handler that does not wait for it: the process must not end
    return item
  }

  async #read(): Promise<IteratorResult<unknown, undefined>> {
    if (!this.#hasBegun && !this.#isOver) {
      this.#hasBegun = true
      this.#grant(WINDOW)
    }
    const item = await this.#take()
    if (item === null) return { done: true, value: undefined }
    return { done: false, value: await this.#host.check(item.data) }
  }

  /** Stops the client. The handler's loop ended before the items did. */
  return(): Promise<IteratorResult<unknown, undefined>> {
    const isOver = this.#isOver
    // After the end, too: items that were not read are held.
    this.#over(this.#error)
    if (!isOver) this.#host.stop()
    return Promise.resolve({ done: true, value: undefined })
  }

  /**
   * Takes an item of the client; `size` is that of its message in bytes. Returns whether it had credit;
   * null if it had none and is ignored, because the items have ended.
   */
  arrived(data: unknown, size: number): boolean | null {
    if (this.#credit <= 0) return this.#isOver ? null : false
    this.#credit -= size
    if (this.#isOver) return true // it was on its way
    const waiting = this.#waiting.shift()
    if (waiting) {
      this.#rest()
      if (this.#waiting.length > 0) this.#wait()
      this.#count(size)
      waiting.resolve({ data })
      return true
    }
    try {
      this.#host.held.add(size)
      this.#items.push({ data, size })
    } catch (error) {
      this.#host.stop()
      this.fail(error)
    }
    return true
  }

  /** The client has ended its items. */
  end(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#credit = 0
    this.#rest()
    for (const { resolve } of this.#waiting.splice(0)) resolve(null)
  }

  /** The request is over: what waits is dropped, and the handler's loop ends with the error. */
  fail(error: unknown): void {
    if (this.#error === undefined) this.#over(error)
  }

  #take(): Promise<{ data: unknown } | null> {
    const item = this.#items.shift()
    if (item) {
      this.#host.held.add(-item.size)
      this.#count(item.size)
      return Promise.resolve(item)
    }
    if (this.#error !== undefined) return Promise.reject(this.#error)
    if (this.#isOver) return Promise.resolve(null)
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
      this.#wait()
    })
  }

  #wait(): void {
    this.#timer ??= setTimeout(() => this.#idled(), this.#host.idle).unref()
  }

  #idled(): void {
    this.#timer = undefined
    this.#host.stop()
    this.fail(streamFault('ERR_KOAWS_STREAM_IDLE'))
    this.#host.idled()
  }

  #count(size: number): void {
    this.#taken += size
    if (this.#taken >= WINDOW / 2 && !this.#isOver) this.#grant(this.#taken)
  }

  #grant(bytes: number): void {
    this.#taken = 0
    this.#credit += bytes
    this.#host.grant(bytes)
  }

  #over(error: unknown): void {
    this.#isOver = true
    this.#error = error
    this.#rest()
    for (const { size } of this.#items.splice(0)) this.#host.held.add(-size)
    for (const { resolve, reject } of this.#waiting.splice(0)) {
      if (error === undefined) resolve(null)
      else reject(error)
    }
  }

  #rest(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }
}

function ignore(): void {}

// Implements `for await (const message of connection)`.

import type { WebSocket } from 'ws'
import { BY_ITERATOR, type Reading } from './reading.ts'

/** Waiting messages at which the connection stops reading, and at which it reads again. */
const HIGH = 16
const LOW = 4

type Result = IteratorResult<string | Buffer, undefined>

/**
 * `for await (const message of connection)`: a string for a text message, a Buffer for a binary
 * one. Reading pauses while the loop is busy, so a client that sends faster than the loop works
 * meets a closed TCP window. `break` stops listening.
 */
export class MessageIterator implements AsyncIterableIterator<string | Buffer> {
  readonly #connection: WebSocket
  readonly #reading: () => Reading
  readonly #waiting: (string | Buffer)[] = []
  readonly #readers: ((result: Result) => void)[] = []
  readonly #onEnd: () => void
  readonly #onMessage: (data: unknown, isBinary: boolean) => void
  readonly #onClose: () => void
  #paused = false
  #done = false

  /** @param onEnd called once, when the iterator stops listening. */
  constructor(connection: WebSocket, reading: () => Reading, onEnd: () => void) {
    this.#connection = connection
    this.#reading = reading
    this.#onEnd = onEnd
    this.#onMessage = (data, isBinary) => this.#take(isBinary ? toBuffer(data) : textOf(data))
    this.#onClose = () => this.end()
    connection.on('message', this.#onMessage)
    connection.on('close', this.#onClose)
  }

  /** Stop listening; what has arrived is still handed out. */
  end(): void {
    if (this.#done) return
    this.#done = true
    this.#connection.off('message', this.#onMessage)
    this.#connection.off('close', this.#onClose)
    this.#goOnReading()
    this.#onEnd()
    for (const reader of this.#readers.splice(0)) reader({ value: undefined, done: true })
  }

  /** Hand out nothing more; returns how many messages that were. */
  cutOff(): number {
    const unheard = this.#waiting.splice(0).length
    this.end()
    return unheard
  }

  async next(): Promise<Result> {
    const value = this.#waiting.shift()
    if (value !== undefined) {
      if (this.#waiting.length <= LOW) this.#goOnReading()
      return { value, done: false }
    }
    if (this.#done) return { value: undefined, done: true }
    return new Promise((resolve) => this.#readers.push(resolve))
  }

  async return(): Promise<Result> {
    this.#waiting.length = 0
    this.end()
    return { value: undefined, done: true }
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  #take(message: string | Buffer): void {
    const reader = this.#readers.shift()
    if (reader) {
      reader({ value: message, done: false })
      return
    }
    this.#waiting.push(message)
    if (this.#waiting.length < HIGH || this.#paused) return
    this.#paused = true
    this.#reading().stop(BY_ITERATOR)
  }

  #goOnReading(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#reading().goOn(BY_ITERATOR)
  }
}

function textOf(data: unknown): string {
  return toBuffer(data).toString('utf8')
}

/** ws hands out a Buffer, an ArrayBuffer or fragments, as `binaryType` says. */
function toBuffer(data: unknown): Buffer {
  if (Buffer.isBuffer(data)) return data
  if (Array.isArray(data)) return Buffer.concat(data as Buffer[])
  return Buffer.from(data as ArrayBuffer)
}

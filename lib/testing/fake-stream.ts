// `FakeStream`: one request of a client at a fake server, with its items in both directions.
//
// The parts of the client that count credit serve the other direction here. A stream is not resumed.
import { byteLength } from '../client/envelope.ts'
import { createStreamItems, END, type StreamItems } from '../client/stream-items.ts'
import { createUpload, type Upload } from '../client/upload.ts'
import { fieldsOf } from '../fields.ts'
import { abortError } from '../streams/abort.ts'
import { isStream } from '../streams/iteration.ts'
import type { FakeRequest } from './fake-server-types.ts'

/** The credit of the client's items, in bytes. */
const WINDOW = 65_536

/** The fields of a request that matter to its stream. */
export interface StreamFields {
  readonly id?: number
  readonly type: string
  readonly credit?: number
  readonly upload?: boolean
}

/** One request at a fake server. */
export class FakeStream implements FakeRequest {
  readonly #request: StreamFields
  readonly #send: (message: object) => void
  readonly #controller = new AbortController()
  readonly #items: StreamItems
  #sending: Upload | undefined
  /** The handler has asked for the first item of the client. */
  #hasBegun = false
  /** The client sends no further item, or should not. */
  #isUploaded: boolean
  #isOver = false
  /** Ends the wait for the handler. */
  #leave: () => void = () => {}

  constructor(request: StreamFields, send: (message: object) => void) {
    this.#request = request
    this.#send = send
    this.#isUploaded = request.upload !== true
    this.#items = createStreamItems(WINDOW, (bytes) => this.#grant(bytes))
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** Whether the request was canceled: nothing more is sent. */
  get isOver(): boolean {
    return this.#isOver
  }

  get upload(): AsyncIterableIterator<unknown> {
    const { type, upload } = this.#request
    if (!upload) throw unasked(`"${type}" reads items of the client: use client.upload().`)
    const items: AsyncIterableIterator<unknown> = {
      next: () => {
        if (!this.#hasBegun) this.#grant(WINDOW)
        this.#hasBegun = true
        return this.#items.next()
      },
      return: async () => {
        this.#stopUpload()
        return END
      },
      [Symbol.asyncIterator]: () => items,
    }
    return items
  }

  /**
   * Runs a handler, and sends its items. Returns the reply; after a cancel undefined.
   *
   * @throws what the handler throws
   */
  async run(handle: () => unknown): Promise<unknown> {
    const left = new Promise<undefined>((resolve) => {
      this.#leave = () => resolve(undefined)
    })
    try {
      return await Promise.race([left, this.#handle(handle)])
    } finally {
      this.#stopUpload()
    }
  }

  async #handle(handle: () => unknown): Promise<unknown> {
    const result = await handle()
    if (!isStream(result)) return result
    const { type, credit } = this.#request
    if (credit === undefined) throw unasked(`"${type}" has a stream: use client.stream().`)
    let reply: unknown
    return new Promise((resolve, reject) => {
      const source = watched(result, (value) => {
        reply = value
      })
      this.#sending = createUpload(source, {
        send: (value) => this.#sendItem(value),
        end: () => resolve(reply),
        fail: reject,
        starve: () => {},
      })
      if (this.#isOver) this.#sending.stop()
      else this.#sending.grant(credit)
    })
  }

  /** Takes a message of the client with the id of this request. */
  hear(type: string, data: unknown, bytes: number): void {
    if (type === 'koaws:credit') this.#sending?.grant(fieldsOf(data)['bytes'])
    else if (type === 'koaws:item') this.#arrived(data, bytes)
    else if (type === 'koaws:end') this.#endUpload()
    else this.cancel()
  }

  /** Cancels the request: its signal aborts, and the generator returns. */
  cancel(): void {
    if (this.#isOver) return
    this.#isOver = true
    const error = abortError()
    this.#isUploaded = true
    this.#items.drop()
    this.#items.end({ error })
    this.#controller.abort(error)
    this.#sending?.stop()
    this.#leave()
  }

  #sendItem(data: unknown = null): number {
    const item = { type: 'koaws:item', id: this.#request.id, data }
    this.#send(item)
    return byteLength(JSON.stringify(item))
  }

  #grant(bytes: number): void {
    if (!this.#isUploaded) {
      this.#send({ type: 'koaws:credit', id: this.#request.id, data: { bytes } })
    }
  }

  #arrived(data: unknown, bytes: number): void {
    if (this.#isUploaded && this.#request.upload) return
    if (this.#hasBegun && this.#items.granted > 0) {
      this.#items.add(data ?? null, bytes)
      return
    }
    const error = { ...fieldsOf(unasked('')), message: 'An item without credit' }
    this.#send({ type: 'koaws:error', id: this.#request.id, error: { ...error, retryable: false } })
    this.cancel()
  }

  #endUpload(): void {
    this.#isUploaded = true
    this.#items.end()
  }

  /** Stops the client, if it has not ended its items. */
  #stopUpload(): void {
    if (this.#isUploaded) return
    this.#endUpload()
    this.#send({ type: 'koaws:cancel', id: this.#request.id })
  }
}

/** Returns the error for a handler with a stream that the request did not ask for. */
function unasked(message: string): Error {
  return Object.assign(new Error(message), { code: 'ERR_KOAWS_STREAM', status: 400 })
}

/** Returns the items of a stream, and hands over what its generator returns. */
function watched(
  stream: AsyncIterable<unknown> | Iterable<unknown>,
  returned: (value: unknown) => void,
): AsyncIterable<unknown> {
  const iterator =
    Symbol.asyncIterator in stream ? stream[Symbol.asyncIterator]() : stream[Symbol.iterator]()
  return {
    [Symbol.asyncIterator]: () => ({
      async next() {
        const step = await iterator.next()
        if (step.done) returned(step.value)
        return step
      },
      return: async () => (await iterator.return?.()) ?? END,
    }),
  }
}

// Streams of a client: items of the server, items of the client, credit. It is a file of its own in
// a page, loaded for the first stream. So all state of the client is in `Engine`, and the imports
// are functions without state.
import { byteLength, encode, type Incoming } from './envelope.ts'
import type { Pending } from './requests.ts'
import type { ClientStream, Engine, StreamRequest } from './stream-types.ts'
import { createTimer } from './timer.ts'
import { randomKey } from './token.ts'
import { createUpload, type Upload } from './upload.ts'

/** The largest credit that a server accepts at a time, in bytes. */
const LARGEST = 262_144

/** The default of the option `credit`, in bytes. */
const WINDOW = 65_536

/** The default of the option `timeout`, in milliseconds. */
const SILENCE = 120_000

type Result = IteratorResult<unknown, undefined>

/** A call of `next()` that waits for an item. */
interface Reader {
  resolve(result: Result): void
  reject(error: unknown): void
}

/**
 * The part of the client for streams. Pass it to `connect()` to have it in the same file:
 * `connect(url, { streams })`. Without it, the client loads it for the first stream or upload.
 *
 * @example
 * ```js
 * import { connect } from 'koaws/client'
 * import { streams } from 'koaws/client/streams'
 * import { fakeServer } from 'koaws/testing'
 *
 * const { WebSocket } = fakeServer() // in a page: leave out the option WebSocket
 * const client = connect('wss://app.example/chat', { streams, WebSocket })
 * client.close()
 * ```
 */
export function streams(engine: Engine): (request: StreamRequest) => ClientStream {
  return (request) => begin(engine, request)
}

/**
 * Sends the request of a stream.
 *
 * @throws TypeError for an invalid option
 */
function begin(
  engine: Engine,
  { type, text, options, receives, left }: StreamRequest,
): ClientStream {
  const { credit: size = WINDOW, timeout = SILENCE, resume = false, signal, upload } = options
  if (!Number.isInteger(size) || size < 1 || size > LARGEST) {
    throw new TypeError(`${type}: "credit" must be an integer from 1 to ${LARGEST}.`)
  }
  const uploads = upload !== undefined || !receives
  if (resume && uploads) throw new TypeError(`${type}: an upload cannot be resumed.`)
  if (signal?.aborted) throw signal.reason

  const { pending, localError } = engine
  const id = engine.nextId()
  const key = resume ? randomKey() : undefined
  const deadline = createTimer(true)
  /** Items that wait for the application, and the calls of `next()` that wait for items. */
  const items: { data: unknown; bytes: number }[] = []
  const readers: Reader[] = []
  let sending: Upload | undefined
  /** Whether the answer has arrived, or the stream has failed. */
  let over = false
  let failure: { error: unknown } | undefined
  let resumable = false
  /** How many bytes the server may still send; how many wait; how many were taken and not granted. */
  let granted = receives ? size : 0
  let waiting = 0
  let taken = 0
  /** Counts of items. */
  let received = 0
  let delivered = 0

  let resolveReply: (value: unknown) => void
  let rejectReply: (error: unknown) => void
  const reply = new Promise<unknown>((resolve, reject) => {
    resolveReply = resolve
    rejectReply = reject
  })
  reply.catch(ignore)

  const item: Pending = {
    type,
    sent: false,
    /** The message. When it is sent again, the credit begins anew. */
    get text() {
      const since = resumable ? `,"since":${renew()}` : ''
      const credit = receives ? granted : undefined
      const fields = JSON.stringify({ id, key, credit, upload: uploads ? true : undefined })
      return `${text.slice(0, -1)}${since},${fields.slice(1)}`
    },
    /** Never too old: a server that has forgotten the stream says so. */
    get since() {
      return resumable ? Date.now() : resume ? 0 : undefined
    },
    set since(_first) {
      resumable = true
    },
    fail: (error) => fail(error),
    answer: (message) => take(message),
  }

  /** Sets the credit that the request is sent again with. Returns the number of items received. */
  const renew = (): number => {
    granted = Math.max(1, size - waiting)
    taken = size - waiting - granted
    return received
  }

  const post = (part: string, data?: object): void => {
    if (item.sent) engine.post({ type, text: encode(part, data, id), sent: true })
  }

  /** Ends the request: messages with its id are ignored from now on. */
  const settle = (): void => {
    over = true
    pending.delete(id)
    deadline.clear()
    signal?.removeEventListener('abort', onAbort)
    engine.forget(item)
    sending?.stop()
  }

  const fail = (error: unknown): void => {
    if (over) return
    settle()
    rejectReply(error)
    if (readers.length > 0) for (const reader of readers.splice(0)) reader.reject(error)
    else failure = { error }
  }

  /** Fails the stream, and tells the server. */
  const abandon = (error: unknown): void => {
    if (over) return
    post('koaws:cancel')
    fail(error)
  }

  const onAbort = (): void => {
    items.length = 0
    abandon(signal?.reason)
  }

  /** Restarts the timeout, or stops it while the client waits for the application. */
  const watch = (): void => {
    if (over) return
    if (sending?.busy || (receives && granted <= 0)) deadline.clear()
    else deadline.set(onSilence, timeout)
  }

  const onSilence = (): void =>
    abandon(localError(item, 'TIMEOUT', `the server sent nothing for ${timeout} ms`, 408))

  const take = ({ type: kind, data, error, text: whole }: Incoming): void => {
    if (kind === 'koaws:item') onItem(data ?? null, whole)
    else if (kind === 'koaws:credit') sending?.grant(Object(data).bytes)
    else if (kind === 'koaws:cancel') sending?.stop()
    else {
      if (resume) post('koaws:cancel') // the server can forget the stream
      if (kind === 'koaws:error') fail(engine.remoteError(withCount(error, received), type))
      else succeed(data ?? null)
    }
    watch()
  }

  const succeed = (value: unknown): void => {
    settle()
    resolveReply(value)
    for (const reader of readers.splice(0)) reader.resolve(END)
  }

  /** Without a text, the item was above the option `maxMessage`. */
  const onItem = (data: unknown, whole: string | undefined): void => {
    if (granted <= 0 || !whole) {
      abandon(localError(item, 'MALFORMED', 'the server sent more than it may', 400))
      return
    }
    const bytes = byteLength(whole)
    granted -= bytes
    received++
    const reader = readers.shift()
    if (reader) {
      reader.resolve({ done: false, value: data })
      count(bytes)
    } else {
      waiting += bytes
      items.push({ data, bytes })
    }
  }

  /** Counts an item that the application has taken, and grants credit for it. */
  const count = (bytes: number): void => {
    delivered++
    taken += bytes
    if (over || taken * 2 < size) return
    while (taken > 0) {
      const more = Math.min(taken, LARGEST)
      granted += more
      taken -= more
      post('koaws:credit', { bytes: more, items: resume ? delivered : undefined })
    }
    watch()
  }

  const stream: ClientStream = {
    reply,
    async next() {
      if (over && signal?.aborted && items.length > 0) {
        items.length = 0
        failure = { error: signal.reason }
      }
      const first = items.shift()
      if (first) {
        waiting -= first.bytes
        count(first.bytes)
        return { done: false, value: first.data }
      }
      if (failure) {
        const { error } = failure
        failure = undefined
        throw error
      }
      return over ? END : new Promise((resolve, reject) => readers.push({ resolve, reject }))
    },
    async return() {
      items.length = 0
      const open = readers.splice(0)
      abandon(localError(item, 'CANCELLED', 'the stream was canceled', 499))
      failure = undefined
      for (const reader of open) reader.resolve(END)
      return END
    },
    [Symbol.asyncIterator]: () => stream,
  }

  /** Sends an item. Returns its size in bytes. */
  const sendItem = (value: unknown): number => {
    const form = JSON.stringify(value)
    if (!form) throw new TypeError(`${type}: an item of type ${typeof value} has no JSON form.`)
    const part = `{"type":"koaws:item","id":${id},"data":${form}}`
    engine.post({ type, text: part, sent: true })
    return byteLength(part)
  }

  try {
    if (left) {
      void stream.return()
      return stream
    }
    if (uploads) {
      sending = createUpload(upload, {
        send: sendItem,
        end() {
          post('koaws:end')
          watch()
        },
        fail: abandon,
        starve: watch,
      })
    }
    pending.set(id, item)
    signal?.addEventListener('abort', onAbort)
    watch()
    engine.launch(item)
  } catch (error) {
    fail(error)
  }
  return stream
}

const END: Result = { done: true, value: undefined }

/**
 * Returns the error object of a server, with the number of items received when a lost stream has
 * none.
 */
function withCount(error: unknown, items: number): unknown {
  const { code, data } = Object(error)
  return code === 'ERR_KOAWS_STREAM_LOST' && !Number.isInteger(data?.items)
    ? { ...Object(error), data: { ...Object(data), items } }
    : error
}

function ignore(): void {}

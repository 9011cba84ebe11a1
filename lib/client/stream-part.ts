// Carries out one stream: the request, its answer, cancel, timeout and resuming.
//
// A page loads this code as a file of its own. So all state of the client is in `StreamEngine`, and
// the imports are functions without state.
import { byteLength, type Incoming } from './envelope.ts'
import type { Pending } from './requests.ts'
import { createStreamItems, END, LARGEST } from './stream-items.ts'
import type { ClientStream, StreamEngine, StreamRequest } from './stream-types.ts'
import { createTimer } from './timer.ts'
import { randomKey } from './token.ts'
import { createUpload, type Upload } from './upload.ts'

/** The default of the option `credit`, in bytes. */
const WINDOW = 65_536

/** The default of the option `timeout`, in milliseconds. */
const SILENCE = 120_000

/**
 * Creates the part of a client for `stream()` and `upload()`. Pass the function to `connect()` to
 * have its code in the same file. Without it, the client loads the code for the first stream or
 * upload.
 *
 * @example
 * ```js
 * import { connect } from 'koaws/client'
 * import { streams } from 'koaws/client/streams'
 * import { fakeServer } from 'koaws/testing'
 *
 * const server = fakeServer() // in a page: leave out the option WebSocket
 * server.on('ask', () => ({ tokens: 0 }))
 *
 * const client = connect('wss://app.example/chat', { streams, WebSocket: server.WebSocket })
 * console.log(await client.stream('ask', { prompt: 'hi' }).reply) // { tokens: 0 }
 * client.close()
 * ```
 *
 * @param engine what `connect()` passes; it has no stable form
 * @returns the function that begins a stream
 */
export function streams(engine: StreamEngine): (request: StreamRequest) => ClientStream {
  return (request) => begin(engine, request)
}

/**
 * Sends the request of a stream.
 *
 * @throws TypeError for an invalid option
 */
function begin(
  engine: StreamEngine,
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
  let sending: Upload | undefined
  /** Whether the answer has arrived, or the stream has failed. */
  let over = false
  let attempts = 0
  /** When a server that recognizes the request got it first, in epoch milliseconds. */
  let first: number | undefined

  let resolveReply: (value: unknown) => void
  let rejectReply: (error: unknown) => void
  const reply = new Promise<unknown>((resolve, reject) => {
    resolveReply = resolve
    rejectReply = reject
  })
  reply.catch(ignore)

  const items = createStreamItems(receives ? size : 0, (bytes, taken) => {
    post('koaws:credit', { bytes, items: resume ? taken : undefined })
    watch()
  })

  const request: Pending = {
    type,
    sent: false,
    /**
     * The message. When it is sent again, the credit begins anew. Without `since`, a server may begin
     * the stream, if it knows for certain that none has.
     */
    get text() {
      if (first) items.renew()
      const since = items.received || (first && Date.now() - first > SILENCE ? 0 : undefined)
      const credit = receives ? items.granted : undefined
      const attempt = first && ++attempts
      const fields = JSON.stringify({ id, key, credit, attempt, upload: uploads || undefined })
      const place = since === undefined ? '' : `,"since":${since}` // a name that the bundle shortens
      return `${text.slice(0, -1)}${place},${fields.slice(1)}`
    },
    /** Never too old: a server that has forgotten the stream says so. */
    get since() {
      return first ? Date.now() : resume ? 0 : undefined
    },
    set since(now) {
      first = now
    },
    fail: (error) => fail(error),
    answer: (message) => take(message),
  }

  const post = (part: string, data?: object): void => {
    if (request.sent)
      engine.post({ type, text: JSON.stringify({ type: part, id, data }), sent: true })
  }

  /** Ends the request: messages with its id are ignored from now on. */
  const settle = (): void => {
    over = true
    pending.delete(id)
    deadline.clear()
    signal?.removeEventListener('abort', onAbort)
    engine.forget(request)
    sending?.stop()
  }

  const fail = (error: unknown): void => {
    if (over) return
    settle()
    rejectReply(error)
    items.end({ error })
  }

  const succeed = (value: unknown): void => {
    settle()
    resolveReply(value)
    items.end()
  }

  /** Fails the stream, and tells the server. */
  const abandon = (error: unknown): void => {
    if (over) return
    post('koaws:cancel')
    fail(error)
  }

  const onAbort = (): void => {
    items.drop()
    abandon(signal?.reason)
  }

  /** Restarts the timeout, or stops it while the client waits for the application. */
  const watch = (): void => {
    if (over) return
    if (sending?.busy || (receives && items.granted <= 0)) deadline.clear()
    else deadline.set(onSilence, timeout)
  }

  const onSilence = (): void =>
    abandon(localError(request, 'TIMEOUT', `the server sent nothing for ${timeout} ms`, 408))

  const take = ({ type: kind, data, error, text: whole }: Incoming): void => {
    if (kind === 'koaws:item') onItem(data ?? null, whole)
    else if (kind === 'koaws:credit') sending?.grant(Object(data).bytes)
    else if (kind === 'koaws:cancel') sending?.stop()
    else {
      if (resume) post('koaws:cancel') // the server can forget the stream
      if (kind === 'koaws:reply') succeed(data ?? null)
      else fail(engine.remoteError(withCount(error, items.received), type))
    }
    watch()
  }

  /** Without a text, the item was above the option `maxMessage`. */
  const onItem = (data: unknown, whole: string | undefined): void => {
    if (whole && items.granted > 0) items.add(data, byteLength(whole))
    else abandon(localError(request, 'MALFORMED', 'the server sent more than it may', 400))
  }

  /** Sends an item. Returns its size in bytes. */
  const sendItem = (value: unknown): number => {
    const form = JSON.stringify(value, engine.keep)
    if (!form) throw new TypeError(`${type}: an item of type ${typeof value} has no JSON form.`)
    const part = `{"type":"koaws:item","id":${id},"data":${form}}`
    engine.post({ type, text: part, sent: true })
    return byteLength(part)
  }

  const stream: ClientStream = {
    reply,
    async next() {
      // an abort after the answer: the signal has no listener any more
      if (over && signal?.aborted && items.drop()) items.end({ error: signal.reason })
      return items.next()
    },
    async return() {
      items.drop()
      items.end() // before `abandon`, which would reject the calls of `next()` that wait
      abandon(localError(request, 'CANCELLED', 'the stream was canceled', 499))
      items.end()
      return END
    },
    [Symbol.asyncIterator]: () => stream,
  }

  try {
    if (left) {
      void stream.return()
      return stream
    }
    if (uploads) {
      const end = (): void => {
        post('koaws:end')
        watch()
      }
      sending = createUpload(upload, { send: sendItem, end, fail: abandon, starve: watch })
    }
    pending.set(id, request)
    signal?.addEventListener('abort', onAbort)
    watch()
    engine.launch(request)
  } catch (error) {
    fail(error)
  }
  return stream
}

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

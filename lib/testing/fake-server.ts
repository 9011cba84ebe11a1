// `fakeServer()`: a server in memory, for tests of code that uses `koaws/client`.
import { byteLength } from '../client/envelope.ts'
import { fieldsOf } from '../fields.ts'
import type { Protocol } from '../protocol/definition.ts'
import { bearerToken, isBearerEntry, KOAWS_V1 } from '../protocol/subprotocol.ts'
import type {
  FakeRequest,
  FakeServer,
  FakeServerOptions,
  PresentedPositions,
  ReceivedMessage,
} from './fake-server-types.ts'
import { FakeStream, type StreamFields } from './fake-stream.ts'
import { FakeWebSocket } from './fake-web-socket.ts'

interface Envelope extends ReceivedMessage, StreamFields {
  readonly id?: number
  /** Of a request that resumes a stream. */
  readonly since?: number
  readonly error?: { readonly message: string }
}

/** A handler, without the types of a protocol. */
type Handler = (data: unknown, request: FakeRequest) => unknown

type Reader = { type: string | undefined; resolve: (message: ReceivedMessage) => void }
type Asker = {
  socket: FakeWebSocket
  resolve: (value: never) => void
  reject: (error: Error) => void
}

/**
 * Creates a server without a network, for tests of code that uses `koaws/client`. It speaks
 * `koaws.v1`. The client receives its events in microtasks, as if from a browser's WebSocket.
 *
 * @example
 * ```js
 * import { connect } from 'koaws/client'
 * import { fakeServer } from 'koaws/testing'
 *
 * const server = fakeServer()
 * server.on('say', (data) => ({ heard: data }))
 *
 * const client = connect('ws://test/chat', { WebSocket: server.WebSocket })
 * console.log(await client.request('say', 'hi')) // { heard: 'hi' }
 * console.log(server.received.length) // 1
 * client.close()
 * ```
 *
 * @param options whether it asks for a token, and fields of its welcome
 * @throws TypeError for options that are not an object
 */
export function fakeServer<const P = Protocol>(
  _protocol?: P,
  options: FakeServerOptions = {},
): FakeServer<P> {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(
      `fakeServer() takes a protocol, and then an object of options, not ${options === null ? 'null' : `a ${typeof options}`}.`,
    )
  }
  const received: ReceivedMessage[] = []
  const unread: ReceivedMessage[] = []
  const readers: Reader[] = []
  const tokens: string[] = []
  const resumes: PresentedPositions[] = []
  const handlers = new Map<string, Handler>()
  /** The open requests with a stream or an upload, by id. */
  const streams = new Map<FakeWebSocket, Map<number, FakeStream>>()
  const open = new Set<FakeWebSocket>()
  const askers = new Map<number, Asker>()
  /** The answers to requests with `retry`, by their keys. */
  const answers = new Map<string, Promise<object>>()
  /** The keys of streams that have begun. */
  const begun = new Set<string | undefined>()
  let waiting: (() => void)[] = []
  let rejection: { code: number; reason: string } | undefined
  let attempts = 0
  let lastId = 0

  const onHandshake = (socket: FakeWebSocket): void => {
    for (const entry of socket.offered.filter(isBearerEntry)) takeToken(bearerToken(entry))
    if (rejection?.code === 1006 || !socket.offered.includes(KOAWS_V1)) socket.end(1006, '')
    else answerHandshake(socket)
  }

  const answerHandshake = (socket: FakeWebSocket): void => {
    socket.accept(KOAWS_V1)
    if (rejection) socket.end(rejection.code, rejection.reason)
    else if (!options.authenticate) welcome(socket)
    else send(socket, { type: 'koaws:authenticate', data: { timeout: 10_000 } })
  }

  const takeToken = (token: unknown): void => {
    if (typeof token === 'string') tokens.push(token)
  }

  const welcome = (socket: FakeWebSocket): void => {
    if (socket.readyState !== FakeWebSocket.OPEN) return
    const defaults = {
      version: 1,
      connection: `fake-${attempts}`,
      user: null,
      heartbeat: null,
      maxMessage: 65_536,
      maxDepth: 32,
      expiresAt: null,
      refresh: false,
      retry: 120_000,
    }
    send(socket, { type: 'koaws:welcome', data: { ...defaults, ...options.welcome } })
    open.add(socket)
    for (const resolve of waiting) resolve()
    waiting = []
  }

  const onMessage = (socket: FakeWebSocket, text: string): void => {
    const message = JSON.parse(text) as Envelope
    const { type, id } = message
    if (type === 'koaws:auth') onAuth(socket, message)
    else if (type === 'koaws:resume') resumes.push(message.data as PresentedPositions)
    else if (type === 'koaws:ping') send(socket, { type: 'koaws:reply', id, data: null })
    else if (type === 'koaws:reply' || type === 'koaws:error') onAnswer(message)
    else if (!type.startsWith('koaws:')) onApplicationMessage(socket, message)
    else if (PARTS.has(type)) {
      streams
        .get(socket)
        ?.get(id ?? 0)
        ?.hear(type, message.data, byteLength(text))
    }
  }

  const onAuth = (socket: FakeWebSocket, { id, data }: Envelope): void => {
    takeToken((data as { token: unknown }).token)
    const expiresAt = options.welcome?.['expiresAt'] ?? null
    send(socket, { type: 'koaws:reply', id, data: { expiresAt } })
    if (!open.has(socket)) welcome(socket)
  }

  const onAnswer = ({ type, id, data, error }: Envelope): void => {
    const asker = askers.get(id ?? 0)
    if (!asker) return
    askers.delete(id ?? 0)
    if (type === 'koaws:reply') asker.resolve(data as never)
    else asker.reject(Object.assign(new Error(error?.message), error))
  }

  const onApplicationMessage = (socket: FakeWebSocket, message: Envelope): void => {
    received.push(message)
    const index = readers.findIndex(({ type }) => type === undefined || type === message.type)
    if (index < 0) unread.push(message)
    else for (const { resolve } of readers.splice(index, 1)) resolve(message)
    void handle(socket, message)
  }

  /** Handles a message. A request with a key is handled once; others with the key get its answer. */
  const handle = async (socket: FakeWebSocket, message: Envelope) => {
    const { id, key, credit, upload } = message
    const stream = new FakeStream(message, (part) => send(socket, part))
    if (id !== undefined && (credit !== undefined || upload)) {
      await handleStream(socket, message, id, stream)
      return
    }
    const answer = (key !== undefined && answers.get(key)) || answerTo(message, stream)
    if (key !== undefined) answers.set(key, answer)
    const text = await answer
    if (id !== undefined || 'error' in text) send(socket, { ...text, id })
  }

  const handleStream = async (
    socket: FakeWebSocket,
    message: Envelope,
    id: number,
    stream: FakeStream,
  ) => {
    const open = streams.get(socket) ?? new Map<number, FakeStream>()
    streams.set(socket, open.set(id, stream))
    const { key, since, again, type } = message
    const isLost = since !== undefined || (again === true && begun.has(key))
    begun.add(key)
    const lost = { type: 'koaws:error', about: type, error: LOST }
    const answer = isLost ? lost : await answerTo(message, stream)
    if (!stream.isOver) send(socket, { ...answer, id })
    open.delete(id)
  }

  const answerTo = async (message: Envelope, stream: FakeStream): Promise<object> => {
    const { type, id, data } = message
    const handler = handlers.get(type)
    try {
      if (!handler && id !== undefined) throw unknownType(type)
      const reply = await stream.run(() => handler?.(data, stream))
      return { type: 'koaws:reply', data: reply ?? null }
    } catch (error) {
      return { type: 'koaws:error', about: type, error: errorObject(error) }
    }
  }

  const onEnd = (socket: FakeWebSocket): void => {
    open.delete(socket)
    for (const stream of streams.get(socket)?.values() ?? []) stream.cancel()
    streams.delete(socket)
    for (const [id, asker] of askers) {
      if (asker.socket !== socket) continue
      askers.delete(id)
      asker.reject(new Error('The connection has ended.'))
    }
  }

  const peer = { onHandshake, onMessage, onEnd }
  class WebSocket extends FakeWebSocket {
    constructor(url: string | URL, protocols?: string | readonly string[]) {
      super(peer, url, protocols)
      attempts++
    }
  }

  const opened = (): readonly [FakeWebSocket, ...FakeWebSocket[]] => {
    const [first, ...others] = open
    if (!first) throw new Error('No connection is open: await connected() first.')
    return [first, ...others]
  }

  const server: FakeServer<Record<string, object>> = {
    WebSocket,
    received,
    tokens,
    resumes,
    get connections() {
      return open.size
    },
    get attempts() {
      return attempts
    },
    on(type, handler) {
      handlers.set(type, handler as Handler)
      return () => {
        if (handlers.get(type) === handler) handlers.delete(type)
      }
    },
    push(type, data, place) {
      for (const socket of opened()) send(socket, { ...place, type, data })
    },
    tell(type, data) {
      for (const socket of opened()) send(socket, { type, data })
    },
    async request(type, data) {
      const socket = opened().at(-1) as FakeWebSocket
      const id = ++lastId
      return new Promise((resolve, reject) => {
        askers.set(id, { socket, resolve, reject })
        send(socket, { type, id, data })
      })
    },
    next(type) {
      const index = unread.findIndex((message) => type === undefined || type === message.type)
      if (index >= 0) return Promise.resolve(...(unread.splice(index, 1) as [ReceivedMessage]))
      return new Promise((resolve) => readers.push({ type, resolve }))
    },
    connected() {
      if (open.size > 0) return Promise.resolve()
      return new Promise((resolve) => waiting.push(resolve))
    },
    close(code = 1000, reason = '') {
      for (const socket of open) socket.end(code, reason)
      open.clear()
    },
    bye(after) {
      const reason = `restart, retry in ${after} ms`
      for (const socket of open) {
        send(socket, { type: 'koaws:bye', data: { code: 1012, reason, after } })
      }
      server.close(1012, reason)
    },
    reject(code, reason = '') {
      rejection = { code, reason }
    },
    accept() {
      rejection = undefined
    },
  }
  return server as unknown as FakeServer<P>
}

/** The messages of a stream. */
const PARTS = new Set(['koaws:item', 'koaws:credit', 'koaws:end', 'koaws:cancel'])

/** Answers a request that resumes a stream: nothing is kept. */
const LOST = {
  code: 'ERR_KOAWS_STREAM_LOST',
  message: 'The stream cannot go on.',
  status: 503,
}

function send(socket: FakeWebSocket, message: object): void {
  socket.deliver(JSON.stringify(message))
}

function unknownType(type: string): Error {
  const fields = { code: 'ERR_KOAWS_UNKNOWN_TYPE', status: 404 }
  return Object.assign(new Error(`No handler for ${JSON.stringify(type)}`), fields)
}

function errorObject(error: unknown): object {
  const { code, message, status, retryable, data } = fieldsOf(error)
  if (typeof code !== 'string' || typeof status !== 'number') {
    return { code: 'internal', message: 'Internal Server Error', status: 500, retryable: false }
  }
  return { code, message, status, retryable: retryable === true, data }
}

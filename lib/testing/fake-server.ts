import type { WebSocketClass } from '../client/web-socket.ts'
import type {
  ClientData,
  ClientType,
  DataArguments,
  DefinitionOf,
  PushData,
  ReplyGiven,
  ReplyTaken,
  ServerRequestType,
  ServerType,
} from '../protocol/definition.ts'
import { bearerToken, isBearerEntry, KOAWS_V1 } from '../protocol/subprotocol.ts'
import { FakeWebSocket } from './fake-web-socket.ts'

/** A message of the application, from the client. */
export interface ReceivedMessage {
  readonly type: string
  /** Where it is a request. */
  readonly id?: number
  readonly data?: unknown
}

/** How the fake server differs from one that takes all clients. */
export interface FakeServerOptions {
  /** Ask for the token with `koaws:authenticate`. @default false */
  authenticate?: boolean
  /** Fields of the welcome, such as `refresh`, `expiresAt`, `heartbeat` or `maxMessage`. */
  welcome?: Readonly<Record<string, unknown>>
}

/** A server for tests of code that uses `koaws/client`. */
export interface FakeServer<D> {
  /** For the option `WebSocket` of `connect()`. */
  readonly WebSocket: WebSocketClass
  /** Messages of the application that clients sent, oldest first. */
  readonly received: readonly ReceivedMessage[]
  /** Tokens that clients offered, in the handshake and in `koaws:auth`, oldest first. */
  readonly tokens: readonly string[]
  /** How many connections are open. */
  readonly connections: number
  /** How many WebSockets were made so far. */
  readonly attempts: number
  /**
   * Handle a type: what the handler returns, or its promise, answers a request. An error with `code`
   * and `status` that it throws is sent as it is, any other as `internal`. A request without a
   * handler is answered with `ERR_KOAWS_UNKNOWN_TYPE`. Data are not checked against the protocol.
   */
  on<T extends ClientType<D>>(
    type: T,
    handler: (data: ClientData<D, T>) => ReplyGiven<D, T> | Promise<ReplyGiven<D, T>>,
  ): () => void
  /**
   * Push to every open connection.
   *
   * @throws Error when there is none
   */
  push<T extends ServerType<D>>(type: T, ...data: DataArguments<PushData<D, T>>): void
  /**
   * Ask the client that connected last. Rejects with an Error that has the fields of the client's
   * error, or when there is no connection, or it ends.
   */
  request<T extends ServerRequestType<D>>(
    type: T,
    ...data: DataArguments<PushData<D, T>>
  ): Promise<ReplyTaken<D, T>>
  /** The next message, of the type if one is given, that no `next()` has returned so far. */
  next(type?: ClientType<D>): Promise<ReceivedMessage>
  /** Resolves when a connection is open: at once, if one is. */
  connected(): Promise<void>
  /** Close all connections. 1006 stands for a connection that breaks. @default 1000 */
  close(code?: number, reason?: string): void
  /** Close all connections as a server does that restarts: come back in `after` milliseconds. */
  bye(after: number): void
  /**
   * Reject the attempts that follow, as a server does: accept the handshake, and close. 1006: let
   * the handshake fail, as a server does that is not there.
   */
  reject(code: number, reason?: string): void
  /** Accept the attempts that follow. */
  accept(): void
}

interface Envelope extends ReceivedMessage {
  readonly error?: { readonly message: string }
}

type Reader = { type: string | undefined; resolve: (message: ReceivedMessage) => void }
type Asker = {
  socket: FakeWebSocket
  resolve: (value: never) => void
  reject: (error: Error) => void
}

/**
 * A server without a network, for tests of code that uses `koaws/client`. It speaks `koaws.v1`; what
 * the client gets from it, it gets as from a browser's WebSocket, in microtasks.
 *
 * ```ts
 * const server = fakeServer(chatProtocol)
 * server.on('say', ({ text }) => ({ ok: text !== '' }))
 * const client = connect<typeof chatProtocol>('ws://test/chat', { WebSocket: server.WebSocket })
 * expect(await client.request('say', { text: 'hi' })).to.deep.equal({ ok: true })
 * ```
 */
export function fakeServer<const P>(
  _protocol?: P,
  options: FakeServerOptions = {},
): FakeServer<DefinitionOf<P>> {
  const received: ReceivedMessage[] = []
  const unread: ReceivedMessage[] = []
  const readers: Reader[] = []
  const tokens: string[] = []
  const handlers = new Map<string, (data: unknown) => unknown>()
  const open = new Set<FakeWebSocket>()
  const askers = new Map<number, Asker>()
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
    else if (type === 'koaws:ping') send(socket, { type: 'koaws:reply', id, data: null })
    else if (type === 'koaws:reply' || type === 'koaws:error') onAnswer(message)
    else if (!type.startsWith('koaws:')) onApplicationMessage(socket, message)
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

  const onApplicationMessage = (socket: FakeWebSocket, message: ReceivedMessage): void => {
    received.push(message)
    const index = readers.findIndex(({ type }) => type === undefined || type === message.type)
    if (index < 0) unread.push(message)
    else for (const { resolve } of readers.splice(index, 1)) resolve(message)
    void handle(socket, message)
  }

  const handle = async (socket: FakeWebSocket, { type, id, data }: ReceivedMessage) => {
    const handler = handlers.get(type)
    try {
      if (!handler && id !== undefined) throw unknownType(type)
      const reply = await handler?.(data)
      if (id !== undefined) send(socket, { type: 'koaws:reply', id, data: reply ?? null })
    } catch (error) {
      send(socket, { type: 'koaws:error', id, about: type, error: errorObject(error) })
    }
  }

  const onEnd = (socket: FakeWebSocket): void => {
    open.delete(socket)
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
    get connections() {
      return open.size
    },
    get attempts() {
      return attempts
    },
    on(type, handler) {
      handlers.set(type, handler as (data: unknown) => unknown)
      return () => {
        if (handlers.get(type) === handler) handlers.delete(type)
      }
    },
    push(type, data) {
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
  return server as unknown as FakeServer<DefinitionOf<P>>
}

function send(socket: FakeWebSocket, message: object): void {
  socket.deliver(JSON.stringify(message))
}

function unknownType(type: string): Error {
  const fields = { code: 'ERR_KOAWS_UNKNOWN_TYPE', status: 404 }
  return Object.assign(new Error(`No handler for ${type}`), fields)
}

function errorObject(error: unknown): object {
  const { code, message, status, retryable, data } = (error ?? {}) as Record<string, unknown>
  if (typeof code !== 'string' || typeof status !== 'number') {
    return { code: 'internal', message: 'Internal Server Error', status: 500, retryable: false }
  }
  return { code, message, status, retryable: retryable === true, data }
}

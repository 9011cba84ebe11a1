import { once } from 'node:events'
import {
  createServer,
  request as httpRequest,
  type IncomingHttpHeaders,
  type Server,
} from 'node:http'
import type Koa from 'koa'
import { type RawData, WebSocket } from 'ws'
import { socketPair } from './duplex-socket.ts'

/** An HTTP answer, read whole. */
export interface TestResponse {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** The body as text. */
  readonly body: string
}

/** How a test opens a WebSocket. */
export interface ConnectOptions {
  /** Request headers, such as `authorization` or `cookie`. */
  headers?: Record<string, string>
  /** The subprotocols to offer. */
  protocols?: string | readonly string[]
}

/** How a test makes a plain HTTP request. */
export interface RequestOptions {
  /** @default 'GET' */
  method?: string
  headers?: Record<string, string>
  body?: string
}

/** What `connect()` rejects with when the app answers over HTTP. */
export class RejectedError extends Error implements TestResponse {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string

  constructor(path: string, { status, headers, body }: TestResponse) {
    super(`${path} was answered with ${status}: ${body.slice(0, 200)}`)
    this.name = 'RejectedError'
    this.status = status
    this.headers = headers
    this.body = body
  }
}

/**
 * The client's end of a WebSocket in a test: a ws WebSocket that keeps every message until it is
 * asked for, so that nothing is lost between two awaits.
 */
export class TestSocket extends WebSocket {
  /** The headers of the 101. */
  readonly handshake: IncomingHttpHeaders = {}
  readonly #messages: (string | Buffer)[] = []
  readonly #readers: {
    resolve: (message: string | Buffer) => void
    reject: (error: Error) => void
  }[] = []
  #end: { code: number; reason: string } | null = null
  /** How it ended. Never rejects. */
  readonly closed: Promise<{ code: number; reason: string }>

  constructor(address: string, protocols: string[], options: object) {
    super(address, protocols, options)
    this.on('upgrade', (res) => Object.assign(this.handshake, res.headers))
    this.on('message', (data, isBinary) => this.#take(data, isBinary))
    this.on('error', () => {}) // told by `connect()`, or by `closed`
    this.closed = new Promise((resolve) => {
      this.on('close', (code, reason) => {
        this.#end = { code, reason: reason.toString() }
        for (const reader of this.#readers.splice(0)) reader.reject(this.#closedError())
        resolve(this.#end)
      })
    })
  }

  /** The next message: a string for text, a Buffer for binary. Rejects when the socket closes first. */
  next(): Promise<string | Buffer> {
    const message = this.#messages.shift()
    if (message !== undefined) return Promise.resolve(message)
    if (this.#end) return Promise.reject(this.#closedError())
    return new Promise((resolve, reject) => this.#readers.push({ resolve, reject }))
  }

  /** The next message, parsed as JSON. */
  async nextJson(): Promise<unknown> {
    return JSON.parse(String(await this.next()))
  }

  /** Send a value as JSON. */
  json(value: unknown): void {
    this.send(JSON.stringify(value))
  }

  #take(data: RawData, isBinary: boolean): void {
    const message = isBinary ? (data as Buffer) : data.toString()
    const reader = this.#readers.shift()
    if (reader) reader.resolve(message)
    else this.#messages.push(message)
  }

  #closedError(): Error {
    const { code, reason } = this.#end as { code: number; reason: string }
    return new Error(`closed with ${code} ${reason}, and no message is waiting`)
  }
}

/** An app under test. */
export interface TestApp {
  /**
   * Open a WebSocket. Rejects with a {@link RejectedError} (`status`, `headers`, `body`) when the app
   * answers anything but 101.
   */
  connect(path: string, options?: ConnectOptions): Promise<TestSocket>
  /**
   * A class of WebSockets that lead to the app, for `connect()` of `koaws/client`:
   * `connect('ws://app/chat', { WebSocket: test.webSocket() })`. Whatever host the URL names, the app
   * is reached.
   *
   * @param options `headers` of every handshake, such as a cookie
   */
  webSocket(options?: { headers?: Record<string, string> }): typeof WebSocket
  /** Make a plain HTTP request. */
  request(path: string, options?: RequestOptions): Promise<TestResponse>
  /** End every connection of the test. */
  close(): Promise<void>
}

const HOST = 'koaws.test'

/**
 * Test an app without a port: its chain, its upgrades and its connections run over in-memory
 * streams.
 *
 * ```ts
 * const test = testApp(app)
 * const socket = await test.connect('/chat/lobby', { headers: { authorization: 'Bearer …' } })
 * socket.send('hi')
 * expect(await socket.next()).to.equal('hi')
 * await test.close()
 * ```
 */
export function testApp(app: Koa): TestApp {
  const server = createServer(app.callback())
  const sockets = new Set<WebSocket>()
  const keep = (socket: WebSocket): void => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  }
  return {
    connect: async (path, options) => {
      const socket = await open(server, path, options ?? {})
      keep(socket)
      return socket
    },
    webSocket: (options) => webSocketTo(server, options?.headers, keep),
    request: (path, options) => request(server, path, options ?? {}),
    close: async () => {
      await Promise.all([...sockets].map(ended))
    },
  }
}

/** A class whose WebSockets all lead to a server. */
function webSocketTo(
  server: Server,
  headers: Record<string, string> | undefined,
  keep: (socket: WebSocket) => void,
): typeof WebSocket {
  return class extends WebSocket {
    constructor(url: string | URL | null, protocols?: string | string[]) {
      super(url as string, protocols, { headers, createConnection: () => dial(server) } as object)
      this.on('error', () => {}) // told by `close`
      keep(this)
    }
  } as typeof WebSocket
}

async function ended(socket: WebSocket): Promise<void> {
  if (socket.readyState === WebSocket.CLOSED) return
  const closed = once(socket, 'close')
  socket.terminate()
  await closed
}

function dial(server: Server): import('node:stream').Duplex {
  const [client, end] = socketPair()
  server.emit('connection', end)
  return client
}

function open(
  server: Server,
  path: string,
  { headers, protocols }: ConnectOptions,
): Promise<TestSocket> {
  const offered = typeof protocols === 'string' ? [protocols] : [...(protocols ?? [])]
  return new Promise((resolve, reject) => {
    const socket = new TestSocket(`ws://${HOST}${path}`, offered, {
      headers,
      createConnection: () => dial(server),
    })
    socket.once('open', () => resolve(socket))
    socket.once('error', reject)
    socket.once('unexpected-response', (_request, res) => {
      readWhole(res).then((response) => reject(new RejectedError(path, response)), reject)
    })
  })
}

function request(server: Server, path: string, options: RequestOptions): Promise<TestResponse> {
  const { method = 'GET', headers, body } = options
  return new Promise((resolve, reject) => {
    const req = httpRequest({
      path,
      method,
      headers: { host: HOST, ...headers },
      createConnection: () => dial(server) as never,
    })
    req.on('error', reject)
    req.on('response', (res) => {
      readWhole(res).then(resolve, reject)
    })
    req.end(body)
  })
}

async function readWhole(res: import('node:http').IncomingMessage): Promise<TestResponse> {
  const chunks: Buffer[] = []
  for await (const chunk of res) chunks.push(chunk as Buffer)
  const body = Buffer.concat(chunks).toString()
  return { status: res.statusCode ?? 0, headers: res.headers, body }
}

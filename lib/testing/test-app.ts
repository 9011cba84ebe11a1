// `testApp()`: a client for an app without a port.
import { once } from 'node:events'
import {
  createServer,
  request as httpRequest,
  type IncomingHttpHeaders,
  type Server,
} from 'node:http'
import type Koa from 'koa'
import { type RawData, WebSocket } from 'ws'
import { describe } from '../validate.ts'
import { socketPair } from './duplex-socket.ts'

/** An HTTP response, read completely. */
export interface TestResponse {
  /** The HTTP status. */
  readonly status: number
  /** The headers, with names in lower case. */
  readonly headers: IncomingHttpHeaders
  /** The body as text. */
  readonly body: string
}

/** The options of a WebSocket in a test. */
export interface ConnectOptions {
  /** Request headers, such as `authorization` or `cookie`. */
  headers?: Record<string, string>
  /** The subprotocols to offer. */
  protocols?: string | readonly string[]
}

/** The options of a plain HTTP request in a test. */
export interface RequestOptions {
  /** The method. @default 'GET' */
  method?: string
  /** Request headers. */
  headers?: Record<string, string>
  /** The body. */
  body?: string
}

/**
 * The error that `connect()` rejects with when the app answers over HTTP.
 *
 * @example
 * ```js
 * import Koa from 'koa'
 * import koaWs from 'koaws'
 * import { RejectedError, testApp } from 'koaws/testing'
 *
 * const app = new Koa()
 * app.use(koaWs())
 * app.use((ctx) => ctx.throw(401, 'Log in first'))
 *
 * try {
 *   await testApp(app).connect('/')
 * } catch (error) {
 *   if (error instanceof RejectedError) console.log(error.status, error.body) // 401 Log in first
 * }
 * ```
 */
export class RejectedError extends Error implements TestResponse {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string

  /** @param path the path of the handshake */
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
 * read, so that messages between two awaits are kept.
 *
 * @example
 * ```js
 * import Koa from 'koa'
 * import koaWs, { accept } from 'koaws'
 * import { testApp } from 'koaws/testing'
 *
 * const app = new Koa()
 * app.use(koaWs())
 * app.use(
 *   accept((connection) => {
 *     connection.send('one')
 *     connection.json({ two: 2 })
 *     connection.close(4000, 'enough')
 *   }),
 * )
 *
 * const socket = await testApp(app).connect('/')
 * console.log(await socket.next(), await socket.nextJson()) // one { two: 2 }
 * console.log(await socket.closed) // { code: 4000, reason: 'enough' }
 * ```
 */
export class TestSocket extends WebSocket {
  /** The headers of the 101 response. */
  readonly handshake: IncomingHttpHeaders = {}
  readonly #messages: (string | Buffer)[] = []
  readonly #readers: {
    resolve: (message: string | Buffer) => void
    reject: (error: Error) => void
  }[] = []
  #end: { code: number; reason: string } | null = null
  /** Resolves with the close code and reason. Never rejects. */
  readonly closed: Promise<{ code: number; reason: string }>

  /** @internal */
  constructor(address: string, protocols: string[], options: object) {
    super(address, protocols, options)
    this.on('upgrade', (res) => Object.assign(this.handshake, res.headers))
    this.on('message', (data, isBinary) => this.#take(data, isBinary))
    this.on('error', () => {}) // reported by `connect()` or `closed`
    this.closed = new Promise((resolve) => {
      this.on('close', (code, reason) => {
        this.#end = { code, reason: reason.toString() }
        for (const reader of this.#readers.splice(0)) reader.reject(this.#closedError())
        resolve(this.#end)
      })
    })
  }

  /**
   * Resolves with the next message: a string for text, a Buffer for binary. Rejects when the socket
   * closes first.
   */
  next(): Promise<string | Buffer> {
    const message = this.#messages.shift()
    if (message !== undefined) return Promise.resolve(message)
    if (this.#end) return Promise.reject(this.#closedError())
    return new Promise((resolve, reject) => this.#readers.push({ resolve, reject }))
  }

  /** Resolves with the next message, parsed as JSON. */
  async nextJson(): Promise<unknown> {
    return JSON.parse(String(await this.next()))
  }

  /** Sends a `value` as JSON. */
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
   * Opens a WebSocket. Rejects with a {@link RejectedError} (`status`, `headers`, `body`) when the
   * app answers with another status than 101.
   *
   * @param path the path and query of the handshake
   * @param options headers and subprotocols
   */
  connect(path: string, options?: ConnectOptions): Promise<TestSocket>
  /**
   * Returns a class of WebSockets that connect to the app, for `connect()` of `koaws/client`:
   * `connect('ws://app/chat', { WebSocket: test.webSocket() })`. The host in the URL is ignored.
   *
   * @param options `headers` for every handshake, such as a cookie
   */
  webSocket(options?: { headers?: Record<string, string> }): typeof WebSocket
  /**
   * Sends a plain HTTP request, and resolves with the whole response.
   *
   * @param path the path and query
   * @param options the method, headers and body
   */
  request(path: string, options?: RequestOptions): Promise<TestResponse>
  /** Ends all WebSockets of the test. */
  close(): Promise<void>
}

const HOST = 'koaws.test'

/**
 * Tests an app without a port: its chain, its upgrades and its connections run over in-memory
 * streams.
 *
 * @example
 * ```js
 * import assert from 'node:assert/strict'
 * import Koa from 'koa'
 * import koaWs, { accept } from 'koaws'
 * import { testApp } from 'koaws/testing'
 *
 * const app = new Koa()
 * app.use(koaWs())
 * app.use(accept((connection) => connection.on('message', (data) => connection.send(`${data}`))))
 *
 * const test = testApp(app)
 * const socket = await test.connect('/', { headers: { authorization: 'Bearer secret' } })
 * socket.send('hi')
 * assert.equal(await socket.next(), 'hi')
 * console.log((await test.request('/')).status) // 426
 * await test.close()
 * ```
 *
 * @param app with `koaWs()` among its middleware; it needs no server
 * @throws TypeError for a value that is not a Koa app
 */
export function testApp(app: Koa): TestApp {
  if (typeof (app as Partial<Koa> | null | undefined)?.callback !== 'function') {
    throw new TypeError(`testApp() takes an app of Koa, not ${describe(app)}.`)
  }
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

/** Returns a class of WebSockets that all connect to a server. */
function webSocketTo(
  server: Server,
  headers: Record<string, string> | undefined,
  keep: (socket: WebSocket) => void,
): typeof WebSocket {
  return class extends WebSocket {
    constructor(url: string | URL | null, protocols?: string | string[]) {
      super(url as string, protocols, { headers, createConnection: () => dial(server) } as object)
      this.on('error', () => {}) // reported by `close`
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

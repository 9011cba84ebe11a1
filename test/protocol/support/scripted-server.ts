import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'
import { eventually, listen } from '../../support/server.ts'

/** A client has begun a handshake, which is not answered yet. */
export interface Handshake {
  /** The subprotocols that it offers. */
  readonly offers: string[]
  /** When it came, in epoch milliseconds. */
  readonly at: number
  /** Answer 101. Null: without a subprotocol. */
  accept(subprotocol: string | null): ScriptedConnection
  /** Answer over HTTP. */
  reject(status: number): void
}

/** A server that does what a script says. */
export interface ScriptedServer {
  readonly url: string
  /** The next handshake, now or later. */
  next(): Promise<Handshake>
  /** How many handshakes nobody has asked for. */
  readonly waiting: number
  /** End what is connected, answered or not. */
  hangUp(): void
}

/** A server that does nothing by itself; `cleanUp` ends it, once nobody is connected. */
export async function startScriptedServer(): Promise<ScriptedServer> {
  const handshakes: Handshake[] = []
  const sockets = new Set<Duplex>()
  const server = createServer()
  server.on('connection', (socket) => sockets.add(socket))
  server.on('upgrade', (req, socket, head) => handshakes.push(handshakeOf(req, socket, head)))
  const port = await listen(server)
  return {
    url: `ws://127.0.0.1:${port}/chat`,
    get waiting() {
      return handshakes.length
    },
    async next() {
      await eventually(() => handshakes.length > 0, 'a handshake')
      return handshakes.shift() as Handshake
    },
    hangUp() {
      for (const socket of sockets) socket.destroy()
    },
  }
}

function handshakeOf(req: IncomingMessage, socket: Duplex, head: Buffer): Handshake {
  socket.on('error', () => {})
  const offers = req.headers['sec-websocket-protocol']?.split(',').map((name) => name.trim())
  return {
    offers: offers ?? [],
    at: Date.now(),
    accept(subprotocol) {
      const server = new WebSocketServer({
        noServer: true,
        handleProtocols: () => subprotocol ?? false,
      })
      let connection: ScriptedConnection | undefined
      server.handleUpgrade(req, socket, head, (webSocket) => {
        connection = new ScriptedConnection(webSocket)
      })
      if (!connection) throw new Error('the handshake is malformed')
      return connection
    },
    reject: (status) => socket.end(`HTTP/1.1 ${status} -\r\nContent-Length: 0\r\n\r\n`),
  }
}

/** The server's end of a connection: keeps what comes until it is asked for. */
export class ScriptedConnection {
  readonly #webSocket: WebSocket
  readonly #messages: string[] = []
  #end: number | null = null

  constructor(webSocket: WebSocket) {
    this.#webSocket = webSocket
    webSocket.on('error', () => {})
    webSocket.on('message', (data, isBinary) => {
      this.#messages.push(isBinary ? '(a binary message)' : String(data))
    })
    webSocket.on('close', (code) => {
      this.#end = code
    })
  }

  send(message: string | Buffer): void {
    this.#webSocket.send(message)
  }

  /** The next message, now or later. */
  async next(): Promise<string> {
    const isDue = (): boolean => this.#messages.length > 0 || this.#end !== null
    await eventually(isDue, 'a message of the client')
    const message = this.#messages.shift()
    if (message === undefined) throw new Error(`the client has closed with ${this.#end}`)
    return message
  }

  /** Fails if the client has sent more than what was asked for. */
  async nothingMore(): Promise<void> {
    if (this.#end === null) {
      this.#webSocket.ping()
      // What it has sent until now comes before its pong.
      await Promise.race([once(this.#webSocket, 'pong'), once(this.#webSocket, 'close')])
    }
    if (this.#messages.length > 0) throw new Error(`the client has also sent ${this.#messages[0]}`)
  }

  /** 1005: without a code; 1006: without a close frame. */
  close(code: number, reason = ''): void {
    if (code === 1006) this.#webSocket.terminate()
    else if (code === 1005) this.#webSocket.close()
    else this.#webSocket.close(code, reason)
  }

  /** The code with which the client has closed, now or later. */
  async closed(): Promise<number> {
    await eventually(() => this.#end !== null, 'the close')
    return this.#end as number
  }
}

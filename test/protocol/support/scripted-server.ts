import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'
import { eventually, listen } from '../../support/server.ts'

/** A handshake that a client has begun, and that is not answered yet. */
export interface Handshake {
  /** The subprotocols that it offers. */
  readonly offers: string[]
  /** The time of its arrival in epoch milliseconds. */
  readonly at: number
  /** Answers 101; null stands for no subprotocol. */
  accept(subprotocol: string | null): ScriptedConnection
  /** Answers with an HTTP status. */
  reject(status: number): void
}

/** A server that does what a script says. */
export interface ScriptedServer {
  readonly url: string
  /** The next handshake, now or later. */
  next(): Promise<Handshake>
  /** The number of handshakes that `next()` has not returned. */
  readonly waiting: number
  /** Destroys all sockets, answered or not. */
  hangUp(): void
}

/** Starts a server that does nothing by itself; `cleanUp` ends it once all clients have left. */
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

/** The server's end of a connection: keeps messages until the test takes them. */
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

  /** Fails if the client has sent more messages than the test has taken. */
  async nothingMore(): Promise<void> {
    if (this.#end === null) {
      this.#webSocket.ping()
      // The messages of the client arrive before its pong.
      await Promise.race([once(this.#webSocket, 'pong'), once(this.#webSocket, 'close')])
    }
    if (this.#messages.length > 0) throw new Error(`the client has also sent ${this.#messages[0]}`)
  }

  /** Closes; 1005 stands for no code, and 1006 for no close frame. */
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

import type { WebSocketClass } from '../../../lib/client/index.ts'

/** A WebSocket that does what the test says, when it says so. */
export class ScriptedSocket {
  readyState = 0
  protocol = ''
  onopen: ((event: never) => void) | null = null
  onmessage: ((event: never) => void) | null = null
  onerror: ((event: never) => void) | null = null
  onclose: ((event: never) => void) | null = null
  readonly sent: Sent[] = []
  /** What `close()` was called with, once for each call. */
  readonly closes: [code?: number, reason?: string][] = []
  readonly url: string
  readonly offered: readonly string[]

  constructor(url: string, offered: readonly string[]) {
    this.url = url
    this.offered = offered
  }

  send(data: string): void {
    this.sent.push(JSON.parse(data))
  }

  close(...args: [code?: number, reason?: string]): void {
    this.closes.push(args)
    if (this.readyState < 2) this.readyState = 2
  }

  /** The last message that the client sent. */
  get last(): Sent {
    return this.sent.at(-1) as Sent
  }

  /** The server accepts the handshake. */
  open(protocol = 'koaws.v1'): this {
    this.readyState = 1
    this.protocol = protocol
    this.onopen?.({} as never)
    return this
  }

  /** The server accepts the handshake, and welcomes. */
  welcome(fields: object = {}): this {
    return this.open().push('koaws:welcome', { version: 1, connection: 'c1', ...fields })
  }

  push(type: string, data?: unknown): this {
    return this.json({ type, data })
  }

  json(message: object): this {
    return this.receive(JSON.stringify(message))
  }

  receive(data: unknown): this {
    this.onmessage?.({ data } as never)
    return this
  }

  /** The connection ends. */
  end(code: number, reason = ''): void {
    this.readyState = 3
    this.onclose?.({ code, reason } as never)
  }
}

export interface Sent {
  type: string
  id: number
  data?: unknown
  error?: { code: string; message: string; status: number; retryable: boolean; data?: unknown }
}

/** A class for the option `WebSocket`, and what was made of it. */
export function scriptedSockets(): {
  WebSocket: WebSocketClass
  sockets: ScriptedSocket[]
  /** The one that was made last. */
  readonly last: ScriptedSocket
} {
  const sockets: ScriptedSocket[] = []
  class WebSocket extends ScriptedSocket {
    constructor(url: string, offered: readonly string[]) {
      super(url, offered)
      sockets.push(this)
    }
  }
  return {
    WebSocket,
    sockets,
    get last() {
      const socket = sockets.at(-1)
      if (!socket) throw new Error('No WebSocket was made')
      return socket
    },
  }
}

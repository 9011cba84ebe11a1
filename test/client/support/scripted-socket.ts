import type { WebSocketClass } from '../../../lib/client/index.ts'

/** A WebSocket that a test scripts step by step. */
export class ScriptedSocket {
  readyState = 0
  protocol = ''
  onopen: ((event: never) => void) | null = null
  onmessage: ((event: never) => void) | null = null
  onerror: ((event: never) => void) | null = null
  onclose: ((event: never) => void) | null = null
  /** The messages of the client, without the first one: `koaws:resume`. */
  readonly sent: Sent[] = []
  /** The data of `koaws:resume`. */
  resumed: Resumed | undefined
  /** The arguments of each call of `close()`. */
  readonly closes: [code?: number, reason?: string][] = []
  readonly url: string
  readonly offered: readonly string[]

  constructor(url: string, offered: readonly string[]) {
    this.url = url
    this.offered = offered
  }

  send(data: string): void {
    const message = JSON.parse(data) as Sent
    if (message.type !== 'koaws:resume') this.sent.push(message)
    else if (this.resumed || this.sent.length > 0) throw new Error('koaws:resume is not the first')
    else this.resumed = message.data as Resumed
  }

  close(...args: [code?: number, reason?: string]): void {
    this.closes.push(args)
    if (this.readyState < 2) this.readyState = 2
  }

  /** The last message that the client sent. */
  get last(): Sent {
    return this.sent.at(-1) as Sent
  }

  /** Plays a handshake that the server accepts. */
  open(protocol = 'koaws.v1'): this {
    this.readyState = 1
    this.protocol = protocol
    this.onopen?.({} as never)
    return this
  }

  /** Plays an accepted handshake and the welcome. */
  welcome(fields: object = {}): this {
    if (this.readyState === 0) this.open()
    return this.push('koaws:welcome', { version: 1, connection: 'c1', ...fields })
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

  /** Plays the end of the connection. */
  end(code: number, reason = ''): void {
    this.readyState = 3
    this.onclose?.({ code, reason } as never)
  }
}

export interface Resumed {
  previous: string[]
  positions: Record<string, string>
}

export interface Sent {
  type: string
  id: number
  data?: unknown
  key?: string
  again?: boolean
  credit?: number
  upload?: boolean
  since?: number
  error?: { code: string; message: string; status: number; retryable: boolean; data?: unknown }
}

/** Makes a class for the option `WebSocket`, and lists its instances. */
export function scriptedSockets(): {
  WebSocket: WebSocketClass
  sockets: ScriptedSocket[]
  /** The newest socket. */
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

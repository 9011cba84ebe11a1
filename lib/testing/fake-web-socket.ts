// The client's end of a fake server, which behaves like a browser's WebSocket.
import { byteLength } from '../client/envelope.ts'

/** The server's end of a fake WebSocket. Its methods never run inside a call of the client. */
export interface FakePeer {
  /** A client connects: answer once, with `accept()` or `end()`. */
  onHandshake(socket: FakeWebSocket): void
  onMessage(socket: FakeWebSocket, text: string): void
  /** The connection has ended, from either side. */
  onEnd(socket: FakeWebSocket): void
}

type Handler = ((event: never) => void) | null

const CONNECTING = 0
const OPEN = 1
const CLOSING = 2
const CLOSED = 3

/** A page's WebSocket without a network. Events are microtasks, despite fake timers. */
export class FakeWebSocket extends EventTarget {
  static readonly CONNECTING: number = CONNECTING
  static readonly OPEN: number = OPEN
  static readonly CLOSING: number = CLOSING
  static readonly CLOSED: number = CLOSED

  readonly url: string
  /** The subprotocols that the client offered. */
  readonly offered: readonly string[]
  readonly extensions = ''
  readonly bufferedAmount = 0
  binaryType = 'blob'
  protocol = ''
  readyState: number = CONNECTING
  onopen: Handler = null
  onmessage: Handler = null
  onerror: Handler = null
  onclose: Handler = null
  readonly #peer: FakePeer

  constructor(peer: FakePeer, url: string | URL, protocols: string | readonly string[] = []) {
    super()
    this.#peer = peer
    this.url = String(url)
    this.offered = typeof protocols === 'string' ? [protocols] : [...protocols]
    queueMicrotask(() => {
      if (this.readyState === CONNECTING) peer.onHandshake(this)
    })
  }

  /**
   * Sends a message of the client.
   *
   * @throws DOMException while connecting, as a browser does
   */
  send(data: string): void {
    if (this.readyState === CONNECTING) {
      throw new DOMException('Still in CONNECTING state', 'InvalidStateError')
    }
    queueMicrotask(() => {
      if (this.readyState === OPEN) this.#peer.onMessage(this, data)
    })
  }

  /**
   * Closes from the client's side.
   *
   * @throws DOMException for a code or reason that a browser rejects
   */
  close(code?: number, reason = ''): void {
    assertClosable(code, reason)
    if (this.readyState >= CLOSING) return
    const answered = this.readyState === OPEN
    this.readyState = CLOSING
    queueMicrotask(() => this.#finish(answered ? (code ?? 1005) : 1006, reason))
  }

  /** Accepts the connection, for the server. */
  accept(protocol: string): void {
    this.readyState = OPEN
    this.protocol = protocol
    this.#fire('open', {})
  }

  /** Sends a message of the server. */
  deliver(data: string): void {
    queueMicrotask(() => {
      if (this.readyState === OPEN) this.#fire('message', { data })
    })
  }

  /** Ends the connection, for the server or the network: 1006 is an end without a close frame. */
  end(code: number, reason: string): void {
    queueMicrotask(() => this.#finish(code, reason))
  }

  #finish(code: number, reason: string): void {
    if (this.readyState === CLOSED) return
    this.readyState = CLOSED
    this.#peer.onEnd(this)
    const wasClean = code !== 1006
    if (!wasClean) this.#fire('error', {})
    this.#fire('close', { code, reason: wasClean ? reason : '', wasClean })
  }

  #fire(type: 'open' | 'message' | 'error' | 'close', fields: object): void {
    const event = Object.assign(new Event(type), fields)
    this[`on${type}`]?.(event as never)
    this.dispatchEvent(event)
  }
}

/** Asserts that a browser lets a page close with this code and reason. */
function assertClosable(code: number | undefined, reason: string): void {
  if (code !== undefined && code !== 1000 && !(code >= 3000 && code <= 4999)) {
    throw new DOMException(`A page cannot close with ${code}`, 'InvalidAccessError')
  }
  if (byteLength(reason) > 123) {
    throw new DOMException('The reason is longer than 123 bytes', 'SyntaxError')
  }
}

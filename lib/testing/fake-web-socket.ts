/** What a fake WebSocket talks to. Nothing of it is called in the middle of a call of the client. */
export interface FakePeer {
  /** A client wants to connect: answer with `accept()` or `end()`, once. */
  onHandshake(socket: FakeWebSocket): void
  onMessage(socket: FakeWebSocket, text: string): void
  /** It has ended, from either side. */
  onEnd(socket: FakeWebSocket): void
}

type Handler = ((event: never) => void) | null

const CONNECTING = 0
const OPEN = 1
const CLOSING = 2
const CLOSED = 3

/**
 * A WebSocket as a page sees it, without a network. Events come in microtasks: never within a call of
 * the client, and not held up by the fake timers of a test.
 */
export class FakeWebSocket extends EventTarget {
  static readonly CONNECTING: number = CONNECTING
  static readonly OPEN: number = OPEN
  static readonly CLOSING: number = CLOSING
  static readonly CLOSED: number = CLOSED

  readonly url: string
  /** What the client offered. */
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

  /** The client sends. */
  send(data: string): void {
    if (this.readyState === CONNECTING) {
      throw new DOMException('Still in CONNECTING state', 'InvalidStateError')
    }
    queueMicrotask(() => {
      if (this.readyState === OPEN) this.#peer.onMessage(this, data)
    })
  }

  /** The client closes. */
  close(code?: number, reason = ''): void {
    assertClosable(code, reason)
    if (this.readyState >= CLOSING) return
    const answered = this.readyState === OPEN
    this.readyState = CLOSING
    queueMicrotask(() => this.#finish(answered ? (code ?? 1005) : 1006, reason))
  }

  /** The server accepts. */
  accept(protocol: string): void {
    this.readyState = OPEN
    this.protocol = protocol
    this.#fire('open', {})
  }

  /** The server sends. */
  deliver(data: string): void {
    queueMicrotask(() => {
      if (this.readyState === OPEN) this.#fire('message', { data })
    })
  }

  /** The server, or the network, ends it: 1006 is an end without a close frame. */
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

/** What a browser lets a page close with. */
function assertClosable(code: number | undefined, reason: string): void {
  if (code !== undefined && code !== 1000 && !(code >= 3000 && code <= 4999)) {
    throw new DOMException(`A page cannot close with ${code}`, 'InvalidAccessError')
  }
  if (new TextEncoder().encode(reason).length > 123) {
    throw new DOMException('The reason is longer than 123 bytes', 'SyntaxError')
  }
}

import type { AsyncResource } from 'node:async_hooks'
import { EventEmitter } from 'node:events'
import { parse, type ParsedUrlQuery } from 'node:querystring'
import type { Duplex } from 'node:stream'
import type { DefaultState } from 'koa'
import { WebSocket } from 'ws'
import { debugConnection, loggable } from '../debug.ts'
import { KoaWsError, toError } from '../errors.ts'
import { CloseCode, closeCodeForStatus, closeReason } from '../protocol/close-codes.ts'
import {
  type DomListener,
  guardDomListener,
  guardedForm,
  originalForm,
} from './event-target.ts'
import { Expiry } from './expiry.ts'
import { Inbox, type RawMessage } from './inbox.ts'
import { MessageIterator } from './iterator.ts'

/** How a connection ended. */
export interface CloseInfo {
  /** The close code: the peer's, or ours when the peer could not be told any more. */
  readonly code: number
  /** The close reason, at most 123 bytes of UTF-8. */
  readonly reason: string
  /** Whether the closing handshake was completed (RFC 6455, section 7.1.4). */
  readonly clean: boolean
}

/** What `connection.refresh()` takes. */
export interface Refresh<State = DefaultState> {
  /** Replaces `connection.state`. */
  state?: State
  /** The new end of the authorisation: Date, epoch milliseconds, or null for never. */
  expiresAt?: Date | number | null
  /** Whom the new authorisation is for; another user than before closes with 4403. */
  userId?: string | number
}

/** What an error listener of the app gets in place of a ctx once that is gone. */
export interface ErrorPlace {
  readonly path: string
  readonly ip: string
  readonly state: unknown
  readonly connection: Connection
}

/** Whom a connection belongs to: told of its end and of its errors, and keeper of the rooms. */
export interface ConnectionOwner {
  /** Called before the `close` event: the connection can no longer be reached. */
  unreachable(connection: Connection): void
  /** Called after the `close` event. */
  ended(connection: Connection, info: CloseInfo): void
  /** A handler or listener threw. */
  failed(connection: Connection, error: Error): void
  /** So many messages were discarded because nobody listened. */
  unheard(count: number): void
  join(connection: Connection, rooms: readonly string[]): Promise<void>
  leave(connection: Connection, rooms: readonly string[]): void
  roomsOf(connection: Connection): ReadonlySet<string>
}

/** The facts of the handshake that a connection is made with. */
export interface ConnectionFacts {
  readonly id: string
  readonly userId: string | undefined
  readonly state: unknown
  readonly ip: string
  /** Path and query of the request. */
  readonly url: string
  readonly params: Readonly<Record<string, string>>
  readonly expiresAt: number | null
  readonly socket: Duplex
  readonly owner: ConnectionOwner
  readonly scope: AsyncResource | null
}

/** The arguments of ws's `close` event. */
interface CloseEvent {
  readonly code: number
  readonly reason: Buffer
}

/** What few connections need: made on first use. */
interface Extras {
  query?: ParsedUrlQuery
  controller?: AbortController
  closed?: Promise<CloseInfo>
  settleClosed?: (info: CloseInfo) => void
  iterator?: MessageIterator | undefined
  pingedAt?: number
}

/** What `connection.send()` takes. */
export type Sendable = string | Buffer | ArrayBuffer | ArrayBufferView

/** How `connection.send()` sends. */
export interface SendOptions {
  /** Whether this is a binary message; by default strings are text and all else is binary. */
  binary?: boolean
  /** Whether to compress, where compression was negotiated. @default true */
  compress?: boolean
  /** Whether this is the last fragment of its message. @default true */
  fin?: boolean
}

type AnyConnection = Connection<never>

/** The handshake is done: the connection takes up its facts. For koaws itself. */
export let openConnection: (connection: AnyConnection, facts: ConnectionFacts) => void
/** The handler has settled: messages that nobody wants are no longer kept. For koaws itself. */
export let handlerSettled: (connection: AnyConnection) => void
/** A shutdown begins: loops over the messages end. For koaws itself. */
export let endIteration: (connection: AnyConnection) => void
/**
 * Close because of an error in a handler or listener: an http-error of the 400s becomes
 * 4000 + status, anything else 1011. Reported to the owner unless somebody else does.
 */
export let failConnection: (connection: AnyConnection, thrown: unknown, report: boolean) => void

let uncork: (connection: AnyConnection) => void

/** Time between a protocol error of the client and the end of its TCP connection, in milliseconds. */
const PROTOCOL_ERROR_LINGER = 250
const NOBODY: ReadonlySet<string> = new Set()

/**
 * One accepted WebSocket. It is a `ws` WebSocket (RFC 6455), so what is written for `ws` works on
 * it, with these differences:
 *
 * - an exception, or a rejection, in one of its listeners closes it with 1011 and goes to
 *   `app.on('error')`: it never ends the process, and a protocol error needs no `error` listener;
 * - messages that arrive while the handler runs and nobody listens yet are kept for the first
 *   listener; a `close` listener that comes too late is still told;
 * - listeners run in the async context of the handshake.
 *
 * It is made by koaws when an upgrade is accepted, never by `new`.
 */
export class Connection<State = DefaultState>
  extends WebSocket
  implements AsyncIterable<string | Buffer>
{
  /** Unique among all connections of all instances. */
  readonly id: string = ''
  /** Who this is, as the option `user` said at the handshake. */
  readonly userId: string | undefined = undefined
  /** `ctx.state` of the handshake. */
  readonly state: State = undefined as State
  /** The address of the client: `ctx.ip` of the handshake. */
  readonly ip: string = ''
  /** The route's parameters at the handshake. */
  readonly params: Readonly<Record<string, string>> = {}
  /** When the connection was accepted, in epoch milliseconds. */
  readonly openedAt: number = 0
  /** The last round trip of a ping in milliseconds; undefined until a pong has answered one. */
  readonly rtt: number | undefined = undefined

  #url = ''
  #owner: ConnectionOwner | null = null
  #socket: Duplex | null = null
  #scope: AsyncResource | null = null
  #expiry: Expiry<WebSocket> | null = null
  #inbox: Inbox | null = null
  #extras: Extras | null = null
  #verdict: CloseInfo | null = null
  #end: CloseEvent | null = null
  /** While the handler runs, and while the inbox still holds something. */
  #holding = true
  #handling = true
  #corked = false

  /** Called by ws when it has accepted a handshake. */
  constructor(address: null, protocols?: undefined, options?: object) {
    super(address as unknown as string, protocols, options)
    // Turns on the documented `captureRejections` for this emitter: ws calls its own parent's
    // constructor without options. Calling the constructor on an existing object is how emitters
    // were inherited before classes; it keeps what is registered.
    ;(EventEmitter as unknown as (options: object) => void).call(this, CAPTURE)
  }

  /** The path of the request, without the query. */
  get path(): string {
    const end = this.#url.indexOf('?')
    return end < 0 ? this.#url : this.#url.slice(0, end)
  }

  /** The query of the request, parsed on first use. */
  get query(): ParsedUrlQuery {
    const extras = this.#lazy()
    extras.query ??= parse(this.#url.slice(this.path.length + 1))
    return extras.query
  }

  /** The rooms that this connection is in. Still readable when `close` fires. */
  get rooms(): ReadonlySet<string> {
    return this.#owner?.roomsOf(this as Connection) ?? NOBODY
  }

  /** When the authorisation ends, in epoch milliseconds, or null for never. */
  get expiresAt(): number | null {
    return this.#expiry?.at ?? null
  }

  /** Aborts when the connection has ended. */
  get signal(): AbortSignal {
    const extras = this.#lazy()
    if (!extras.controller) {
      extras.controller = new AbortController()
      if (this.#end) extras.controller.abort(closedError())
    }
    return extras.controller.signal
  }

  /**
   * How the connection ended. Never rejects. Our own verdict is told even when the peer could not
   * be told: then `clean` is false.
   */
  get closed(): Promise<CloseInfo> {
    const extras = this.#lazy()
    extras.closed ??= new Promise((resolve) => {
      if (this.#end) resolve(this.#closeInfo())
      else extras.settleClosed = resolve
    })
    return extras.closed
  }

  /**
   * Send a value as JSON in a text message.
   *
   * @throws TypeError when the value has no JSON form (undefined, a function, a BigInt, a cycle)
   */
  json(value: unknown): void {
    const text = JSON.stringify(value) as string | undefined
    if (text === undefined) {
      throw new TypeError(`connection.json() needs a value with a JSON form, not ${typeof value}`)
    }
    this.send(text)
  }

  /**
   * Enter rooms. Local membership holds at once; the promise never rejects.
   *
   * @throws TypeError when a name is no string of 1 to 255 bytes
   */
  join(...rooms: string[]): Promise<void> {
    return this.#owner?.join(this as Connection, rooms) ?? Promise.resolve()
  }

  /** Leave rooms; a room that the connection is not in is ignored. */
  leave(...rooms: string[]): void {
    this.#owner?.leave(this as Connection, rooms)
  }

  /**
   * Give the open connection a new authorisation. A `userId` that differs from the present one
   * closes with 4403, and nothing else is taken over.
   *
   * @throws TypeError when `expiresAt` is no Date, epoch milliseconds or null
   */
  refresh({ state, expiresAt, userId }: Refresh<State>): void {
    const at = expiresAt === undefined ? undefined : epochMilliseconds(expiresAt)
    if (userId !== undefined && String(userId) !== this.userId) {
      this.close(CloseCode.otherUser, 'another user')
      return
    }
    if (state !== undefined) write(this, 'state', state)
    if (at !== undefined) this.#expireAt(at)
  }

  /**
   * The messages, in order: `string` for text, `Buffer` for binary. Reading from the client stops
   * while the loop is busy. Ends when the connection closes and when the hub begins to shut down.
   *
   * @throws KoaWsError when another loop is reading already
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<string | Buffer> {
    const extras = this.#lazy()
    if (extras.iterator) {
      throw new KoaWsError(
        'ERR_KOAWS_ITERATING',
        'This connection is being iterated already: one loop reads it, and shares what it read.',
      )
    }
    extras.iterator = new MessageIterator(this, () => {
      extras.iterator = undefined
    })
    return extras.iterator
  }

  // ---- ws's own methods, with what a connection adds

  /** ws's `send`; what is sent in one turn of the event loop leaves in one write. */
  override send(data: Sendable, callback?: (error?: Error) => void): void
  override send(data: Sendable, options: SendOptions, callback?: (error?: Error) => void): void
  override send(
    data: Sendable,
    options?: SendOptions | ((error?: Error) => void),
    callback?: (error?: Error) => void,
  ): void {
    if (!this.#corked) this.#cork()
    super.send(data, options as SendOptions, callback)
  }

  /** ws's `ping`; the first pong after it sets `rtt`. */
  override ping(data?: unknown, mask?: boolean, callback?: (error: Error) => void): void {
    const extras = this.#lazy()
    if (extras.pingedAt === undefined) {
      extras.pingedAt = performance.now()
      super.once('pong', () => this.#ponged())
    }
    super.ping(data, mask, callback)
  }

  /** Begin the closing handshake (RFC 6455, section 7.1.2). */
  override close(code?: number, reason?: string | Buffer): void {
    if (this.readyState === WebSocket.OPEN) {
      this.#verdict ??= {
        code: code ?? 1005,
        reason: reason === undefined ? '' : String(reason),
        clean: false,
      }
    }
    super.close(code, reason)
    // Whoever does not read cannot see the peer's close frame.
    if (this.readyState === WebSocket.CLOSING && this.isPaused) this.resume()
  }

  /** End the TCP connection at once. What was sent before in this turn is handed to the kernel. */
  override terminate(): void {
    this.#uncork()
    super.terminate()
  }

  /** Stop reading from the client: TCP backpressure. */
  override pause(): void {
    this.#inbox?.disownPause()
    super.pause()
  }

  override emit(event: string | symbol, ...args: unknown[]): boolean {
    if (event === 'message') {
      if (this.#holding && this.#hold(args as unknown as RawMessage)) return true
    } else if (event === 'close') {
      return this.#emitClose(args[0] as number, args[1] as Buffer)
    } else if (event === 'error' && this.listenerCount('error') === 0) {
      this.#sawError(args[0])
      return false
    } else if (event === 'error') {
      this.#sawError(args[0])
    }
    return this.#emitNow(event, args)
  }

  #lazy(): Extras {
    this.#extras ??= {}
    return this.#extras
  }

  #emitNow(event: string | symbol, args: unknown[]): boolean {
    try {
      return this.#scope === null
        ? super.emit(event as 'message', ...args)
        : this.#scope.runInAsyncScope(super.emit, this, event, ...args)
    } catch (error) {
      this.#fail(error, true)
      return true
    }
  }

  /** Keep a message for a listener to come; false when somebody hears it now. */
  #hold(message: RawMessage): boolean {
    if (!this.#inbox) {
      if (this.listenerCount('message') > 0) return false
      this.#inbox = this.#newInbox()
    }
    // Once we close, no more is taken in: a client that goes on sending must not fill memory.
    if (this.readyState === WebSocket.OPEN) this.#inbox.push(message)
    else this.#owner?.unheard(1)
    return true
  }

  #newInbox(): Inbox {
    return new Inbox({
      hears: () => this.listenerCount('message') > 0,
      deliver: (message) => this.#emitNow('message', message as unknown as unknown[]),
      stopReading: () => super.pause(),
      goOnReading: () => this.resume(),
      emptied: (discarded) => this.#inboxEmptied(discarded),
    })
  }

  #inboxEmptied(discarded: number): void {
    this.#inbox = null
    if (discarded === 0) {
      this.#holding = this.#handling
      return
    }
    // Nobody came to listen: from here on it is as with plain ws.
    this.#holding = false
    debugConnection('%s: %d messages discarded, nobody listened', this.id, discarded)
    this.#owner?.unheard(discarded)
  }

  #open(facts: ConnectionFacts): void {
    write(this, 'id', facts.id)
    write(this, 'userId', facts.userId)
    write(this, 'state', facts.state as State)
    write(this, 'ip', facts.ip)
    write(this, 'params', facts.params)
    write(this, 'openedAt', Date.now())
    this.#url = facts.url
    this.#owner = facts.owner
    this.#socket = facts.socket
    this.#scope = facts.scope
    if (facts.expiresAt !== null) this.#expireAt(facts.expiresAt)
  }

  #handlerSettled(): void {
    this.#handling = false
    if (!this.#inbox) this.#holding = false
    else if (this.listenerCount('message') > 0) this.#inbox.flushSoon()
    else this.#inbox.discard()
  }

  #fail(thrown: unknown, report: boolean): void {
    const error = toError(thrown)
    const { status, expose } = error as { status?: unknown; expose?: unknown }
    if (typeof status === 'number' && status >= 400 && status < 500) {
      this.close(closeCodeForStatus(status), expose === true ? closeReason(error.message) : '')
    } else {
      this.close(CloseCode.internal, 'Internal Server Error')
    }
    if (report) this.#owner?.failed(this as Connection, error)
  }

  #listens(event: string | symbol, listener: (...args: never[]) => void): void {
    if (event === 'message') this.#inbox?.flushSoon()
    else if (event === 'close' && this.#end) this.#tellClosed(listener)
  }

  /** A `close` listener that came too late hears of it all the same, after waiting messages. */
  #tellClosed(listener: (...args: never[]) => void): void {
    const tell = (): void => {
      if (!this.rawListeners('close').includes(listener)) return
      const { code, reason } = this.#end as CloseEvent
      const call = (): unknown => (listener as (...args: unknown[]) => unknown).call(this, code, reason)
      try {
        const result = this.#scope === null ? call() : this.#scope.runInAsyncScope(call)
        if (result instanceof Promise) result.catch((error: unknown) => this.#fail(error, true))
      } catch (error) {
        this.#fail(error, true)
      }
    }
    process.nextTick(() => {
      if (this.#inbox) this.#inbox.afterwards(tell)
      else tell()
    })
  }

  #emitClose(code: number, reason: Buffer): boolean {
    if (this.#end) return false
    this.#end = { code, reason }
    this.#expiry?.cancel()
    this.#owner?.unreachable(this as Connection)
    const heard = this.#emitNow('close', [code, reason])
    const info = this.#closeInfo()
    this.#extras?.controller?.abort(closedError())
    this.#extras?.settleClosed?.(info)
    this.#owner?.ended(this as Connection, info)
    return heard
  }

  #closeInfo(): CloseInfo {
    const { code, reason } = this.#end as CloseEvent
    if (code !== 1006) return { code, reason: reason.toString('utf8'), clean: true }
    return this.#verdict ?? { code, reason: '', clean: false }
  }

  /** ws has begun to close; after a protocol error it would go on reading for `closeTimeout`. */
  #sawError(error: unknown): void {
    debugConnection('%s: %s', this.id, loggable((error as Error | undefined)?.message))
    setTimeout(terminateConnection, PROTOCOL_ERROR_LINGER, this).unref()
  }

  #expireAt(at: number | null): void {
    this.#expiry?.cancel()
    this.#expiry = at === null ? null : new Expiry<WebSocket>(at, expireConnection, this)
  }

  #ponged(): void {
    const extras = this.#lazy()
    if (extras.pingedAt !== undefined) write(this, 'rtt', performance.now() - extras.pingedAt)
    delete extras.pingedAt
  }

  #cork(): void {
    if (this.#corked || this.#socket === null) return
    this.#corked = true
    this.#socket.cork()
    process.nextTick(uncork, this)
  }

  #uncork(): void {
    if (!this.#corked) return
    this.#corked = false
    this.#socket?.uncork()
  }

  static {
    openConnection = (connection, facts) => connection.#open(facts)
    handlerSettled = (connection) => connection.#handlerSettled()
    endIteration = (connection) => connection.#extras?.iterator?.end()
    failConnection = (connection, thrown, report) => connection.#fail(thrown, report)
    uncork = (connection) => connection.#uncork()
    Connection.#watchListeners()
  }

  /** Defined on the prototype from here, so that ws's own typed overloads stay what users see. */
  static #watchListeners(): void {
    const { on, prependListener, addEventListener, removeEventListener } = WebSocket.prototype
    const define = (name: string | symbol, value: unknown): void => {
      Object.defineProperty(Connection.prototype, name, { configurable: true, writable: true, value })
    }
    const watched = (add: (this: WebSocket, event: never, listener: never) => unknown): unknown =>
      function (this: Connection, event: never, listener: never): unknown {
        add.call(this, event, listener)
        this.#listens(event, listener)
        return this
      }
    // Node calls it for the rejection of an async listener (`captureRejections`).
    define(EventEmitter.captureRejectionSymbol, function (this: Connection, error: unknown) {
      this.#fail(error, true)
    })
    define('on', watched(on))
    define('addListener', watched(on))
    define('prependListener', watched(prependListener))
    define('addEventListener', function (this: WebSocket, type: never, listener: DomListener, options?: object) {
      addEventListener.call(this, type, guardDomListener(listener, reportDomRejection) as never, options)
    })
    define('removeEventListener', function (this: WebSocket, type: never, listener: DomListener) {
      removeEventListener.call(this, type, guardedForm(listener) as never)
    })
    // `connection.onmessage = fn` registers the guarded form; reading it back gives what was assigned.
    for (const name of ['onclose', 'onerror', 'onmessage', 'onopen'] as const) {
      const own = Object.getOwnPropertyDescriptor(WebSocket.prototype, name) as PropertyDescriptor
      Object.defineProperty(Connection.prototype, name, {
        ...own,
        get(this: Connection) {
          return originalForm(own.get?.call(this) as DomListener | null)
        },
      })
    }
  }
}

const CAPTURE = { captureRejections: true }

/** The instants that `expiresAt` may be given as, in epoch milliseconds; null means never. */
export function epochMilliseconds(value: Date | number | null): number | null {
  if (value === null) return null
  const at = value instanceof Date ? value.getTime() : value
  if (typeof at !== 'number' || !Number.isFinite(at)) {
    throw new TypeError('expiresAt must be a Date, epoch milliseconds, or null for never')
  }
  if (at < 1e11) {
    throw new TypeError(
      `expiresAt is ${at}: that is in 1973 or before. Are these seconds? Multiply by 1000.`,
    )
  }
  return at
}

/** Readonly for users; we fill it in. */
function write<T extends object, K extends keyof T>(target: T, key: K, value: T[K]): void {
  target[key] = value
}

function closedError(): KoaWsError {
  return new KoaWsError('ERR_KOAWS_CLOSED', 'The connection is closed')
}

function terminateConnection(connection: WebSocket): void {
  connection.terminate()
}

function expireConnection(connection: WebSocket): void {
  connection.close(CloseCode.expired, 'expired')
}

function reportDomRejection(target: unknown, error: unknown): void {
  failConnection(target as AnyConnection, error, true)
}

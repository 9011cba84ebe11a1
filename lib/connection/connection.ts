import type { AsyncResource } from 'node:async_hooks'
import { EventEmitter } from 'node:events'
import { type ParsedUrlQuery, parse } from 'node:querystring'
import type { Duplex } from 'node:stream'
import type { DefaultState } from 'koa'
import { WebSocket } from 'ws'
import { debugConnection, messageOf } from '../debug.ts'
import { exposureOf, KoaWsError, toError } from '../errors.ts'
import { CloseCode, closeCodeForStatus, closeReason } from '../protocol/close-codes.ts'
import { Expiry } from './expiry.ts'
import { Inbox, type RawMessage } from './inbox.ts'
import { epochMilliseconds } from './instant.ts'
import { MessageIterator } from './iterator.ts'
import { watchListeners } from './listeners.ts'
import type { ConnectionFacts, ConnectionOwner } from './owner.ts'
import type { CloseInfo, Refresh, Sendable, SendOptions } from './types.ts'

/** The arguments of ws's `close` event. */
interface CloseEvent {
  readonly code: number
  readonly reason: Buffer
}

/** What few connections need, or only at their end: made on first use. */
interface Extras {
  query?: ParsedUrlQuery
  controller?: AbortController
  closed?: Promise<CloseInfo>
  settleClosed?: (info: CloseInfo) => void
  iterator?: MessageIterator | undefined
  inbox?: Inbox | undefined
  expiry?: Expiry<WebSocket> | undefined
  pingedAt?: number | undefined
  rtt?: number
  /** The first code that we closed with. */
  verdict?: CloseInfo
  end?: CloseEvent
}

type AnyConnection = Connection<unknown>

/** The handshake is done: the connection takes up its facts. For koaws itself. */
export let openConnection: (connection: AnyConnection, facts: ConnectionFacts<Connection>) => void
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
let expire: (connection: WebSocket) => void

/** Time between a protocol error of the client and the end of its TCP connection, in milliseconds. */
const PROTOCOL_ERROR_LINGER = 250
const NOBODY: ReadonlySet<string> = new Set()
const NO_PARAMS: Readonly<Record<string, string>> = Object.freeze({})
const CAPTURE = { captureRejections: true }

/** Messages are kept for a listener to come: while the handler runs, and while the inbox holds some. */
const HOLDING = 1
/** The handler runs. */
const HANDLING = 2
/** Something was sent in this turn. */
const CORKED = 4
/** We have closed for cause, and the client is heard no more. */
const DEAF = 8

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
  readonly params: Readonly<Record<string, string>> = NO_PARAMS
  /** When the connection was accepted, in epoch milliseconds. */
  readonly openedAt: number = 0

  #url = ''
  #owner: ConnectionOwner<Connection> | null = null
  #socket: Duplex | null = null
  #scope: AsyncResource | null = null
  #extras: Extras | null = null
  #flags: number = HOLDING | HANDLING

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
    return this.#extras?.expiry?.at ?? null
  }

  /** The last round trip of a ping in milliseconds; undefined until a pong has answered one. */
  get rtt(): number | undefined {
    return this.#extras?.rtt
  }

  /** Aborts when the connection has ended. */
  get signal(): AbortSignal {
    const extras = this.#lazy()
    if (!extras.controller) {
      extras.controller = new AbortController()
      if (extras.end) extras.controller.abort(closedError())
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
      if (extras.end) resolve(closeInfo(extras))
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
      this.#closeForCause(CloseCode.otherUser, 'another user')
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
    if ((this.#flags & CORKED) === 0 && this.#socket !== null) this.#cork(this.#socket)
    super.send(data, options as SendOptions, callback)
  }

  /** ws's `ping`; the first pong after it sets `rtt`. */
  override ping(data?: unknown, mask?: boolean, callback?: (error: Error) => void): void {
    const extras = this.#lazy()
    if (extras.pingedAt === undefined) {
      extras.pingedAt = performance.now()
      super.once('pong', () => {
        extras.rtt = performance.now() - (extras.pingedAt as number)
        extras.pingedAt = undefined
      })
    }
    super.ping(data, mask, callback)
  }

  /** Begin the closing handshake (RFC 6455, section 7.1.2). */
  override close(code?: number, reason?: string | Buffer): void {
    if (this.readyState === WebSocket.OPEN) {
      this.#lazy().verdict ??= {
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
    this.#extras?.inbox?.disownPause()
    this.#extras?.iterator?.disownPause()
    super.pause()
  }

  override emit(event: string | symbol, ...args: unknown[]): boolean {
    if (event === 'message') {
      if (this.#flags & (HOLDING | DEAF) && this.#hold(args as unknown as RawMessage)) return true
    } else if (event === 'close') {
      return this.#emitClose(args[0] as number, args[1] as Buffer)
    } else if (event === 'error') {
      this.#sawError(args[0])
      if (this.listenerCount('error') === 0) return false
    }
    return this.#emitNow(event, args)
  }

  // ---- the rest

  #lazy(): Extras {
    this.#extras ??= {}
    return this.#extras
  }

  #open(facts: ConnectionFacts<Connection>): void {
    write(this, 'id', facts.id)
    write(this, 'userId', facts.userId)
    write(this, 'state', facts.state as State)
    write(this, 'params', facts.params)
    write(this, 'openedAt', Date.now())
    this.#url = facts.url
    write(this, 'ip', facts.ip)
    this.#owner = facts.owner
    this.#socket = facts.socket
    this.#scope = facts.scope
    if (facts.expiresAt !== null) this.#expireAt(facts.expiresAt)
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

  /** Keep a message for a listener to come, or drop it; false when somebody shall hear it now. */
  #hold(message: RawMessage): boolean {
    if ((this.#flags & DEAF) !== 0) {
      this.#owner?.unheard(1)
      return true
    }
    const { inbox } = this.#lazy()
    if (!inbox && this.listenerCount('message') > 0) return false
    // Once we close, no more is taken in: a client that goes on sending must not fill memory.
    if (this.readyState === WebSocket.OPEN) (inbox ?? this.#newInbox()).push(message)
    else this.#owner?.unheard(1)
    return true
  }

  #newInbox(): Inbox {
    const inbox = new Inbox({
      hears: () => this.listenerCount('message') > 0,
      deliver: (message) => this.#emitNow('message', message as unknown as unknown[]),
      stopReading: () => super.pause(),
      isPaused: () => this.isPaused,
      goOnReading: () => this.resume(),
      emptied: (discarded) => this.#inboxEmptied(discarded),
    })
    this.#lazy().inbox = inbox
    return inbox
  }

  #inboxEmptied(discarded: number): void {
    this.#lazy().inbox = undefined
    // When nobody came to listen, it is from here on as with plain ws.
    if (discarded > 0 || (this.#flags & HANDLING) === 0) this.#flags &= ~HOLDING
    if (discarded === 0) return
    debugConnection('%s: %d messages discarded, nobody listened', this.id, discarded)
    this.#owner?.unheard(discarded)
  }

  #handlerSettled(): void {
    this.#flags &= ~HANDLING
    const inbox = this.#extras?.inbox
    if (!inbox) this.#flags &= ~HOLDING
    else if (this.listenerCount('message') > 0) inbox.flushSoon()
    else inbox.discard()
  }

  #fail(thrown: unknown, report: boolean): void {
    const error = toError(thrown)
    const { status, message } = exposureOf(error)
    if (status !== null && status < 500) {
      this.#closeForCause(closeCodeForStatus(status), message === null ? '' : closeReason(message))
    } else {
      this.#closeForCause(CloseCode.internal, 'Internal Server Error')
    }
    if (report) this.#owner?.failed(this as Connection, error)
  }

  /** Close, and hear nothing more from whoever has lost the right to be heard. */
  #closeForCause(code: number, reason: string): void {
    this.#flags |= DEAF
    this.#extras?.inbox?.discard()
    const unheard = this.#extras?.iterator?.cutOff() ?? 0
    if (unheard > 0) this.#owner?.unheard(unheard)
    this.close(code, reason)
  }

  #listens(event: string | symbol, listener: unknown): void {
    if (event === 'message') this.#extras?.inbox?.flushSoon()
    else if (event === 'close') {
      if (this.#lazy().end) this.#tellClosed(listener as (...args: unknown[]) => unknown)
    }
  }

  /** A `close` listener that came too late hears of it all the same, after waiting messages. */
  #tellClosed(listener: (...args: unknown[]) => unknown): void {
    const tell = (): void => {
      if (!this.rawListeners('close').includes(listener)) return
      const { code, reason } = this.#lazy().end as CloseEvent
      const call = (): unknown => listener.call(this, code, reason)
      try {
        const result = this.#scope === null ? call() : this.#scope.runInAsyncScope(call)
        if (result instanceof Promise) result.catch((error: unknown) => this.#fail(error, true))
      } catch (error) {
        this.#fail(error, true)
      }
    }
    process.nextTick(() => {
      const inbox = this.#extras?.inbox
      if (inbox) inbox.afterwards(tell)
      else tell()
    })
  }

  #emitClose(code: number, reason: Buffer): boolean {
    const extras = this.#lazy()
    if (extras.end) return false
    extras.end = { code, reason }
    extras.expiry?.cancel()
    this.#owner?.unreachable(this as Connection)
    const heard = this.#emitNow('close', [code, reason])
    const info = closeInfo(extras)
    extras.controller?.abort(closedError())
    extras.settleClosed?.(info)
    this.#owner?.ended(this as Connection, info)
    return heard
  }

  /** ws has begun to close; after a protocol error it would go on reading for `closeTimeout`. */
  #sawError(error: unknown): void {
    debugConnection('%s: %s', this.id, messageOf(error))
    setTimeout(terminate, PROTOCOL_ERROR_LINGER, this).unref()
  }

  #expireAt(at: number | null): void {
    const extras = this.#lazy()
    extras.expiry?.cancel()
    if (extras.end) return
    extras.expiry = at === null ? undefined : new Expiry<WebSocket>(at, expire, this)
  }

  #cork(socket: Duplex): void {
    this.#flags |= CORKED
    socket.cork()
    process.nextTick(uncork, this)
  }

  #uncork(): void {
    if ((this.#flags & CORKED) === 0) return
    this.#flags &= ~CORKED
    this.#socket?.uncork()
  }

  static {
    openConnection = (connection, facts) => connection.#open(facts)
    handlerSettled = (connection) => connection.#handlerSettled()
    endIteration = (connection) => connection.#extras?.iterator?.end()
    failConnection = (connection, thrown, report) => connection.#fail(thrown, report)
    uncork = (connection) => connection.#uncork()
    expire = (connection) => (connection as Connection).#closeForCause(CloseCode.expired, 'expired')
    watchListeners(Connection.prototype, {
      added: (connection, event, listener) => connection.#listens(event, listener),
      rejected: (connection, error) => connection.#fail(error, true),
    })
  }
}

function closeInfo({ end, verdict }: Extras): CloseInfo {
  const { code, reason } = end as CloseEvent
  if (code !== 1006) return { code, reason: reason.toString('utf8'), clean: true }
  return verdict ?? { code, reason: '', clean: false }
}

/** Readonly for users; we fill it in. */
function write<T extends object, K extends keyof T>(target: T, key: K, value: T[K]): void {
  target[key] = value
}

function closedError(): KoaWsError {
  return new KoaWsError('ERR_KOAWS_CLOSED', 'The connection is closed')
}

function terminate(connection: WebSocket): void {
  connection.terminate()
}

import { AsyncResource } from 'node:async_hooks'
import { EventEmitter } from 'node:events'
import type { DefaultState } from 'koa'
import { WebSocket } from 'ws'
import { debugConnection, messageOf } from '../debug.ts'
import { exposureOf, KoaWsError, toError } from '../errors.ts'
import { assertAsWs, CloseCode, closeCodeForStatus, closeReason } from '../protocol/close-codes.ts'
import type {
  DataAndOptions,
  DataArguments,
  ProtocolDefinition,
  PushData,
  ReplyChecked,
  ServerRequestType,
  ServerType,
} from '../protocol/definition.ts'
import { pushText } from '../protocol/envelope.ts'
import { KOAWS_V1 } from '../protocol/subprotocol.ts'
import { withoutUndefined } from '../validate.ts'
import type { Audience } from './audience.ts'
import { CheckedAudience } from './checked-audience.ts'
import { closedError, Ending, tooSlowError } from './ending.ts'
import { Expiry } from './expiry.ts'
import { WebSocketWithFacts, writeFacts } from './facts.ts'
import { frameFault } from './frame-fault.ts'
import type { RawMessage } from './inbox.ts'
import { epochMilliseconds } from './instant.ts'
import { Intake, type IntakeHost } from './intake.ts'
import type { ConnectionInternals, Conversation } from './internals.ts'
import { MessageIterator } from './iterator.ts'
import { type LateHost, type LateListener, tellLate } from './late-close.ts'
import { watchListeners } from './listeners.ts'
import { notServed } from './not-served.ts'
import { addToBufferedAmount, Outbox } from './outbox.ts'
import type { ConnectionFacts, ConnectionOwner } from './owner.ts'
import { BY_FLOOD, BY_USER, Reading } from './reading.ts'
import type { CloseInfo, Refresh, RequestOptions, Sendable, SendOptions } from './types.ts'

/** What few connections need, or only at their end: made on first use. */
interface Extras {
  ending?: Ending
  iterator?: MessageIterator | undefined
  expiry?: Expiry<AnyConnection> | undefined
  reading?: Reading
  /** Of a connection that speaks `koaws.v1`, and is served. */
  conversation?: Conversation
}

type AnyConnection = Connection<unknown>

/** What koaws itself does with a connection, and applications do not. */
export let internals: ConnectionInternals<AnyConnection, Connection>

let intakes: IntakeHost<Connection>
let lateHost: LateHost<Connection>

/** Time between a protocol error of the client and the end of its TCP connection, in milliseconds. */
const PROTOCOL_ERROR_LINGER = 250
const NOBODY: ReadonlySet<string> = new Set()
const CAPTURE = { captureRejections: true }
const DEFAULTS: SendOptions = {}
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
 *
 * @typeParam State `ctx.state` of the handshake
 * @typeParam D the protocol that it speaks; without one `push` and `request` take any type
 */
export class Connection<State = DefaultState, D extends ProtocolDefinition = ProtocolDefinition>
  extends WebSocketWithFacts<State>
  implements AsyncIterable<string | Buffer>
{
  #owner: ConnectionOwner<Connection> | null = null
  #outbox: Outbox<Connection> | null = null
  #scope: AsyncResource | null = null
  #extras: Extras | null = null
  readonly #intake: Intake<Connection> = new Intake(this as Connection, intakes)
  #slot: object | null = null
  #pingedAt = 0
  #rtt = 0

  /** Called by ws when it has accepted a handshake. */
  constructor(address: null, protocols?: undefined, options?: object) {
    super(address as unknown as string, protocols, options)
    // Turns on the documented `captureRejections` for this emitter: ws calls its own parent's
    // constructor without options. Calling the constructor on an existing object is how emitters
    // were inherited before classes; it keeps what is registered.
    ;(EventEmitter as unknown as (options: object) => void).call(this, CAPTURE)
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
    return this.#rtt > 0 ? this.#rtt : undefined
  }

  /** Aborts when the connection has ended. */
  get signal(): AbortSignal {
    return this.#ending().signal
  }

  /**
   * How the connection ended. Never rejects. Our own verdict is told even when the peer could not
   * be told: then `clean` is false.
   */
  get closed(): Promise<CloseInfo> {
    return this.#ending().closed
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
   * Send a message of the subprotocol `koaws.v1`.
   *
   * @throws KoaWsError when the connection speaks another
   * @throws TypeError when the type is no string of 1 to 255 bytes, or the data has no JSON form
   * @throws MessageError when `messages()` serve it with `validateOut`, and the data do not fit
   */
  push<T extends ServerType<D>>(type: T, ...[data]: DataArguments<PushData<D, T>>): void {
    const text = pushText(type, data)
    if (this.protocol !== KOAWS_V1) throw notServed()
    this.#extras?.conversation?.check?.(type, data)
    this.send(text)
  }

  /**
   * Ask the client, over `koaws.v1`, and wait for its answer. Rejects with a `MessageError` when the
   * client answers with an error or with data that do not fit, and with a `KoaWsError`: `ERR_KOAWS_TIMEOUT`
   * after `timeout`, `ERR_KOAWS_CLOSED` when the connection ends, `ERR_KOAWS_NOT_NEGOTIATED` where no
   * `messages()` serve it. With TypeError and OptionsError for wrong arguments. Always settles; not
   * awaiting it never becomes an unhandled rejection.
   */
  request<T extends ServerRequestType<D>>(
    type: T,
    ...[data, options = {}]: DataAndOptions<PushData<D, T>, RequestOptions>
  ): Promise<ReplyChecked<D, T>> {
    const asking =
      this.#extras?.conversation?.ask(type, data, options) ?? Promise.reject(notServed())
    asking.catch(ignore) // a client that leaves must not end the process of who does not wait
    return asking as Promise<ReplyChecked<D, T>>
  }

  /**
   * Enter rooms. Local membership holds at once; the promise never rejects.
   *
   * @throws TypeError when a name is no string of 1 to 255 bytes
   * @throws KoaWsError when it would be in more than `maxRooms`; then it enters none of them
   */
  join(...rooms: string[]): Promise<void> {
    return this.#owner?.join(this as Connection, rooms) ?? Promise.resolve()
  }

  /** Leave rooms; a room that the connection is not in is ignored. */
  leave(...rooms: string[]): void {
    this.#owner?.leave(this as Connection, rooms)
  }

  /** The members of rooms, without this connection: `connection.to('lobby').send('hi')`. */
  to(...rooms: string[]): Audience<D> {
    if (!this.#owner) throw closedError()
    const audience = this.#owner.to(this as Connection, rooms)
    const check = this.#extras?.conversation?.check
    return (check ? new CheckedAudience(audience, check) : audience) as Audience<D>
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
    if (state !== undefined) writeFacts(this, { state })
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
    extras.iterator = new MessageIterator(
      this,
      () => this.#reading(),
      () => {
        extras.iterator = undefined
      },
    )
    return extras.iterator
  }

  // ---- ws's own methods, with what a connection adds

  /**
   * ws's `send`; what is sent in one turn of the event loop leaves in one write. For a client that is
   * too slow (`maxBufferedAmount`, `slowConsumer`) the message is dropped: the callback gets an error.
   */
  override send(data: Sendable, callback?: (error?: Error) => void): void
  override send(data: Sendable, options: SendOptions, callback?: (error?: Error) => void): void
  override send(
    data: Sendable,
    options?: SendOptions | ((error?: Error) => void),
    callback?: (error?: Error) => void,
  ): void {
    const outbox = this.#outbox
    if (outbox === null || this.readyState !== WebSocket.OPEN) {
      super.send(data, options as SendOptions, callback)
      return
    }
    const told = typeof options === 'function' ? options : callback
    const given = typeof options === 'object' && options !== null ? options : DEFAULTS
    const whole = given.fin !== false
    if (!outbox.admits(whole)) {
      this.#owner?.count('dropped', 1, this as Connection)
      if (told) process.nextTick(told, tooSlowError())
      return
    }
    outbox.begin(data)
    // The write comes later, in nobody's async context.
    super.send(data, withoutUndefined(given), told && AsyncResource.bind(told))
    outbox.finished(whole)
  }

  /** ws's `ping`; the next pong sets `rtt`. */
  override ping(data?: unknown, mask?: boolean, callback?: (error: Error) => void): void {
    if (this.#pingedAt === 0) this.#pingedAt = performance.now()
    if (this.readyState === WebSocket.OPEN) this.#outbox?.begin()
    super.ping(data, mask, callback)
  }

  /** ws's `pong`. It leaves at once: ws ends a client whose pings wait for too many of them. */
  override pong(data?: unknown, mask?: boolean, callback?: (error: Error) => void): void {
    if (this.readyState === WebSocket.OPEN) {
      if (this.#outbox?.admits() === false) return // it takes nothing: no answers to its pings either
      this.#outbox?.begin()
    }
    super.pong(data, mask, callback)
    this.#outbox?.push()
  }

  /** Begin the closing handshake (RFC 6455, section 7.1.2). */
  override close(code?: number, reason?: string | Buffer): void {
    const open = this.readyState === WebSocket.OPEN
    if (open) assertAsWs(code, reason)
    if (open) this.#outbox?.begin()
    super.close(code, reason)
    if (open) {
      const ending = this.#ending()
      ending.decide(code ?? 1005, reason === undefined ? '' : String(reason))
      // ws has stopped listening when it closes by itself: the client's close frame, or a bad frame.
      ending.ours = (this.#outbox?.socket.listenerCount('data') ?? 0) > 0
      this.#outbox?.end()
    }
    if (this.readyState === WebSocket.CLOSING) this.#extras?.reading?.open()
  }

  /** End it at once. What was sent is handed to the kernel; over HTTP/2 what has not left is lost. */
  override terminate(): void {
    this.#outbox?.push()
    this.#outbox?.end()
    super.terminate()
  }

  /** Stop reading from the client: backpressure of TCP, or of the HTTP/2 stream. */
  override pause(): void {
    this.#reading().stop(BY_USER)
  }
  /** Go on reading, unless koaws itself has stopped it as well (a flood, or a loop that is busy). */
  override resume(): void {
    this.#reading().goOn(BY_USER)
  }

  override emit(event: string | symbol, ...args: unknown[]): boolean {
    if (event === 'message') {
      if (this.#intake.take(args as unknown as RawMessage)) return true
    } else if (event === 'close') {
      return this.#emitClose(args[0] as number, args[1] as Buffer)
    } else if (event === 'error') {
      this.#sawError(args[0])
      if (this.listenerCount('error') === 0) return false
    } else if (event === 'ping') this.#intake.arrived()
    else if (event === 'pong') {
      this.#intake.arrived()
      if (this.#pingedAt > 0) this.#rtt = performance.now() - this.#pingedAt
      this.#pingedAt = 0
    }
    return this.#emitNow(event, args)
  }

  #lazy(): Extras {
    this.#extras ??= {}
    return this.#extras
  }

  #open(facts: ConnectionFacts<Connection>): void {
    const { id, userId, state, params, ip, url } = facts
    writeFacts(this, { id, userId, state, params, ip, url })
    this.#owner = facts.owner
    this.#outbox = new Outbox(this as Connection, facts.socket, facts.owner, facts.compression)
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
  #closeForCause(code: number, reason: string, atOnce = false): void {
    this.#intake.deafen()
    const unheard = this.#extras?.iterator?.cutOff() ?? 0
    if (unheard > 0) this.#owner?.count('unheard', unheard, this as Connection)
    if (!atOnce) {
      this.close(code, reason)
      return
    }
    this.#ending().decide(code, reason)
    this.terminate()
  }

  #ending(): Ending {
    const extras = this.#lazy()
    extras.ending ??= new Ending()
    return extras.ending
  }

  #reading(): Reading {
    const extras = this.#lazy()
    extras.reading ??= new Reading(this)
    return extras.reading
  }

  #windDown(): Promise<unknown> | null {
    const { iterator, conversation } = this.#extras ?? {}
    iterator?.end()
    const waits = [iterator && this.#intake.settled, conversation?.windDown()].filter(
      (wait) => !!wait,
    )
    return waits.length > 0 ? Promise.race([Promise.all(waits), this.closed]) : null
  }

  #listens(event: string | symbol, listener: unknown): void {
    if (event === 'message') this.#intake.listened()
    else if (event === 'close') {
      const event = this.#extras?.ending?.event
      if (event) tellLate(this as Connection, listener as LateListener, event, lateHost)
    }
  }

  #emitClose(code: number, reason: Buffer): boolean {
    const ending = this.#ending()
    if (ending.event) return false
    ending.event = { code, reason }
    this.#extras?.expiry?.cancel()
    this.#intake.dispose()
    this.#outbox?.dispose()
    this.#owner?.unreachable(this as Connection)
    const heard = this.#emitNow('close', [code, reason])
    this.#extras?.conversation?.end(closedError())
    ending.settle()
    this.#owner?.ended(this as Connection, ending.info)
    return heard
  }

  /** ws has begun to close; after a protocol error it would go on reading for `closeTimeout`. */
  #sawError(error: unknown): void {
    debugConnection('%s: %s', this.id, messageOf(error))
    this.#owner?.count(frameFault(error), 1, this as Connection)
    setTimeout(() => this.terminate(), PROTOCOL_ERROR_LINGER).unref()
  }

  #expireAt(at: number | null): void {
    const extras = this.#lazy()
    extras.expiry?.cancel()
    if (extras.ending?.event) return
    extras.expiry =
      at === null ? undefined : new Expiry<AnyConnection>(at, expire, this as AnyConnection)
  }

  static {
    intakes = {
      hears: (connection) => connection.listenerCount('message') > 0,
      isOpen: (connection) => connection.readyState === WebSocket.OPEN,
      deliver: (connection, message) =>
        connection.#emitNow('message', message as unknown as unknown[]),
      reading: (connection) => connection.#reading(),
      unheard: (connection, count) => connection.#owner?.count('unheard', count, connection),
      floodRules: (connection) => connection.#owner?.rules.flood ?? false,
      id: (connection) => connection.id,
      holdBack(connection) {
        connection.#owner?.count('flood', 1, connection)
        connection.#reading().stop(BY_FLOOD)
      },
      goOn: (connection) => connection.#reading().goOn(BY_FLOOD),
      tooMuch(connection) {
        connection.#owner?.count('floodClosed', 1, connection)
        connection.#closeForCause(CloseCode.policyViolation, 'too many messages')
      },
    }

    lateHost = {
      scope: (connection) => connection.#scope,
      afterwards: (connection, tell) => connection.#intake.afterwards(tell),
      failed: (connection, error) => connection.#fail(error, true),
    }

    internals = {
      open: (connection, facts) => connection.#open(facts),
      handlerSettled: (connection) => connection.#intake.handlerSettled(),
      windDown: (connection) => connection.#windDown(),
      closedByUs: (connection) => connection.#extras?.ending?.ours === true,
      fail: (connection, thrown, report) => connection.#fail(thrown, report),
      closeForCause: (connection, code, reason, atOnce) =>
        connection.#closeForCause(code, reason, atOnce),
      outboxOf: (connection) => connection.#outbox as Outbox | null,
      ownerOf: (connection) => connection.#owner,
      readingOf: (connection) => connection.#reading(),
      converse(connection, conversation) {
        connection.#lazy().conversation = conversation
      },
      authenticated(connection, userId, state, expiresAt) {
        writeFacts(connection, { userId, state })
        connection.#expireAt(expiresAt)
      },
      lifeSigns(connection) {
        const socket = connection.#outbox?.socket as { bytesRead?: number } | undefined
        return (socket?.bytesRead ?? 0) + connection.#intake.heard
      },
      ping(connection) {
        connection.#pingedAt = performance.now()
        connection.#outbox?.ping()
      },
      slotOf: (connection) => connection.#slot,
      setSlot(connection, slot) {
        connection.#slot = slot
      },
    }
    addToBufferedAmount(Connection.prototype, (connection) => connection.#outbox?.waiting ?? 0)
    watchListeners(Connection.prototype, {
      added: (connection, event, listener) => connection.#listens(event, listener),
      rejected: (connection, error) => connection.#fail(error, true),
    })
  }
}

function ignore(): void {}

function expire(connection: AnyConnection): void {
  internals.closeForCause(connection, CloseCode.expired, 'expired')
}

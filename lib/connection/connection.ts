// The class `Connection`: ws's WebSocket with the public methods of koaws, and `coreOf` for koaws itself.

import { AsyncResource } from 'node:async_hooks'
import type { DefaultState } from 'koa'
import { WebSocket } from 'ws'
import { assertAsWs } from '../protocol/close-codes.ts'
import type {
  AnyProtocol,
  DataAndOptions,
  DataArguments,
  ProtocolDefinition,
  PushGiven,
  ReplyChecked,
  ServerRequestType,
  ServerType,
} from '../protocol/definition.ts'
import { pushText } from '../protocol/envelope.ts'
import { KOAWS_V1 } from '../protocol/subprotocol.ts'
import { withoutUndefined } from '../validate.ts'
import { announce } from './announce.ts'
import type { Audience } from './audience.ts'
import { CheckedAudience } from './checked-audience.ts'
import { ConnectionCore } from './core.ts'
import { closedError, notServed, settleDropped, toldOfCut } from './ending.ts'
import { WebSocketWithFacts } from './facts.ts'
import { assertSendable, jsonText } from './frame.ts'
import { addToBufferedAmount, watchListeners } from './listeners.ts'
import { BY_USER } from './reading.ts'
import { refreshConnection } from './refresh.ts'
import type { CloseInfo, Refresh, Replay, RequestOptions, Sendable, SendOptions } from './types.ts'
import { callbackOfPong, prepare } from './ws-private.ts'

/** Reads the private field for `coreOf`, so that applications cannot reach the inside at all. */
let privateCore: (connection: Connection<unknown>) => ConnectionCore<Connection>

const NO_ROOMS: ReadonlySet<string> = new Set()
const DEFAULTS: SendOptions = {}

/**
 * One accepted WebSocket. It is a `ws` WebSocket (RFC 6455), so what is written for `ws` works on
 * it, with these differences:
 *
 * - an exception, or a rejection, in one of its listeners closes it with 1011 and goes to
 *   `app.on('error')`: it never ends the process, and a protocol error needs no `error` listener;
 * - messages that arrive while the handler runs, before there is a listener, are kept for the first
 *   listener; a `close` listener that comes too late is still told;
 * - listeners run in the async context of the handshake.
 *
 * It is made by koaws when an upgrade is accepted, never by `new`.
 *
 * @example
 * ```js
 * import Koa from 'koa'
 * import koaWs, { accept } from 'koaws'
 * import { testApp } from 'koaws/testing'
 *
 * const app = new Koa()
 * app.use(koaWs({ user: (ctx) => String(ctx.query['name']) }))
 * app.use(
 *   accept(async (connection) => {
 *     await connection.join('lobby')
 *     connection.json({ rooms: [...connection.rooms], user: connection.userId })
 *     for await (const message of connection) connection.to('lobby').send(message)
 *   }),
 * )
 *
 * const test = testApp(app)
 * const ann = await test.connect('/?name=ann')
 * const bob = await test.connect('/?name=bob')
 * console.log(await ann.next()) // {"rooms":["lobby"],"user":"ann"}
 * await bob.next()
 * bob.send('hi')
 * console.log(await ann.next()) // hi
 * ```
 *
 * @typeParam State `ctx.state` of the handshake
 * @typeParam D the protocol that it speaks; without one `push` and `request` take any type
 */
export class Connection<State = DefaultState, D extends AnyProtocol = ProtocolDefinition>
  extends WebSocketWithFacts<State>
  implements AsyncIterable<string | Buffer>
{
  readonly #core: ConnectionCore<Connection> = new ConnectionCore(this as Connection)

  /** Called by ws when it has accepted a handshake. @internal */
  constructor(address: null, protocols?: undefined, options?: object) {
    super(address as unknown as string, protocols, options)
    prepare(this)
  }

  /** The rooms that this connection is in. Still readable when `close` fires. */
  get rooms(): ReadonlySet<string> {
    const { owner, connection } = this.#core
    return owner?.roomsOf(connection) ?? NO_ROOMS
  }

  /** When the authorization ends, in epoch milliseconds, or null for never. */
  get expiresAt(): number | null {
    return this.#core.expiresAt
  }

  /** The last round trip of a ping in milliseconds; undefined until a pong has answered one. */
  get rtt(): number | undefined {
    const { rtt } = this.#core
    return rtt > 0 ? rtt : undefined
  }

  /** Aborts when the connection has ended. */
  get signal(): AbortSignal {
    return this.#core.ending.signal
  }

  /**
   * How the connection ended. Never rejects. A close by koaws has its code here even when the client
   * could not get it: then `clean` is false.
   */
  get closed(): Promise<CloseInfo> {
    return this.#core.ending.closed
  }

  /**
   * Sends a value as JSON in a text message.
   *
   * @param value any value with a JSON form
   * @throws TypeError when the value has no JSON form (undefined, a function, a BigInt, a cycle)
   */
  json(value: unknown): void {
    this.send(jsonText(value))
  }

  /**
   * Sends a message of the subprotocol `koaws.v1`.
   *
   * @param type the name of the message
   * @param data the value, which fits the protocol; undefined for a type without data
   * @throws KoaWsError when the connection speaks another subprotocol
   * @throws TypeError when the type is no string of 1 to 255 bytes, or the data has no JSON form
   * @throws MessageError when `messages()` serve it with `validateOut`, and the data do not fit
   */
  push<T extends ServerType<D>>(type: T, ...[data]: DataArguments<PushGiven<D, T>>): void {
    const { conversation, outbox, owner } = this.#core
    const text = pushText(type, data, owner?.tracer())
    if (this.protocol !== KOAWS_V1) throw notServed()
    conversation?.check?.(type, data)
    announce(outbox, text)
    this.send(text)
  }

  /**
   * Asks the client, with a message of a `type` of `koaws.v1`, and waits for its answer. Rejects with a `MessageError` when the
   * client answers with an error or with data that do not fit, and with a `KoaWsError`: `ERR_KOAWS_TIMEOUT`
   * after `timeout`, `ERR_KOAWS_CLOSED` when the connection ends, `ERR_KOAWS_NOT_NEGOTIATED` where no
   * `messages()` serve it. With TypeError and OptionsError for wrong arguments. Always settles; not
   * awaiting it never becomes an unhandled rejection.
   */
  request<T extends ServerRequestType<D>>(
    type: T,
    ...[data, options = {}]: DataAndOptions<PushGiven<D, T>, RequestOptions>
  ): Promise<ReplyChecked<D, T>> {
    const { conversation } = this.#core
    const asking = conversation?.ask(type, data, options) ?? Promise.reject(notServed())
    asking.catch(ignore) // without a caller that waits, a client that leaves must not end the process
    return asking as Promise<ReplyChecked<D, T>>
  }

  /**
   * Enters rooms. Local membership holds at once. The promise resolves when messages of other
   * instances arrive too, or as soon as the backplane is unreachable. It never rejects.
   *
   * @param rooms names of 1 to 255 bytes of UTF-8; TypeError for others
   * @throws KoaWsError when the connection would be in more than `maxRooms`; then it enters no room
   */
  join(...rooms: string[]): Promise<void> {
    const { owner, connection } = this.#core
    return owner?.join(connection, rooms) ?? Promise.resolve()
  }

  /** Leaves `rooms`; a room that the connection is not in is ignored. */
  leave(...rooms: string[]): void {
    const { owner, connection } = this.#core
    owner?.leave(connection, rooms)
  }

  /**
   * Enters a `room` with a history, in place of `join()`, and sends the messages after the position `since` before all
   * later ones. For clients that do not speak `koaws.v1`. Resolves when it is known whether nothing is missing.
   * Rejects with TypeError for another name or position, and with KoaWsError as `join()`, for a room without a history,
   * and when the connection was in the room before, or presents its positions by itself (`koaws.resume`). Not awaiting
   * it never becomes an unhandled rejection.
   */
  replay(room: string, since: string): Promise<Replay> {
    const { owner, connection } = this.#core
    return quiet(async () => (owner ?? notOpen()).replay(connection, room, since))
  }

  /**
   * Returns the members of `rooms` without this connection: `connection.to('lobby').send('hi')`.
   *
   * @throws TypeError when a name is not a string of 1 to 255 bytes
   */
  to(...rooms: string[]): Audience<D> {
    const { owner, connection, conversation } = this.#core
    if (!owner) throw closedError()
    const audience = owner.to(connection, rooms)
    const check = conversation?.check
    return (check ? new CheckedAudience(audience, check) : audience) as Audience<D>
  }

  /**
   * Gives the open connection the authorization `given`. A `userId` that differs from the present one
   * closes with 4403, and nothing else is taken over.
   *
   * @throws TypeError when `expiresAt` is no Date, epoch milliseconds or null
   */
  refresh(given: Refresh<State>): void {
    refreshConnection(this.#core, given)
  }

  /**
   * Iterates over the messages, in order: `string` for text, `Buffer` for binary. Reading from the client stops
   * while the loop is busy. Ends when the connection closes and when the hub begins to shut down.
   *
   * @throws KoaWsError when another loop is reading already
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<string | Buffer> {
    return this.#core.iterate()
  }

  // ---- ws's own methods, with what a connection adds

  /**
   * Sends a message, like `send` of ws; messages of one turn of the event loop leave in one write. The `callback`
   * gets an error for a message that was dropped (`maxBufferedAmount`, `slowConsumer`), or cut off by the end of the connection.
   *
   * @param data a string is sent as text, any other value as binary
   */
  override send(data: Sendable, callback?: (error?: Error) => void): void
  override send(data: Sendable, options: SendOptions, callback?: (error?: Error) => void): void
  override send(
    data: Sendable,
    options?: SendOptions | ((error?: Error) => void),
    callback?: (error?: Error) => void,
  ): void {
    if (typeof data !== 'string') assertSendable(data)
    const { outbox } = this.#core
    if (outbox === null || this.readyState !== WebSocket.OPEN) {
      super.send(data, options as SendOptions, callback)
      return
    }
    const told = typeof options === 'function' ? options : callback
    const given = typeof options === 'object' && options !== null ? options : DEFAULTS
    const whole = given.fin !== false
    if (!outbox.admits(whole)) {
      this.#core.count('dropped')
      settleDropped(told)
      return
    }
    outbox.begin(data)
    // The write comes later, outside of the caller's async context.
    const settle = told && toldOfCut(outbox, AsyncResource.bind(told))
    super.send(data, withoutUndefined(given), settle)
    outbox.finished(whole, data)
  }

  /** Sends a ping with `data`; the next pong sets `rtt`. Far above `maxBufferedAmount` the `callback` gets an error. `mask` as in ws. */
  override ping(data?: unknown, mask?: boolean, callback?: (error: Error) => void): void {
    const { outbox } = this.#core
    const open = this.readyState === WebSocket.OPEN
    if (open && outbox?.beginControl(false, data, mask, callback) === false) return
    this.#core.pinged(false)
    super.ping(toldOfCut(outbox, data), toldOfCut(outbox, mask), toldOfCut(outbox, callback))
  }

  /** Sends a pong with `data` at once, for ws ends a client with too many pending. Dropped where messages are. `mask` and `callback` as in ws. */
  override pong(data?: unknown, mask?: boolean, callback?: (error: Error) => void): void {
    const { outbox } = this.#core
    const told = callbackOfPong(this, callback)
    const open = this.readyState === WebSocket.OPEN
    if (open && outbox?.beginControl(true, data, mask, told) === false) return
    super.pong(toldOfCut(outbox, data), toldOfCut(outbox, mask), toldOfCut(outbox, told))
    outbox?.push()
  }

  /**
   * Begins the closing handshake (RFC 6455, section 7.1.2).
   *
   * @param code a close code that may be sent; without one the client sees 1005
   * @param reason at most 123 bytes of UTF-8
   */
  override close(code?: number, reason?: string | Buffer): void {
    const open = this.readyState === WebSocket.OPEN
    if (open) assertAsWs(code, reason)
    if (open) this.#core.outbox?.begin()
    super.close(code, reason)
    if (open) this.#core.closing(code, reason)
    if (this.readyState === WebSocket.CLOSING) this.#core.readOn()
  }

  /** Ends the connection at once. What the kernel, or HTTP/2, has not taken is lost: the callback of `send` gets an error. */
  override terminate(): void {
    this.#core.outbox?.handOver()
    super.terminate()
  }

  /** Stops reading from the client: backpressure of TCP, or of the HTTP/2 stream. */
  override pause(): void {
    this.#core.reading.stop(BY_USER)
  }
  /** Reads on, unless koaws itself has stopped it as well (a flood, or a loop that is busy). */
  override resume(): void {
    this.#core.reading.goOn(BY_USER)
  }

  /** Emits an `event` with `args`. An error of a listener closes the connection with 1011. */
  override emit(event: string | symbol, ...args: unknown[]): boolean {
    return this.#core.emit(event, args)
  }

  static {
    privateCore = (connection) => connection.#core
    addToBufferedAmount(Connection.prototype, (connection) => connection.#core.outbox?.waiting ?? 0)
    watchListeners(Connection.prototype, {
      added: (connection, event, listener) => connection.#core.listens(event, listener),
      rejected: (connection, error) => connection.#core.fail(error, true),
    })
  }
}

/** The inside of a connection, for koaws alone: hub, upgrade and `messages()`. */
export function coreOf(connection: Connection<unknown>): ConnectionCore<Connection> {
  return privateCore(connection)
}

function notOpen(): never {
  throw closedError()
}

/** Calls an async function. A rejection that is not awaited does not end the process. */
function quiet<T>(call: () => Promise<T>): Promise<T> {
  const promise = call()
  promise.catch(ignore)
  return promise
}

function ignore(): void {}

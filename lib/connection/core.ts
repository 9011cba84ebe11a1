// The inside of a connection: its state, and the operations that the hub, the upgrade and `messages()` call.

import type { AsyncResource } from 'node:async_hooks'
import type { Duplex } from 'node:stream'
import { WebSocket } from 'ws'
import { debugConnection, messageOf } from '../debug.ts'
import { exposureOf, KoaWsError, toError } from '../errors.ts'
import { CloseCode, closeCodeForStatus, closeReason } from '../protocol/close-codes.ts'
import type { PushCheck } from './checked-audience.ts'
import { type CloseEvent, closedError, Ending } from './ending.ts'
import { awaitExpiry, forgetExpiry } from './expiry.ts'
import {
  sinceStart,
  timeOf,
  type WebSocketWithFacts,
  writeFacts,
  writeState,
  writeUser,
} from './facts.ts'
import { Intake, type IntakeExtras } from './intake.ts'
import { MessageIterator } from './iterator.ts'
import type { Outbox } from './outbox.ts'
import type { ConnectionFacts, ConnectionOwner, DropReason } from './owner.ts'
import { Reading } from './reading.ts'
import type { RequestOptions } from './types.ts'
import { endOnce } from './ws-private.ts'

/** What `messages()` lend to a connection that they serve. */
export interface Conversation {
  /** Checks what is pushed; null where nothing is to be checked. */
  readonly check: PushCheck | null
  /**
   * A shutdown begins: nothing more is taken. A promise for the end of what has arrived, or null when
   * nothing has.
   */
  windDown(): Promise<unknown> | null
  /** Asks the client. Always settles. */
  ask(type: string, data: unknown, options: RequestOptions): Promise<unknown>
  /** The instance ends, and closes the connection next: open streams are told. */
  takeLeave(): void
  /** The connection has ended: every request that waits for an answer is rejected. */
  end(error: Error): void
}

/** What few connections need, or only at their end: made on first use. */
interface Extras extends IntakeExtras {
  ending?: Ending
  iterator?: MessageIterator | undefined
  reading?: Reading
  /** Of a connection that speaks `koaws.v1`, and is served. */
  conversation?: Conversation
}

/** Sockets of node:net count what they have read; a stream of HTTP/2 does not. */
type CountingSocket = Duplex & { readonly bytesRead?: number }

/** A listener for `close`. */
type CloseListener = (this: WebSocket, code: number, reason: Buffer) => unknown

/** Time between a protocol error of the client and the end of its TCP connection, in milliseconds. */
const PROTOCOL_ERROR_LINGER = 250

/**
 * The inside of one `Connection`: its state, and everything that koaws itself does with it. The hub,
 * the upgrade and `messages()` reach it with `coreOf`; applications cannot.
 *
 * @typeParam C the class `Connection`, which imports this file
 */
export class ConnectionCore<C extends WebSocketWithFacts<unknown>> extends Intake<C> {
  protected extras: Extras | null = null
  #owner: ConnectionOwner<C> | null = null
  #scope: AsyncResource | null = null
  #expires: number | null = null
  #slot: object | null = null
  #place = 0

  get owner(): ConnectionOwner<C> | null {
    return this.#owner
  }

  /** The sending side; null before the hub has taken the connection over. */
  get outbox(): Outbox<C> | null {
    return this.#owner === null ? null : this
  }

  get reading(): Reading {
    const extras = this.lazy()
    extras.reading ??= new Reading(this.connection)
    return extras.reading
  }

  get ending(): Ending {
    const extras = this.lazy()
    extras.ending ??= new Ending()
    return extras.ending
  }

  /** When the authorization ends, in epoch milliseconds, or null for never. */
  get expiresAt(): number | null {
    return this.#expires === null ? null : timeOf(this.#expires)
  }

  /** The `messages()` that serve the connection. */
  get conversation(): Conversation | undefined {
    return this.extras?.conversation
  }

  /** The handshake is done: the connection takes up its facts. */
  open(facts: ConnectionFacts<C>): void {
    writeFacts(this.connection, facts)
    this.#owner = facts.owner
    this.openOutbox(facts.socket, facts.compression)
    this.#scope = facts.scope
    if (facts.expiresAt !== null) this.expireAt(facts.expiresAt)
  }

  /** The connection was accepted without a token, and is authenticated now. */
  authenticated(userId: string | undefined, state: unknown, expiresAt: number | null): void {
    writeUser(this.connection, userId)
    writeState(this.connection, state)
    this.expireAt(expiresAt)
  }

  /** `messages()` serve the connection from now on. */
  converse(conversation: Conversation): void {
    this.lazy().conversation = conversation
  }

  /** @throws KoaWsError when another loop is reading already */
  iterate(): MessageIterator {
    const extras = this.lazy()
    if (extras.iterator) throw alreadyIterated()
    extras.iterator = new MessageIterator(
      this.connection,
      () => this.reading,
      () => {
        extras.iterator = undefined
      },
    )
    return extras.iterator
  }

  /** Sets or removes the end of the authorization, in epoch milliseconds. */
  expireAt(at: number | null): void {
    forgetExpiry(this)
    if (this.extras?.ending?.event) return
    this.#expires = at === null ? null : sinceStart(at)
    awaitExpiry(this)
  }

  expired(): void {
    this.closeForCause(CloseCode.expired, 'expired')
  }

  // ---- the heartbeat

  /** A number that changes when something arrives from the client. */
  get lifeSigns(): number {
    const socket: CountingSocket | undefined = this.outbox?.socket
    return (socket?.bytesRead ?? 0) + this.heard
  }

  /** Where the heartbeat keeps the connection. */
  get slot(): object | null {
    return this.#slot
  }

  /** Its index there. */
  get place(): number {
    return this.#place
  }

  putInSlot(slot: object | null, place: number): void {
    this.#slot = slot
    this.#place = place
  }

  /** Pings for the heartbeat: the pong sets `rtt`. */
  ping(): void {
    this.pinged(true)
    if (this.#owner) this.pingNow()
  }

  // ---- events of ws

  /** ws emits an event. @returns whether a listener got it, or will */
  emit(event: string | symbol, args: unknown[]): boolean {
    if (event === 'message') {
      if (this.take(args)) return true
    } else if (event === 'close') {
      return this.closed(...(args as [number, Buffer]))
    } else if (event === 'error') {
      this.sawError(args[0])
      if (this.connection.listenerCount('error') === 0) return false
    } else if (event === 'ping') this.arrived()
    else if (event === 'pong') this.pongArrived()
    return this.emitNow(event, args)
  }

  emitNow(event: string | symbol, args: readonly unknown[]): boolean {
    const { emit } = WebSocket.prototype
    try {
      return this.#scope === null
        ? emit.call(this.connection, event, ...args)
        : this.#scope.runInAsyncScope(emit, this.connection, event, ...args)
    } catch (error) {
      this.fail(error, true)
      return true
    }
  }

  /** A listener was added. A `close` listener that comes too late is told all the same. */
  listens(event: string | symbol, listener: unknown): void {
    if (event === 'message') this.listened()
    else if (event === 'close') {
      const ended = this.extras?.ending?.event
      if (ended) process.nextTick(() => this.tellLate(listener as CloseListener, ended))
    }
  }

  // ---- the end

  /** Whether the server began to close: the application, or koaws. */
  get closedByUs(): boolean {
    return this.extras?.ending?.ours === true
  }

  /**
   * A shutdown begins: loops over the messages end. A promise for the end of a handler that had one,
   * and of those of `messages()`, or null.
   */
  windDown(): Promise<unknown> | null {
    const { iterator, conversation } = this.extras ?? {}
    iterator?.end()
    const waits = [iterator && this.settled, conversation?.windDown()].filter(Boolean)
    return waits.length > 0 ? Promise.race([Promise.all(waits), this.ending.closed]) : null
  }

  /**
   * Closes because of an error in a handler or listener: an http-error of the 400s becomes
   * 4000 + status, anything else 1011. Reported to the owner unless the caller does that.
   */
  fail(thrown: unknown, report: boolean): void {
    const error = toError(thrown)
    const { status, message } = exposureOf(error)
    if (status !== null && status < 500) {
      this.closeForCause(closeCodeForStatus(status), message === null ? '' : closeReason(message))
    } else {
      this.closeForCause(CloseCode.internal, 'Internal Server Error')
    }
    if (report) this.#owner?.failed(this.connection, error)
  }

  /** @param atOnce true for a client that can be told nothing any more */
  closeForCause(code: number, reason: string, atOnce = false): void {
    this.deafen()
    const unheard = this.extras?.iterator?.cutOff() ?? 0
    if (unheard > 0) this.count('unheard', unheard)
    if (!atOnce) {
      this.connection.close(code, reason)
      return
    }
    this.ending.decide(code, reason)
    this.connection.terminate()
  }

  /** ws has begun the closing handshake. */
  closing(code: number | undefined, reason: string | Buffer | undefined): void {
    const { ending } = this
    endOnce(this.connection)
    ending.decide(code ?? 1005, reason === undefined ? '' : String(reason))
    // ws has stopped listening when it closes by itself: the client's close frame, or a bad frame.
    ending.ours = (this.outbox?.socket.listenerCount('data') ?? 0) > 0
    this.endOutbox()
  }

  /** Resumes reading while the connection closes, for every reason that had stopped it. */
  readOn(): void {
    this.extras?.reading?.open()
  }

  protected lazy(): Extras {
    this.extras ??= {}
    return this.extras
  }

  private closed(code: number, reason: Buffer): boolean {
    const { ending } = this
    if (ending.event) return false
    ending.event = { code, reason }
    forgetExpiry(this)
    this.disposeFlood()
    this.disposeOutbox()
    this.#owner?.unreachable(this.connection)
    const heard = this.emitNow('close', [code, reason])
    this.conversation?.end(closedError())
    ending.settle()
    this.#owner?.ended(this.connection, ending.info)
    return heard
  }

  /** ws has begun to close; after a protocol error it would go on reading for `closeTimeout`. */
  private sawError(error: unknown): void {
    debugConnection('%s: %s', this.connection.id, messageOf(error))
    this.count(frameFault(error))
    setTimeout(() => this.connection.terminate(), PROTOCOL_ERROR_LINGER).unref()
  }

  /** Calls a late `close` listener, after the messages that wait. */
  private tellLate(listener: CloseListener, { code, reason }: CloseEvent): void {
    const { connection } = this
    const call = (): unknown => listener.call(connection, code, reason)
    this.afterwards(() => {
      if (!connection.rawListeners('close').includes(listener)) return
      try {
        const result = this.#scope === null ? call() : this.#scope.runInAsyncScope(call)
        if (result instanceof Promise) result.catch((error: unknown) => this.fail(error, true))
      } catch (error) {
        this.fail(error, true)
      }
    })
  }
}

function alreadyIterated(): KoaWsError {
  return new KoaWsError(
    'ERR_KOAWS_ITERATING',
    'This connection already has a "for await" loop. Use one loop, and pass its messages on.',
  )
}

/** The name under which an error of ws's receiver is counted; ws documents the codes. */
function frameFault(error: unknown): DropReason {
  switch ((error as { code?: unknown } | null)?.code) {
    case 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH':
    case 'WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH':
      return 'maxPayload'
    case 'WS_ERR_TOO_MANY_BUFFERED_PARTS':
      return 'maxFragments'
    default:
      return 'badFrame'
  }
}

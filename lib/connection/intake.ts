// The receiving side of a connection: what ws emits, on its way to the listeners.

import { debugConnection } from '../debug.ts'
import { Arrived, channels } from '../diagnostics.ts'
import { CloseCode } from '../protocol/close-codes.ts'
import type { WebSocketWithFacts } from './facts.ts'
import { Flood, type FloodHost } from './flood.ts'
import { Inbox, type InboxOwner, type RawMessage, sizeOf } from './inbox.ts'
import { FREE_FLAG, Outbox } from './outbox.ts'
import type { ConnectionOwner, DropReason } from './owner.ts'
import { BY_FLOOD, type Reading } from './reading.ts'

/** Messages are kept for a later listener: while the handler runs, and while the inbox holds some. */
const HOLDING = FREE_FLAG
/** The handler runs. */
const HANDLING = FREE_FLAG * 2
/** The server has closed for cause, and discards further messages of the client. */
const DEAF = FREE_FLAG * 4

/** Parts of a millisecond in which round trips are measured: whole numbers, which take no object for each. */
const TICKS = 64

/** Returns the time of the monotonic clock in ticks, modulo 2 ** 32, which is after 18 hours. */
function ticks(): number {
  return (performance.now() * TICKS) | 0
}

/** What few connections need: made on first use. */
export interface IntakeExtras {
  inbox?: Inbox | undefined
  /** Somebody waits for the end of the handler. */
  settled?: () => void
}

/**
 * The receiving side of one connection: what ws hands over, on its way to the listeners. A message
 * may have to wait for the first listener, or be discarded.
 *
 * The base class of `ConnectionCore`: one object in place of two for each of many connections.
 */
export abstract class Intake<C extends WebSocketWithFacts<unknown>>
  extends Outbox<C>
  implements FloodHost, InboxOwner
{
  #heard = 0
  #pingedAt = 0
  #rtt = 0
  #flood: Flood | null = null

  constructor(connection: C) {
    super(connection)
    this.flags |= HOLDING | HANDLING
  }

  protected abstract readonly extras: IntakeExtras | null
  /** Makes the extras on first use. */
  protected abstract lazy(): IntakeExtras
  abstract override readonly owner: ConnectionOwner<C> | null
  /** Reading from the client. */
  abstract readonly reading: Reading
  /** Emits an event to the listeners. */
  abstract emitNow(event: string, args: readonly unknown[]): boolean
  /** Closes by a decision of the server, and discards what the client still sends. */
  abstract closeForCause(code: number, reason: string): void

  /** Counts what was dropped of this connection, for `status().drops`. */
  count(reason: DropReason, many = 1): void {
    this.owner?.count(reason, many, this.connection)
  }

  /** Messages, pings and pongs that have arrived: a sign of life where a stream counts no bytes. */
  get heard(): number {
    return this.#heard
  }

  /** The last round trip of a ping in milliseconds; 0 until a pong has answered one. */
  get rtt(): number {
    return this.#rtt / TICKS
  }

  /** Whether no pong has come since the last ping. */
  get awaitsPong(): boolean {
    return this.#pingedAt > 0
  }

  /** A ping is sent; `again` measures from this one where an earlier one has no pong yet. */
  pinged(again: boolean): void {
    if (again || this.#pingedAt === 0) this.#pingedAt = ticks() || 1
  }

  /** A pong that answers a ping of the server does not count for `flood`: the server has asked for it. */
  pongArrived(): void {
    if (this.#pingedAt === 0) {
      this.arrived()
      return
    }
    this.#heard++
    this.#rtt = Math.max(1, (ticks() - this.#pingedAt) | 0)
    this.#pingedAt = 0
    const { connection, rtt } = this
    if (channels.pong.hasSubscribers) channels.pong.publish({ connection, rtt })
  }

  /** A message of so many bytes, a ping or a pong has arrived. */
  arrived(bytes = 0): void {
    this.#heard++
    // A connection that closes must be read on: the client's close frame is still to come.
    if (!this.isOpen) return
    if (this.#flood === null) {
      const rules = this.owner?.rules.flood
      if (!rules) return
      this.#flood = new Flood(rules, this)
    }
    this.#flood.arrived(bytes)
  }

  /** Takes a message with this number of bytes, for which the server asked, out of the count for `flood`. */
  forgive(bytes: number): void {
    this.#flood?.forgive(bytes)
  }

  /** A message has arrived. True when it is kept or dropped, false when the listeners get it now. */
  take(message: RawMessage): boolean {
    const [data, binary] = message
    const size = sizeOf(data)
    this.arrived(size)
    if (channels.message.hasSubscribers) {
      channels.message.publish(new Arrived(this.connection, size, binary === true, data))
    }
    return (this.flags & (HOLDING | DEAF)) !== 0 && this.hold(message)
  }

  /** A listener for messages was added. */
  listened(): void {
    this.extras?.inbox?.flushSoon()
  }

  /** Discards what waits, and every later message. */
  deafen(): void {
    this.flags |= DEAF
    this.extras?.inbox?.discard()
  }

  /** The handler has settled: messages without a listener are no longer kept. */
  handlerSettled(): void {
    this.flags &= ~HANDLING
    this.extras?.settled?.()
    const inbox = this.extras?.inbox
    if (!inbox) this.flags &= ~HOLDING
    else if (this.hears) inbox.flushSoon()
    else inbox.discard()
  }

  /** Resolves when the handler has settled. */
  get settled(): Promise<void> {
    if ((this.flags & HANDLING) === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.lazy().settled = resolve
    })
  }

  /** Runs something once the messages that wait are handed over or discarded. */
  afterwards(task: () => void): void {
    const inbox = this.extras?.inbox
    if (inbox) inbox.afterwards(task)
    else task()
  }

  /** The connection has ended. */
  disposeFlood(): void {
    this.#flood?.dispose()
  }

  // ---- FloodHost

  holdBack(): void {
    this.count('flood')
    this.reading.stop(BY_FLOOD)
  }

  goOn(): void {
    this.reading.goOn(BY_FLOOD)
  }

  yieldTurn(): void {
    this.reading.nextTurn()
  }

  tooMuch(): void {
    this.count('floodClosed')
    this.closeForCause(CloseCode.policyViolation, 'too many messages')
  }

  // ---- InboxOwner

  get hears(): boolean {
    return this.connection.listenerCount('message') > 0
  }

  deliver(message: RawMessage): void {
    this.emitNow('message', message)
  }

  inboxEmptied(discarded: number): void {
    this.lazy().inbox = undefined
    // When no listener came, it is from here on as with plain ws.
    if (discarded > 0 || (this.flags & HANDLING) === 0) this.flags &= ~HOLDING
    if (discarded === 0) return
    debugConnection(
      '%s: discarded %d messages: there is no "message" listener',
      this.connection.id,
      discarded,
    )
    this.count('unheard', discarded)
  }

  // ---- the rest

  private get isOpen(): boolean {
    return this.connection.readyState === this.connection.OPEN
  }

  private hold(message: RawMessage): boolean {
    if ((this.flags & DEAF) !== 0) {
      this.count('unheard')
      return true
    }
    if (!this.extras?.inbox && this.hears) return false
    // Once the server closes, no more is taken in: a client that goes on sending must not fill memory.
    if (this.isOpen) {
      const extras = this.lazy()
      extras.inbox ??= new Inbox(this)
      extras.inbox.push(message)
    } else this.count('unheard')
    return true
  }
}

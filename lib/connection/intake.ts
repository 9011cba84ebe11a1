import { debugConnection } from '../debug.ts'
import { channels } from '../diagnostics.ts'
import { Flood, type FloodHost } from './flood.ts'
import { Inbox, type RawMessage, sizeOf } from './inbox.ts'
import type { Reading } from './reading.ts'
import type { ConnectionRules } from './rules.ts'

/** Messages are kept for a listener to come: while the handler runs, and while the inbox holds some. */
const HOLDING = 1
/** The handler runs. */
const HANDLING = 2
/** We have closed for cause, and the client is heard no more. */
const DEAF = 4

/** What a connection `C` does for its intake. */
export interface IntakeHost<C> extends FloodHost<C> {
  /** Whether somebody listens for `message` now. */
  hears(connection: C): boolean
  isOpen(connection: C): boolean
  /** Emit a message to the listeners. */
  deliver(connection: C, message: RawMessage): void
  reading(connection: C): Reading
  /** So many messages were discarded. */
  unheard(connection: C, count: number): void
  floodRules(connection: C): ConnectionRules['flood']
  id(connection: C): string
}

/**
 * The receiving side of one connection: what ws hands over, on its way to the listeners. A message
 * may have to wait for the first of them, or nobody may hear it any more.
 */
export class Intake<C> {
  readonly #connection: C
  readonly #host: IntakeHost<C>
  #flags: number = HOLDING | HANDLING
  /** Messages, pings and pongs that have arrived: a sign of life where a stream counts no bytes. */
  heard = 0
  #flood: Flood<C> | null = null
  #inbox: Inbox | null = null
  #settled: (() => void) | null = null

  constructor(connection: C, host: IntakeHost<C>) {
    this.#connection = connection
    this.#host = host
  }

  /** A message, ping or pong has arrived. */
  arrived(): void {
    this.heard++
    // Whoever closes has to be read on: the client's close frame is still to come.
    if (!this.#host.isOpen(this.#connection)) return
    if (this.#flood === null) {
      const rules = this.#host.floodRules(this.#connection)
      if (!rules) return
      this.#flood = new Flood(rules, this.#connection, this.#host)
    }
    this.#flood.arrived()
  }

  /** A message has arrived. True when it is kept or dropped, false when somebody shall hear it now. */
  take(message: RawMessage): boolean {
    this.arrived()
    if (channels.message.hasSubscribers) {
      const [data, binary] = message
      channels.message.publish({ connection: this.#connection, size: sizeOf(data), binary })
    }
    return (this.#flags & (HOLDING | DEAF)) !== 0 && this.#hold(message)
  }

  /** Somebody listens for messages. */
  listened(): void {
    this.#inbox?.flushSoon()
  }

  /** Nobody hears anything more; what waits is discarded. */
  deafen(): void {
    this.#flags |= DEAF
    this.#inbox?.discard()
  }

  /** The handler has settled: what nobody wants is no longer kept. */
  handlerSettled(): void {
    this.#flags &= ~HANDLING
    this.#settled?.()
    if (!this.#inbox) this.#flags &= ~HOLDING
    else if (this.#host.hears(this.#connection)) this.#inbox.flushSoon()
    else this.#inbox.discard()
  }

  /** Resolves when the handler has settled. */
  get settled(): Promise<void> {
    if ((this.#flags & HANDLING) === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#settled = resolve
    })
  }

  /** Run something once the messages that wait are handed over or discarded. */
  afterwards(task: () => void): void {
    if (this.#inbox) this.#inbox.afterwards(task)
    else task()
  }

  /** The connection has ended. */
  dispose(): void {
    this.#flood?.dispose()
  }

  #hold(message: RawMessage): boolean {
    const connection = this.#connection
    if ((this.#flags & DEAF) !== 0) {
      this.#host.unheard(connection, 1)
      return true
    }
    if (!this.#inbox && this.#host.hears(connection)) return false
    // Once we close, no more is taken in: a client that goes on sending must not fill memory.
    if (this.#host.isOpen(connection)) (this.#inbox ?? this.#newInbox()).push(message)
    else this.#host.unheard(connection, 1)
    return true
  }

  #newInbox(): Inbox {
    const connection = this.#connection
    const host = this.#host
    this.#inbox = new Inbox({
      hears: () => host.hears(connection),
      deliver: (message) => host.deliver(connection, message),
      reading: () => host.reading(connection),
      emptied: (discarded) => this.#inboxEmptied(discarded),
    })
    return this.#inbox
  }

  #inboxEmptied(discarded: number): void {
    this.#inbox = null
    // When nobody came to listen, it is from here on as with plain ws.
    if (discarded > 0 || (this.#flags & HANDLING) === 0) this.#flags &= ~HOLDING
    if (discarded === 0) return
    debugConnection(
      '%s: %d messages discarded, nobody listened',
      this.#host.id(this.#connection),
      discarded,
    )
    this.#host.unheard(this.#connection, discarded)
  }
}

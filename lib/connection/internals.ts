import type { PushCheck } from './checked-audience.ts'
import type { Outbox } from './outbox.ts'
import type { ConnectionFacts, ConnectionOwner } from './owner.ts'
import type { Reading } from './reading.ts'
import type { RequestOptions } from './types.ts'

/** What `messages()` lend to a connection that they serve. */
export interface Conversation {
  /** Looks at what is pushed; null where nobody wants that. */
  readonly check: PushCheck | null
  /**
   * A shutdown begins: nothing more is taken. A promise for the end of what has arrived, or null when
   * nothing has.
   */
  windDown(): Promise<unknown> | null
  /** Ask the client. Always settles. */
  ask(type: string, data: unknown, options: RequestOptions): Promise<unknown>
  /** The connection has ended: whatever waits for an answer is told. */
  end(error: Error): void
}

/** What koaws itself does with a connection `C`, and applications do not. */
export interface ConnectionInternals<C, Default extends C> {
  /** The handshake is done: the connection takes up its facts. */
  open(connection: C, facts: ConnectionFacts<Default>): void
  /** The handler has settled: messages that nobody wants are no longer kept. */
  handlerSettled(connection: C): void
  /**
   * A shutdown begins: loops over the messages end. A promise for the end of a handler that had one,
   * and of those of `messages()`, or null.
   */
  windDown(connection: C): Promise<unknown> | null
  /** Whether it was the application, or koaws, that began to close. */
  closedByUs(connection: C): boolean
  /**
   * Close because of an error in a handler or listener: an http-error of the 400s becomes
   * 4000 + status, anything else 1011. Reported to the owner unless somebody else does.
   */
  fail(connection: C, thrown: unknown, report: boolean): void
  /** Close by a decision of ours, and hear nothing more; `atOnce` for one that cannot be told. */
  closeForCause(connection: C, code: number, reason: string, atOnce?: boolean): void
  /** The sending side; null before the hub has taken the connection over. */
  outboxOf(connection: C): Outbox | null
  /** Whom it belongs to; null before the hub has taken it over. */
  ownerOf(connection: C): ConnectionOwner<Default> | null
  /** Reading from its client. */
  readingOf(connection: C): Reading
  /** `messages()` serve it from now on. */
  converse(connection: C, conversation: Conversation): void
  /** It was accepted without, and is authenticated now. */
  authenticated(
    connection: C,
    userId: string | undefined,
    state: unknown,
    expiresAt: number | null,
  ): void
  /** A number that changes when something arrives from the client. */
  lifeSigns(connection: C): number
  /** Ping for the heartbeat: the pong sets `rtt`. */
  ping(connection: C): void
  /** Where the heartbeat keeps it. */
  slotOf(connection: C): object | null
  setSlot(connection: C, slot: object | null): void
}

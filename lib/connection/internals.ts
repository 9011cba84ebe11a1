import type { Outbox } from './outbox.ts'
import type { ConnectionFacts } from './owner.ts'

/** What koaws itself does with a connection `C`, and applications do not. */
export interface ConnectionInternals<C, Default extends C> {
  /** The handshake is done: the connection takes up its facts. */
  open(connection: C, facts: ConnectionFacts<Default>): void
  /** The handler has settled: messages that nobody wants are no longer kept. */
  handlerSettled(connection: C): void
  /**
   * A shutdown begins: loops over the messages end. A promise for the end of a handler that had one,
   * or null.
   */
  endIteration(connection: C): Promise<void> | null
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
  /** In how many rooms it may be. */
  maxRoomsOf(connection: C): number
  /** A number that changes when something arrives from the client. */
  lifeSigns(connection: C): number
  /** Ping for the heartbeat: the pong sets `rtt`. */
  ping(connection: C): void
  /** Where the heartbeat keeps it. */
  slotOf(connection: C): object | null
  setSlot(connection: C, slot: object | null): void
}

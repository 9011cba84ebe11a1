// What the parts of the protocol share.

import type { Entry, HistoryLimits } from '../../../history/store.ts'
import type { Log } from './log.ts'
import type { Logs } from './logs.ts'
import type { Members } from './members.ts'
import type { Message, Replicated } from './messages.ts'

/** What the protocol needs of the instance that it runs in: it has no clock and no sockets. */
export interface Environment {
  readonly id: string
  /** The name of the publisher: the same when the instance starts again under another id. */
  readonly publisher: string
  readonly limits: HistoryLimits
  /** How long a log without entries is kept, in milliseconds. @default 24 hours */
  readonly remembered?: number | undefined
  /** The clock of the machine, in milliseconds. */
  now(): number
  /** Returns random characters for an epoch. */
  random(): string
  /** Sends to another instance: in order, and at most once. */
  send(to: string, message: Message): void
  /** Whether so much waits for another instance that no further entries shall be sent to it. */
  isFull(to: string): boolean
  /** Entries of a followed log. */
  recorded(log: string, epoch: string, entries: readonly Entry[]): void
  /** All instances know this one. */
  up(): void
  /** Entries may be missed. */
  missed(reason: string): void
}

/** What the parts of the protocol share. */
export interface Context {
  readonly environment: Environment
  readonly members: Members
  readonly logs: Logs
  /** Logs that need something at the next tick. */
  readonly unsettled: Set<Log>
  /** Sends to an instance. This one receives it when the present messages are handled. */
  send(to: string, message: Message): void
  /** Sends the last of these for each log when the present messages are handled. */
  acknowledge(to: string, message: Replicated): void
  /** Sends to all others, and to this one. */
  sendAll(message: Message): void
  /** The instance that the entries and questions of a log are sent to. */
  target(log: Log): string
  /** An instance owns a log, or has owned it. */
  know(log: Log, ballot: string, id: string): void
  /** A copy has grown: bounds the memory. */
  grown(log: Log): void
}

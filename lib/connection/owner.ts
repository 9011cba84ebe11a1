import type { AsyncResource } from 'node:async_hooks'
import type { Duplex } from 'node:stream'
import type { Audience } from './audience.ts'
import type { Compression, OutboxOwner } from './outbox.ts'
import type { CloseInfo } from './types.ts'

/**
 * Whom a connection `C` belongs to: told of its end and of its errors, keeper of the rooms, and of the
 * limits.
 */
export interface ConnectionOwner<C> extends OutboxOwner<C> {
  /** Called before the `close` event: the connection can no longer be reached. */
  unreachable(connection: C): void
  /** Called after the `close` event. */
  ended(connection: C, info: CloseInfo): void
  /** A handler or listener threw; `messageType` where it was that of a message. */
  failed(connection: C, error: Error, messageType?: string): void
  /** Something of the application that a shutdown waits for, until its deadline. Never rejects. */
  awaits(work: Promise<void>): void
  /** Something of this connection was dropped, or it was held back. */
  count(reason: DropReason, many: number, connection: C): void
  join(connection: C, rooms: readonly string[]): Promise<void>
  leave(connection: C, rooms: readonly string[]): void
  roomsOf(connection: C): ReadonlySet<string>
  /** The members of rooms, without this connection. */
  to(connection: C, rooms: readonly string[]): Audience
}

/** The names in `status().drops` that belong to connections. */
export type DropReason =
  /** Messages discarded because nobody listened, or after we had closed. */
  | 'unheard'
  /** Messages not sent to a client that is too slow. */
  | 'dropped'
  /** Volatile messages not sent to a client that was behind. */
  | 'volatile'
  /** Connections closed with 4610. */
  | 'slowConsumer'
  /** Times that reading was stopped because a client sent too much. */
  | 'flood'
  /** Connections closed with 1008 because they went on. */
  | 'floodClosed'
  /** Connections ended because they were silent. */
  | 'heartbeat'
  /** Joins beyond `maxRooms`. */
  | 'maxRooms'
  /** Joins of rooms whose name is no string of 1 to 255 bytes. */
  | 'badName'
  /** Connections closed with 1009: a message above `maxPayload`. */
  | 'maxPayload'
  /** Connections closed with 1008: a message of more than `maxFragments`. */
  | 'maxFragments'
  /** Connections closed because of any other frame that RFC 6455 does not allow. */
  | 'badFrame'
  | MessageDrop

/** The names in `status().drops` that belong to messages of `koaws.v1`. */
export type MessageDrop =
  /** Messages that are none of the protocol. */
  | 'malformed'
  /** Binary messages. */
  | 'binary'
  /** Messages above `maxMessage`. */
  | 'tooLarge'
  /** Messages nested too deep. */
  | 'tooDeep'
  /** Messages with names that must not be. */
  | 'prototypeKey'
  /** Messages that nobody handles. */
  | 'unknownType'
  /** Messages, and answers of clients, whose data do not fit their schema. */
  | 'invalid'
  /** Messages before the token was accepted. */
  | 'unauthenticated'
  /** Tokens in messages that were rejected. */
  | 'badToken'
  /** Connections closed with 4400: too many of these. */
  | 'offender'
  /** Connections closed with 4408: no token was accepted in time. */
  | 'neverAuthenticated'

/** The facts of the handshake that a connection is made with. */
export interface ConnectionFacts<C> {
  readonly id: string
  readonly userId: string | undefined
  readonly state: unknown
  readonly ip: string
  /** Path and query of the request. */
  readonly url: string
  readonly params: Readonly<Record<string, string>>
  readonly expiresAt: number | null
  readonly socket: Duplex
  readonly compression: Compression
  readonly owner: ConnectionOwner<C>
  readonly scope: AsyncResource | null
}

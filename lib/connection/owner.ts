// `ConnectionOwner`, what a connection asks of its hub, and `ConnectionFacts`, its constructor data.

import type { AsyncResource } from 'node:async_hooks'
import type { Duplex } from 'node:stream'
import type { RetryDrop } from '../retry/attempt.ts'
import type { Retries } from '../retry/retries.ts'
import type { StreamDrop, Streams } from '../streams/streams.ts'
import type { Tracer } from '../tracer.ts'
import type { Audience } from './audience.ts'
import type { Compression, OutboxOwner } from './outbox.ts'
import type { CloseInfo, Replay } from './types.ts'

/** The owner of a connection: hears of its end and errors, keeps the rooms and limits. */
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
  /** Takes the positions that the client presents, a message of so many bytes. Returns what is wrong with it, or null. */
  resumed(connection: C, data: unknown, bytes: number): string | null
  /** Enters a room, and sends what the connection missed since a position. */
  replay(connection: C, room: string, since: string): Promise<Replay>
  /** What follows messages; null for nothing. */
  tracer(): Tracer | null
  /** The requests that clients send again. */
  readonly retries: Retries | null
  /** The requests with streams; null where no request has any. */
  readonly streams: Streams | null
  /** The members of rooms, without this connection. */
  to(connection: C, rooms: readonly string[]): Audience
}

/** The names in `status().drops` that belong to connections. */
export type DropReason =
  /** Messages discarded because there was no listener, or after the server had closed. */
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
  /** Recoveries that were refused because of a limit. */
  | 'recoveries'
  /** Joins beyond `maxRooms`. */
  | 'maxRooms'
  /** Connections beyond `maxPerUser`: rejected, or closed with 4612 for a newer one. */
  | 'maxPerUser'
  /** Joins of rooms with a name that is not a string of 1 to 255 bytes. */
  | 'badName'
  /** Connections closed with 1009: a message above `maxPayload`. */
  | 'maxPayload'
  /** Connections closed with 1008: a message of more than `maxFragments`. */
  | 'maxFragments'
  /** Connections closed because of any other frame that RFC 6455 does not allow. */
  | 'badFrame'
  | MessageDrop
  | RetryDrop
  | StreamDrop

/** The names in `status().drops` that belong to messages of `koaws.v1`. */
export type MessageDrop =
  /** Messages that do not belong to the protocol. */
  | 'malformed'
  /** Binary messages. */
  | 'binary'
  /** Messages above `maxMessage`. */
  | 'tooLarge'
  /** Messages nested too deep. */
  | 'tooDeep'
  /** Messages with names that must not be. */
  | 'prototypeKey'
  /** Messages without a handler. */
  | 'unknownType'
  /** Messages, and answers of clients, with data that do not fit their schema. */
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

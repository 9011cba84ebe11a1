// The interfaces `Audience` and `Delivery`; `hub/audience.ts` implements them.

import type {
  AnyProtocol,
  DataArguments,
  ProtocolDefinition,
  PushGiven,
  ServerType,
} from '../protocol/definition.ts'
import type { Sendable } from './types.ts'

/** What a send to an audience came to, decided when it was called. */
export interface Delivery {
  /**
   * Connections of this instance that it was sent to. It is 0, as are `dropped` and `skipped`, for a message that an
   * engine outside of the process records: members get it afterwards.
   */
  readonly local: number
  /** Connections of this instance that did not get it, because they are too slow. */
  readonly dropped: number
  /** Connections of this instance that a `push` passed over: they do not speak `koaws.v1`. */
  readonly skipped: number
  /**
   * What the backplane did with it: `sent` means that it took it; `none` that there is no other
   * instance to tell. Never rejects.
   */
  readonly backplane: Promise<'sent' | 'queued' | 'failed' | 'none'>
  /**
   * Whether it was recorded in the history of its rooms or users: its position; `failed` when it was not recorded in
   * all of them; `none` without a history. While the engine is away it stays pending, within the bounds
   * of the queue. Never rejects.
   */
  readonly recorded: Promise<RecordResult>
}

/** A message that was recorded in the history of its rooms or users. */
export interface RecordedPosition {
  /** Its position in the room, or in the first of several. */
  readonly position: string
  /** Its position in each room by name; for messages to users by their ids. */
  readonly positions: Readonly<Record<string, string>>
}

/** What recording a message came to. */
export type RecordResult = RecordedPosition | 'failed' | 'none'

/** Which part of a history to read. */
export interface HistoryQuery {
  /** The position after which messages are read. @default the beginning of what is kept */
  since?: string | undefined
  /**
   * The largest number of messages: with `since` the first ones after it, otherwise the latest. @default all that are
   * kept
   */
  limit?: number | undefined
}

/** One message of a history. */
export interface HistoryMessage {
  /** Its position in the room. */
  readonly position: string
  /** The type of a push; undefined for a message that was sent with `send()` or `json()`. */
  readonly type: string | undefined
  /** The data of a push; otherwise the text, or a Buffer for a binary message. */
  readonly data: unknown
}

/** The messages of a room that are kept. */
export interface RoomHistory {
  /** The messages, oldest first. */
  readonly messages: readonly HistoryMessage[]
  /** The position of the last of the messages, or that of the room where there are none. */
  readonly position: string
  /**
   * Whether no message is missing: with `since`, all messages between it and `position` are here; without it, all
   * since the room began.
   */
  readonly complete: boolean
}

/** One connection of an audience, on any instance. */
export interface Member {
  /** `connection.id`. */
  readonly id: string
  /** `connection.userId`. */
  readonly userId: string | undefined
  /** What the application makes public of it; undefined without a projection. */
  readonly info: unknown
}

/** The members of an audience; `missing` names the instances that did not answer in time. */
export type Members = readonly Member[] & { readonly missing: readonly string[] }

/**
 * The receivers of a message: connections, users or rooms, over all instances, each member once.
 * Immutable, and evaluated when something is sent: keep it or make it anew, both are cheap.
 *
 * Sending never throws because of a member and never waits for one. Wrong arguments throw.
 *
 * @example
 * ```js
 * import Koa from 'koa'
 * import koaWs, { accept } from 'koaws'
 * import { testApp } from 'koaws/testing'
 *
 * const app = new Koa()
 * const hub = koaWs()
 * app.use(hub)
 * app.use(accept((connection) => connection.join('lobby')))
 *
 * const test = testApp(app)
 * const ann = await test.connect('/')
 * const bob = await test.connect('/')
 * const lobby = hub.room('lobby')
 * const [first] = await lobby.members()
 * const delivery = lobby.except(String(first?.id)).send('for bob')
 * console.log(delivery.local, await delivery.backplane) // 1 none
 * console.log(await bob.next()) // for bob
 * await lobby.close(4000, 'the lobby is closed')
 * console.log((await ann.closed).reason) // the lobby is closed
 * ```
 *
 * @typeParam D the protocol of the pushes that it takes; without one it takes any
 */
export interface Audience<D extends AnyProtocol = ProtocolDefinition> {
  /**
   * Sends one message to every member: a string as text, any other value as binary. It is encoded once.
   *
   * @param data a string, Buffer, ArrayBuffer or view
   * @returns how many connections it was sent to, and what the backplane did with it
   * @throws TypeError for another value
   */
  send(data: Sendable): Delivery
  /**
   * Sends a value as JSON in a text message.
   *
   * @param value any value with a JSON form
   * @throws TypeError when the value has no JSON form
   */
  json(value: unknown): Delivery
  /**
   * Sends a message of the subprotocol `koaws.v1`; members that speak another count as skipped.
   *
   * @param type the name of the message, of 1 to 255 bytes of UTF-8
   * @param data the value, which fits the protocol; undefined for a type without data
   * @throws TypeError when the type is no string of 1 to 255 bytes, or the data has no JSON form
   */
  push<T extends ServerType<D>>(type: T, ...data: DataArguments<PushGiven<D, T>>): Delivery
  /**
   * Returns the audience without these connections.
   *
   * @param connections connections, or their ids
   */
  except(...connections: (string | { readonly id: string })[]): Audience<D>
  /**
   * Returns the audience without the connections of these users.
   *
   * @param ids ids of users
   */
  exceptUser(...ids: (string | number)[]): Audience<D>
  /** Returns the audience of the members on this instance. */
  local(): Audience<D>
  /** Returns the audience with volatile sends: a client that has not taken earlier messages may miss them. */
  volatile(): Audience<D>
  /**
   * Makes every member enter rooms. A member that would be in more than `maxRooms` stays where it is, and
   * is counted in `status().drops.maxRooms`.
   *
   * @param rooms names of 1 to 255 bytes of UTF-8
   * @returns a promise that resolves when the other instances have been told
   * @throws TypeError for another name
   */
  join(...rooms: string[]): Promise<void>
  /**
   * Makes every member leave rooms; connections that are still being accepted enter without them.
   *
   * @param rooms names of rooms; a room that a member is not in is ignored
   */
  leave(...rooms: string[]): Promise<void>
  /**
   * Closes every member, and beyond the members every connection of the audience that is being let in, while its
   * chain, token check or `onConnect` runs, and those accepted with `hub: false`. Resolves
   * when the others have been told. An instance that the backplane does not reach misses it: see
   * docs/guides/targeted-push.md.
   *
   * @param code a close code that may be sent (RFC 6455, section 7.4). Default 1000
   * @param reason at most 123 bytes of UTF-8
   * @throws RangeError for another code, or a longer reason
   */
  close(code?: number, reason?: string): Promise<void>
  /** Counts the members, on all instances that answer within 2 seconds. */
  count(): Promise<number>
  /** Lists the members, on all instances that answer within 2 seconds. */
  members(): Promise<Members>
  /**
   * Returns the position of a room, or of the messages to a user: an opaque text. Read it before the state that goes
   * with it; a client that connects with it misses nothing. A room without messages has one too.
   *
   * Rejects with `ERR_KOAWS_NO_HISTORY` when the option `history` does not include it, with a TypeError for an
   * audience of several rooms or users, and with the error of the engine when that is away.
   */
  position(): Promise<string>
  /**
   * Reads the recorded messages of a room, or to a user, oldest first. They include messages that excluded
   * a connection or user (`except`): check the rights of the reader.
   *
   * Rejects as `position()`, with a TypeError for a `since` that is no position, or a `limit` that is no whole number
   * above 0, and with an OptionsError for a query that is no object, or has other members.
   *
   * @param query where the messages begin, and how many are read
   */
  history(query?: HistoryQuery): Promise<RoomHistory>
}

import type {
  DataArguments,
  ProtocolDefinition,
  PushData,
  ServerType,
} from '../protocol/definition.ts'
import type { Sendable } from './types.ts'

/** What a send to an audience came to, decided when it was called. */
export interface Delivery {
  /** Connections of this instance that it was sent to. */
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
}

/** One connection of an audience, on any instance. */
export interface Member {
  readonly id: string
  readonly userId: string | undefined
  /** What the application makes public of it; undefined without a projection. */
  readonly info: unknown
}

/** The members of an audience; `missing` names the instances that did not answer in time. */
export type Members = readonly Member[] & { readonly missing: readonly string[] }

/**
 * Whom something is for: connections, users or rooms, over all instances, each member once.
 * Immutable, and evaluated when something is sent: keep it or make it anew, both are cheap.
 *
 * Sending never throws because of a member and never waits for one. Wrong arguments throw.
 *
 * @typeParam D the protocol whose pushes it takes; without one it takes any
 */
export interface Audience<D extends ProtocolDefinition = ProtocolDefinition> {
  /**
   * Send one message to every member: a string as text, anything else as binary. It is encoded once.
   *
   * @throws TypeError for what is no string, Buffer, ArrayBuffer or view
   */
  send(data: Sendable): Delivery
  /**
   * Send a value as JSON in a text message.
   *
   * @throws TypeError when the value has no JSON form
   */
  json(value: unknown): Delivery
  /**
   * Send a message of the subprotocol `koaws.v1`; members that speak another count as skipped.
   *
   * @throws TypeError when the type is no string of 1 to 255 bytes, or the data has no JSON form
   */
  push<T extends ServerType<D>>(type: T, ...data: DataArguments<PushData<D, T>>): Delivery
  /** Without these connections, given themselves or by id. */
  except(...connections: (string | { readonly id: string })[]): Audience<D>
  /** Without the connections of these users. */
  exceptUser(...ids: (string | number)[]): Audience<D>
  /** Of this instance only. */
  local(): Audience<D>
  /** What is sent may be dropped for a client that has not taken what was sent before. */
  volatile(): Audience<D>
  /**
   * Have every member enter rooms. One that would be in more than `maxRooms` enters none of them, and
   * is counted in `status().drops.maxRooms`.
   *
   * @throws TypeError for a name that is no string of 1 to 255 bytes
   */
  join(...rooms: string[]): Promise<void>
  /** Have every member leave rooms. */
  leave(...rooms: string[]): Promise<void>
  /**
   * Close every member.
   *
   * @throws RangeError for a code that must not be sent (RFC 6455, section 7.4), or a reason above 123 bytes
   */
  close(code?: number, reason?: string): Promise<void>
  /** How many members there are, on all instances that answer. */
  count(): Promise<number>
  /** Who they are. */
  members(): Promise<Members>
}

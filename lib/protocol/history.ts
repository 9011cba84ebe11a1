// Messages of `koaws.v1` about room history: their data, bounds and texts.
import { hasFields } from '../fields.ts'

/** The most positions in a `koaws:resume`. */
export const MAX_POSITIONS = 128

/** The most ids of earlier connections in a `koaws:resume`. */
export const MAX_PREVIOUS = 8

/** The largest `koaws:resume`, in bytes of UTF-8. */
export const MAX_RESUME = 16_384

/** The longest id of an earlier connection, in UTF-16 units. */
const LONGEST_ID = 255

/** The key of the client's own log, with the messages to its user, among rooms. */
export const OWN_LOG = ''

/** The data of a `koaws:resume`, as read: what the client says that it has. */
export interface Resume {
  /** The ids of the client's last connections, newest last. */
  readonly previous: readonly string[]
  /** A position for each room; {@link OWN_LOG} for the messages to the user. */
  readonly positions: ReadonlyMap<string, string>
}

/** The data of `koaws:position` and `koaws:at`: `docs/protocol.md`, section 3.6. */
export interface RoomPosition {
  /** The name of the room; the empty string for the messages to the user. */
  readonly room: string
  /** The position, opaque to applications. */
  readonly position: string
}

/**
 * Why the missed messages of a room could not be sent. `expired`: messages were removed because of
 * their age. `trimmed`: messages were removed because of the size of the history. `epoch`: the
 * history began anew. `ahead`: the history has not reached the position. `limit`: a limit of the
 * server or of the client. `slow`: the messages could not be read or sent in time.
 */
export type Unrecovered = 'expired' | 'trimmed' | 'epoch' | 'ahead' | 'limit' | 'slow'

/** The data of `koaws:recovered`: `docs/protocol.md`, section 3.6. */
export type Recovery = Recovered | NotRecovered

/** A recovery: the missed messages of a room follow, all of them. They end at `position`. */
export interface Recovered extends RoomPosition {
  /** Whether the missed messages follow. */
  readonly recovered: true
  /** The number of messages that follow for this client. */
  readonly missed: number
  /** Not set. */
  readonly reason?: undefined
}

/** A refused recovery: nothing of the gap follows, and the client goes on from `position`. */
export interface NotRecovered extends RoomPosition {
  /** Whether the missed messages follow. */
  readonly recovered: false
  /** The number of missed messages is unknown. */
  readonly missed: null
  /** Why the missed messages cannot be sent. */
  readonly reason: Unrecovered
}

/** Returns the text that tells the position of a room at a join without a presented position. */
export function positionText(room: string, position: string): string {
  return JSON.stringify({ type: 'koaws:position', data: { room, position } })
}

/** Returns the text that precedes the `missed` messages, which end at `position`. */
export function recoveredText(room: string, missed: number, position: string): string {
  const data = { room, recovered: true, missed, position }
  return JSON.stringify({ type: 'koaws:recovered', data })
}

/** Returns the text of a refused recovery: the client goes on from `position`. */
export function unrecoveredText(room: string, reason: Unrecovered, position: string): string {
  const data = { room, recovered: false, missed: null, reason, position }
  return JSON.stringify({ type: 'koaws:recovered', data })
}

/** Returns the text that moves the position of a room without a message for this client. */
export function atText(room: string, position: string): string {
  return JSON.stringify({ type: 'koaws:at', data: { room, position } })
}

/** Returns the text that tells that the connection left a room: the client forgets the position. */
export function leftText(room: string): string {
  return JSON.stringify({ type: 'koaws:left', data: { room } })
}

/**
 * Returns the text of a push with its place in a room.
 *
 * @param text the text of the push, as `pushText()` returns it
 * @param once identifies a message to several rooms, which a client delivers once
 */
export function placedText(text: string, room: string, position: string, once?: string): string {
  const place = JSON.stringify({ room, position, once })
  return `${place.slice(0, -1)},${text.slice(1)}`
}

/**
 * Returns the data of a `koaws:resume`; null when they break a bound or have a wrong type. Absent
 * fields are empty. The positions are not checked further: they are the client's word.
 */
export function readResume(data: unknown): Resume | null {
  if (data === undefined) return { previous: [], positions: new Map() }
  if (!hasFields(data)) return null
  const { previous = [], positions = {} } = data
  if (!Array.isArray(previous) || previous.length > MAX_PREVIOUS) return null
  if (!previous.every((id) => typeof id === 'string' && id.length <= LONGEST_ID)) return null
  if (!hasFields(positions) || Array.isArray(positions)) return null
  const entries = Object.entries(positions)
  if (entries.length > MAX_POSITIONS) return null
  if (!entries.every((entry): entry is [string, string] => typeof entry[1] === 'string'))
    return null
  return { previous, positions: new Map(entries) }
}

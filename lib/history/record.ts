// Encodes the messages of an entry as its payload, and decodes them.

import { ByteReader, ByteWriter, Garbage } from '../backplane/bytes.ts'
import { isWholeFrame } from '../backplane/frame-check.ts'

/** One recorded message. */
export interface HistoryRecord {
  /** The complete unmasked frame (RFC 6455, section 5.2). */
  readonly frame: Buffer
  /** Only for members that speak `koaws.v1`. */
  readonly pushed: boolean
  /** The ids of excluded connections. */
  readonly except: readonly string[]
  readonly exceptUsers: readonly string[]
  /** An id that is the same in every log that the message was recorded in; null for one log. */
  readonly once: string | null
  /** A change of the membership, in JSON in place of the frame. */
  readonly isChange: boolean
}

const VERSION = 1
const PUSHED = 1
const EXCEPT = 2
const EXCEPT_USERS = 4
const ONCE = 8
const CHANGE = 16

const writer = new ByteWriter()
/** The messages of a payload that this process has made or read, so that they are decoded once. A WeakMap cost more. */
const RECORDS: unique symbol = Symbol('records')
type Payload = Buffer & { [RECORDS]?: readonly HistoryRecord[] }

export function encodeRecords(records: readonly HistoryRecord[]): Buffer {
  writer.reset()
  writer.byte(VERSION)
  writer.integer(records.length)
  const ends: number[] = []
  for (const { frame, pushed, except, exceptUsers, once, isChange } of records) {
    writer.byte(
      (pushed ? PUSHED : 0) |
        (except.length > 0 ? EXCEPT : 0) |
        (exceptUsers.length > 0 ? EXCEPT_USERS : 0) |
        (once === null ? 0 : ONCE) |
        (isChange ? CHANGE : 0),
    )
    if (except.length > 0) writer.strings(except)
    if (exceptUsers.length > 0) writer.strings(exceptUsers)
    if (once !== null) writer.string(once)
    writer.buffer(frame)
    ends.push(writer.length)
  }
  const payload: Payload = writer.takeToKeep()
  // Views, so that a kept payload does not keep the given frames as well.
  const kept = records.map(({ frame, pushed, except, exceptUsers, once, isChange }, i) => {
    const end = ends[i] as number
    const view = payload.subarray(end - frame.length, end)
    return { frame: view, pushed, except, exceptUsers, once, isChange }
  })
  payload[RECORDS] = kept
  return payload
}

/**
 * Decodes a payload. The frames are views of it, not copies.
 *
 * @throws Garbage for a payload that is incomplete, of another version, or foreign
 */
export function decodeRecords(payload: Payload): readonly HistoryRecord[] {
  const before = payload[RECORDS]
  if (before) return before
  const reader = new ByteReader(payload, 0)
  if (reader.byte() !== VERSION) throw new Garbage('its version is unknown')
  const records: HistoryRecord[] = []
  for (let count = reader.integer(); count > 0; count--) {
    const flags = reader.byte()
    const except = (flags & EXCEPT) === 0 ? [] : reader.strings()
    const exceptUsers = (flags & EXCEPT_USERS) === 0 ? [] : reader.strings()
    const once = (flags & ONCE) === 0 ? null : reader.string()
    const frame = reader.buffer()
    const isChange = (flags & CHANGE) !== 0
    if (!isChange && !isWholeFrame(frame)) throw new Garbage('its frame is malformed')
    records.push({ frame, pushed: (flags & PUSHED) !== 0, except, exceptUsers, once, isChange })
  }
  if (!reader.done) throw new Garbage('it has surplus bytes')
  payload[RECORDS] = records
  return records
}

// The frames of recorded messages: with their position for clients that recover, plain for all others.

import { announcementOf } from '../connection/announce.ts'
import { type Connection, coreOf } from '../connection/connection.ts'
import { Frame, type FrameDeflate, payloadAt } from '../connection/frame.ts'
import type { Outcome } from '../connection/outbox.ts'
import { tellSentToMany } from '../connection/sent.ts'
import { channels } from '../diagnostics.ts'
import { atText } from '../protocol/history.ts'
import { KOAWS_V1 } from '../protocol/subprotocol.ts'
import type { Part } from './part.ts'
import { partsOf, positionOf } from './place.ts'
import { decodeRecords, type HistoryRecord } from './record.ts'
import type { Session } from './session.ts'
import type { Entry, Place } from './store.ts'

/** A larger message is not copied into a part. */
const LARGEST = 16 * 1024

/** One recorded message at its place in a log, with frames that are made on first use. */
export class PlacedMessage {
  readonly record: HistoryRecord
  readonly place: Place
  /** The key of the message before this one. */
  readonly #previous: string
  readonly #room: string
  readonly #deflate: FrameDeflate | null
  #plain: Frame | null = null
  #placed: Frame | null = null
  #at: Frame | null = null
  #excluded: { ids: Set<string>; users: Set<string | undefined> } | null = null

  /**
   * @param room the room as clients know it: empty for messages to a user
   * @param previous the key of the message before this one
   */
  constructor(
    record: HistoryRecord,
    room: string,
    place: Place,
    previous: string,
    deflate: FrameDeflate | null,
  ) {
    this.record = record
    this.place = place
    this.#previous = previous
    this.#room = room
    this.#deflate = deflate
  }

  /** Adds the messages of an entry to a list. @throws Garbage for a payload of other software */
  static addEntry(
    messages: PlacedMessage[],
    { payload, key, offset, count, previous }: Entry,
    room: string,
    epoch: string,
    deflate: FrameDeflate | null,
  ): void {
    let at = offset - count
    let before = previous
    for (const record of decodeRecords(payload)) {
      const place = { epoch, offset: ++at, key }
      messages.push(new PlacedMessage(record, room, place, before, deflate))
      before = key
    }
  }

  /** The place before this message. */
  get before(): Place {
    const { epoch, offset } = this.place
    return { epoch, offset: offset - 1, key: this.#previous }
  }

  /** Whether the message excludes a connection. A change of the membership is for no client. */
  excludes(connection: Connection, session: Session | null): boolean {
    const { except, exceptUsers, isChange } = this.record
    if (isChange) return true
    if (except.length === 0 && exceptUsers.length === 0) return false
    this.#excluded ??= { ids: new Set(except), users: new Set(exceptUsers) } // each member is looked up in it
    const { ids, users } = this.#excluded
    if (ids.has(connection.id) || users.has(connection.userId)) return true
    return ids.size > 0 && session !== null && session.wasOneOf(ids)
  }

  /** Whether a connection is sent it. */
  isFor(connection: Connection, session: Session | null): boolean {
    if (this.record.pushed && connection.protocol !== KOAWS_V1) return false
    return !this.excludes(connection, session)
  }

  /**
   * Sends it to one member: with its position to a client that recovers. Such a client is told of the position also
   * where the message is not for it.
   *
   * @param isRepeat whether it has got the message in another room
   */
  sendTo(
    connection: Connection,
    session: Session | null,
    isRepeat = false,
  ): Outcome | 'skipped' | 'excluded' {
    const { outbox } = coreOf(connection)
    if (!outbox) return 'gone'
    const excluded = isRepeat || this.excludes(connection, session)
    const { pushed } = this.record
    if (!session) {
      if (excluded) return 'excluded'
      if (pushed && connection.protocol !== KOAWS_V1) return 'skipped'
      return this.#send(outbox, this.#plainFrame)
    }
    if (!excluded && pushed) return this.#send(outbox, this.#placedFrame)
    const outcome = excluded ? 'excluded' : this.#send(outbox, this.#plainFrame)
    outbox.add(this.#atFrame, false)
    return outcome
  }

  /** Tells that it was sent to so many members. */
  tellSent(instance: string, log: string, count: number): void {
    if (!channels.sent.hasSubscribers) return
    const { pushed, except, exceptUsers } = this.record
    const [kind, name] = partsOf(log)
    const audience = { kind, names: [name], except, exceptUsers }
    tellSentToMany(instance, this.#plainFrame.payload, pushed, count, audience)
  }

  /** Whether a client that recovers may be sent it in a part, which has nothing but messages with their position. */
  fits(connection: Connection, session: Session): boolean {
    const { pushed, once, frame } = this.record
    return pushed && once === null && frame.length <= LARGEST && !this.excludes(connection, session)
  }

  addTo(part: Part): void {
    part.add(this.#room, this.place, this.record.frame)
  }

  #send(outbox: NonNullable<ReturnType<typeof coreOf>['outbox']>, frame: Frame): Outcome {
    const announcement = this.record.pushed ? announcementOf(frame.payload.length) : null
    if (announcement) outbox.add(announcement, false)
    return outbox.add(frame, false)
  }

  get #plainFrame(): Frame {
    this.#plain ??= Frame.decode(this.record.frame, this.#deflate)
    return this.#plain
  }

  /** The same JSON object with two or three more members, without parsing it: see `placedText()`. */
  get #placedFrame(): Frame {
    if (this.#placed) return this.#placed
    const { once, frame } = this.record
    const twin = once === null ? '' : `"once":${JSON.stringify(once)},`
    const head = `{"room":${JSON.stringify(this.#room)},"position":"${positionOf(this.place)}",${twin}`
    this.#placed = Frame.text(head, frame.subarray(payloadAt(frame) + 1), this.#deflate)
    return this.#placed
  }

  get #atFrame(): Frame {
    this.#at ??= Frame.encode(atText(this.#room, positionOf(this.place)), this.#deflate)
    return this.#at
  }
}

/** Sends a text of the protocol itself to one client, behind all that was sent before. */
export function say(connection: Connection, text: string): Outcome {
  return coreOf(connection).outbox?.add(Frame.encode(text, null), false) ?? 'gone'
}

/** The same for a verdict: a client that is too slow to be told is closed, also with `slowConsumer: 'drop'`. */
export function tell(connection: Connection, text: string): void {
  if (say(connection, text) === 'dropped') coreOf(connection).owner?.tooSlow(connection)
}

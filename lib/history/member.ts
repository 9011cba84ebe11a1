// A member that is not live in a log yet: it waits for a verdict, or is given what it missed.

import { type Connection, coreOf } from '../connection/connection.ts'
import { Frame } from '../connection/frame.ts'
import type { Replay } from '../connection/types.ts'
import { channels } from '../diagnostics.ts'
import {
  positionText,
  recoveredText,
  type Unrecovered,
  unrecoveredText,
} from '../protocol/history.ts'
import { type PlacedMessage, tell } from './frames.ts'
import { Part } from './part.ts'
import { positionOf } from './place.ts'
import type { Served } from './served.ts'
import type { Session } from './session.ts'
import type { Place } from './store.ts'
import { whenTaken } from './taken.ts'

/** The most bytes that are handed over before the socket must have taken them. */
const PART = 64 * 1024
/** How long a client that takes nothing is left alone, in milliseconds. */
const AGAIN = 50
/**
 * How long a client may take for a part, in milliseconds; longer for a message that is larger. Clients that take
 * nothing, and still answer pings, would use up what may be under way in all.
 */
const PATIENCE = 30_000

const part = new Part()

/** The follower of a log, as its members see it. */
export interface MemberOwner {
  /** The room as clients know it: empty for messages to a user. */
  readonly room: string
  /** The place of the last message that live members got. */
  readonly top: Place | null
  /** The messages after a place, up to `top`; null where they are not kept any more. */
  after(since: Place): readonly PlacedMessage[] | null
  /** Reserves bytes for a replay to a connection. Returns false when too much is under way. */
  reserve(connection: Connection, bytes: number): boolean
  release(connection: Connection, bytes: number): void
  /** The receivers of messages to several rooms. */
  readonly served: Served
  /** The member has got everything: it is live from now on. */
  live(member: Member): void
}

/** A member that is not live yet. */
export class Member {
  readonly connection: Connection
  /** Null for `connection.replay()`. */
  readonly session: Session | null
  /** The top at its join; null until the follower knows it. */
  from: Place | null = null
  /** The place that was presented, after which everything is wanted; null where none was. */
  since: Place | null = null
  /** How many reads did not help. */
  tries = 0
  state: 'waiting' | 'reading' | 'replaying' | 'over' = 'waiting'
  readonly #owner: MemberOwner
  readonly #told: ((verdict: Replay) => void) | null
  /** Takes back that it is called when what it waits for has come. */
  forgetWait: (() => void) | null = null
  /** The place up to which `#todo` goes. */
  #end: Place | null = null
  #todo: readonly PlacedMessage[] = []
  #next = 0
  #reserved = 0

  /** @param told called with the verdict, for `connection.replay()` */
  constructor(
    connection: Connection,
    session: Session | null,
    owner: MemberOwner,
    told: ((verdict: Replay) => void) | null = null,
  ) {
    this.connection = connection
    this.session = session
    this.#owner = owner
    this.#told = told
  }

  /** Takes up the position that the client has presented. Returns false when its user recovers too often. */
  takeUp(): boolean {
    if (!this.session || this.since) return true
    this.since = this.session.take(this.#owner.room)
    return !this.since || !this.session.isLimited
  }

  /**
   * The gap is whole: the verdict first, then its messages, as fast as the client takes them.
   *
   * @param messages those after `since`
   * @param top the place of the last of them
   */
  replay(messages: readonly PlacedMessage[], top: Place): void {
    if (!this.#reserve(sizeOf(messages))) {
      this.refuse('limit', top)
      return
    }
    this.state = 'replaying'
    this.#todo = messages
    this.#next = 0
    this.#end = top
    const missed = messages.filter((one) => one.isFor(this.connection, this.session)).length
    const { room } = this.#owner
    this.#tell({ recovered: true, missed, reason: null })
    if (this.since) this.#send(recoveredText(room, missed, positionOf(top)))
    else this.#send(positionText(room, positionOf(this.from ?? top)))
    this.#handOver()
  }

  /** The gap is not whole, or too large: nothing of it is given, and the member goes on from `top`. */
  refuse(reason: Unrecovered, top: Place): void {
    this.#tell({ recovered: false, missed: null, reason })
    // It cannot be told any more that messages are missing: it returns, and recovers.
    if (this.state === 'replaying' && !this.session)
      coreOf(this.connection).owner?.tooSlow(this.connection)
    this.#send(unrecoveredText(this.#owner.room, reason, positionOf(top)))
    this.cancel()
    this.#owner.live(this)
  }

  /** Calls `then` when the socket has taken what it was given, however long that takes. Until then, nothing is reserved. */
  whenReady(then: () => void): void {
    this.#whenTaken((inTime) => (inTime ? then() : this.whenReady(then)))
  }

  /** Calls `then` when the socket has taken what it was given or not in time, unless the member has left. */
  #whenTaken(then: (inTime: boolean) => void): void {
    this.forgetWait?.()
    const socket = coreOf(this.connection).outbox?.socket
    if (socket?.writableNeedDrain) {
      this.forgetWait = whenTaken(socket, PATIENCE, then)
      return
    }
    const timer = setTimeout(then, AGAIN, true)
    timer.unref()
    this.forgetWait = () => clearTimeout(timer)
  }

  /** It is known whether the client has missed nothing. A first join presents no position, and asks for nothing. */
  #tell(verdict: Replay): void {
    this.#told?.(verdict)
    if (!channels.recovery.hasSubscribers || !(this.since || this.#told)) return
    const { connection } = this
    channels.recovery.publish({ connection, room: this.#owner.room, ...verdict })
  }

  /** The connection has left the room or ended, or it was told that messages are missing. */
  cancel(): void {
    if (this.state === 'over') return
    this.state = 'over'
    this.#told?.({ recovered: false, missed: null, reason: 'left' })
    this.#todo = []
    this.forgetWait?.()
    this.#owner.release(this.connection, this.#reserved)
    this.#reserved = 0
  }

  /** Reserves what is handed over next, in place of what was. Returns false when too much is under way. */
  #reserve(bytes: number): boolean {
    this.#owner.release(this.connection, this.#reserved)
    this.#reserved = 0
    if (bytes > 0 && !this.#owner.reserve(this.connection, bytes)) return false
    this.#reserved = bytes
    return true
  }

  #send(text: string): void {
    if (this.session) tell(this.connection, text)
  }

  #handOver(): void {
    if (this.state !== 'replaying' || coreOf(this.connection).outbox?.socket.destroyed) return
    let bytes = 0
    for (;;) {
      bytes += this.#handOverPart(PART - bytes)
      if (bytes >= PART) break
      const message = this.#todo[this.#next]
      if (!message) {
        if (!this.#goOn()) return
        continue
      }
      const { once, frame } = message.record
      const { served } = this.#owner
      const isRepeat = once !== null && served.isRepeat(this.connection, once)
      if (message.sendTo(this.connection, this.session, isRepeat) === 'dropped') {
        this.#whenTaken((inTime) => this.#goOnIf(inTime))
        return
      }
      if (once !== null) served.got(this.connection, once)
      this.#next++
      bytes += frame.length
    }
    this.#later(PATIENCE * Math.max(1, bytes / PART))
  }

  /** Hands over, in one piece, the next messages that fit into a part. Returns their size. */
  #handOverPart(most: number): number {
    const { connection, session } = this
    const { outbox } = coreOf(connection)
    if (!session || !outbox?.takesAll) return 0
    let message = this.#todo[this.#next]
    while (message?.fits(connection, session) && part.size < most) {
      message.addTo(part)
      message = this.#todo[++this.#next]
    }
    const { size } = part
    if (size > 0) outbox.add(Frame.joined(part.take()), false)
    return size
  }

  /** Everything was handed over. Takes up what was recorded meanwhile. Returns false when that was all. */
  #goOn(): boolean {
    const { top } = this.#owner
    const end = this.#end
    if (!end || !top || (end.epoch === top.epoch && end.offset >= top.offset)) {
      this.state = 'over'
      this.#releaseLater()
      this.#owner.live(this)
      return false
    }
    const more = this.#owner.after(end)
    if (!more) {
      this.refuse('slow', top)
      return false
    }
    if (!this.#reserve(sizeOf(more))) {
      this.refuse('limit', top)
      return false
    }
    this.#todo = more
    this.#next = 0
    this.#end = top
    return true
  }

  /** Goes on when the socket has taken what it has, in a later turn at the earliest. */
  #later(patience: number): void {
    setImmediate(() => {
      if (this.state !== 'replaying') return
      const socket = coreOf(this.connection).outbox?.socket
      if (!socket?.writableNeedDrain) this.#handOver()
      else {
        this.forgetWait = whenTaken(socket, patience, (inTime) => this.#goOnIf(inTime))
      }
    })
  }

  #goOnIf(inTime: boolean): void {
    const { top } = this.#owner
    if (inTime || !top) this.#handOver()
    else this.refuse('slow', top)
  }

  /** What was handed over counts until the socket has taken it. */
  #releaseLater(): void {
    const { connection } = this
    const bytes = this.#reserved
    this.#reserved = 0
    if (bytes === 0) return
    const release = (): void => this.#owner.release(connection, bytes)
    setImmediate(() => {
      const socket = coreOf(connection).outbox?.socket
      if (socket?.writableNeedDrain && !socket.destroyed) whenTaken(socket, PATIENCE, release)
      else release()
    })
  }
}

function sizeOf(messages: readonly PlacedMessage[]): number {
  return messages.reduce((sum, { record }) => sum + record.frame.length, 0)
}

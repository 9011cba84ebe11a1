// The members of one log on this instance: live ones get what is recorded, others what they missed first.

import type { Connection } from '../connection/connection.ts'
import type { FrameDeflate } from '../connection/frame.ts'
import { type Flushable, flushAtEndOfTurn } from '../connection/turn.ts'
import type { Replay } from '../connection/types.ts'
import { debugBackplane, messageOf } from '../debug.ts'
import { KoaWsError } from '../errors.ts'
import type { Unrecovered } from '../protocol/history.ts'
import { isThenable } from '../thenable.ts'
import { PlacedMessage } from './frames.ts'
import { Member, type MemberOwner } from './member.ts'
import { holds, isNowhere, roomOf } from './place.ts'
import type { RingSizes } from './ring.ts'
import type { Served } from './served.ts'
import type { Session } from './session.ts'
import type { Entry, HistoryLimits, HistoryStore, Place, Reading } from './store.ts'
import { Tail, type TailOwner } from './tail.ts'

/** How long a member waits before its place is looked up again, in milliseconds. */
const AGAIN = 30
/** The most such attempts; then the recovery is refused. */
const MOST_TRIES = 20

/** What the followers of one hub share. */
export interface FollowerHost {
  readonly store: HistoryStore
  readonly limits: HistoryLimits
  readonly deflate: FrameDeflate | null
  readonly rings: RingSizes
  /** Gives messages to the members of a log that are live. */
  deliver(follower: Follower, messages: readonly PlacedMessage[]): void
  /** Tells the live members that messages are missing; they go on from the follower's top. */
  tellMissing(follower: Follower, reason: Unrecovered): void
  /** Reports an entry that is not of this version of koaws. */
  foreign(): void
  reserve(connection: Connection, bytes: number): boolean
  release(connection: Connection, bytes: number): void
  /** The receivers of messages to several rooms. */
  readonly served: Served
}

/** The follower of one log. */
export class Follower implements MemberOwner, TailOwner, Flushable {
  readonly log: string
  readonly room: string
  /** The members that are not live. */
  readonly pending: Map<Connection, Member> = new Map()
  /** Settles when the log is followed; undefined where it is already. Never rejects. */
  readonly followed: Promise<void> | undefined
  readonly #host: FollowerHost
  readonly tail: Tail
  /** The connections that joined in this turn, with the top at that time. */
  readonly #joined = new Map<Connection, Place | null>()
  #expected: { readonly place: Place; readonly resolve: () => void }[] = []

  constructor(log: string, host: FollowerHost) {
    this.log = log
    this.room = roomOf(log)
    this.#host = host
    this.tail = new Tail(log, host.store, host.limits, this, host.rings)
    this.followed = this.tail.begin()?.then(ignore)
  }

  get top(): Place | null {
    return this.tail.top
  }

  /** A connection has joined. A client that recovers is not live at once; any other may still call `replay()`. */
  join(connection: Connection, session: Session | null): void {
    if (session) {
      this.#add(new Member(connection, session, this))
      return
    }
    if (this.#joined.size === 0) flushAtEndOfTurn(this)
    this.#joined.set(connection, this.top)
  }

  /** The turn has ended. */
  flush(): void {
    this.#joined.clear()
  }

  /**
   * Gives a connection that has joined in this turn what it missed. Resolves at the verdict.
   *
   * @throws KoaWsError when it joined earlier, so that later messages may have come before the missed ones
   */
  replay(connection: Connection, since: Place): Promise<Replay> {
    const isNew = this.#joined.has(connection) && this.#joined.get(connection) === this.top
    if (!isNew || this.pending.has(connection)) throw tooLate(this.room)
    return new Promise((resolve) => {
      const member = new Member(connection, null, this, resolve)
      member.since = since
      this.#add(member)
    })
  }

  /** A live member did not take a message. It gets everything after a place when it takes messages again. */
  fellBehind(connection: Connection, session: Session, since: Place): void {
    const member = new Member(connection, session, this)
    member.since = since
    this.pending.set(connection, member)
    member.whenReady(() => this.#place(member))
  }

  leave(connection: Connection): void {
    this.#joined.delete(connection)
    const member = this.pending.get(connection)
    this.pending.delete(connection)
    member?.cancel()
  }

  end(): void {
    this.tail.end()
    for (const member of this.pending.values()) member.cancel()
    this.pending.clear()
    for (const { resolve } of this.#expected.splice(0)) resolve()
  }

  recorded(epoch: string, entries: readonly Entry[]): void {
    this.tail.recorded(epoch, entries)
  }

  /** Resolves when the members have got everything up to a place, or the log has begun anew; null when they have it. */
  reached(place: Place): Promise<void> | null {
    if (this.#isPast(place)) return null
    return new Promise((resolve) => this.#expected.push({ place, resolve }))
  }

  /** Looks whether the log has more than was heard. Never rejects. */
  async look(): Promise<void> {
    if (!(await this.tail.look())) return // it is called again when the engine is back
    for (const member of [...this.pending.values()]) {
      if (member.state === 'waiting') this.#place(member)
    }
  }

  // ---- TailOwner

  began(): void {
    for (const member of [...this.pending.values()]) {
      member.from ??= this.tail.topNow
      this.#place(member)
    }
  }

  appended(epoch: string, entry: Entry): void {
    this.#host.deliver(this, this.#messagesOf(epoch, [entry], null))
    this.#tellReached()
  }

  restarted(top: Place, reason: Unrecovered): void {
    this.#host.tellMissing(this, reason)
    this.#tellReached()
    for (const member of [...this.pending.values()]) {
      if (member.state === 'replaying') member.refuse(reason, top)
      else this.#place(member)
    }
  }

  // ---- MemberOwner

  after(since: Place): readonly PlacedMessage[] | null {
    const entries = this.tail.after(since)
    return entries && this.#messagesOf(since.epoch, entries, since)
  }

  reserve(connection: Connection, bytes: number): boolean {
    return this.#host.reserve(connection, bytes)
  }

  release(connection: Connection, bytes: number): void {
    this.#host.release(connection, bytes)
  }

  get served(): Served {
    return this.#host.served
  }

  live(member: Member): void {
    if (this.pending.get(member.connection) === member) this.pending.delete(member.connection)
  }

  // ---- places

  #isPast({ epoch, offset }: Place): boolean {
    const { top } = this
    return top !== null && (top.epoch > epoch || (top.epoch === epoch && top.offset >= offset))
  }

  #tellReached(): void {
    if (this.#expected.length === 0) return
    const before = this.#expected
    this.#expected = before.filter(({ place }) => !this.#isPast(place))
    for (const { place, resolve } of before) if (this.#isPast(place)) resolve()
  }

  #add(member: Member): void {
    this.pending.set(member.connection, member)
    member.from ??= this.tail.topNow
    const { session } = member
    if (!session || session.isPresented) this.#place(member)
    else member.forgetWait = session.whenPresented(() => this.#place(member))
  }

  #place(member: Member): void {
    const top = this.tail.topNow
    const { session, state } = member
    if (!top || this.pending.get(member.connection) !== member) return
    if (session && !session.isPresented) return
    if (state === 'reading' || state === 'replaying') return
    if (!member.takeUp()) {
      member.refuse('limit', top)
      return
    }
    const since = member.since ?? member.from ?? top
    const near = this.after(since)
    if (near) member.replay(near, top)
    else this.#read(member, since)
  }

  #read(member: Member, since: Place): void {
    member.state = 'reading'
    const reading = this.#host.store.read(this.log, since)
    if (!isThenable(reading)) {
      this.#judge(member, since, reading)
      return
    }
    Promise.resolve(reading).then(
      (read) => this.#judge(member, since, read),
      () => void this.#notRead(member),
    )
  }

  /** The engine is away: all that wait are placed again when it is back. Or it cannot read this log. */
  async #notRead(member: Member): Promise<void> {
    if (member.state !== 'reading') return
    member.state = 'waiting'
    const isBack = await this.tail.look()
    if (isBack && member.state === 'waiting') this.#again(member, 'slow')
  }

  /** The store has answered. Its entries are joined with the later ones that arrived here. */
  #judge(member: Member, since: Place, reading: Reading): void {
    const { top } = this
    const told = this.tail.topNow
    if (!top || !told || member.state !== 'reading') return
    const theirs = reading.top
    if ('missing' in reading) {
      const isSame = theirs.epoch === top.epoch || (isNowhere(theirs) && isNowhere(top))
      if (isSame && theirs.offset <= top.offset) member.refuse(reading.missing, told)
      else {
        if (theirs.epoch > top.epoch || theirs.offset > top.offset) void this.look()
        this.#again(member, reading.missing)
      }
      return
    }
    for (const entry of reading.entries) this.tail.take(theirs.epoch, entry) // a member is never ahead
    const now = this.tail.topNow
    const rest = now && isNowhere(theirs) && isNowhere(now) ? [] : this.after(theirs)
    if (member.state !== 'reading') return
    if (rest && now) {
      member.replay([...this.#messagesOf(theirs.epoch, reading.entries, since), ...rest], now)
    } else this.#again(member, 'epoch')
  }

  /** Looks up a member's place once more, a little later. */
  #again(member: Member, reason: Unrecovered): void {
    const top = this.tail.topNow
    if (member.state === 'over') return
    member.state = 'waiting'
    if (++member.tries > MOST_TRIES && top) member.refuse(reason, top)
    else setTimeout(() => this.#place(member), AGAIN).unref()
  }

  /** @param since a place within the first entry: its messages up to there are left out */
  #messagesOf(epoch: string, entries: readonly Entry[], since: Place | null): PlacedMessage[] {
    const messages: PlacedMessage[] = []
    for (const entry of entries) {
      try {
        PlacedMessage.addEntry(messages, entry, this.room, epoch, this.#host.deflate)
      } catch (error) {
        debugBackplane('an entry of %s cannot be read: %s', this.log, messageOf(error))
        this.#host.foreign()
      }
    }
    const [first] = entries
    if (!since || !first || !holds(first, since)) return messages
    return messages.filter(({ place }) => place.offset > since.offset)
  }
}

function ignore(): void {}

function tooLate(room: string): KoaWsError {
  return new KoaWsError(
    'ERR_KOAWS_REPLAY',
    `connection.replay(${JSON.stringify(room)}): the connection is in this room already, so that messages would arrive out of order. Call replay() in place of join().`,
  )
}

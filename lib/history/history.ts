// The history of one hub: records messages of rooms and users, and gives members what they missed.

import type { MaxQueued } from '../backplane/adapter.ts'
import { type Change, type Target, topicOf } from '../backplane/order.ts'
import { wait } from '../backplane/parts.ts'
import type { Connection } from '../connection/connection.ts'
import type { FrameDeflate } from '../connection/frame.ts'
import type { Replay } from '../connection/types.ts'
import { debugBackplane, messageOf } from '../debug.ts'
import { leftText, type Unrecovered, unrecoveredText } from '../protocol/history.ts'
import { assertName } from '../validate.ts'
import { Changes } from './changes.ts'
import { Follower, type FollowerHost } from './follower.ts'
import { type PlacedMessage, say, tell } from './frames.ts'
import { RecoveryRate, ReplayBudget } from './limits.ts'
import type { ResolvedHistory } from './options.ts'
import { partsOf, positionOf, roomOf } from './place.ts'
import { HistoryReader, placeIn, recoversItself } from './reading.ts'
import { Recorder, type Recording } from './recorder.ts'
import { Served } from './served.ts'
import { Session } from './session.ts'
import type { Entry, HistoryStore, OpenHistory, Place } from './store.ts'

/** How long the last messages may take at the end, in milliseconds. */
const GOODBYE = 1_000
/** How long what waited in an outage waits for the logs, in milliseconds. */
const PATIENCE = 2_000
/** How often each log is compared with the store, in milliseconds. */
const LOOK = 30_000

/** The names under which history counts in `status().drops`. */
export type HistoryDrop =
  /** Recoveries that were refused because of a limit. */
  | 'recoveries'
  /** Messages that could not be recorded. */
  | 'unrecorded'
  /** Messages not sent to a client that is too slow. */
  | 'dropped'
  /** Entries of other software. */
  | 'foreign'

/** The state of a history. */
export interface HistoryStatus {
  /** Rooms and users with a history that have a member on this instance. */
  readonly followed: number
  /** Bytes of missed messages that are being sent, or not taken by their clients yet. */
  readonly replaying: number
  /** What waits for the engine to record it. */
  readonly queued: { readonly messages: number; readonly bytes: number }
}

/** What history needs of its hub. */
export interface HistoryHost {
  /** The name of the instance. */
  readonly instance: string
  readonly deflate: FrameDeflate | null
  /** The members of a log on this instance. */
  members(log: string): ReadonlySet<Connection> | undefined
  count(reason: HistoryDrop, many: number, connection?: Connection): void
  /** Carries out a change of the membership on the present members. */
  change(change: Change): void
  /** Tells the members of a room or user that do not recover that messages are missing. */
  lost(kind: 'rooms' | 'users', name: string, without: (connection: Connection) => boolean): void
}

/** What a recorded message came to on this instance, so far as that is known at once. */
export interface RecordedDelivery {
  readonly local: number
  readonly dropped: number
  readonly skipped: number
  readonly recording: Recording
}

export class History implements FollowerHost {
  readonly store: HistoryStore
  readonly limits: ResolvedHistory
  readonly deflate: FrameDeflate | null
  readonly reader: HistoryReader
  readonly served: Served = new Served()
  readonly changes: Changes
  readonly rings: FollowerHost['rings'] = { total: 0 }
  readonly #host: HistoryHost
  readonly #recorder: Recorder
  readonly #followers = new Map<string, Follower>()
  readonly #sessions = new WeakMap<Connection, Session>()
  readonly #budget = new ReplayBudget()
  readonly #rate = new RecoveryRate()

  #tally = { local: 0, dropped: 0, skipped: 0 }
  #looking: NodeJS.Timeout | null = null

  constructor(
    id: string,
    limits: ResolvedHistory,
    open: OpenHistory,
    maxQueued: MaxQueued | undefined,
    host: HistoryHost,
  ) {
    this.limits = limits
    this.deflate = host.deflate
    this.#host = host
    this.store = open(id, limits, {
      recorded: (log, epoch, entries) => this.#recorded(log, epoch, entries),
      up: () => this.#up(),
      down: (reason) => {
        debugBackplane('history: %s', reason.message)
        this.#recorder.down()
      },
    })
    this.reader = new HistoryReader(this.store, limits)
    this.#recorder = new Recorder(this.store, maxQueued, (messages, why) => {
      debugBackplane('history: %d messages were not recorded: %s', messages, why)
      host.count('unrecorded', messages)
    })
    const reached = (log: string, place: Place): Promise<void> | null =>
      this.#followers.get(log)?.reached(place) ?? null
    this.#recorder.delivered = reached
    this.changes = new Changes({
      store: this.store,
      recorder: this.#recorder,
      recordedNames: (target) => this.recordedNames(target),
      follows: (log) => this.#followers.has(log),
      reached,
      act: (change) => host.change(change),
    })
  }

  get status(): HistoryStatus {
    const followed = this.#followers.size
    return { followed, replaying: this.#budget.total, queued: this.#recorder.queued }
  }

  /** Returns which rooms or users of a target are recorded. */
  recordedNames({ kind, names }: Target): readonly string[] {
    if (kind === 'rooms') return names.filter((name) => this.limits.records(name))
    return kind === 'users' && this.limits.users ? names : []
  }

  /** Whether a connection finds out by its positions what it has missed of a room or user. */
  recovers(target: Target, connection: Connection): boolean {
    return this.#sessions.has(connection) && this.recordedNames(target).length > 0
  }

  /** Records a message, which delivers it on every instance. */
  record(
    kind: 'rooms' | 'users',
    names: readonly string[],
    message: Parameters<Recorder['record']>[1],
  ): RecordedDelivery {
    const logs = names.map((name) => topicOf(kind, name))
    this.#tally = { local: 0, dropped: 0, skipped: 0 }
    const recording = this.#recorder.record(logs, message)
    return { ...this.#tally, recording }
  }

  /** A log has its first member here, or none any more. Returns a promise when it takes time to follow it. */
  changed(log: string, here: boolean): Promise<void> | undefined {
    if (!this.reader.isRecorded(log)) return undefined
    if (!here) {
      this.#followers.get(log)?.end()
      this.#followers.delete(log)
      return undefined
    }
    const follower = new Follower(log, this)
    this.#followers.set(log, follower)
    if (!this.store.local) this.#startLooking()
    return follower.followed
  }

  entered(connection: Connection, log: string): void {
    this.#followers.get(log)?.join(connection, this.#sessions.get(connection) ?? null)
  }

  exited(connection: Connection, log: string): void {
    this.#followers.get(log)?.leave(connection)
    const session = this.#sessions.get(connection)
    if (!session || !this.reader.isRecorded(log)) return
    session.take(roomOf(log)) // the client forgets it too
    say(connection, leftText(roomOf(log)))
  }

  // ---- clients that return

  /** A client that offered `koaws.resume` is connected. */
  arrived(connection: Connection): void {
    const session = new Session(() => {
      const isAdmitted = this.#rate.admit(connection)
      if (!isAdmitted) this.#host.count('recoveries', 1, connection)
      return isAdmitted
    })
    this.#sessions.set(connection, session)
    void connection.closed.then(() => session.end())
  }

  /** A client presents its positions. Returns what is wrong with the message, or null. */
  resumed(connection: Connection, data: unknown, bytes: number): string | null {
    return this.#sessions.get(connection)?.present(data, bytes) ?? null
  }

  /**
   * Gives a connection what it missed of a room.
   *
   * @param join makes it enter the room, unless it is there
   * @throws TypeError and KoaWsError as `connection.replay()`; the connection has then not joined
   */
  replay(
    connection: Connection,
    room: string,
    since: string,
    join: () => Promise<void>,
  ): Promise<Replay> {
    assertName('room', room)
    const log = topicOf('rooms', room)
    this.reader.assertRecorded(log)
    const place = placeIn('connection.replay()', since)
    if (this.#sessions.has(connection)) throw recoversItself(room)
    void join()
    const follower = this.#followers.get(log)
    const isIn = this.#host.members(log)?.has(connection) // a connection that has ended joins nothing
    if (!follower || !isIn)
      return Promise.resolve({ recovered: false, missed: null, reason: 'left' })
    return follower.replay(connection, place)
  }

  // ---- FollowerHost

  deliver(follower: Follower, messages: readonly PlacedMessage[]): void {
    const { log, pending } = follower
    const members = this.#host.members(log)
    if (!members) return
    let dropped = 0
    for (const message of messages) {
      const before = this.#tally.local
      const { once } = message.record
      const served = this.served.of(once)
      for (const connection of members) {
        if (pending.size > 0 && pending.has(connection)) continue
        const session = this.#sessions.get(connection) ?? null
        if (served && !session) {
          if (served.has(connection)) continue
          served.add(connection)
        }
        const outcome = message.sendTo(connection, session)
        if (outcome === 'sent') {
          this.#tally.local++
          if (once !== null) this.served.got(connection, once)
        } else if (outcome === 'dropped') {
          dropped++
          if (session) follower.fellBehind(connection, session, message.before)
        } else if (outcome === 'skipped') this.#tally.skipped++
      }
      message.tellSent(this.#host.instance, log, this.#tally.local - before)
      if (message.record.isChange) this.#change(message, log)
    }
    this.#tally.dropped += dropped
    if (dropped > 0) this.#host.count('dropped', dropped)
  }

  #change({ record }: PlacedMessage, log: string): void {
    try {
      this.changes.arrived(record, log)
    } catch (error) {
      debugBackplane('a change in %s cannot be carried out: %s', log, messageOf(error))
      this.foreign()
    }
  }

  tellMissing({ log, room, top, pending }: Follower, reason: Unrecovered): void {
    const members = this.#host.members(log)
    if (!members || !top) return
    const text = unrecoveredText(room, reason, positionOf(top))
    for (const connection of members) {
      if (this.#sessions.has(connection) && !pending.has(connection)) tell(connection, text)
    }
    const [kind, name] = partsOf(log)
    this.#host.lost(kind, name, (connection) => this.#sessions.has(connection))
  }

  foreign(): void {
    this.#host.count('foreign', 1)
  }

  reserve(connection: Connection, bytes: number): boolean {
    const isReserved = this.#budget.reserve(connection, bytes)
    if (!isReserved) this.#host.count('recoveries', 1, connection)
    return isReserved
  }

  release(connection: Connection, bytes: number): void {
    this.#budget.release(connection, bytes)
  }

  async close(): Promise<void> {
    if (this.#looking) clearInterval(this.#looking)
    await Promise.race([this.#recorder.drained(), wait(GOODBYE)])
    this.#recorder.close()
    for (const follower of this.#followers.values()) follower.end()
    this.#followers.clear()
    await this.store.close()
  }

  // ---- the store

  #recorded(log: string, epoch: string, entries: readonly Entry[]): void {
    this.#followers.get(log)?.recorded(epoch, entries)
  }

  /** Reads what was recorded in the outage. What waited is recorded after that, in the epoch that was found. */
  #up(): void {
    const ready = this.#recorder.waitingLogs().map((log) => this.#followers.get(log)?.tail.ready())
    for (const follower of this.#followers.values()) void follower.look()
    void this.#recorder.up(Promise.race([Promise.all(ready), wait(PATIENCE)]))
  }

  /** An engine may lose a message without a sign, as pub/sub does. */
  #startLooking(): void {
    if (this.#looking) return
    this.#looking = setInterval(() => {
      for (const follower of this.#followers.values()) void follower.look()
    }, LOOK)
    this.#looking.unref()
  }
}

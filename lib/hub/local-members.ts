// Acts on the members of an audience that are connected to this instance.

import { performance } from 'node:perf_hooks'
import type { Served } from '../backplane/channels.ts'
import type { Answer, Change, Described, Order, Question, Target } from '../backplane/order.ts'
import { announcementOf } from '../connection/announce.ts'
import { type Connection, coreOf } from '../connection/connection.ts'
import { Frame, type FrameDeflate } from '../connection/frame.ts'
import type { Outcome } from '../connection/outbox.ts'
import { tellSentToMany } from '../connection/sent.ts'
import type { Sendable } from '../connection/types.ts'
import { channels } from '../diagnostics.ts'
import { resyncText } from '../protocol/envelope.ts'
import { KOAWS_V1 } from '../protocol/subprotocol.ts'
import type { Drops } from './drops.ts'
import type { Revocations } from './revocations.ts'
import type { Roster } from './roster.ts'

/** How one frame is sent. */
export interface Sending {
  readonly target: Target
  /** Sends only to members that speak `koaws.v1`. */
  readonly pushed: boolean
  readonly volatile: boolean
}

/** The result of a send to the members of this instance. */
export interface LocalDelivery {
  readonly local: number
  readonly dropped: number
  readonly skipped: number
}

/**
 * Acts on the members of an audience that are connected to this instance. Orders of other instances
 * also arrive here, so nothing here may publish: that would cause a loop.
 */
export class LocalMembers {
  readonly #roster: Roster
  readonly #deflate: FrameDeflate | null
  readonly #revocations: Revocations
  readonly #drops: Drops
  readonly #infoOf: (connection: Connection) => unknown
  /** Whether a connection finds out by itself what it has missed of a room or user. */
  recovers: (target: Target, connection: Connection) => boolean = () => false
  /** Returns the part of a change that a history has not carried out. */
  restOf: (change: Change, isForeign: boolean) => Target = ({ target }) => target

  /** @param infoOf returns the information about a connection that the application makes public */
  constructor(
    roster: Roster,
    deflate: FrameDeflate | null,
    revocations: Revocations,
    drops: Drops,
    infoOf: (connection: Connection) => unknown,
  ) {
    this.#roster = roster
    this.#deflate = deflate
    this.#revocations = revocations
    this.#drops = drops
    this.#infoOf = infoOf
  }

  /** Makes a frame. @throws TypeError when the data cannot be sent */
  frame(data: Sendable): Frame {
    return Frame.encode(data, this.#deflate)
  }

  /**
   * Sends a frame to the members of an audience.
   *
   * @param served connections that got the same payload through another of its topics
   * @param openedBy sends only to connections that opened before, in epoch milliseconds
   */
  send(
    frame: Frame,
    { target, pushed, volatile }: Sending,
    served: Served | null = null,
    openedBy: number = Infinity,
  ): LocalDelivery {
    let local = 0
    let dropped = 0
    let skipped = 0
    const announcement = pushed ? announcementOf(frame.payload.length) : null
    this.#roster.each(target, (connection) => {
      if (connection.openedAt > openedBy) return
      if (served) {
        if (served.before.has(connection)) return
        served.now.add(connection)
      }
      if (pushed && connection.protocol !== KOAWS_V1) {
        skipped++
        return
      }
      const { outbox } = coreOf(connection)
      if (announcement) outbox?.add(announcement, volatile)
      const outcome: Outcome = outbox?.add(frame, volatile) ?? 'gone'
      if (outcome === 'sent') local++
      else if (outcome === 'dropped') dropped++
    })
    if (channels.sent.hasSubscribers) {
      tellSentToMany(this.#drops.instance, frame.payload, pushed, local, target)
    }
    if (dropped > 0) this.#drops.add(volatile ? 'volatile' : 'dropped', dropped)
    return { local, dropped, skipped }
  }

  /** Returns whether the whole audience is on this instance: connections that are open here. */
  holdsAll({ kind, names }: Target): boolean {
    return kind === 'connections' && names.every((id) => this.#roster.byId.has(id))
  }

  join(target: Target, rooms: readonly string[]): Promise<unknown> | undefined {
    const waits: Promise<unknown>[] = []
    for (const connection of this.#all(target)) {
      try {
        const wait = this.#roster.rooms.join(
          connection,
          rooms,
          coreOf(connection).owner?.rules.maxRooms ?? 0,
        )
        if (wait !== undefined) waits.push(wait)
      } catch {
        this.#drops.add('maxRooms', 1, connection)
      }
    }
    return waits.length > 0 ? Promise.all(waits) : undefined
  }

  /**
   * Closes members or removes them from rooms, including connections in no audience or not let in yet.
   *
   * @param isForeign whether it is an order of another instance
   */
  change(change: Change, isForeign = false): void {
    this.#revocations.add(change)
    const outsiders = this.#roster.outsiders(change.target)
    this.remove({ ...change, target: this.restOf(change, isForeign) })
    for (const connection of outsiders) {
      if (change.type === 'leave') this.#turnAway(connection, change.rooms)
      else if (connection.readyState === connection.OPEN) {
        connection.close(change.code, change.reason)
      }
    }
  }

  /** Closes the present members, or removes them from rooms. */
  remove(change: Change): void {
    for (const connection of this.#all(change.target)) {
      if (change.type === 'leave') this.#roster.rooms.leave(connection, change.rooms)
      else connection.close(change.code, change.reason)
    }
  }

  #turnAway(connection: Connection, rooms: readonly string[]): void {
    this.#roster.rooms.leave(connection, rooms)
    const expected = this.#roster.expectedRooms(connection)
    this.#roster.expect(
      connection,
      expected.filter((name) => !rooms.includes(name)),
    )
  }

  /**
   * Tells members that messages to them were lost: `docs/protocol.md`, section 8.
   *
   * @param isTold returns whether a connection knows it already, by default because it goes by the history
   */
  resync(
    target: Target,
    isTold: (connection: Connection) => boolean = (one) => this.recovers(target, one),
  ): void {
    const room = target.kind === 'rooms' ? target.names[0] : undefined
    const frame = this.frame(resyncText(room))
    this.#roster.each(target, (connection) => {
      if (connection.protocol !== KOAWS_V1 || isTold(connection)) return
      coreOf(connection).outbox?.add(frame, false)
    })
  }

  /**
   * Carries out an order of another instance. A message that waited there goes only to connections
   * that were open when it was published. A page that reloaded meanwhile reads the message from the
   * application.
   *
   * @param age how long the order waited, in milliseconds; null when it left at once
   */
  deliver(
    order: Exclude<Order, { type: 'presence' }>,
    served: Served | null,
    age: number | null,
  ): void {
    const { target } = order
    const openedBy = age === null ? Infinity : publishedAt(age)
    switch (order.type) {
      case 'send':
        this.send(Frame.decode(order.frame, this.#deflate), order, served, openedBy)
        break
      case 'join':
        void this.join(target, order.rooms)
        break
      case 'leave':
      case 'close':
        this.change(order, true)
    }
  }

  answer({ type, target }: Question): Answer {
    const all = this.#all(target)
    return {
      count: all.length,
      members: type === 'members' ? all.map((one) => this.#describe(one)) : [],
    }
  }

  #describe(connection: Connection): Described {
    const { id, userId } = connection
    return { id, userId, info: this.#infoOf(connection) }
  }

  /** Returns the open members as a copy, because the caller's action may change the audience. */
  #all(target: Target): Connection[] {
    const all: Connection[] = []
    this.#roster.each(target, (connection) => {
      if (connection.readyState === connection.OPEN) all.push(connection)
    })
    return all
  }
}

/** Assumed clock drift between two machines, as a fraction of the measured time. */
const DRIFT = 0.001
/** Clocks of the process that differ by more milliseconds: the system clock was set. */
const STEP = 1_000

/**
 * Returns when an order was published, in epoch milliseconds. Returns Infinity when the system
 * clock was set since the process started, because it cannot be compared then.
 */
function publishedAt(age: number): number {
  const now = Date.now()
  const steady = performance.timeOrigin + performance.now()
  return Math.abs(now - steady) > STEP ? Infinity : now - age * (1 - DRIFT)
}

import type { Answer, Described, Order, Question, Target } from '../backplane/order.ts'
import { type Connection, internals } from '../connection/connection.ts'
import { Frame, type FrameDeflate } from '../connection/frame.ts'
import type { Outcome } from '../connection/outbox.ts'
import type { DropReason } from '../connection/owner.ts'
import type { Sendable } from '../connection/types.ts'
import { resyncText } from '../protocol/envelope.ts'
import { KOAWS_V1 } from '../protocol/subprotocol.ts'
import type { Roster } from './roster.ts'

/** How one frame is sent. */
export interface Sending {
  readonly target: Target
  /** Only to members that speak `koaws.v1`. */
  readonly pushed: boolean
  readonly volatile: boolean
}

/** What sending to the members of this instance came to. */
export interface LocalDelivery {
  readonly local: number
  readonly dropped: number
  readonly skipped: number
}

/** What `LocalMembers` tells of what it could not do. */
export interface LocalHost {
  count(reason: DropReason, many: number, connection?: Connection): void
  /** What the application makes public of a connection. */
  infoOf(connection: Connection): unknown
}

/**
 * Acts on the members of an audience that are connected to this instance. What other instances ask
 * for comes in here too, so nothing that is done here can go out to them again.
 */
export class LocalMembers {
  readonly #roster: Roster
  readonly #deflate: FrameDeflate | null
  readonly #host: LocalHost

  constructor(roster: Roster, deflate: FrameDeflate | null, host: LocalHost) {
    this.#roster = roster
    this.#deflate = deflate
    this.#host = host
  }

  /** @throws TypeError for what cannot be sent */
  frame(data: Sendable): Frame {
    return Frame.encode(data, this.#deflate)
  }

  send(frame: Frame, { target, pushed, volatile }: Sending): LocalDelivery {
    let local = 0
    let dropped = 0
    let skipped = 0
    this.#roster.each(target, (connection) => {
      if (pushed && connection.protocol !== KOAWS_V1) {
        skipped++
        return
      }
      const outcome: Outcome = internals.outboxOf(connection)?.add(frame, volatile) ?? 'gone'
      if (outcome === 'sent') local++
      else if (outcome === 'dropped') dropped++
    })
    if (dropped > 0) this.#host.count(volatile ? 'volatile' : 'dropped', dropped)
    return { local, dropped, skipped }
  }

  /** Whether all that is meant can be on this instance only: connections that are here. */
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
          internals.ownerOf(connection)?.rules.maxRooms ?? 0,
        )
        if (wait !== undefined) waits.push(wait)
      } catch {
        this.#host.count('maxRooms', 1, connection)
      }
    }
    return waits.length > 0 ? Promise.all(waits) : undefined
  }

  leave(target: Target, rooms: readonly string[]): void {
    for (const connection of this.#all(target)) this.#roster.rooms.leave(connection, rooms)
  }

  close(target: Target, code: number, reason: string): void {
    for (const connection of this.#all(target)) connection.close(code, reason)
  }

  /** Tell the members that what was sent to them did not arrive: `docs/protocol.md`, section 8. */
  resync(target: Target): void {
    const room = target.kind === 'rooms' ? target.names[0] : undefined
    this.send(this.frame(resyncText(room)), { target, pushed: true, volatile: false })
  }

  /** Another instance asks for something. */
  deliver(order: Exclude<Order, { type: 'presence' }>): void {
    const { target } = order
    switch (order.type) {
      case 'send':
        this.send(Frame.decode(order.frame, this.#deflate), order)
        break
      case 'join':
        void this.join(target, order.rooms)
        break
      case 'leave':
        this.leave(target, order.rooms)
        break
      case 'close':
        this.close(target, order.code, order.reason)
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
    return { id, userId, info: this.#host.infoOf(connection) }
  }

  /** Those that are not closing. A copy: what is done to members may change who is one. */
  #all(target: Target): Connection[] {
    const all: Connection[] = []
    this.#roster.each(target, (connection) => {
      if (connection.readyState === connection.OPEN) all.push(connection)
    })
    return all
  }
}

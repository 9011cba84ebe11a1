import type { Connection } from './connection.ts'
import { Follower } from './follower.ts'
import type { World } from './model.ts'
import type { Recorded } from './types.ts'

/** One instance: followers of rooms, and a bus that is in order, but may be cut. */
export class Instance {
  isUp = true
  /** The bus brings the entries of these rooms. */
  readonly subscribed = new Set<string>()
  readonly followers = new Map<string, Follower>()
  /** The connections that it takes for open; a client may have left one already. */
  readonly connections = new Set<Connection>()
  readonly #world: World
  #cuts = 0
  #last = 0

  constructor(world: World) {
    this.#world = world
  }

  /** Brings an entry, unless the bus is cut meanwhile. */
  carry(entry: Recorded): void {
    const { schedule } = this.#world
    this.#last = Math.max(this.#last + 0.001, schedule.now + schedule.delay())
    const cuts = this.#cuts
    schedule.after(this.#last - schedule.now, () => {
      if (this.isUp && this.#cuts === cuts) this.followers.get(entry.room)?.arrive(entry)
    })
  }

  /** Loses what is on its way. */
  cut(): void {
    this.#cuts++
  }

  /** Compares what its followers have with the store. */
  look(): void {
    if (!this.isUp || this.#world.flaw === 'no look') return
    for (const follower of this.followers.values()) follower.fill()
  }

  join(connection: Connection, room: string): void {
    if (!connection.isOpen || connection.rooms.has(room)) return
    connection.rooms.add(room)
    let follower = this.followers.get(room)
    if (!follower) {
      follower = new Follower(this.#world, this, room)
      this.followers.set(room, follower)
    }
    const since = connection.presented.get(room) ?? null
    if (this.#world.flaw !== 'used twice') connection.presented.delete(room)
    follower.enter(connection, since)
  }

  leave(connection: Connection, room: string): void {
    if (!connection.rooms.delete(room)) return
    this.#remove(connection, room)
    connection.tell({ type: 'left', room })
  }

  /** A connection has ended. */
  drop(connection: Connection): void {
    connection.isOpen = false
    this.connections.delete(connection)
    for (const room of connection.rooms) this.#remove(connection, room)
    connection.rooms.clear()
  }

  die(): void {
    this.isUp = false
    for (const connection of [...this.connections]) {
      this.drop(connection)
      connection.arrives = false
    }
    this.#cuts++
    this.followers.clear()
    this.subscribed.clear()
  }

  #remove(connection: Connection, room: string): void {
    const follower = this.followers.get(room)
    follower?.members.delete(connection)
    if (!follower || follower.members.size > 0) return
    this.followers.delete(room)
    this.subscribed.delete(room)
  }
}

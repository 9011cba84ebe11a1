// Finds the connections of this instance by id, user or room.

import { type Target, topicOf } from '../backplane/order.ts'
import type { Connection } from '../connection/connection.ts'
import { Groups, type GroupWatcher } from './groups.ts'
import { concerns } from './revocations.ts'
import { Rooms, type RoomWatcher } from './rooms.ts'

/** Is called when a room or user gets its first connection here, and when it loses its last. */
export type TopicWatcher = (topic: string, here: boolean) => Promise<void> | undefined

export class Roster {
  readonly byId: Map<string, Connection> = new Map()
  readonly rooms: Rooms
  readonly users: Groups<Connection>
  /** Is notified of each connection of a user that enters or leaves the audiences. */
  userWatcher: RoomWatcher | null = null
  /** Connections in no audience, with the rooms that each joins when it is let in. */
  readonly #outsiders = new Map<Connection, readonly string[]>()

  constructor(watch: TopicWatcher) {
    this.rooms = new Rooms(watcher('rooms', watch))
    this.users = new Groups(watcher('users', watch))
  }

  /** Makes a connection known by its id, outside of all audiences. */
  add(connection: Connection): void {
    this.byId.set(connection.id, connection)
    this.#outsiders.set(connection, NO_ROOMS)
  }

  /** Records the rooms that a connection joins when it is let in. */
  expect(connection: Connection, rooms: readonly string[]): void {
    if (this.#outsiders.has(connection)) this.#outsiders.set(connection, rooms)
  }

  /** Returns the rooms that a connection joins when it is let in. */
  expectedRooms(connection: Connection): readonly string[] {
    return this.#outsiders.get(connection) ?? NO_ROOMS
  }

  /** Adds a connection to audiences. */
  enter(connection: Connection): void {
    this.#outsiders.delete(connection)
    const { userId } = connection
    if (userId === undefined) return
    void this.users.add(userId, connection)
    this.userWatcher?.entered(connection, userId)
  }

  delete(connection: Connection): void {
    this.byId.delete(connection.id)
    this.#outsiders.delete(connection)
    this.rooms.remove(connection)
    const { userId } = connection
    if (userId === undefined) return
    this.users.delete(userId, connection)
    this.userWatcher?.exited(connection, userId)
  }

  /** Visits every connection of this instance in the audience, once. */
  each(target: Target, visit: (connection: Connection) => void): void {
    const chosen = this.#without(target, visit)
    switch (target.kind) {
      case 'all':
        for (const connection of this.byId.values()) {
          if (!this.#isOutside(connection)) chosen(connection)
        }
        break
      case 'connections':
        for (const id of target.names) {
          const connection = this.byId.get(id)
          if (connection && !this.#isOutside(connection)) chosen(connection)
        }
        break
      default:
        eachOf(target.kind === 'rooms' ? this.rooms.members : this.users, target.names, chosen)
    }
  }

  /** Returns the connections in no audience that the target would include if they were let in. */
  outsiders(target: Target): Connection[] {
    const found: Connection[] = []
    if (this.#outsiders.size === 0) return found
    const add = without(target, (connection) => found.push(connection))
    if (target.kind === 'connections') {
      for (const id of target.names) {
        const connection = this.byId.get(id)
        if (connection && this.#isOutside(connection)) add(connection)
      }
      return found
    }
    for (const [connection, rooms] of this.#outsiders) {
      if (concerns(target, connection.userId, rooms)) add(connection)
    }
    return found
  }

  #without(target: Target, visit: (connection: Connection) => void): typeof visit {
    const { exceptRooms } = target
    if (!exceptRooms) return without(target, visit)
    return without(target, (connection) => {
      const rooms = this.rooms.of(connection)
      if (!exceptRooms.some((name) => rooms.has(name))) visit(connection)
    })
  }

  #isOutside(connection: Connection): boolean {
    return this.#outsiders.size > 0 && this.#outsiders.has(connection)
  }
}

const NO_ROOMS: readonly string[] = []

function watcher(kind: 'rooms' | 'users', watch: TopicWatcher): GroupWatcher {
  return {
    appeared: (name) => watch(topicOf(kind, name), true),
    vanished: (name) => void watch(topicOf(kind, name), false),
  }
}

/** Visits the union of groups. A connection in several groups is visited with the first. */
function eachOf(
  groups: Groups<Connection>,
  names: readonly string[],
  visit: (connection: Connection) => void,
): void {
  const earlier: ReadonlySet<Connection>[] = []
  for (const name of names) {
    const group = groups.get(name)
    if (!group) continue
    if (earlier.length === 0) for (const connection of group) visit(connection)
    else {
      for (const connection of group) {
        if (!earlier.some((other) => other.has(connection))) visit(connection)
      }
    }
    earlier.push(group)
  }
}

/** Returns a visitor that skips the excepted connections and users. */
function without(
  { except, exceptUsers }: Target,
  visit: (connection: Connection) => void,
): (connection: Connection) => void {
  if (except.length === 0 && exceptUsers.length === 0) return visit
  if (except.length === 1 && exceptUsers.length === 0) {
    const [id] = except
    return (connection) => {
      if (connection.id !== id) visit(connection)
    }
  }
  const ids = new Set(except)
  const users = new Set<string | undefined>(exceptUsers)
  return (connection) => {
    if (!ids.has(connection.id) && !users.has(connection.userId)) visit(connection)
  }
}

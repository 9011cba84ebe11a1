import { type Target, topicOf } from '../backplane/order.ts'
import type { Connection } from '../connection/connection.ts'
import { Groups, type GroupWatcher } from './groups.ts'
import { Rooms } from './rooms.ts'

/** Told when the first member of a room or user is here, and when the last has gone. */
export type TopicWatcher = (topic: string, here: boolean) => Promise<void> | undefined

/** The connections of this instance, and how they are found: by id, by user, by room. */
export class Roster {
  readonly byId: Map<string, Connection> = new Map()
  readonly rooms: Rooms
  readonly users: Groups<Connection>
  /** Those that are in no audience. */
  readonly #outsiders = new Set<Connection>()

  constructor(watch: TopicWatcher) {
    this.rooms = new Rooms(watcher('rooms', watch))
    this.users = new Groups(watcher('users', watch))
  }

  /** Known by its id, and in no audience. */
  add(connection: Connection): void {
    this.byId.set(connection.id, connection)
    this.#outsiders.add(connection)
  }

  /** From now on it is in audiences. */
  enter(connection: Connection): void {
    this.#outsiders.delete(connection)
    if (connection.userId !== undefined) void this.users.add(connection.userId, connection)
  }

  delete(connection: Connection): void {
    this.byId.delete(connection.id)
    this.#outsiders.delete(connection)
    this.rooms.remove(connection)
    if (connection.userId !== undefined) this.users.delete(connection.userId, connection)
  }

  /** Every connection of this instance that is meant, once. */
  each(target: Target, visit: (connection: Connection) => void): void {
    const chosen = without(target, visit)
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

  #isOutside(connection: Connection): boolean {
    return this.#outsiders.size > 0 && this.#outsiders.has(connection)
  }
}

function watcher(kind: 'rooms' | 'users', watch: TopicWatcher): GroupWatcher {
  return {
    appeared: (name) => watch(topicOf(kind, name), true),
    vanished: (name) => void watch(topicOf(kind, name), false),
  }
}

/** The union of groups; whoever is in several comes with the first. */
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

/** A visitor that passes over the exceptions. */
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

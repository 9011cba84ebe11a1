// Records the members of each room, and the rooms of each connection.

import type { Connection } from '../connection/connection.ts'
import { KoaWsError } from '../errors.ts'
import { assertName } from '../validate.ts'
import { Groups, type GroupWatcher } from './groups.ts'

const NONE: ReadonlySet<string> = new Set()

/** Is notified of each connection that joins or leaves a room. */
export interface RoomWatcher {
  entered(connection: Connection, room: string): void
  exited(connection: Connection, room: string): void
}

/** The members of each room, and the rooms of each connection. */
export class Rooms {
  readonly members: Groups<Connection>
  /** Presence and history, where they are on. */
  readonly watchers: RoomWatcher[] = []
  readonly #rooms = new WeakMap<Connection, Set<string>>()

  constructor(watcher: GroupWatcher) {
    this.members = new Groups(watcher)
  }

  /**
   * Adds a connection to rooms. Rooms that it is in already are left as they are.
   *
   * @returns a promise while a room waits for its subscription; it resolves when that is in place
   * @throws TypeError for a name that is not a string of 1 to 255 bytes; the connection then joins
   * no room
   * @throws KoaWsError when the connection would be in more than `most` rooms; it then joins no
   * room
   */
  join(
    connection: Connection,
    names: readonly string[],
    most: number,
  ): Promise<unknown> | undefined {
    for (const name of names) assertName('room', name)
    const known = this.#rooms.get(connection)
    const rooms = known ?? new Set()
    if (rooms.size + names.length > most) assertRoom(rooms, names, most)
    if (!known) this.#rooms.set(connection, rooms)
    const waits: Promise<void>[] = []
    for (const name of names) {
      const isMember = rooms.has(name)
      const subscribed = isMember
        ? this.members.appearing(name)
        : this.members.add(name, connection)
      if (subscribed !== undefined) waits.push(subscribed)
      if (isMember) continue
      rooms.add(name)
      for (const watcher of this.watchers) watcher.entered(connection, name)
    }
    return waits.length > 0 ? Promise.all(waits) : undefined
  }

  leave(connection: Connection, names: readonly string[]): void {
    const rooms = this.#rooms.get(connection)
    for (const name of names) if (rooms?.delete(name)) this.#exit(connection, name)
  }

  /** Removes a connection from all rooms. `of` still returns them, for `onDisconnect`. */
  remove(connection: Connection): void {
    for (const name of this.of(connection)) this.#exit(connection, name)
  }

  of(connection: Connection): ReadonlySet<string> {
    return this.#rooms.get(connection) ?? NONE
  }

  #exit(connection: Connection, name: string): void {
    this.members.delete(name, connection)
    for (const watcher of this.watchers) watcher.exited(connection, name)
  }
}

function assertRoom(rooms: ReadonlySet<string>, names: readonly string[], most: number): void {
  const size = new Set([...rooms, ...names]).size
  if (size <= most) return
  throw new KoaWsError(
    'ERR_KOAWS_MAX_ROOMS',
    `The connection would be in ${size} rooms, and "maxRooms" allows ${most}. Leave unused rooms, or raise "maxRooms".`,
  )
}

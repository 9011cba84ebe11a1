import type { Connection } from '../connection/connection.ts'
import { KoaWsError } from '../errors.ts'
import { assertName } from '../validate.ts'
import { Groups, type GroupWatcher } from './groups.ts'

const NONE: ReadonlySet<string> = new Set()

/** Told of each connection that enters or leaves a room. */
export interface RoomWatcher {
  entered(connection: Connection, room: string): void
  exited(connection: Connection, room: string): void
}

/** Who is in which room, both ways. A room exists as long as somebody is in it. */
export class Rooms {
  readonly members: Groups<Connection>
  /** Null: nobody wants to know. */
  watcher: RoomWatcher | null = null
  readonly #rooms = new WeakMap<Connection, Set<string>>()

  constructor(watcher: GroupWatcher) {
    this.members = new Groups(watcher)
  }

  /**
   * Enter rooms; one that the connection is in already stays as it is.
   *
   * @returns a promise where other instances have to be told
   * @throws TypeError for a name that is no string of 1 to 255 bytes; then it enters none
   * @throws KoaWsError when it would be in more than `most`; then it enters none
   */
  join(
    connection: Connection,
    names: readonly string[],
    most: number,
  ): Promise<unknown> | undefined {
    for (const name of names) assertName('room', name)
    const rooms = this.#rooms.get(connection) ?? new Set()
    if (rooms.size + names.length > most) assertRoom(rooms, names, most)
    this.#rooms.set(connection, rooms)
    const waits: Promise<void>[] = []
    for (const name of names) {
      if (rooms.has(name)) continue
      rooms.add(name)
      const subscribed = this.members.add(name, connection)
      if (subscribed !== undefined) waits.push(subscribed)
      this.watcher?.entered(connection, name)
    }
    return waits.length > 0 ? Promise.all(waits) : undefined
  }

  leave(connection: Connection, names: readonly string[]): void {
    const rooms = this.#rooms.get(connection)
    for (const name of names) if (rooms?.delete(name)) this.#exit(connection, name)
  }

  /** Take a connection out of all rooms; `of` still tells which they were. */
  remove(connection: Connection): void {
    for (const name of this.of(connection)) this.#exit(connection, name)
  }

  /** The rooms of a connection. */
  of(connection: Connection): ReadonlySet<string> {
    return this.#rooms.get(connection) ?? NONE
  }

  #exit(connection: Connection, name: string): void {
    this.members.delete(name, connection)
    this.watcher?.exited(connection, name)
  }
}

function assertRoom(rooms: ReadonlySet<string>, names: readonly string[], most: number): void {
  const size = new Set([...rooms, ...names]).size
  if (size <= most) return
  throw new KoaWsError(
    'ERR_KOAWS_MAX_ROOMS',
    `A connection is in at most ${most} rooms here (the option "maxRooms"), and this would make ${size}.`,
  )
}

import type { Connection } from '../connection/connection.ts'
import { assertName } from '../validate.ts'

const NONE: ReadonlySet<string> = new Set()

/** Who is in which room, both ways. A room exists as long as somebody is in it. */
export class Rooms {
  readonly #members = new Map<string, Set<Connection>>()
  readonly #rooms = new WeakMap<Connection, Set<string>>()

  /**
   * Enter rooms; one that the connection is in already stays as it is.
   *
   * @throws TypeError for a name that is no string of 1 to 255 bytes; then it enters none
   */
  join(connection: Connection, names: readonly string[]): void {
    for (const name of names) assertName('room', name)
    let rooms = this.#rooms.get(connection)
    if (!rooms) {
      rooms = new Set()
      this.#rooms.set(connection, rooms)
    }
    for (const name of names) {
      rooms.add(name)
      const members = this.#members.get(name)
      if (members) members.add(connection)
      else this.#members.set(name, new Set([connection]))
    }
  }

  leave(connection: Connection, names: readonly string[]): void {
    for (const name of names) {
      if (this.#rooms.get(connection)?.delete(name)) this.#forget(connection, name)
    }
  }

  /** Take a connection out of all rooms; `of` still tells which they were. */
  remove(connection: Connection): void {
    for (const name of this.of(connection)) this.#forget(connection, name)
  }

  /** The rooms of a connection. */
  of(connection: Connection): ReadonlySet<string> {
    return this.#rooms.get(connection) ?? NONE
  }

  #forget(connection: Connection, name: string): void {
    const members = this.#members.get(name)
    members?.delete(connection)
    if (members?.size === 0) this.#members.delete(name)
  }
}

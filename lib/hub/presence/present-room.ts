import type { Connection } from '../../connection/connection.ts'
import type { PresenceData, PresentMember } from '../../protocol/presence.ts'

/** For how long changes are gathered, in milliseconds. */
const GATHER = 50
/** The same where only the number is told. */
const GATHER_COUNTS = 1_000
/** So much of `maxMembers`, and who is there is told again. */
const BACK = 0.9

/** Somebody in a room: a user with any number of connections, or one connection without a user. */
interface Person {
  /** The id of the connection through which this instance first saw it. */
  readonly key: string
  readonly info: unknown
  /** Connections by instance. */
  readonly at: Map<string, number>
  /** So many connections were told to clients; null: nobody was told of it. */
  told: number | null
  /** Until it has left for good. */
  lingering: NodeJS.Timeout | null
}

/** What one instance says of somebody in a room. */
export interface Sighting {
  readonly who: string
  readonly connections: number
  readonly info: unknown
  readonly key: string
}

/** What a room needs of presence. */
export interface PresentRoomHost {
  /** This instance. */
  readonly id: string
  readonly linger: number
  readonly maxMembers: number
  /** Tell the members of the room who are connected here, but for these. */
  tell(data: PresenceData, except: ReadonlySet<Connection>): void
  /** Tell these alone. */
  tellOnly(data: PresenceData, connections: ReadonlySet<Connection>): void
}

/** Who is in one room, on all instances, as this one knows it; and what its members here are told of it. */
export class PresentRoom {
  readonly name: string
  readonly #host: PresentRoomHost
  readonly #people = new Map<string, Person>()
  /** Whose state may differ from what was told. */
  readonly #changed = new Map<string, Person>()
  /** Who has entered here, and gets everything. */
  readonly #fresh = new Set<Connection>()
  #version = 0
  #countsOnly = false
  /** Questions to the other instances that are open. */
  #asking = 0
  #timer: NodeJS.Timeout | null = null

  constructor(name: string, host: PresentRoomHost) {
    this.name = name
    this.#host = host
  }

  /** Somebody's connections to one instance. */
  see(instance: string, { who, connections, info, key }: Sighting): void {
    const person = this.#people.get(who) ?? this.#changed.get(who) ?? newPerson(key, info)
    if (connections > 0) {
      this.#people.set(who, person)
      person.at.set(instance, connections)
      if (person.lingering) clearTimeout(person.lingering)
      person.lingering = null
      this.#touch(who, person)
    } else if (person.at.delete(instance)) this.#less(who, person)
  }

  /** Everything that an instance has to say: who is not in it has no connection there. */
  seeAll(instance: string, sightings: readonly Sighting[]): void {
    const there = new Set(sightings.map(({ who }) => who))
    for (const [who, person] of [...this.#people]) {
      if (!there.has(who) && person.at.delete(instance)) this.#less(who, person)
    }
    for (const sighting of sightings) this.see(instance, sighting)
  }

  /** An instance is gone, and all connections to it. */
  left(instance: string): void {
    this.seeAll(instance, [])
  }

  /** Who is here, for the other instances. */
  sightingsOf(instance: string): Sighting[] {
    const sightings: Sighting[] = []
    for (const [who, { at, info, key }] of this.#people) {
      const connections = at.get(instance)
      if (connections !== undefined) sightings.push({ who, connections, info, key })
    }
    return sightings
  }

  /** The same of one person; null where it has no connection there. */
  sightingOf(who: string, instance: string): Sighting | null {
    const person = this.#people.get(who)
    const connections = person?.at.get(instance)
    if (!person || connections === undefined) return null
    return { who, connections, info: person.info, key: person.key }
  }

  /** How many connections somebody has to an instance. */
  connectionsOf(who: string, instance: string): number {
    return this.#people.get(who)?.at.get(instance) ?? 0
  }

  /** A connection has entered here: it will be told everything. */
  welcome(connection: Connection): void {
    this.#fresh.add(connection)
    this.#schedule()
  }

  farewell(connection: Connection): void {
    this.#fresh.delete(connection)
  }

  /** Tell nothing until the other instances have answered. */
  async during(asking: Promise<void>): Promise<void> {
    this.#asking++
    await asking
    this.#asking--
    if (this.#asking === 0 && (this.#changed.size > 0 || this.#fresh.size > 0)) this.#flush()
  }

  /** Nobody is left here. */
  close(): void {
    if (this.#timer) clearTimeout(this.#timer)
    for (const { lingering } of this.#people.values()) if (lingering) clearTimeout(lingering)
    this.#people.clear()
    this.#changed.clear()
    this.#fresh.clear()
  }

  #less(who: string, person: Person): void {
    this.#touch(who, person)
    if (person.at.size > 0) return
    const { linger } = this.#host
    if (linger === 0 || !isUser(who)) this.#people.delete(who)
    else {
      person.lingering ??= setTimeout(() => {
        this.#people.delete(who)
        this.#touch(who, person)
      }, linger)
      person.lingering.unref()
    }
  }

  #touch(who: string, person: Person): void {
    this.#changed.set(who, person)
    this.#schedule()
  }

  #schedule(): void {
    if (this.#timer || this.#asking > 0) return
    const wait = this.#countsOnly && this.#fresh.size === 0 ? GATHER_COUNTS : GATHER
    this.#timer = setTimeout(() => this.#flush(), wait)
    this.#timer.unref()
  }

  #flush(): void {
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = null
    if (this.#asking > 0) return
    const count = this.#people.size
    const { maxMembers } = this.#host
    const was = this.#countsOnly
    this.#countsOnly = count > (was ? maxMembers * BACK : maxMembers)
    if (was && !this.#countsOnly) this.#host.tell(this.#everything(true), this.#fresh)
    else if (this.#countsOnly) {
      const counts = { room: this.name, version: ++this.#version, count }
      this.#host.tell(was ? counts : { ...counts, members: null }, this.#fresh)
    } else this.#tellChanges()
    this.#changed.clear()
    if (this.#fresh.size > 0) this.#host.tellOnly(this.#everything(false), this.#fresh)
    this.#fresh.clear()
  }

  #tellChanges(): void {
    const set: PresentMember[] = []
    const left: string[] = []
    for (const [who, person] of this.#changed) {
      if (!this.#people.has(who)) {
        if (person.told !== null) left.push(person.key)
        person.told = null
        continue
      }
      const connections = connectionsOf(person)
      if (connections === person.told || person.lingering) continue
      person.told = connections
      set.push({ key: person.key, connections, info: person.info })
    }
    if (set.length === 0 && left.length === 0) return
    const version = ++this.#version
    this.#host.tell({ room: this.name, version, count: this.#people.size, set, left }, this.#fresh)
  }

  /** @param anew whether it is news for all */
  #everything(anew: boolean): PresenceData {
    if (anew) this.#version++
    const members: PresentMember[] = []
    if (!this.#countsOnly) {
      for (const person of this.#people.values()) {
        person.told = person.lingering ? (person.told ?? 1) : connectionsOf(person)
        members.push({ key: person.key, connections: person.told, info: person.info })
      }
    }
    return {
      room: this.name,
      version: this.#version,
      count: this.#people.size,
      members: this.#countsOnly ? null : members,
    }
  }
}

/** Somebody with a name of the application's: other connections of it may follow. */
function isUser(who: string): boolean {
  return who.startsWith('u:')
}

function connectionsOf({ at }: Person): number {
  let connections = 0
  for (const count of at.values()) connections += count
  return connections
}

function newPerson(key: string, info: unknown): Person {
  return { key, info, at: new Map(), told: null, lingering: null }
}

// Tracks the people in one room over all instances, and sends numbered changes to its members.

import type { Connection } from '../../connection/connection.ts'
import type { PresenceData, PresentMember } from '../../protocol/presence.ts'

/** How long changes are collected before they are sent, in milliseconds. */
const GATHER = 50
/** The same when only the count is sent. */
const GATHER_COUNTS = 1_000
/** Below this share of `maxMembers` members are listed again: the gap prevents flapping. */
const BACK = 0.9

/** A person in a room: a user with any number of connections, or one connection without a user. */
interface Person {
  /** Derived from the room and the connection through which an instance first saw the person. */
  readonly key: string
  readonly info: unknown
  /** Connections by instance. */
  readonly at: Map<string, number>
  /** The connections that clients were last told; null when they do not know the person. */
  told: number | null
  /** Runs until the person has left for good. */
  lingering: NodeJS.Timeout | null
}

/** The connections of one person to one instance. */
export interface Sighting {
  readonly who: string
  readonly connections: number
  readonly info: unknown
  readonly key: string
}

/** What a room needs of presence. */
export interface PresentRoomHost {
  /** The id of this instance. */
  readonly id: string
  readonly linger: number
  readonly maxMembers: number
  /** Sends to the members of the room on this instance, with exceptions. */
  tell(data: PresenceData, except: ReadonlySet<Connection>): void
  /** Sends to these connections only. */
  tellOnly(data: PresenceData, connections: ReadonlySet<Connection>): void
}

/** The people in one room over all instances, as far as this one knows. */
export class PresentRoom {
  readonly name: string
  readonly #host: PresentRoomHost
  readonly #people = new Map<string, Person>()
  /** People that may have changed since the last message to clients. */
  readonly #changed = new Map<string, Person>()
  /** Connections that joined here, and have not got the full list yet. */
  readonly #fresh = new Set<Connection>()
  #version = 0
  #countsOnly = false
  /** Number of open questions to the other instances. */
  #asking = 0
  #timer: NodeJS.Timeout | null = null

  constructor(name: string, host: PresentRoomHost) {
    this.name = name
    this.#host = host
  }

  /** Updates the connections of a person to one instance. */
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

  /** Replaces the connections to an instance: people without a sighting have none there. */
  seeAll(instance: string, sightings: readonly Sighting[]): void {
    const there = new Set(sightings.map(({ who }) => who))
    for (const [who, person] of [...this.#people]) {
      if (!there.has(who) && person.at.delete(instance)) this.#less(who, person)
    }
    for (const sighting of sightings) this.see(instance, sighting)
  }

  /** Removes all connections to an instance that is gone. */
  left(instance: string): void {
    this.seeAll(instance, [])
  }

  /** Returns the people with a connection to an instance. */
  sightingsOf(instance: string): Sighting[] {
    const sightings: Sighting[] = []
    for (const [who, { at, info, key }] of this.#people) {
      const connections = at.get(instance)
      if (connections !== undefined) sightings.push({ who, connections, info, key })
    }
    return sightings
  }

  /** Returns the sighting of one person; null when it has no connection to the instance. */
  sightingOf(who: string, instance: string): Sighting | null {
    const person = this.#people.get(who)
    const connections = person?.at.get(instance)
    if (!person || connections === undefined) return null
    return { who, connections, info: person.info, key: person.key }
  }

  connectionsOf(who: string, instance: string): number {
    return this.#people.get(who)?.at.get(instance) ?? 0
  }

  /** Schedules the full list for a connection that has joined here. */
  welcome(connection: Connection): void {
    this.#fresh.add(connection)
    this.#schedule()
  }

  farewell(connection: Connection): void {
    this.#fresh.delete(connection)
  }

  /** Sends nothing to clients until the other instances have answered. */
  async during(asking: Promise<void>): Promise<void> {
    this.#asking++
    await asking
    this.#asking--
    if (this.#asking === 0 && (this.#changed.size > 0 || this.#fresh.size > 0)) this.#flush()
  }

  /** Stops the timers after the last member here has left. */
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

  /** @param anew whether all members get this as a new version */
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

/** Returns whether a person is a user, so that more connections of it may follow. */
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

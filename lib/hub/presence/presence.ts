// Tracks the people in rooms that have members here, and informs clients and other instances.

import { createHmac, randomBytes } from 'node:crypto'
import type { Backplane } from '../../backplane/backplane.ts'
import type { Answer, Described, Question, Target } from '../../backplane/order.ts'
import type { Publication } from '../../backplane/turn-groups.ts'
import type { Connection } from '../../connection/connection.ts'
import { fieldsOf, isIntegerWithin } from '../../fields.ts'
import { presenceText } from '../../protocol/envelope.ts'
import type { PresenceData } from '../../protocol/presence.ts'
import { isName } from '../../validate.ts'
import type { PresenceOrder, PresencePart } from '../instances.ts'
import type { LocalMembers } from '../local-members.ts'
import type { RoomWatcher } from '../rooms.ts'
import { OnlineUsers, type UsersNote } from './online-users.ts'
import type { ResolvedPresence } from './options.ts'
import { PresentRoom, type PresentRoomHost, type Sighting } from './present-room.ts'
import { Resend } from './resend.ts'

/** How long other instances have to answer which people are in a room, in milliseconds. */
const PATIENCE = 2_000

const RESEND_USERS = '{"resend":"users"}'

/** What presence needs of its hub. */
export interface PresenceHost {
  readonly id: string
  readonly members: LocalMembers
  readonly backplane: Backplane | null
  /** Reports an error of the application's functions. */
  failed(error: unknown, where: string): void
}

/** The people in the rooms that have members here, and the users online. */
export class Presence implements PresencePart, RoomWatcher, PresentRoomHost {
  readonly #host: PresenceHost
  readonly #options: ResolvedPresence
  readonly #rooms = new Map<string, PresentRoom>()
  /** The members on this instance by room, with the person that each connection belongs to. */
  readonly #local = new Map<string, Map<Connection, string>>()
  readonly #users: OnlineUsers | null
  readonly #resend: Resend
  #closed = false

  constructor(options: ResolvedPresence, host: PresenceHost) {
    this.#host = host
    this.#options = options
    const { onOnline, onOffline, linger } = options
    const call = (hook: typeof onOnline, name: string) => async (user: string) => {
      try {
        if (!this.#closed) await hook?.(user)
      } catch (error) {
        host.failed(error, name)
      }
    }
    const wanted = onOnline !== undefined || onOffline !== undefined
    this.#users = wanted
      ? new OnlineUsers({
          id: host.id,
          linger,
          peers: () => host.backplane?.peers ?? [],
          note: (to, note) => this.#note(to, note),
          online: call(onOnline, 'presence.onOnline'),
          offline: call(onOffline, 'presence.onOffline'),
        })
      : null
    this.#resend = new Resend({
      id: host.id,
      rooms: () => [...this.#rooms.values()],
      tellUsers: () => this.#users?.tellAll(),
      publish: (room, who) => this.#publish(room, who),
      ask: (room) => {
        if (this.#rooms.get(room.name) === room) void this.#ask(room)
      },
    })
  }

  get id(): string {
    return this.#host.id
  }

  get linger(): number {
    return this.#options.linger
  }

  get maxMembers(): number {
    return this.#options.maxMembers
  }

  /** Records that a user got its first connection to this instance, or lost its last. */
  userChanged(user: string, here: boolean): void {
    if (!this.#closed) this.#users?.changed(user, here)
  }

  close(): void {
    this.#closed = true
    this.#resend.close()
    for (const room of this.#rooms.values()) room.close()
    this.#rooms.clear()
    this.#local.clear()
    this.#users?.close()
  }

  // ---- RoomWatcher

  entered(connection: Connection, name: string): void {
    if (this.#closed || !this.#options.shows(name)) return
    const who = connection.userId === undefined ? `c:${connection.id}` : `u:${connection.userId}`
    let room = this.#rooms.get(name)
    if (!room) {
      room = new PresentRoom(name, this)
      this.#rooms.set(name, room)
      this.#local.set(name, new Map())
      void this.#ask(room)
    }
    this.#local.get(name)?.set(connection, who)
    const connections = room.connectionsOf(who, this.id) + 1
    const info = connections === 1 ? this.#infoOf(connection) : null
    room.see(this.id, { who, connections, info, key: keyOf(connection, name) })
    room.welcome(connection)
    this.#publish(room, who)
  }

  exited(connection: Connection, name: string): void {
    const local = this.#local.get(name)
    const room = this.#rooms.get(name)
    const who = local?.get(connection)
    if (!local || !room || who === undefined) return
    local.delete(connection)
    room.farewell(connection)
    const connections = room.connectionsOf(who, this.id) - 1
    room.see(this.id, { who, connections, info: null, key: '' })
    this.#publish(room, who)
    if (local.size > 0) return
    this.#rooms.delete(name)
    this.#local.delete(name)
    room.close()
  }

  // ---- PresencePart

  delivered(from: string, { target, text }: PresenceOrder): void {
    const [name, ...rest] = list(parse(text))
    const sighting = readSighting(rest)
    // A publisher with access to the channel of one room must not report people in another room.
    if (sighting && target.names.includes(String(name)))
      this.#rooms.get(String(name))?.see(from, sighting)
  }

  noted(from: string, text: string): void {
    const note = fieldsOf(parse(text))
    if (note['resend'] === true) this.#resend.soon()
    if (note['resend'] === 'users') this.#users?.tell(from)
    if (typeof note['users'] !== 'object' || note['users'] === null) return
    const { here, known, all, gone, lingering, announced, unannounced } = note['users'] as UsersNote
    this.#users?.told(from, {
      here: strings(here),
      known: known === true,
      all: all === true,
      gone: strings(gone),
      lingering: strings(lingering),
      announced: strings(announced),
      unannounced: strings(unannounced),
    })
  }

  joined(peer: string): void {
    this.#users?.joined(peer)
    // This instance may have considered the peer dead and removed its people; the peer cannot know.
    this.#host.backplane?.note(peer, '{"resend":true}')
  }

  left(peer: string): void {
    for (const room of this.#rooms.values()) room.left(peer)
    this.#users?.left(peer)
  }

  returned(): void {
    if (this.#closed) return
    this.#resend.now(true)
    const { backplane } = this.#host
    // Users that this instance keeps may have gone offline during the outage.
    if (this.#users) for (const peer of backplane?.peers ?? []) backplane?.note(peer, RESEND_USERS)
  }

  lost(name: string): void {
    const room = this.#rooms.get(name)
    if (room) void this.#ask(room)
  }

  present({ target }: Question): Answer {
    const sightings = this.#rooms.get(target.names[0] ?? '')?.sightingsOf(this.id) ?? []
    const members = sightings.map(
      ({ who, connections, info, key }): Described => ({
        id: who,
        userId: undefined,
        info: [connections, info, key],
      }),
    )
    return { count: members.length, members }
  }

  // ---- PresentRoomHost

  tell(data: PresenceData, except: ReadonlySet<Connection>): void {
    this.#send(data, {
      kind: 'rooms',
      names: [data.room],
      except: [...except].map(({ id }) => id),
      exceptUsers: [],
    })
  }

  tellOnly(data: PresenceData, connections: ReadonlySet<Connection>): void {
    const names = [...connections].map(({ id }) => id)
    this.#send(data, { kind: 'connections', names, except: [], exceptUsers: [] })
  }

  // ---- the rest

  #send(data: PresenceData, target: Target): void {
    const { members } = this.#host
    members.send(members.frame(presenceText(data)), { target, pushed: true, volatile: false })
  }

  /** Publishes how many connections a person has here. */
  #publish(room: PresentRoom, who: string): Publication | null {
    const { backplane } = this.#host
    if (!backplane) return null
    const { connections = 0, info = null, key = '' } = room.sightingOf(who, this.id) ?? {}
    const target: Target = { kind: 'rooms', names: [room.name], except: [], exceptUsers: [] }
    const text = JSON.stringify([room.name, who, connections, info, key])
    return backplane.publish({ type: 'presence', target, text })
  }

  /** Asks other instances for the people in a room. Each replaces what was known of it. */
  #ask(room: PresentRoom): Promise<void> {
    const { backplane } = this.#host
    if (!backplane) return Promise.resolve()
    const target: Target = { kind: 'rooms', names: [room.name], except: [], exceptUsers: [] }
    const asking = backplane.ask({ type: 'present', target }, PATIENCE).then(({ answers }) => {
      if (this.#rooms.get(room.name) !== room) return
      for (const { from, members } of answers) {
        const sightings = members.map(({ id, info }) => readSighting([id, ...list(info)]))
        room.seeAll(
          from,
          sightings.filter((one) => one !== null),
        )
      }
    })
    return room.during(asking)
  }

  #note(to: string, users: UsersNote): void {
    this.#host.backplane?.note(to, JSON.stringify({ users }))
  }

  #infoOf(connection: Connection): unknown {
    const failed = (error: unknown, where: string): void => this.#host.failed(error, where)
    return publicInfo(this.#options.info, connection, failed)
  }
}

const secret = randomBytes(32)

/**
 * Returns the public key of a person in one room. The secret of this process prevents linking it to
 * the connection, or to the person's key in another room.
 */
function keyOf({ id }: Connection, room: string): string {
  return createHmac('sha256', secret).update(`${id} ${room}`).digest('base64url').slice(0, 20)
}

/** Returns the public information about a connection as JSON data; null when that fails. */
export function publicInfo(
  info: ResolvedPresence['info'],
  connection: Connection,
  failed: (error: unknown, where: string) => void,
): unknown {
  try {
    const text: string | undefined = JSON.stringify(info?.(connection))
    return text === undefined ? null : JSON.parse(text)
  } catch (error) {
    failed(error, 'presence.info')
    return null
  }
}

/** Reads `[who, connections, info, key]`; returns null when the value is malformed. */
function readSighting(value: readonly unknown[]): Sighting | null {
  const [who, connections, info, key] = value
  if (typeof who !== 'string' || typeof key !== 'string') return null
  if (!who.isWellFormed() || !key.isWellFormed()) return null
  if (!isIntegerWithin(connections, 0, Number.MAX_SAFE_INTEGER)) return null
  return { who, connections, info, key }
}

function parse(text: string): object {
  const value: unknown = JSON.parse(text)
  if (typeof value !== 'object' || value === null) throw new TypeError('neither list nor object')
  return value
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : []
}

function strings(value: unknown): string[] {
  return list(value).filter((one) => isName(one))
}

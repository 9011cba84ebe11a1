import type { Backplane } from '../../backplane/backplane.ts'
import type { Answer, Described, Question, Target } from '../../backplane/order.ts'
import type { Connection } from '../../connection/connection.ts'
import { presenceText } from '../../protocol/envelope.ts'
import type { PresenceData } from '../../protocol/presence.ts'
import type { PresencePart } from '../instances.ts'
import type { LocalMembers } from '../local-members.ts'
import type { RoomWatcher } from '../rooms.ts'
import { OnlineUsers, type UsersNote } from './online-users.ts'
import type { ResolvedPresence } from './options.ts'
import { PresentRoom, type PresentRoomHost, type Sighting } from './present-room.ts'

/** How long other instances have to say who is in a room, in milliseconds. */
const PATIENCE = 2_000
/** However many ask for all that this instance knows, they get it once in so many milliseconds. */
const RESEND = 2_000
/** So many rooms are sent again at once, and the next ones so many milliseconds later. */
const PORTION = 500
const PAUSE = 20

const RESEND_USERS = '{"resend":"users"}'

/** What presence needs of its hub. */
export interface PresenceHost {
  readonly id: string
  readonly members: LocalMembers
  readonly backplane: Backplane | null
  /** An error of the application's. */
  failed(error: unknown, where: string): void
}

/** Who is in the rooms that have members here, and who is online. */
export class Presence implements PresencePart, RoomWatcher, PresentRoomHost {
  readonly #host: PresenceHost
  readonly #options: ResolvedPresence
  readonly #rooms = new Map<string, PresentRoom>()
  /** Who was seen when a connection entered a room: its members here. */
  readonly #local = new Map<string, Map<Connection, string>>()
  readonly #users: OnlineUsers | null
  #resend: NodeJS.Timeout | null = null
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

  /** A user has a first connection to this instance, or no more. */
  userChanged(user: string, here: boolean): void {
    if (!this.#closed) this.#users?.changed(user, here)
  }

  close(): void {
    this.#closed = true
    if (this.#resend) clearTimeout(this.#resend)
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
    room.see(this.id, { who, connections, info, key: connection.id })
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

  delivered(from: string, text: string): void {
    const [name, ...rest] = list(parse(text))
    const sighting = readSighting(rest)
    if (sighting) this.#rooms.get(String(name))?.see(from, sighting)
  }

  noted(from: string, text: string): void {
    const note = parse(text) as { resend?: unknown; users?: unknown }
    if (note.resend === true) this.#sendAgainSoon()
    if (note.resend === 'users') this.#users?.tell(from)
    if (typeof note.users !== 'object' || note.users === null) return
    const { here, known, all, gone, lingering, announced, unannounced } = note.users as UsersNote
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
    // It may have been taken for dead, and not know it.
    this.#host.backplane?.note(peer, '{"resend":true}')
  }

  left(peer: string): void {
    for (const room of this.#rooms.values()) room.left(peer)
    this.#users?.left(peer)
  }

  returned(): void {
    if (this.#closed) return
    this.#sendAgain(true)
    const { backplane } = this.#host
    // Meanwhile users may have gone whom this instance keeps.
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

  /** Tell the other instances how many connections somebody has here. */
  #publish(room: PresentRoom, who: string): void {
    const { backplane } = this.#host
    if (!backplane) return
    const { connections = 0, info = null, key = '' } = room.sightingOf(who, this.id) ?? {}
    const target: Target = { kind: 'rooms', names: [room.name], except: [], exceptUsers: [] }
    const text = JSON.stringify([room.name, who, connections, info, key])
    backplane.publish({ type: 'presence', target, text })
  }

  /** Ask the others who is in a room. What they say takes the place of what they said before. */
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

  #sendAgainSoon(): void {
    if (this.#closed) return
    this.#resend ??= setTimeout(() => {
      this.#resend = null
      this.#sendAgain(false)
    }, RESEND)
    this.#resend.unref()
  }

  /** @param asking whether this instance may have missed something too */
  #sendAgain(asking: boolean): void {
    this.#users?.tellAll()
    this.#sendPortions([...this.#rooms.values()], asking)
  }

  /** Not all in one turn: what waits for the engine is bounded. */
  #sendPortions(rooms: PresentRoom[], asking: boolean): void {
    for (const room of rooms.splice(0, PORTION)) {
      for (const { who } of room.sightingsOf(this.id)) this.#publish(room, who)
      if (asking && this.#rooms.get(room.name) === room) void this.#ask(room)
    }
    if (rooms.length === 0 || this.#closed) return
    setTimeout(() => this.#sendPortions(rooms, asking), PAUSE).unref()
  }

  #note(to: string, users: UsersNote): void {
    this.#host.backplane?.note(to, JSON.stringify({ users }))
  }

  #infoOf(connection: Connection): unknown {
    const failed = (error: unknown, where: string): void => this.#host.failed(error, where)
    return publicInfo(this.#options.info, connection, failed)
  }
}

/** What the application makes public of a connection, with a JSON form; null where that fails. */
export function publicInfo(
  info: ResolvedPresence['info'],
  connection: Connection,
  failed: (error: unknown, where: string) => void,
): unknown {
  try {
    const text = JSON.stringify(info?.(connection)) as string | undefined
    return text === undefined ? null : JSON.parse(text)
  } catch (error) {
    failed(error, 'presence.info')
    return null
  }
}

/** `[who, connections, info, key]`, or null for what is none. */
function readSighting(value: readonly unknown[]): Sighting | null {
  const [who, connections, info, key] = value
  if (typeof who !== 'string' || typeof key !== 'string') return null
  if (!Number.isSafeInteger(connections) || (connections as number) < 0) return null
  return { who, connections: connections as number, info, key }
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
  return list(value).filter((one) => typeof one === 'string')
}

// Keeps positions in rooms with history: presented to the server, advanced by messages, and reloaded.
import { MAX_POSITIONS, MAX_PREVIOUS, MAX_RESUME, type Recovery } from '../protocol/history.ts'
import type { Context } from './context.ts'
import { byteLength, encode, type Incoming, isName } from './envelope.ts'

/** The number of rooms with a kept position. The 128 that were used last are presented. */
const MAX_ROOMS = 1_024

/** The number of messages that are remembered, so that each is delivered once. */
const MAX_DELIVERED = 1_024

/** The largest weight of all held messages. */
const MAX_HELD = 1_048_576

/** Keeps the positions of one client over its connections. */
export interface History {
  /** Returns a copy of the positions up to which messages were delivered, by room. */
  positions(): Record<string, string>
  /** Returns the first message on a connection, which presents the positions. */
  resumption(): string
  /** Remembers the id of a connection, which the next ones present. */
  remember(connection: unknown): void
  /** Delivers a message without an id: now, after a reload, or not at all. */
  take(message: Incoming): void
  /** Drops held messages when the connection ends: the next one receives them again. */
  release(): void
}

/** A room that waits until the application has loaded its state. */
interface Reload {
  /** The position at which the server goes on. */
  readonly position: string
  /** The messages to deliver afterwards. */
  readonly held: Incoming[]
}

/**
 * Creates the history of one client.
 *
 * @throws TypeError for an invalid position in the option `positions`
 */
export function createHistory(
  { positions, reload, failed, malformed }: Context,
  deliver: (message: Incoming) => void,
): History {
  /** The position of each room. The room that was used last is at the end. */
  const places = new Map<string, string>()
  /** The rooms that wait for the application. */
  const reloads = new Map<string, Reload>()
  /** The rooms for which `reload` has not settled, also if they were left meanwhile. */
  const running = new Set<string>()
  const delivered = new Map<string, true>()
  const previous = new Map<string, true>()

  const place = (room: string, position: string): void => keep(places, room, position, MAX_ROOMS)

  /** Takes a message, with or without a position. No listener can hear `koaws:at`. */
  const arrive = (message: Incoming): void => {
    const { room = '', position, once = '' } = message
    const waiting = position && reloads.get(room)
    if (waiting) {
      waiting.held.push(message)
      let total = 0
      for (const { held } of reloads.values()) for (const { weight } of held) total += weight
      if (total > MAX_HELD) {
        release()
        failed(new Error('reload() took too long: messages were lost.'))
      }
    } else if (!position || !isUpTo(position, places.get(room))) {
      // An instance that is behind repeats what this client got in an earlier stay in the room.
      const id = once || (position ? `${room} ${position}` : '')
      if (!delivered.has(id)) deliver(message)
      if (id) keep(delivered, id, true, MAX_DELIVERED)
      // A listener that stores the positions must not skip a message that others have not heard.
      if (position) place(room, position)
    }
  }

  const release = (): void => {
    for (const { held } of reloads.values()) held.length = 0
  }

  /** Goes on from a position of the server, or from that of a reload. */
  const restart = async (room: string, position: string): Promise<void> => {
    reloads.delete(room)
    if (!reload || running.size >= MAX_POSITIONS) return place(room, position)
    reloads.set(room, { position, held: [] })
    if (running.has(room)) return // an older state would replace the newer one
    running.add(room)
    for (let waiting = reloads.get(room); waiting; waiting = reloads.get(room)) {
      let start = waiting.position
      try {
        start = assertPosition((await reload(room)) || start, start)
      } catch (error) {
        failed(error)
      }
      if (reloads.get(room) !== waiting) continue // refused again, or left
      reloads.delete(room)
      place(room, start)
      waiting.held.forEach(arrive)
    }
    running.delete(room)
  }

  /** Takes `koaws:position`, `koaws:recovered`, `koaws:at` or `koaws:left`. */
  const hear = (kind: string, message: Incoming): void => {
    const {
      room,
      position = '',
      recovered,
      missed,
      reason = 'limit',
    }: Recovery = Object(message.data)
    const isLeft = kind === 'left'
    const isVerdict = kind === 'recovered'
    if (
      ![room, position, reason].every(isName) ||
      !(position || isLeft) ||
      (isVerdict && Number.isSafeInteger(missed) !== recovered)
    ) {
      malformed()
    } else if (isLeft) {
      reloads.delete(room)
      places.delete(room)
    } else if (
      isVerdict ? recovered : kind === 'at' || position === (places.get(room) ?? position)
    ) {
      if (isVerdict) deliver(message)
      if (!(isVerdict && missed)) arrive({ ...message, type: 'koaws:at', room, position })
    } else {
      // Also a position in place of a verdict: the server did not take that of the client.
      const data = { room, recovered: false, missed: null, reason, position }
      deliver({ ...message, type: 'koaws:recovered', data })
      void restart(room, position)
    }
  }

  const present = (rooms: [string, string][]): string => {
    const data = { previous: [...previous.keys()], positions: toObject(rooms) }
    const text = encode('koaws:resume', data)
    return byteLength(text) > MAX_RESUME ? present(rooms.slice(1)) : text
  }

  for (const [room, position] of Object.entries(positions)) place(room, assertPosition(position))

  return {
    positions: () => toObject(places),
    resumption: () => present([...places].slice(-MAX_POSITIONS)),
    remember(connection) {
      if (isName(connection)) keep(previous, connection, true, MAX_PREVIOUS)
    },
    take(message) {
      const { type, room = '', position = '', once = '' } = message
      const [, kind] = /^koaws:(position|recovered|at|left)$/.exec(type) ?? []
      if (![room, position, once].every(isName)) malformed()
      else if (kind) hear(kind, message)
      else arrive(message)
    },
    release,
  }
}

/** Returns whether a position is at or before another one of the same epoch. */
function isUpTo(position: string, other = ''): boolean {
  const [epoch, offset] = position.split('.')
  const [life, reached] = other.split('.')
  return epoch === life && Number(offset) <= Number(reached)
}

/** @throws TypeError for a value that is not a position, or a position before `least` */
function assertPosition(value: string, least = value): string {
  if (isName(value) && (value === least || !isUpTo(value, least))) return value
  throw new TypeError(`Not a position, or an old one: ${value}`)
}

/** Returns an object without `__proto__`, a name that a server rejects. */
function toObject(entries: Iterable<[string, string]>): Record<string, string> {
  return Object.assign({}, Object.fromEntries(entries)) // an assignment ignores a `__proto__`
}

/** Sets the last entry of a map, and removes the first one above the limit. */
function keep<V>(map: Map<string, V>, key: string, value: V, most: number): void {
  map.delete(key)
  map.set(key, value)
  if (map.size > most) map.delete(map.keys().next().value as string)
}

import type { Connection } from '../../connection/connection.ts'
import { type Check, check, describe, validate } from '../../validate.ts'

/** The option `presence` of `koaWs()`: who is in a room, and who is online, over all instances. */
export interface PresenceOptions {
  /**
   * The rooms whose members are shown to each other: a name, the beginning of names with a `*` behind it,
   * a RegExp from `^` to `$`, or a list of these. Needs `info`. @default none
   */
  rooms?: string | RegExp | readonly (string | RegExp)[] | undefined
  /**
   * What is public of a connection: everybody in the room gets it. A value with a JSON form. It is asked when
   * somebody enters a room, and for `audience.members()`. What it throws goes to `app.on('error')`, and
   * null takes its place.
   */
  info?: ((connection: Connection) => unknown) | undefined
  /**
   * For how long a user who has left counts as present, in milliseconds, so that a reconnect or a deploy is
   * not seen. 0: not at all. Connections without a user leave at once. @default 15_000
   */
  linger?: number | undefined
  /** Of rooms with more people only the number is told. @default 1_000 */
  maxMembers?: number | undefined
  /** A user has its first connection, on any instance. Runs on one instance, once; see the guide. */
  onOnline?: ((userId: string) => unknown) | undefined
  /** A user has no connection any more, and `linger` has passed. Runs on one instance, once; see the guide. */
  onOffline?: ((userId: string) => unknown) | undefined
}

/** {@link PresenceOptions}, with the defaults filled in. */
export interface ResolvedPresence {
  /** Whether people of this room are shown to each other. */
  readonly shows: (room: string) => boolean
  readonly info: PresenceOptions['info']
  readonly linger: number
  readonly maxMembers: number
  readonly onOnline: PresenceOptions['onOnline']
  readonly onOffline: PresenceOptions['onOffline']
}

const pattern: Check = (value) => {
  if (value instanceof RegExp) {
    return /^\^.*\$$/s.test(value.source)
      ? null
      : `holds ${value}, which matches inside of longer names too: begin it with ^ and end it with $.`
  }
  if (typeof value !== 'string' || value === '') {
    return `must be a name, the beginning of names with a * behind it, a RegExp, or a list of these, not ${describe(value)}.`
  }
  return /\*./.test(value) ? `holds ${describe(value)}: a * can stand at the end only.` : null
}

const patterns: Check = (value) => {
  if (!Array.isArray(value)) return pattern(value)
  return value.map(pattern).find((problem) => problem !== null) ?? null
}

/** What is wrong with the option `presence`, or null. @throws OptionsError for what is in it */
export const presenceCheck: Check = (value) => {
  validate('presence', value, {
    rooms: patterns,
    info: check.isFunction,
    linger: (ms) => (ms === 0 ? null : check.milliseconds(ms)),
    maxMembers: check.count,
    onOnline: check.isFunction,
    onOffline: check.isFunction,
  })
  const { rooms, info, onOnline, onOffline } = value as PresenceOptions
  if (rooms !== undefined && info === undefined) {
    return 'has "rooms" and needs "info": what everybody in a room may know of a connection.'
  }
  if (rooms === undefined && !info && !onOnline && !onOffline) {
    return 'does nothing without "rooms", "info", "onOnline" or "onOffline".'
  }
  return null
}

export function resolvePresence(given: PresenceOptions): ResolvedPresence {
  const { rooms = [], info, linger = 15_000, maxMembers = 1_000, onOnline, onOffline } = given
  const tests = (Array.isArray(rooms) ? rooms : [rooms]).map(testOf)
  const shows = (room: string): boolean => tests.some((test) => test(room))
  return { shows, info, linger, maxMembers, onOnline, onOffline }
}

function testOf(given: string | RegExp): (room: string) => boolean {
  if (given instanceof RegExp) {
    const regexp = new RegExp(given.source, given.flags.replaceAll(/[gy]/g, '')) // without a memory
    return (room) => regexp.test(room)
  }
  if (!given.endsWith('*')) return (room) => room === given
  const beginning = given.slice(0, -1)
  return (room) => room.startsWith(beginning)
}

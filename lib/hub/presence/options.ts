// Checks the option `presence`, and fills in its defaults.

import type { Connection } from '../../connection/connection.ts'
import { checkPatterns, matcher, type Patterns } from '../../patterns.ts'
import { type Check, check, validate } from '../../validate.ts'

/**
 * The option `presence` of `koaWs()`: the people in a room, and the users online, over all
 * instances.
 */
export interface PresenceOptions {
  /**
   * The rooms that show their members to each other: a name, a prefix followed by `*`, a RegExp
   * from `^` to `$`, or a list of these. Needs `info`. @default none
   */
  rooms?: Patterns | undefined
  /**
   * Returns the public information about a connection, which every member of the room gets. The
   * value must have a JSON form. Called when a connection joins a room, and for
   * `audience.members()`. An error goes to `app.on('error')`, and null is shown instead.
   */
  info?: ((connection: Connection) => unknown) | undefined
  /**
   * How long a user counts as present after leaving, in milliseconds, so that a reconnect or a
   * deploy is not visible. 0 turns this off. Connections without a user leave at once. @default
   * 15_000
   */
  linger?: number | undefined
  /** In rooms with more people than this, clients only get the count. @default 1_000 */
  maxMembers?: number | undefined
  /**
   * Called when a user gets its first connection on any instance. Runs once, on one instance; see
   * the guide.
   */
  onOnline?: ((userId: string) => unknown) | undefined
  /**
   * Called when a user has lost its last connection and `linger` has passed. Runs once, on one
   * instance; see the guide.
   */
  onOffline?: ((userId: string) => unknown) | undefined
}

/** {@link PresenceOptions}, with the defaults filled in. */
export interface ResolvedPresence {
  /** Returns whether a room shows its people to each other. */
  readonly shows: (room: string) => boolean
  readonly info: PresenceOptions['info']
  readonly linger: number
  readonly maxMembers: number
  readonly onOnline: PresenceOptions['onOnline']
  readonly onOffline: PresenceOptions['onOffline']
}

/** Returns the problem with the option `presence`, or null. @throws OptionsError for a member */
export const presenceCheck: Check = (value) => {
  validate('presence', value, {
    rooms: checkPatterns,
    info: check.isFunction,
    linger: check.delay,
    maxMembers: check.count,
    onOnline: check.isFunction,
    onOffline: check.isFunction,
  })
  const { rooms, info, onOnline, onOffline } = value as PresenceOptions
  if (rooms !== undefined && info === undefined) {
    return 'has "rooms" and needs "info": a function that returns the public data of a connection.'
  }
  if (rooms === undefined && !info && !onOnline && !onOffline) {
    return 'has no effect without "rooms", "info", "onOnline" or "onOffline".'
  }
  return null
}

export function resolvePresence(given: PresenceOptions): ResolvedPresence {
  const { rooms = [], info, linger = 15_000, maxMembers = 1_000, onOnline, onOffline } = given
  return { shows: matcher(rooms), info, linger, maxMembers, onOnline, onOffline }
}

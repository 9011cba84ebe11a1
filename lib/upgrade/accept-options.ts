// Checks the options of one accept, and computes values from them.

import type { Context, Middleware } from 'koa'
import { epochMilliseconds } from '../connection/expiry.ts'
import { type RuleOptions, ruleChecks } from '../connection/rules.ts'
import { type Speaker, speakerOf } from '../connection/speaker.ts'
import { OptionsError, toError, UpgradeError } from '../errors.ts'
import { fieldsOf } from '../fields.ts'
import { KOAWS_V1 } from '../protocol/subprotocol.ts'
import {
  askOption,
  assertName,
  type Check,
  check,
  describe,
  isName,
  validate,
} from '../validate.ts'
import { warnOnce } from '../warn.ts'
import type { UpgradeHost } from './host.ts'
import { type RejectOption, rejectCheck } from './reject.ts'

/** A value, or a function that returns it for the ctx of the handshake. */
export type FromContext<T, C = Context> = T | ((ctx: C) => T)

/** Returns one of the offered subprotocols, which come without credentials; false for none. */
export type SubprotocolChooser<C = Context> = (offered: readonly string[], ctx: C) => string | false

/** Koa middleware that authenticates: one function or a list. */
export type AuthMiddleware = Middleware | readonly Middleware[]

/** The options of one route. An option that is not set has the value of the plugin. */
export interface AcceptOptions<C = Context> extends RuleOptions {
  /**
   * The subprotocol to speak: a name, a list in order of preference, or a function that chooses. An
   * offer without a match gets 400. @default the first offered name that is neither a credential
   * nor `koaws.v1`
   */
  subprotocol?: string | readonly string[] | SubprotocolChooser<C> | undefined
  /** The rooms that the connection joins at once. @default none */
  rooms?: FromContext<readonly string[], C> | undefined
  /**
   * The user of the connection. Take it from verified data only, not from a claim of the client.
   */
  user?: FromContext<string | number | undefined, C> | undefined
  /**
   * When the authorization ends; the connection is then closed with 4401. A Date, epoch
   * milliseconds, or null for never. @default the `exp` in `ctx.state.user`, where koa-jwt stores
   * it, if it is a time in seconds after the year 2000
   */
  expiresAt?: FromContext<Date | number | null, C> | undefined
  /**
   * False keeps the connection out of all rooms and audiences, for a subprotocol of another
   * library. The connection is still counted, limited and shut down. `close()` of its id, of its
   * user and of `all()` still closes it. @default true
   */
  hub?: boolean | undefined
  /**
   * With `messages()`: authenticates with a token in the first message. Takes Koa middleware such
   * as koa-jwt's, which runs with a ctx like that of the handshake, and with the token in
   * `Authorization: Bearer`. Until it calls `next()`, other messages are not handled and the
   * connection is in no audience. `user`, `expiresAt`, `rooms` and `onConnect` run after it.
   */
  authenticate?: AuthMiddleware | undefined
  /**
   * Milliseconds until the first token must be accepted; then the connection is closed with 4408.
   * @default 10_000
   */
  authenticateTimeout?: number | undefined
  /**
   * With `messages()`: authenticates with a new token on an open connection. A token of another
   * user closes the connection with 4403; a rejected token changes nothing. @default `authenticate`
   */
  refresh?: AuthMiddleware | undefined
  /**
   * See the plugin's option. It applies to rejections after the accept, and in `hub.route()` after
   * the path has matched. Earlier rejections use the plugin's option.
   */
  reject?: RejectOption | undefined
  /** The largest message, in bytes; a larger one closes the connection with 1009. */
  maxPayload?: number | undefined
  /** The largest number of fragments per message; more close the connection with 1008. */
  maxFragments?: number | undefined
}

const isToken = (value: unknown): boolean =>
  typeof value === 'string' && /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(value)

const subprotocol: Check = (value) => {
  if (isToken(value) || typeof value === 'function') return null
  if (!Array.isArray(value)) {
    return `must be a subprotocol name (a token of RFC 9110), a list of them, or a function, not ${describe(value)}.`
  }
  if (value.length === 0) return 'must hold at least one subprotocol name.'
  const wrong = value.findIndex((one) => !isToken(one))
  return wrong < 0
    ? null
    : `must hold subprotocol names (tokens of RFC 9110), not ${describe(value[wrong])}.`
}

const instant: Check = (value) => {
  try {
    epochMilliseconds(value as number)
    return null
  } catch (error) {
    return toError(error).message.replace('expiresAt ', '')
  }
}

const roomNames: Check = (value) => {
  if (!Array.isArray(value))
    return `must be an array of names, or a function of the ctx, not ${describe(value)}.`
  const wrong = check.strings(value)
  if (wrong) return wrong
  const long = (value as string[]).find((name) => !isName(name))
  return long === undefined ? null : `holds ${describe(long)}, which is longer than 255 bytes.`
}

const plainUser: Check = (value) =>
  isName(value) || Number.isFinite(value)
    ? null
    : `must be a well-formed string of 1 to 255 bytes, a number, or a function of the ctx, not ${describe(value)}.`

const middleware: Check = (value) => {
  const wrong = [value].flat().filter((one) => typeof one !== 'function')
  return wrong.length === 0
    ? null
    : `must be Koa middleware, or an array of it, not ${describe(wrong[0])}.`
}

/** The options of a route, with their checks. */
export const acceptChecks: Record<string, Check> = {
  subprotocol: subprotocol,
  rooms: check.either(roomNames, check.isFunction),
  user: check.either(plainUser, check.isFunction),
  expiresAt: check.either(instant, check.isFunction),
  hub: check.boolean,
  authenticate: middleware,
  authenticateTimeout: check.milliseconds,
  refresh: middleware,
  reject: rejectCheck,
  maxPayload: check.count,
  maxFragments: check.count,
  ...ruleChecks,
}

/**
 * Checks the options of `accept()` and `ctx.ws()`.
 *
 * @param handler the handler of the connection; undefined without one
 * @throws OptionsError for an option that is unknown, wrong, or contradicts another
 */
export function checkAcceptOptions(where: string, options: unknown, handler?: object): void {
  validate(where, options, acceptChecks)
  checkSpeaker(where, options as AcceptOptions, handler && speakerOf(handler))
  const { hub, rooms } = options as AcceptOptions
  if (hub === false && rooms !== undefined) {
    throw new OptionsError(
      `${where}: "rooms" contradicts "hub: false": such a connection cannot join rooms. Leave one of them out.`,
    )
  }
}

function checkSpeaker(where: string, options: AcceptOptions, speaker: Speaker | undefined): void {
  const { authenticate, authenticateTimeout, refresh, subprotocol } = options
  if ((authenticate || refresh) && !speaker?.authenticates) {
    throw new OptionsError(
      `${where}: "authenticate" and "refresh" work only with messages(). Authenticate other connections in middleware before the accept.`,
    )
  }
  if (authenticateTimeout !== undefined && !authenticate) {
    throw new OptionsError(`${where}: "authenticateTimeout" has no effect without "authenticate".`)
  }
  if (subprotocol !== undefined && speaker) {
    throw new OptionsError(
      `${where}: the handler already sets the subprotocol (${speaker.subprotocols.join(', ')}). Leave "subprotocol" out, or use bySubprotocol() to add others.`,
    )
  }
}

/** Returns the subprotocol, or false for none. @throws UpgradeError if none is acceptable */
export function chooseSubprotocol(
  { subprotocol }: AcceptOptions,
  speaker: Speaker | undefined,
  offered: readonly string[],
  hadBearers: boolean,
  ctx: Context,
): string | false {
  if (speaker?.silent && offered.length === 0 && !hadBearers) return false
  if (speaker) return match(speaker.subprotocols, offered)
  if (subprotocol === undefined) return firstForeign(offered, hadBearers)
  if (typeof subprotocol === 'function') {
    const name = askOption('subprotocol', () => subprotocol(offered, ctx))
    return chosen(name, offered)
  }
  return match(typeof subprotocol === 'string' ? [subprotocol] : subprotocol, offered)
}

function match(wanted: readonly string[], offered: readonly string[]): string {
  const name = wanted.find((one) => offered.includes(one))
  if (name !== undefined) return name
  throw new UpgradeError('ERR_KOAWS_SUBPROTOCOL', `This route speaks ${wanted.join(', ')}.`)
}

function chosen(name: string | false, offered: readonly string[]): string | false {
  if (name === false) {
    throw new UpgradeError(
      'ERR_KOAWS_SUBPROTOCOL',
      'This route does not speak the offered subprotocols.',
    )
  }
  if (offered.includes(name)) return name
  throw new OptionsError(
    `The option "subprotocol" chose ${JSON.stringify(name)}, which the client did not offer. Return one of the offered names, or false.`,
  )
}

/**
 * Returns the subprotocol for a route without the option. A browser fails a WebSocket when the
 * server accepts no offer. So an offer of only credentials or only `koaws.v1` is rejected, with an
 * error that explains it.
 */
function firstForeign(offered: readonly string[], hadBearers: boolean): string | false {
  const first = offered.find((name) => name !== KOAWS_V1)
  if (first !== undefined) return first
  if (offered.length === 0 && !hadBearers) return false
  throw new UpgradeError(
    'ERR_KOAWS_SUBPROTOCOL',
    hadBearers
      ? 'Offer a subprotocol beside the credential: a browser fails a WebSocket for which the server selects no subprotocol.'
      : 'This route does not speak koaws.v1.',
  )
}

/** Returns the user of the connection. */
export function userOf(
  { user }: AcceptOptions,
  host: UpgradeHost,
  ctx: Context,
): string | undefined {
  const value = askOption('user', () =>
    typeof user === 'function' ? user(ctx) : (user ?? host.user?.(ctx)),
  )
  if (value === undefined || value === null) return undefined
  if (typeof value === 'number' && Number.isFinite(value)) return String(value)
  if (isName(value)) return value
  throw new OptionsError(
    `The option "user" must return a well-formed string of 1 to 255 bytes, a number, or undefined, not ${describe(value)}.${typeof value === 'object' || typeof value === 'bigint' ? ' Call toString() on it.' : ''}`,
  )
}

/** Returns the rooms that the connection joins at once. */
export function roomsOf({ rooms }: AcceptOptions, ctx: Context): readonly string[] {
  const names = typeof rooms === 'function' ? askOption('rooms', () => rooms(ctx)) : (rooms ?? [])
  if (!Array.isArray(names))
    throw new OptionsError(
      `The option "rooms" must return an array of names, not ${describe(names)}.`,
    )
  for (const name of names) assertName('room', name)
  return names
}

/** @throws OptionsError when there are more rooms than a connection may join */
export function assertRooms(rooms: readonly string[], most: number): void {
  const { size } = rooms.length <= most ? { size: 0 } : new Set(rooms)
  if (size <= most) return
  throw new OptionsError(`The option "rooms" names ${size} rooms, and "maxRooms" allows ${most}.`)
}

/**
 * Returns when the authorization ends, in epoch milliseconds; null for never.
 *
 * @throws UpgradeError with status 401 when that time is past
 */
export function expiryOf({ expiresAt }: AcceptOptions, ctx: Context): number | null {
  const value =
    typeof expiresAt === 'function' ? askOption('expiresAt', () => expiresAt(ctx)) : expiresAt
  const at = value === undefined ? tokenExpiry(ctx) : epochMilliseconds(value)
  if (at !== null && at <= Date.now()) {
    throw new UpgradeError('ERR_KOAWS_EXPIRED', 'The authorization has expired.')
  }
  return at
}

/** Returns the `exp` (RFC 7519, section 4.1.4) that koa-jwt stores, in milliseconds. */
function tokenExpiry(ctx: Context): number | null {
  const exp: unknown = fieldsOf(fieldsOf(ctx.state)['user'])['exp']
  if (exp === undefined || exp === null) return null
  if (typeof exp === 'number' && exp >= EARLIEST && exp <= LATEST) return Math.floor(exp * 1000)
  const what = typeof exp === 'number' ? String(exp) : `a ${typeof exp}`
  warnOnce(
    'KOAWS_EXP',
    `ctx.state.user.exp is ${what} and is ignored: it is not a time in seconds since 1970 (RFC 7519, section 4.1.4). The connection does not expire. Set the option "expiresAt" of the route; null means never.`,
    { inProduction: true },
  )
  return null
}

/** The first second of 2001, and the last of 9999: others are not an `exp` in seconds. */
const EARLIEST = 978_307_200
const LATEST = 253_402_300_799

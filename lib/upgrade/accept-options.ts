import type { Context, Middleware } from 'koa'
import { epochMilliseconds } from '../connection/instant.ts'
import { type RuleOptions, ruleChecks } from '../connection/rules.ts'
import { type Speaker, speakerOf } from '../connection/speaker.ts'
import { OptionsError, UpgradeError } from '../errors.ts'
import { KOAWS_V1 } from '../protocol/subprotocol.ts'
import { askOption, assertName, type Check, check, validate } from '../validate.ts'
import type { RejectMode, UpgradeHost } from './host.ts'

/** A value, or a function that gives it from the ctx of the handshake. */
export type FromContext<T, C = Context> = T | ((ctx: C) => T)

/** Chooses a subprotocol from what the client offers, credentials left out; false for none. */
export type SubprotocolChooser<C = Context> = (offered: readonly string[], ctx: C) => string | false

/** Middleware that authenticates, alone or in a row. */
export type AuthMiddleware = Middleware | readonly Middleware[]

/** How one route accepts. What is not set is the plugin's. */
export interface AcceptOptions<C = Context> extends RuleOptions {
  /**
   * The subprotocol to speak: a name, a list by preference, or a chooser. Nothing that matches: 400.
   * Not set: the first that is offered, other than a credential and `koaws.v1`.
   */
  subprotocol?: string | readonly string[] | SubprotocolChooser<C> | undefined
  /** Rooms to be in from the start. */
  rooms?: FromContext<readonly string[], C> | undefined
  /** Whose connection this is; never from what the client says of itself. */
  user?: FromContext<string | number | undefined, C> | undefined
  /**
   * When the authorisation ends: the connection is then closed with 4401. Date, epoch milliseconds,
   * or null for never. Not set: the `exp` that koa-jwt left in `ctx.state.user`.
   */
  expiresAt?: FromContext<Date | number | null, C> | undefined
  /**
   * False keeps the connection out of all rooms and audiences: it may speak a foreign protocol. It is
   * counted, limited and shut down like any other. @default true
   */
  hub?: boolean | undefined
  /**
   * With `messages()`: authenticate by a token in the first message. Middleware of Koa, such as
   * koa-jwt's, that runs on a ctx like that of the handshake, with the token as `Authorization: Bearer`.
   * Nothing is handled before it has called `next()`, and the connection is in no audience; `user`,
   * `expiresAt`, `rooms` and `onConnect` are asked after it.
   */
  authenticate?: AuthMiddleware | undefined
  /** How long that may take; then 4408. @default 10_000 */
  authenticateTimeout?: number | undefined
  /**
   * With `messages()`: the same for a new token on an open connection. Another user than before closes
   * with 4403; a token that is rejected changes nothing. @default `authenticate`
   */
  refresh?: AuthMiddleware | undefined
  /** See the plugin's option. */
  reject?: RejectMode | undefined
  /** The largest message in bytes; 1009 above it. */
  maxPayload?: number | undefined
  /** The most fragments of one message. */
  maxFragments?: number | undefined
}

const token: Check = (value) =>
  typeof value === 'string' && /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(value)
    ? null
    : 'must be a subprotocol name (a token of RFC 9110), a list of them, or a function.'

const tokens: Check = (value) =>
  Array.isArray(value) && value.length > 0 && value.every((one) => token(one) === null)
    ? null
    : token(undefined)

const instant: Check = (value) => {
  try {
    epochMilliseconds(value as number)
    return null
  } catch (error) {
    return `is wrong: ${(error as Error).message}`
  }
}

const plainUser: Check = (value) =>
  (typeof value === 'string' && value.length > 0) || Number.isFinite(value)
    ? null
    : 'must be a non-empty string, a number, or a function of the ctx.'

const middleware: Check = (value) =>
  [value].flat().every((one) => typeof one === 'function')
    ? null
    : 'must be middleware of Koa, or an array of such.'

/** The options that a route may set, with their checks. */
export const acceptChecks: Record<string, Check> = {
  subprotocol: check.either(token, tokens, check.isFunction),
  rooms: check.either(check.strings, check.isFunction),
  user: check.either(plainUser, check.isFunction),
  expiresAt: check.either(instant, check.isFunction),
  hub: check.boolean,
  authenticate: middleware,
  authenticateTimeout: check.milliseconds,
  refresh: middleware,
  reject: check.oneOf('auto', 'http', 'close'),
  maxPayload: check.count,
  maxFragments: check.count,
  ...ruleChecks,
}

/**
 * Check what `accept()` and `ctx.ws()` are given.
 *
 * @param handler what the connection is for; undefined for one that is accepted without
 * @throws OptionsError
 */
export function checkAcceptOptions(where: string, options: unknown, handler?: object): void {
  validate(where, options, acceptChecks)
  checkSpeaker(where, options as AcceptOptions, handler && speakerOf(handler))
  const { hub, rooms } = options as AcceptOptions
  if (hub === false && rooms !== undefined) {
    throw new OptionsError(
      `${where}: "rooms" contradicts "hub: false", which keeps out of all rooms.`,
    )
  }
}

function checkSpeaker(where: string, options: AcceptOptions, speaker: Speaker | undefined): void {
  const { authenticate, authenticateTimeout, refresh, subprotocol } = options
  if ((authenticate || refresh) && !speaker?.authenticates) {
    throw new OptionsError(
      `${where}: "authenticate" and "refresh" work with messages() alone; authenticate other connections in the chain.`,
    )
  }
  if (authenticateTimeout !== undefined && !authenticate) {
    throw new OptionsError(
      `${where}: "authenticateTimeout" counts for nothing without "authenticate".`,
    )
  }
  if (subprotocol !== undefined && speaker) {
    throw new OptionsError(
      `${where}: "subprotocol" is said by the handler already: ${speaker.subprotocols.join(', ')}. For others beside it there is bySubprotocol().`,
    )
  }
}

/** The subprotocol for a handshake, or false for none. */
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
    return name === false && mayDecline.has(subprotocol) ? false : chosen(name, offered)
  }
  return match(typeof subprotocol === 'string' ? [subprotocol] : subprotocol, offered)
}

function match(wanted: readonly string[], offered: readonly string[]): string {
  const name = wanted.find((one) => offered.includes(one))
  if (name !== undefined) return name
  throw new UpgradeError('ERR_KOAWS_SUBPROTOCOL', `This route speaks ${wanted.join(', ')}.`)
}

/** Choosers whose `false` accepts without a subprotocol, as ws's `handleProtocols` does. */
export const mayDecline: WeakSet<object> = new WeakSet()

function chosen(name: string | false, offered: readonly string[]): string | false {
  if (name === false) {
    throw new UpgradeError(
      'ERR_KOAWS_SUBPROTOCOL',
      'This route speaks none of the subprotocols that were offered.',
    )
  }
  if (offered.includes(name)) return name
  throw new OptionsError(
    `The option "subprotocol" chose ${JSON.stringify(name)}, which the client did not offer.`,
  )
}

/**
 * Without a say of the route. A browser fails a WebSocket whose offers were all passed over, so an
 * offer of credentials or of koaws' own protocol alone is an error that it can be told of.
 */
function firstForeign(offered: readonly string[], hadBearers: boolean): string | false {
  const first = offered.find((name) => name !== KOAWS_V1)
  if (first !== undefined) return first
  if (offered.length === 0 && !hadBearers) return false
  throw new UpgradeError(
    'ERR_KOAWS_SUBPROTOCOL',
    hadBearers
      ? 'Offer a subprotocol beside the credential: a browser fails a WebSocket that gets none of its offers.'
      : 'This route does not speak koaws.v1.',
  )
}

/** Whose connection it is. */
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
  if (typeof value === 'string' && value.length > 0 && Buffer.byteLength(value) <= 255) return value
  throw new OptionsError(
    'The option "user" must give a string of 1 to 255 bytes, a number, or undefined.',
  )
}

/** The rooms to be in from the start. */
export function roomsOf({ rooms }: AcceptOptions, ctx: Context): readonly string[] {
  const names = typeof rooms === 'function' ? askOption('rooms', () => rooms(ctx)) : (rooms ?? [])
  if (!Array.isArray(names))
    throw new OptionsError('The option "rooms" must give an array of names.')
  for (const name of names) assertName('room', name)
  return names
}

/** @throws OptionsError when there are more than a connection may be in */
export function assertRooms(rooms: readonly string[], most: number): void {
  const { size } = rooms.length <= most ? { size: 0 } : new Set(rooms)
  if (size <= most) return
  throw new OptionsError(`The option "rooms" gave ${size} rooms, and "maxRooms" allows ${most}.`)
}

/**
 * When the authorisation ends, in epoch milliseconds, or null for never.
 *
 * @throws UpgradeError with status 401 when that is past already
 */
export function expiryOf({ expiresAt }: AcceptOptions, ctx: Context): number | null {
  const value =
    typeof expiresAt === 'function' ? askOption('expiresAt', () => expiresAt(ctx)) : expiresAt
  const at = value === undefined ? tokenExpiry(ctx) : epochMilliseconds(value)
  if (at !== null && at <= Date.now()) {
    throw new UpgradeError('ERR_KOAWS_EXPIRED', 'The authorisation has expired.')
  }
  return at
}

/** The `exp` of a JSON Web Token (RFC 7519, section 4.1.4: seconds), where koa-jwt puts its claims. */
function tokenExpiry(ctx: Context): number | null {
  const exp: unknown = (ctx.state as { user?: { exp?: unknown } } | undefined)?.user?.exp
  return typeof exp === 'number' && Number.isFinite(exp) ? Math.floor(exp * 1000) : null
}

import type { IncomingMessage } from 'node:http'
import { constants } from 'node:os'
import { deflateRawSync, type ZlibOptions } from 'node:zlib'
import type { Context } from 'koa'
import type { Adapter } from './backplane/adapter.ts'
import type { Connection } from './connection/connection.ts'
import {
  type ConnectionRules,
  type RuleOptions,
  resolveRules,
  ruleChecks,
} from './connection/rules.ts'
import type { CloseInfo } from './connection/types.ts'
import { OptionsError } from './errors.ts'
import {
  type PresenceOptions,
  presenceCheck,
  type ResolvedPresence,
  resolvePresence,
} from './hub/presence/options.ts'
import { isCloseCode } from './protocol/close-codes.ts'
import { defaultFragments } from './upgrade/acceptor.ts'
import type { RejectMode } from './upgrade/host.ts'
import type { OriginPolicy } from './upgrade/origin.ts'
import { type Check, check, describe, validate } from './validate.ts'

/** Options of permessage-deflate (RFC 7692), as ws takes them. */
export interface DeflateOptions {
  /** Whether the server starts each message anew; keeping context costs memory. @default true */
  serverNoContextTakeover?: boolean | undefined
  /** The same for the client. */
  clientNoContextTakeover?: boolean | undefined
  /** Messages below this many bytes are not compressed. @default 1024 */
  threshold?: number | undefined
  /** How many messages are compressed at a time. @default 4 */
  concurrencyLimit?: number | undefined
  /** Options of zlib's deflate. */
  zlibDeflateOptions?: object | undefined
  /** Options of zlib's inflate. */
  zlibInflateOptions?: object | undefined
}

/** The options of `koaWs()`. Durations are milliseconds, sizes are bytes. */
export interface KoaWsOptions extends RuleOptions {
  /**
   * Which pages may open a WebSocket here. `'same'`: host and port of Origin equal those of Host
   * (X-Forwarded-Host only with `app.proxy`). A list of origins and RegExps is allowed in addition.
   * `'any'` lets every page in the world use the cookies of your users. A request without Origin
   * passes: browsers always send one. Refused with 403. @default 'same'
   */
  origin?: OriginPolicy | undefined
  /** Host names that Host may have, against DNS rebinding. @default any */
  hosts?: readonly string[] | undefined
  /** False leaves a socket to other `upgrade` listeners. Synchronous. */
  filter?: ((req: IncomingMessage) => boolean) | undefined
  /**
   * How a rejection reaches the client. `'auto'`: over HTTP, and for a client that offered `koaws.v1`
   * as close code 4000 + status. `'http'`: always HTTP. `'close'`: a close code for every client.
   * Only 4xx and 5xx that the chain itself produced, after the origin check. @default 'auto'
   */
  reject?: RejectMode | undefined
  /** How long the whole chain may take before the 101; then 503. @default 10_000 */
  handshakeTimeout?: number | undefined
  /** Connections of this instance, pending upgrades included; 503 beyond. @default unlimited */
  maxConnections?: number | undefined
  /** The same for each address; 429 beyond. @default unlimited */
  maxPerAddress?: number | undefined
  /** The same for each HTTP/2 session; 429 beyond. A proxy may send many clients over one. @default unlimited */
  maxPerSession?: number | undefined
  /** The address that `maxPerAddress` counts. @default the client's, forwarded with `app.proxy` */
  address?: ((req: IncomingMessage) => string) | undefined
  /** Whose connection this is. Never take it from what the client says of itself. */
  user?: ((ctx: Context) => string | number | undefined) | undefined
  /**
   * Runs before the handler, which waits for it, and before the connection is in any audience. An error
   * closes as one of the handler's would. Who is closed here has no handler, and is not heard.
   */
  onConnect?: ((connection: Connection, ctx: Context) => unknown) | undefined
  /** Runs after the connection's `close` event. `hub.close()` waits for it until its deadline. */
  onDisconnect?: ((connection: Connection, info: CloseInfo) => unknown) | undefined
  /** The largest message; the client gets 1009 above it. @default 1_048_576 */
  maxPayload?: number | undefined
  /** The most fragments of one message. @default 1,024, and one more for each KiB of maxPayload above 1 MiB */
  maxFragments?: number | undefined
  /** How long a closing handshake may take. @default 2_000 */
  closeTimeout?: number | undefined
  /**
   * Compression. True, or options for it; on, the server keeps no context between messages unless
   * you say so. @default false
   */
  perMessageDeflate?: boolean | DeflateOptions | undefined
  /** The name of `ctx.ws`. @default 'ws' */
  property?: string | undefined
  /** Joins the hubs of several instances. @default this instance stands alone */
  adapter?: Adapter | undefined
  /** Who is in a room, and who is online. @default off */
  presence?: PresenceOptions | undefined
}

/** All options, with their defaults filled in. */
export interface ResolvedOptions extends ConnectionRules {
  readonly origin: OriginPolicy
  readonly hosts: ReadonlySet<string> | undefined
  readonly filter: KoaWsOptions['filter'] | undefined
  readonly reject: RejectMode
  readonly handshakeTimeout: number
  readonly maxConnections: number
  readonly maxPerAddress: number
  readonly maxPerSession: number
  readonly address: KoaWsOptions['address'] | undefined
  readonly user: KoaWsOptions['user'] | undefined
  readonly onConnect: KoaWsOptions['onConnect'] | undefined
  readonly onDisconnect: KoaWsOptions['onDisconnect'] | undefined
  readonly maxPayload: number
  readonly maxFragments: number
  readonly closeTimeout: number
  readonly perMessageDeflate: false | DeflateOptions
  readonly property: string
  readonly adapter: Adapter | undefined
  readonly presence: ResolvedPresence | undefined
}

const DEFLATE: DeflateOptions = {
  serverNoContextTakeover: true,
  threshold: 1024,
  concurrencyLimit: 4,
}

const SCHEME = /^[a-z][a-z0-9+.-]*:\/\/[^/?#]+$/i

const origins: Check = (value) => {
  if (!Array.isArray(value)) {
    return `must be 'same', 'any', a list of origins, or a function, not ${describe(value)}.`
  }
  for (const entry of value) {
    if (entry instanceof RegExp) {
      if (!/^\^.*\$$/s.test(entry.source)) {
        return `holds ${entry}, which matches inside of longer origins too: begin it with ^ and end it with $.`
      }
    } else if (typeof entry !== 'string' || !(SCHEME.test(entry) || entry === 'null')) {
      return `holds ${describe(entry)}, which is no origin: write it as a browser sends it, such as "https://example.com".`
    }
  }
  return null
}

const hosts: Check = (value) => {
  const wrong = check.strings(value)
  if (wrong) return wrong
  const url = (value as string[]).find((host) => host.includes('/'))
  return url === undefined
    ? null
    : `holds ${describe(url)}: a host name, such as "example.com", is no URL.`
}

const property: Check = (value) =>
  typeof value === 'string' && value.length > 0 && value !== 'hub'
    ? null
    : `must be a name other than "hub", not ${describe(value)}.`

const adapter: Check = (value) =>
  typeof (value as Partial<Adapter> | null)?.connect === 'function'
    ? null
    : `must be an adapter, such as memoryAdapter() makes, not ${describe(value)}.`

const zlibOptions: Check = (value) =>
  typeof value === 'object' && value !== null && !('info' in value)
    ? null
    : 'must be an object of options of zlib, without "info".'

const deflateChecks: Record<string, Check> = {
  serverNoContextTakeover: check.boolean,
  clientNoContextTakeover: check.boolean,
  threshold: check.either(check.count, (value) => (value === 0 ? null : 'must be 0 or more.')),
  concurrencyLimit: check.count,
  zlibDeflateOptions: zlibOptions,
  zlibInflateOptions: zlibOptions,
}

const deflate: Check = (value) => {
  if (typeof value === 'boolean') return null
  validate('perMessageDeflate', value, deflateChecks)
  return null
}

const checks: Record<string, Check> = {
  origin: check.either(origins, check.oneOf('same', 'any'), check.isFunction),
  hosts,
  filter: check.isFunction,
  reject: check.oneOf('auto', 'http', 'close'),
  handshakeTimeout: check.milliseconds,
  maxConnections: check.count,
  maxPerAddress: check.count,
  maxPerSession: check.count,
  address: check.isFunction,
  user: check.isFunction,
  onConnect: check.isFunction,
  onDisconnect: check.isFunction,
  maxPayload: check.count,
  maxFragments: check.count,
  closeTimeout: check.milliseconds,
  perMessageDeflate: deflate,
  property,
  adapter,
  presence: presenceCheck,
  ...ruleChecks,
}

/**
 * Check the options and fill in what is not set.
 *
 * @throws OptionsError naming the option, and the nearest where there is none of that name
 */
export function resolveOptions(given: KoaWsOptions): ResolvedOptions {
  validate('koaWs()', given, checks)
  const { maxConnections = Infinity, maxPerAddress = Infinity, maxPerSession = Infinity } = given
  for (const [name, most] of Object.entries({ maxPerAddress, maxPerSession })) {
    if (most !== Infinity && most > maxConnections) {
      throw new OptionsError(
        `koaWs(): "${name}" is above "maxConnections" and can never be reached.`,
      )
    }
  }
  if (given.address && maxPerAddress === Infinity) {
    throw new OptionsError(
      'koaWs(): the option "address" counts for nothing without "maxPerAddress".',
    )
  }
  const maxPayload = given.maxPayload ?? 1024 * 1024
  return {
    origin: given.origin ?? 'same',
    hosts: given.hosts && new Set(given.hosts.map((host) => host.toLowerCase())),
    filter: given.filter,
    reject: given.reject ?? 'auto',
    handshakeTimeout: given.handshakeTimeout ?? 10_000,
    maxConnections,
    maxPerAddress,
    maxPerSession,
    address: given.address,
    user: given.user,
    onConnect: given.onConnect,
    onDisconnect: given.onDisconnect,
    maxPayload,
    maxFragments: given.maxFragments ?? defaultFragments(maxPayload),
    closeTimeout: given.closeTimeout ?? 2_000,
    perMessageDeflate: resolveDeflate(given.perMessageDeflate),
    property: given.property ?? 'ws',
    ...resolveRules(given),
    adapter: given.adapter,
    presence: given.presence && resolvePresence(given.presence),
  }
}

function resolveDeflate(given: boolean | DeflateOptions | undefined): false | DeflateOptions {
  if (!given) return false
  const deflate = given === true ? DEFLATE : { ...DEFLATE, ...given }
  try {
    deflateRawSync(Buffer.alloc(1), deflate.zlibDeflateOptions as ZlibOptions)
  } catch (error) {
    throw new OptionsError(
      `koaWs(): zlib refuses "zlibDeflateOptions": ${(error as Error).message}`,
    )
  }
  // An empty message is never worth it, and ws gives no sign that it is compressing one.
  return { ...deflate, threshold: Math.max(1, deflate.threshold ?? 1024) }
}

const closeChecks: Record<string, Check> = {
  code: (value) =>
    isCloseCode(value)
      ? null
      : `must be 1000 to 1003, 1007 to 1014, or 3000 to 4999, not ${describe(value)}.`,
  timeout: (value) => (value === 0 ? null : check.milliseconds(value)),
  readyDelay: (value) => (value === 0 ? null : check.milliseconds(value)),
  server: check.boolean,
}

/** Check the options of `hub.close()`. */
export function checkCloseOptions(given: unknown): void {
  validate('hub.close()', given, closeChecks)
}

const signals: Check = (value) => {
  const wrong = check.strings(value)
  if (wrong) return wrong
  const unknown = (value as string[]).find((name) => !(name in constants.signals))
  if (unknown !== undefined) return `holds ${describe(unknown)}, which is no signal of this system.`
  const unheard = (value as string[]).find((name) => name === 'SIGKILL' || name === 'SIGSTOP')
  return unheard === undefined ? null : `holds ${unheard}, which no process can listen to.`
}

/** Check the options of `hub.closeOnSignal()`. */
export function checkSignalOptions(given: unknown): void {
  validate('hub.closeOnSignal()', given, {
    signals,
    pm2: check.boolean,
    timeout: closeChecks['timeout'] as Check,
    readyDelay: closeChecks['readyDelay'] as Check,
    after: check.isFunction,
  })
}

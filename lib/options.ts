// The options of `koaWs()`, `hub.close()` and `hub.closeOnSignal()`: types, defaults and checks.

import type { IncomingMessage } from 'node:http'
import type { Context } from 'koa'
import type { Adapter } from './backplane/adapter.ts'
import type { Connection } from './connection/connection.ts'
import {
  type ConnectionRules,
  defaultRules,
  type RuleOptions,
  resolveRules,
  ruleChecks,
} from './connection/rules.ts'
import type { CloseInfo } from './connection/types.ts'
import { OptionsError } from './errors.ts'
import { fieldsOf, isIntegerWithin } from './fields.ts'
import {
  type HistoryOptions,
  historyCheck,
  type ResolvedHistory,
  resolveHistory,
} from './history/options.ts'
import {
  type PresenceOptions,
  presenceCheck,
  type ResolvedPresence,
  resolvePresence,
} from './hub/presence/options.ts'
import type { UserLimit } from './hub/user-limit.ts'
import type { OriginPolicy } from './listener/origin.ts'
import {
  hostsCheck,
  normalizedHosts,
  normalizedOrigins,
  originsCheck,
} from './listener/origin-entries.ts'
import type { Protocol } from './protocol/definition.ts'
import {
  type ResolvedStreamsOptions,
  resolveStreamsOptions,
  type StreamsOptions,
  streamsCheck,
} from './streams/options.ts'
import { defaultFragments } from './upgrade/acceptor.ts'
import { type DeflateOptions, deflateCheck, resolveDeflate } from './upgrade/deflate.ts'
import { type RejectOption, rejectCheck } from './upgrade/reject.ts'
import { type Check, check, describe, validate } from './validate.ts'

export { checkCloseOptions, checkSignalOptions } from './close-options.ts'

/** The options of `koaWs()`. Durations are milliseconds, sizes are bytes. */
export interface KoaWsOptions extends RuleOptions {
  /**
   * Which pages may open a WebSocket here. `'same'`: host and port of Origin equal those of Host, and the
   * scheme where it is known: over TLS, and by X-Forwarded-Proto (which counts, as X-Forwarded-Host does, only
   * with `app.proxy`). A list of origins and RegExps is allowed in addition.
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
   * as close code 4000 + status. `'http'`: always HTTP. `'close'`: that close code for every client. A close
   * code, or `{ code, reason }`: this one for every client. A function of the status gives one of these.
   * Only 4xx and 5xx that the chain itself produced, after the origin check. @default 'auto'
   */
  reject?: RejectOption | undefined
  /** How long the whole chain may take before the 101; then 503. @default 10_000 */
  handshakeTimeout?: number | undefined
  /** Connections of this instance, pending upgrades included; 503 beyond. @default unlimited */
  maxConnections?: number | undefined
  /** The same for each address, of IPv6 for each network of `ipv6Prefix` bits; 429 beyond. @default unlimited */
  maxPerAddress?: number | undefined
  /** The same for each HTTP/2 session; 429 beyond. A proxy may send many clients over one. @default unlimited */
  maxPerSession?: number | undefined
  /**
   * Connections of one user to this instance, those with `hub: false` included. `when: 'reject'`: 429 beyond, or the
   * token is rejected. `when: 'replace'`: the oldest is closed with 4612. @default unlimited
   */
  maxPerUser?: UserLimit | undefined
  /** How many bits of an IPv6 address `maxPerAddress` looks at; 128: all of them. @default 64 */
  ipv6Prefix?: number | undefined
  /** The address that `maxPerAddress` counts, as it is. @default the client's, forwarded with `app.proxy` */
  address?: ((req: IncomingMessage) => string) | undefined
  /** The user of the connection. Take it from verified state, never from data that the client chooses. */
  user?: ((ctx: Context) => string | number | undefined) | undefined
  /**
   * Runs before the handler, which waits for it, and before the connection is in any audience. An error
   * closes as one of the handler's would. A connection that is closed here gets no handler.
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
  /** What `hub.status().ready` waits for, besides `hub.close()`. @default nothing */
  ready?: ReadyOptions | undefined
  /** Presence: the members of rooms, and the users that are online. @default off */
  presence?: PresenceOptions | undefined
  /**
   * History: messages of rooms and users are recorded, and a client that returns gets what it missed. @default off
   */
  history?: HistoryOptions | undefined
  /**
   * Limits on requests with a stream: their number, time and bytes.
   * @default { perConnection: 16, perUser: 64, bytes: 67_108_864, idle: 120_000, resume: 60_000 }
   */
  streams?: StreamsOptions | undefined
  /**
   * The protocol of this hub, made by `protocol()`: `hub.room(…).push()` and the other audiences of the hub take
   * its pushes only. A push that it does not have throws; data that do not fit throw too, unless NODE_ENV is
   * 'production'. `messages(other).room(hub, …)` goes by its own protocol. @default any push
   */
  protocol?: Protocol | undefined
}

/** What `hub.status().ready` waits for. */
export interface ReadyOptions {
  /**
   * The first time that the backplane is `ready`: an instance that cannot reach it, for instance with a
   * wrong password, fails its readiness probe, and a rollout stops. A later outage changes nothing, since
   * it hits all instances at once. @default false
   */
  backplane?: boolean | undefined
  /**
   * A free place below `maxConnections`: false from the last place that is taken until one is free again, so that a
   * load balancer sends new clients to other instances. Pending upgrades count. Where all instances are full, none
   * is ready. Throws without `maxConnections`. @default false
   */
  capacity?: boolean | undefined
}

/** All options, with their defaults filled in. */
export interface ResolvedOptions extends ConnectionRules {
  readonly origin: OriginPolicy
  readonly hosts: ReadonlySet<string> | undefined
  readonly filter: KoaWsOptions['filter'] | undefined
  readonly reject: RejectOption
  readonly handshakeTimeout: number
  readonly maxConnections: number
  readonly maxPerAddress: number
  readonly maxPerSession: number
  readonly maxPerUser: UserLimit | undefined
  readonly ipv6Prefix: number
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
  readonly ready: ReadyOptions | undefined
  readonly presence: ResolvedPresence | undefined
  readonly history: ResolvedHistory | undefined
  readonly streams: ResolvedStreamsOptions
  readonly protocol: Protocol | undefined
}

const property: Check = (value) =>
  typeof value === 'string' && value.length > 0 && value !== 'hub'
    ? null
    : `must be a name other than "hub", not ${describe(value)}.`

const adapter: Check = (value) =>
  typeof fieldsOf(value)['connect'] === 'function'
    ? null
    : `must be an adapter, such as the result of memoryAdapter(), not ${describe(value)}.`

const ready: Check = (value) => {
  validate('ready', value, { backplane: check.boolean, capacity: check.boolean })
  return null
}

const protocol: Check = (value) =>
  typeof fieldsOf(value)['types'] === 'object'
    ? null
    : `must be the result of protocol(), not ${describe(value)}.`

const prefix: Check = (value) =>
  isIntegerWithin(value, 16, 128)
    ? null
    : `must be a number of bits from 16 to 128, not ${describe(value)}.`

const userLimit: Check = (value) => {
  validate('maxPerUser', value, {
    connections: check.count,
    when: check.oneOf('reject', 'replace'),
  })
  return fieldsOf(value)['connections'] === undefined
    ? 'needs "connections": the number of connections of one user.'
    : null
}

const checks: Record<string, Check> = {
  origin: check.either(originsCheck, check.oneOf('same', 'any'), check.isFunction),
  hosts: hostsCheck,
  filter: check.isFunction,
  reject: rejectCheck,
  handshakeTimeout: check.milliseconds,
  maxConnections: check.count,
  maxPerAddress: check.count,
  maxPerSession: check.count,
  maxPerUser: userLimit,
  ipv6Prefix: prefix,
  address: check.isFunction,
  user: check.isFunction,
  onConnect: check.isFunction,
  onDisconnect: check.isFunction,
  maxPayload: check.count,
  maxFragments: check.count,
  closeTimeout: check.milliseconds,
  perMessageDeflate: deflateCheck,
  property,
  adapter,
  ready,
  presence: presenceCheck,
  history: historyCheck,
  streams: streamsCheck,
  protocol,
  ...ruleChecks,
}

/** `app.use(koaWs)` makes Koa call it with a ctx. */
function isKoaContext(given: object | null): boolean {
  return typeof given === 'object' && given !== null && 'request' in given && 'response' in given
}

/**
 * Check the options and fill in what is not set.
 *
 * @throws OptionsError that names the option, and the nearest known name for an unknown one
 */
export function resolveOptions(given: KoaWsOptions): ResolvedOptions {
  if (isKoaContext(given)) {
    throw new OptionsError(
      'koaWs() got the ctx of a request as its options: write app.use(koaWs()), not app.use(koaWs).',
    )
  }
  validate('koaWs()', given, checks)
  const { maxConnections = Infinity, maxPerAddress = Infinity, maxPerSession = Infinity } = given
  const maxPerUser = given.maxPerUser?.connections ?? Infinity
  for (const [name, most] of Object.entries({ maxPerAddress, maxPerSession, maxPerUser })) {
    if (most !== Infinity && most > maxConnections) {
      throw new OptionsError(
        `koaWs(): the option "${name}" (${most}) is above "maxConnections" (${maxConnections}) and can never be reached. Lower it.`,
      )
    }
  }
  if (given.ready?.capacity && maxConnections === Infinity) {
    throw new OptionsError(
      'koaWs(): the option "ready.capacity" has no effect without "maxConnections".',
    )
  }
  if (given.address && maxPerAddress === Infinity) {
    throw new OptionsError('koaWs(): the option "address" has no effect without "maxPerAddress".')
  }
  if (given.ipv6Prefix !== undefined && (given.address || maxPerAddress === Infinity)) {
    throw new OptionsError(
      'koaWs(): the option "ipv6Prefix" has no effect without "maxPerAddress", or with "address".',
    )
  }
  if (given.history && given.adapter && !given.adapter.history) {
    throw new OptionsError(
      'koaWs(): the option "history" needs an adapter that can record messages, and this one cannot.',
    )
  }
  const maxPayload = given.maxPayload ?? 1024 * 1024
  return {
    origin: Array.isArray(given.origin)
      ? normalizedOrigins(given.origin)
      : (given.origin ?? 'same'),
    hosts: given.hosts && normalizedHosts(given.hosts),
    filter: given.filter,
    reject: given.reject ?? 'auto',
    handshakeTimeout: given.handshakeTimeout ?? 10_000,
    maxConnections,
    maxPerAddress,
    maxPerSession,
    maxPerUser: given.maxPerUser,
    ipv6Prefix: given.ipv6Prefix ?? 64,
    address: given.address,
    user: given.user,
    onConnect: given.onConnect,
    onDisconnect: given.onDisconnect,
    maxPayload,
    maxFragments: given.maxFragments ?? defaultFragments(maxPayload),
    closeTimeout: given.closeTimeout ?? 2_000,
    perMessageDeflate: resolveDeflate(given.perMessageDeflate),
    property: given.property ?? 'ws',
    ...resolveRules(given, defaultRules(maxPayload)),
    adapter: given.adapter,
    ready: given.ready,
    presence: given.presence && resolvePresence(given.presence),
    history: given.history && resolveHistory(given.history),
    streams: resolveStreamsOptions(given.streams),
    protocol: given.protocol,
  }
}

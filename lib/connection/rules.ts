// The limits of a connection: options, checks, defaults, and one object for all with the same limits.

import { type Check, check, describe, validate } from '../validate.ts'

/** How a heartbeat beats. */
export interface HeartbeatOptions {
  /** How often each client is pinged. @default 25_000 */
  interval?: number | undefined
  /**
   * How long it may then stay silent; anything that it sends counts as life. At most `interval`.
   * @default 10_000
   */
  timeout?: number | undefined
}

/** When a client that sends too much is held back. */
export interface FloodOptions {
  /** Messages, pings, and pongs that answer no ping, within `per`. @default 500 */
  messages?: number | undefined
  /**
   * Bytes of messages within `per`. A single message of any size always passes.
   * @default 1_048_576, or `maxPayload` of `koaWs()` where that is more; of a route: that of `koaWs()`
   */
  bytes?: number | undefined
  /** In milliseconds. @default 100 */
  per?: number | undefined
  /** Close with 1008 when it has been held back for so long without a rest. @default never */
  close?: number | undefined
}

/** What happens to a client that does not take what it is sent. */
export type SlowConsumerPolicy = 'close' | 'drop'

/** The limits of a connection, which a route may set differently. */
export interface RuleOptions {
  /**
   * Pings that keep proxies from cutting a silent connection, and find clients that are gone: closed
   * with 4408. A client is not judged while its messages are not read (`pause()`).
   * @default { interval: 25_000, timeout: 10_000 }
   */
  heartbeat?: HeartbeatOptions | false | undefined
  /** How many bytes may wait for a client that takes nothing. @default 1_048_576 */
  maxBufferedAmount?: number | undefined
  /**
   * What happens when more than `maxBufferedAmount` waits and the client has taken nothing for 1 s, or
   * when more than 16 times that waits before a send. `'close'`: close with 4610. `'drop'`: drop what is
   * sent until it takes something again. @default 'close'
   */
  slowConsumer?: SlowConsumerPolicy | undefined
  /**
   * Reading stops for a client that sends more; it goes on when the time is over.
   * @default { messages: 500, bytes: 1_048_576, per: 100 }
   */
  flood?: FloodOptions | false | undefined
  /** In how many rooms a connection may be. @default 128 */
  maxRooms?: number | undefined
}

/** The limits of one connection, with all defaults filled in. Shared by all that have the same. */
export interface ConnectionRules {
  readonly heartbeat: { readonly interval: number; readonly timeout: number } | false
  readonly maxBufferedAmount: number
  readonly slowConsumer: SlowConsumerPolicy
  readonly flood:
    | {
        readonly messages: number
        readonly bytes: number
        readonly per: number
        readonly close: number | undefined
      }
    | false
  readonly maxRooms: number
}

const heartbeat: Check = (value) => {
  if (value === false) return null
  if (typeof value !== 'object' || value === null) {
    return `must be false, or { interval, timeout } in milliseconds, not ${describe(value)}.`
  }
  validate('heartbeat', value, { interval: check.milliseconds, timeout: check.milliseconds })
  const { interval = 25_000, timeout = 0 } = value as HeartbeatOptions
  return timeout > interval
    ? `has a timeout (${timeout}) above its interval (${interval}). Lower the timeout, or raise the interval.`
    : null
}

const flood: Check = (value) => {
  if (value === false) return null
  if (typeof value !== 'object' || value === null) {
    return `must be false, or { messages, per } with per in milliseconds, not ${describe(value)}.`
  }
  validate('flood', value, {
    messages: check.count,
    bytes: check.count,
    per: check.milliseconds,
    close: check.milliseconds,
  })
  return null
}

/** The checks of {@link RuleOptions}. */
export const ruleChecks: Record<keyof RuleOptions, Check> = {
  heartbeat,
  maxBufferedAmount: check.count,
  slowConsumer: check.oneOf('close', 'drop'),
  flood,
  maxRooms: check.count,
}

const MIB = 1024 * 1024

const DEFAULTS: ConnectionRules = {
  heartbeat: { interval: 25_000, timeout: 10_000 },
  maxBufferedAmount: MIB,
  slowConsumer: 'close',
  flood: { messages: 500, bytes: MIB, per: 100, close: undefined },
  maxRooms: 128,
}

/** Fill in what is not set. */
export function resolveRules(given: RuleOptions, base: ConnectionRules): ConnectionRules {
  return {
    heartbeat: heartbeatOf(given.heartbeat) ?? base.heartbeat,
    maxBufferedAmount: given.maxBufferedAmount ?? base.maxBufferedAmount,
    slowConsumer: given.slowConsumer ?? base.slowConsumer,
    flood: floodOf(given.flood, base) ?? base.flood,
    maxRooms: given.maxRooms ?? base.maxRooms,
  }
}

/** The defaults of a plugin: a client may send one message of the largest size in each window. */
export function defaultRules(maxPayload: number): ConnectionRules {
  const flood = { ...(DEFAULTS.flood as object), bytes: Math.max(MIB, maxPayload) }
  return { ...DEFAULTS, flood: flood as ConnectionRules['flood'] }
}

/** All rules that a hub has come to know, so that those with the same share one object. */
export class RuleBook {
  /** The plugin's own. */
  readonly base: ConnectionRules
  readonly #known = new Map<string, ConnectionRules>()

  constructor({ heartbeat, maxBufferedAmount, slowConsumer, flood, maxRooms }: ConnectionRules) {
    this.base = { heartbeat, maxBufferedAmount, slowConsumer, flood, maxRooms }
  }

  /** The rules of a route: what it does not set is the plugin's. */
  for(options: RuleOptions): ConnectionRules {
    const { base } = this
    if (!setsRules(options)) return base
    const rules = resolveRules(options, base)
    const key = JSON.stringify(rules)
    const known = this.#known.get(key)
    if (!known) this.#known.set(key, rules)
    return known ?? rules
  }
}

function setsRules(options: RuleOptions): boolean {
  return (
    options.heartbeat !== undefined ||
    options.maxBufferedAmount !== undefined ||
    options.slowConsumer !== undefined ||
    options.flood !== undefined ||
    options.maxRooms !== undefined
  )
}

function heartbeatOf(given: RuleOptions['heartbeat']): ConnectionRules['heartbeat'] | undefined {
  if (!given) return given
  const { interval = 25_000 } = given
  return { interval, timeout: given.timeout ?? Math.min(10_000, interval) }
}

function floodOf(
  given: RuleOptions['flood'],
  base: ConnectionRules,
): ConnectionRules['flood'] | undefined {
  if (!given) return given
  const { messages = 500, bytes = base.flood ? base.flood.bytes : MIB, per = 100, close } = given
  return { messages, bytes, per, close }
}

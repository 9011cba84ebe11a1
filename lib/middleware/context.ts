// Implements `ctx.ws`.

import type { Context } from 'koa'
import type { Connection } from '../connection/connection.ts'
import { UpgradeError } from '../errors.ts'
import { acceptAfter, acceptInside } from '../upgrade/accept.ts'
import { type AcceptOptions, checkAcceptOptions } from '../upgrade/accept-options.ts'
import type { AcceptHandler } from '../upgrade/chain.ts'
import type { UpgradeHost } from '../upgrade/host.ts'
import type { Upgrade } from '../upgrade/upgrade.ts'
import { closedConnection } from './closed-connection.ts'

/**
 * `ctx.ws`: defined on a well-formed WebSocket upgrade that passed the plugin, `undefined` on any
 * other request.
 *
 * @example
 * ```js
 * import Koa from 'koa'
 * import koaWs from 'koaws'
 * import { testApp } from 'koaws/testing'
 *
 * const app = new Koa()
 * app.use(koaWs())
 * app.use(async (ctx) => {
 *   if (!ctx.ws) return ctx.throw(426)
 *   ctx.set('X-Room', 'lobby') // reaches the client with the 101
 *   const connection = await ctx.ws()
 *   connection.send('accepted')
 * })
 *
 * const socket = await testApp(app).connect('/')
 * console.log(socket.handshake['x-room'], await socket.next()) // lobby accepted
 * ```
 */
export interface ContextWs {
  /**
   * Accepts the upgrade now. Headers set later do not reach the client. Outer middleware waits
   * until your middleware returns. A second call returns the same connection.
   *
   * Rejects with `ERR_KOAWS_CLIENT_GONE`, `_DEADLINE`, `_DRAINING`, `_RESPONDED`, `_SUBPROTOCOL` or
   * `_EXPIRED`. The promise always settles, and an unhandled rejection does not end the process.
   * When the chain is already over (middleware did not await `next()`, or `ctx.respond = false`),
   * it does not reject: it resolves with a closed connection, and `app.on('error')` gets the error.
   *
   * @param options of this accept; what is not set is the plugin's
   * @returns the open connection
   */
  (options?: AcceptOptions): Promise<Connection>
  /**
   * Accepts the upgrade when the chain has finished. The status becomes 101; outer middleware can
   * still add headers and cookies, or set another status. Then `handler` runs, outside of the
   * chain.
   *
   * @param handler as `accept()` takes it
   * @param options of this accept
   * @throws UpgradeError `ERR_KOAWS_ALREADY_ACCEPTED`, `_RESPONDED`, `_CLIENT_GONE` or
   * `_SUBPROTOCOL`; when the chain is already over, `app.on('error')` gets the error instead
   */
  (handler: AcceptHandler, options?: AcceptOptions): void
  /** The subprotocols that the client offers, without credentials. */
  readonly subprotocols: readonly string[]
  /** Whether the upgrade has been accepted, or will be when the chain finishes. */
  readonly accepted: boolean
  /** Aborts when the client leaves, or when the deadline passes before the upgrade is decided. */
  readonly signal: AbortSignal
  /**
   * Leaves the untouched socket to the other `upgrade` listeners of the server. Without any, it has
   * no effect.
   */
  abandon(): void
}

const kWsUpgrade: unique symbol = Symbol('koaws.ctx.upgrade')
type Callable = ContextWs & { [kWsUpgrade]: Upgrade }

const prototype = Object.create(Function.prototype, {
  subprotocols: {
    get(this: Callable) {
      return this[kWsUpgrade].offer.subprotocols
    },
  },
  accepted: {
    get(this: Callable) {
      const upgrade = this[kWsUpgrade]
      return upgrade.connection !== null || upgrade.deferred !== null
    },
  },
  signal: {
    get(this: Callable) {
      return this[kWsUpgrade].signal
    },
  },
  abandon: {
    value(this: Callable) {
      this[kWsUpgrade].abandon()
    },
  },
})

const NONE: AcceptOptions = {}
const checkedOptions = new WeakSet<object>([NONE])

/** Marks options that `accept()` has checked, so that they are not checked at each handshake. */
export function markChecked<T extends object>(options: T): T {
  checkedOptions.add(options)
  return options
}

function isChecked(options: object): boolean {
  return checkedOptions.has(options)
}

/** Returns `ctx.ws` for one upgrade. */
export function contextWs(upgrade: Upgrade): ContextWs {
  const ws = ((first?: AcceptHandler | AcceptOptions, second?: AcceptOptions) =>
    upgrade.isRunning
      ? acceptBy(upgrade, first, second)
      : acceptLate(upgrade, first, second)) as Callable
  Object.setPrototypeOf(ws, prototype)
  ws[kWsUpgrade] = upgrade
  return ws
}

type First = AcceptHandler | AcceptOptions | undefined

function acceptBy(
  upgrade: Upgrade,
  first: First,
  second: AcceptOptions | undefined,
): Promise<Connection> | undefined {
  const options = (typeof first === 'function' ? second : first) ?? NONE
  const handler = typeof first === 'function' ? first : undefined
  if (options !== NONE && !isChecked(options)) checkAcceptOptions('ctx.ws()', options, handler)
  if (typeof first !== 'function') return acceptInside(upgrade, options)
  acceptAfter(upgrade, first, options)
  return undefined
}

/**
 * Accepts when the chain is over: `ctx.respond` is false, or middleware has not awaited `next()`.
 * The caller may not catch errors of `ctx.ws`, so an error becomes the answer or is reported.
 */
function acceptLate(
  upgrade: Upgrade,
  first: First,
  second: AcceptOptions | undefined,
): Promise<Connection> | undefined {
  const { ctx } = upgrade
  try {
    const accepting = acceptBy(upgrade, first, second)
    if (upgrade.deferred) assertKoaAnswers(upgrade)
    return accepting?.catch((error: unknown) => failLate(upgrade, ctx, error))
  } catch (error) {
    const connection = failLate(upgrade, ctx, error)
    return typeof first === 'function' ? undefined : Promise.resolve(connection)
  }
}

function failLate(upgrade: Upgrade, ctx: Context | null, error: unknown): Connection {
  const host = upgrade.host as UpgradeHost
  if (upgrade.phase === 'deciding' && ctx && !upgrade.aborted) upgrade.answerError(ctx, error)
  else host.report(error, ctx, upgrade.connection ?? undefined)
  return closedConnection(host, ctx)
}

/** @throws UpgradeError when a handler waits for the end of a response that Koa will not end */
export function assertKoaAnswers({ deferred, phase, ctx }: Upgrade): void {
  if (!deferred || phase !== 'deciding' || ctx?.respond !== false) return
  throw new UpgradeError(
    'ERR_KOAWS_RESPOND_FALSE',
    'ctx.respond is false, so Koa does not end the response and this upgrade would never be accepted: leave ctx.respond alone, or accept with "await ctx.ws()".',
  )
}

const kContextWs: unique symbol = Symbol.for('koaws.ctx.1') as never
type Bound = object & { [kContextWs]?: ContextWs | undefined }

/** Stores the `ctx.ws` of a ctx, independent of the name in the option `property`. */
export function bindContext(ctx: Bound, ws: ContextWs): void {
  ctx[kContextWs] = ws
}

/** Returns the `ctx.ws` of a ctx that passed a plugin, under any name. */
export function wsOf(ctx: Bound): ContextWs | undefined {
  return ctx[kContextWs]
}

/** Returns the upgrade of a ctx that passed a plugin. */
export function contextUpgrade(ctx: Context): Upgrade | undefined {
  return (wsOf(ctx) as Callable | undefined)?.[kWsUpgrade]
}

import type { Context } from 'koa'
import type { Connection } from '../connection/connection.ts'
import { acceptAfter, acceptInside } from './accept.ts'
import { type AcceptOptions, checkAcceptOptions } from './accept-options.ts'
import type { AcceptHandler, Upgrade } from './upgrade.ts'

/**
 * `ctx.ws`: there on a well-formed WebSocket upgrade that passed the plugin, `undefined` on any
 * other request.
 */
export interface ContextWs {
  /**
   * Accept now. Headers that are set later do not reach the client; the outer middleware waits until
   * you return. A second call gives the same connection.
   *
   * Rejects with `ERR_KOAWS_CLIENT_GONE`, `_DEADLINE`, `_DRAINING`, `_RESPONDED`, `_SUBPROTOCOL` or
   * `_EXPIRED`; never stays pending, and an unawaited rejection does not end the process.
   */
  (options?: AcceptOptions): Promise<Connection>
  /**
   * Accept when the chain has finished: the status becomes 101, and outer middleware still adds
   * headers and cookies, or decides otherwise. Then `handler` runs, outside of the chain.
   *
   * @throws UpgradeError `ERR_KOAWS_ALREADY_ACCEPTED`, `_RESPONDED`, `_CLIENT_GONE`, `_SUBPROTOCOL`
   */
  (handler: AcceptHandler, options?: AcceptOptions): void
  /** The subprotocols that the client offers, credentials left out. */
  readonly subprotocols: readonly string[]
  /** Whether the upgrade was accepted; true also while an accept waits for the end of the chain. */
  readonly accepted: boolean
  /** Aborts when the client leaves or the deadline passes before the upgrade is decided. */
  readonly signal: AbortSignal
  /** Leave the untouched socket to other `upgrade` listeners of the server; without any: no effect. */
  abandon(): void
}

const kUpgrade: unique symbol = Symbol('koaws.ctx.upgrade')
type Callable = ContextWs & { [kUpgrade]: Upgrade }

const prototype = Object.create(Function.prototype, {
  subprotocols: {
    get(this: Callable) {
      return this[kUpgrade].offer.subprotocols
    },
  },
  accepted: {
    get(this: Callable) {
      const upgrade = this[kUpgrade]
      return upgrade.connection !== null || upgrade.deferred !== null
    },
  },
  signal: {
    get(this: Callable) {
      return this[kUpgrade].signal
    },
  },
  abandon: {
    value(this: Callable) {
      this[kUpgrade].abandon()
    },
  },
})

const NONE: AcceptOptions = {}
const checkedOptions = new WeakSet<object>([NONE])

/** Options that `accept()` has checked when it was made are not checked at each handshake. */
export function markChecked<T extends object>(options: T): T {
  checkedOptions.add(options)
  return options
}

function isChecked(options: object): boolean {
  return checkedOptions.has(options)
}

/** `ctx.ws` for one upgrade. */
export function contextWs(upgrade: Upgrade): ContextWs {
  const ws = ((first?: AcceptHandler | AcceptOptions, second?: AcceptOptions) => {
    const options = (typeof first === 'function' ? second : first) ?? NONE
    const handler = typeof first === 'function' ? first : undefined
    if (options !== NONE && !isChecked(options)) checkAcceptOptions('ctx.ws()', options, handler)
    if (typeof first !== 'function') return acceptInside(upgrade, options)
    acceptAfter(upgrade, first, options)
    return undefined
  }) as Callable
  Object.setPrototypeOf(ws, prototype)
  ws[kUpgrade] = upgrade
  return ws
}

const kContextUpgrade: unique symbol = Symbol.for('koaws.ctx.1') as never
type Bound = Context & { [kContextUpgrade]?: ContextWs | undefined }

/** Remember the `ctx.ws` of a ctx, by whatever name the option `property` gives it. */
export function bindContext(ctx: Context, ws: ContextWs): void {
  ;(ctx as Bound)[kContextUpgrade] = ws
}

/** The `ctx.ws` of a ctx that passed a plugin, by whatever name. */
export function wsOf(ctx: Context): ContextWs | undefined {
  return (ctx as Bound)[kContextUpgrade]
}

/** The upgrade behind a ctx that passed a plugin. */
export function contextUpgrade(ctx: Context): Upgrade | undefined {
  return (wsOf(ctx) as Callable | undefined)?.[kUpgrade]
}

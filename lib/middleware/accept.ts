// Provides `accept()`, the middleware of a WebSocket route.

import type { DefaultContext, DefaultState, Middleware, ParameterizedContext } from 'koa'
import type { Connection } from '../connection/connection.ts'
import type { HandlerContext } from '../connection/route-context.ts'
import { OptionsError, UpgradeError } from '../errors.ts'
import { type AcceptOptions, checkAcceptOptions } from '../upgrade/accept-options.ts'
import type { AcceptHandler } from '../upgrade/chain.ts'
import { asksForWebSocket } from '../upgrade/handshake.ts'
import type { RejectOption } from '../upgrade/reject.ts'
import { upgradeOf } from '../upgrade/upgrade.ts'
import { describe } from '../validate.ts'
import { markChecked, wsOf } from './context.ts'

/** Handles an accepted connection. Runs outside of the chain. */
export type Handler<State = DefaultState, Custom = DefaultContext> = (
  connection: Connection<State>,
  ctx: HandlerContext<State, Custom>,
) => unknown

/**
 * Returns middleware for a WebSocket route. It accepts when the chain has finished, then calls the
 * handler or serves the `messages()`. A plain HTTP request gets 426.
 *
 * An error of the handler closes the connection with 1011, or with 4000 + status for an http-error
 * of 400 to 499, and goes to `app.on('error')`.
 *
 * @example
 * ```js
 * import Koa from 'koa'
 * import koaWs, { accept } from 'koaws'
 * import { testApp } from 'koaws/testing'
 *
 * const app = new Koa()
 * app.use(koaWs())
 * app.use(
 *   accept((connection, ctx) => {
 *     connection.on('message', (data) => connection.send(`${ctx.path} got ${data}`))
 *   }),
 * )
 *
 * const socket = await testApp(app).connect('/echo')
 * socket.send('hi')
 * console.log(await socket.next()) // /echo got hi
 * ```
 *
 * @param handler runs with the connection and the ctx, or the result of `messages()`,
 * `bySubprotocol()` or `forward()`
 * @param options of this route; what is not set is the plugin's
 * @throws OptionsError (when called) for an option that is unknown or wrong, and when `handler` is
 * not a function
 */
export function accept<State = DefaultState, Custom = DefaultContext>(
  handler: Handler<State, Custom>,
  options: AcceptOptions<HandlerContext<State, Custom>> = {},
): Middleware<State, Custom> {
  if (typeof handler !== 'function') {
    throw new OptionsError(`accept() takes a handler, not ${describe(handler)}.`)
  }
  checkAcceptOptions('accept()', options, handler)
  // A copy, because the check holds for this handler only: the caller may pass its options to
  // another.
  const own = markChecked({ ...(options as AcceptOptions) })
  const middleware: Middleware<State, Custom> = (ctx) => {
    const ws = wsOf(ctx as never)
    if (!ws) throw notPassed(ctx as never)
    ws(handler as unknown as AcceptHandler, own)
  }
  if (own.reject !== undefined) rejecting.set(middleware, own.reject)
  return middleware
}

const rejecting = new WeakMap<object, RejectOption>()

/** Returns the option `reject` of the last `accept()` in the middleware of a route. */
export function rejectOf(chain: readonly object[]): RejectOption | undefined {
  return chain.map((one) => rejecting.get(one)).findLast((one) => one !== undefined)
}

/** Returns the error for a request that is not an upgrade, or did not pass the plugin. */
export function notPassed(ctx: ParameterizedContext): UpgradeError {
  const { req } = ctx
  if (upgradeOf(req) || asksForWebSocket(req)) {
    return new UpgradeError(
      'ERR_KOAWS_NOT_INSTALLED',
      'This upgrade did not pass the plugin: move app.use(koaWs()) before the route.',
    )
  }
  const headers = req.httpVersionMajor < 2 ? { Connection: 'upgrade', Upgrade: 'websocket' } : {}
  return new UpgradeError(
    'ERR_KOAWS_NOT_AN_UPGRADE',
    'This is a WebSocket endpoint: send an upgrade request.',
    {
      headers,
    },
  )
}

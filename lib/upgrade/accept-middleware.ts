import type { DefaultContext, DefaultState, Middleware, ParameterizedContext } from 'koa'
import type { WebSocketServer } from 'ws'
import type { Connection } from '../connection/connection.ts'
import type { HandlerContext } from '../connection/route-context.ts'
import { OptionsError, UpgradeError } from '../errors.ts'
import { describe } from '../validate.ts'
import {
  type AcceptOptions,
  checkAcceptOptions,
  mayDecline,
  type SubprotocolChooser,
} from './accept-options.ts'
import { markChecked, wsOf } from './context.ts'
import { asksForWebSocket } from './handshake.ts'
import { type AcceptHandler, upgradeOf } from './upgrade.ts'

/** Runs with an accepted connection, outside of the chain. */
export type Handler<State = DefaultState, Custom = DefaultContext> = (
  connection: Connection<State>,
  ctx: HandlerContext<State, Custom>,
) => unknown

/**
 * Middleware for a route that is a WebSocket: accepts once the chain has finished, then runs the
 * handler, or serves the `messages()`. A plain HTTP request gets 426.
 *
 * ```ts
 * router.get('/chat/:room', accept((connection, ctx) => connection.join(ctx.params.room)))
 * ```
 *
 * What the handler throws, or rejects with, closes the connection with 1011 (an http-error of the
 * 400s: 4000 + status) and goes to `app.on('error')`.
 *
 * @throws OptionsError (when it is made) for an option that it does not know
 */
export function accept<State = DefaultState, Custom = DefaultContext>(
  handler: Handler<State, Custom>,
  options: AcceptOptions<HandlerContext<State, Custom>> = {},
): Middleware<State, Custom> {
  if (typeof handler !== 'function') {
    throw new OptionsError(`accept() takes a handler, not ${describe(handler)}.`)
  }
  checkAcceptOptions('accept()', options, handler)
  // A copy: what was checked for this handler may not do for another.
  const own = markChecked({ ...withForwardedSubprotocol(handler, options as AcceptOptions) })
  return (ctx) => {
    const ws = wsOf(ctx as never)
    if (!ws) throw notPassed(ctx as never)
    ws(handler as unknown as AcceptHandler, own)
  }
}

const forwarded = new WeakMap<object, WebSocketServer>()

/**
 * Hand accepted connections to a library that wants a `WebSocketServer`, such as graphql-ws's
 * `useServer` or a Yjs server: `accept(forward(wss))`. `wss` is one made with `noServer: true`; its
 * `handleProtocols` chooses the subprotocol, and its `clients` are kept.
 */
export function forward(wss: WebSocketServer): Handler {
  const handler: Handler = (connection, ctx) => {
    if (wss.clients) {
      wss.clients.add(connection)
      connection.once('close', () => wss.clients.delete(connection))
    }
    wss.emit('connection', connection, ctx.req)
  }
  forwarded.set(handler, wss)
  return handler
}

function withForwardedSubprotocol(handler: object, options: AcceptOptions): AcceptOptions {
  const wss = forwarded.get(handler)
  if (!wss || options.subprotocol !== undefined) return options
  // Looked up at each handshake: useServer may set it later.
  const subprotocol: SubprotocolChooser = (offered, ctx) => {
    const choose = wss.options.handleProtocols
    if (choose) return choose(new Set(offered), ctx.req)
    return offered[0] ?? false
  }
  mayDecline.add(subprotocol)
  return { ...options, subprotocol }
}

/** Why a request has no `ctx.ws`: it is no upgrade, or the plugin does not stand before the route. */
export function notPassed(ctx: ParameterizedContext): UpgradeError {
  const { req } = ctx
  if (upgradeOf(req) || asksForWebSocket(req)) {
    return new UpgradeError(
      'ERR_KOAWS_NOT_INSTALLED',
      'This upgrade did not pass the plugin: move app.use(koaWs()) before the route.',
    )
  }
  const headers = req.httpVersionMajor < 2 ? { Connection: 'upgrade', Upgrade: 'websocket' } : {}
  return new UpgradeError('ERR_KOAWS_NOT_AN_UPGRADE', 'This is a WebSocket: send an upgrade.', {
    headers,
  })
}

// Provides `forward()`, which hands connections to a `WebSocketServer` of ws.

import type { WebSocketServer } from 'ws'
import { OptionsError } from '../errors.ts'
import { CloseCode } from '../protocol/close-codes.ts'
import {
  assertForwardable,
  isClosing,
  setForwarded,
  takeRequest,
  track,
} from '../upgrade/forwarded.ts'
import { describe } from '../validate.ts'
import type { Handler } from './accept.ts'

/**
 * Returns a handler that hands accepted connections to a library that needs a `WebSocketServer`,
 * such as graphql-ws's `useServer` or a Yjs server: `accept(forward(wss))`. Create `wss` with
 * `noServer: true`.
 *
 * Its `handleProtocols`, its events `connection` and `headers`, its `clients` and `close()` work as
 * in ws. An option of `accept()` takes precedence, then an option of `wss` that differs from the
 * default of ws, then the option of the plugin.
 *
 * @example
 * ```js
 * import Koa from 'koa'
 * import koaWs, { accept, forward } from 'koaws'
 * import { testApp } from 'koaws/testing'
 * import { WebSocketServer } from 'ws'
 *
 * const wss = new WebSocketServer({ noServer: true })
 * wss.on('connection', (socket, req) => socket.send(`from wss: ${req.url}`))
 *
 * const app = new Koa()
 * app.use(koaWs())
 * app.use(accept(forward(wss)))
 *
 * const socket = await testApp(app).connect('/graphql')
 * console.log(await socket.next()) // from wss: /graphql
 * ```
 *
 * @param wss made with `noServer: true`
 * @throws OptionsError when `wss` is not a WebSocketServer, or was created with `verifyClient`,
 * `path`, `server`, `port`, `host`, `backlog` or its own `WebSocket` class
 */
export function forward(wss: WebSocketServer): Handler {
  if (typeof wss?.emit !== 'function' || typeof wss.options !== 'object' || wss.options === null) {
    throw new OptionsError(
      `forward() takes a WebSocketServer of ws, not ${describe(wss)}: new WebSocketServer({ noServer: true }).`,
    )
  }
  assertForwardable(wss)
  const handler: Handler = (connection, ctx) => {
    const req = takeRequest(ctx as never)
    if (isClosing(wss)) {
      connection.close(CloseCode.restart)
      return
    }
    if (wss.clients) track(wss, connection)
    wss.emit('connection', connection, req)
  }
  setForwarded(handler, wss)
  return handler
}

// Provides `bySubprotocol()`, which chooses a handler by the negotiated subprotocol.

import type { DefaultContext, DefaultState } from 'koa'
import { setSpeaker, speakerOf } from '../connection/speaker.ts'
import { OptionsError } from '../errors.ts'
import type { AcceptHandler } from '../upgrade/chain.ts'
import { setChoice } from '../upgrade/forwarded.ts'
import { describe } from '../validate.ts'
import type { Handler } from './accept.ts'

/**
 * Returns a handler for one route with several subprotocols, each with its own handler.
 * The first name of the record that the client offers is chosen. `raw` serves clients that offer no
 * subprotocol. Without `raw` these get 400, as do clients that offer only unknown names.
 *
 * @example
 * ```js
 * import Koa from 'koa'
 * import koaWs, { accept, bySubprotocol, messages } from 'koaws'
 * import { testApp } from 'koaws/testing'
 *
 * const chat = messages().on('ping', () => 'pong')
 * const app = new Koa()
 * app.use(koaWs())
 * app.use(
 *   accept(
 *     bySubprotocol(
 *       { 'koaws.v1': chat, 'feed.v1': (connection) => connection.send('a feed') },
 *       (connection) => connection.send('no subprotocol'),
 *     ),
 *   ),
 * )
 *
 * const test = testApp(app)
 * console.log(await (await test.connect('/', { protocols: 'feed.v1' })).next()) // a feed
 * console.log(await (await test.connect('/')).next()) // no subprotocol
 * ```
 *
 * @param handlers the handler of each subprotocol, the preferred one first
 * @param raw the handler of clients without a subprotocol
 * @throws OptionsError for an empty record, for a value that is not a handler, and for a handler
 * that speaks another subprotocol
 */
export function bySubprotocol<State = DefaultState, Custom = DefaultContext>(
  // biome-ignore lint/suspicious/noExplicitAny: each handler has its own types
  handlers: Readonly<Record<string, Handler<any, any>>>,
  raw?: Handler<State, Custom>,
): Handler<State, Custom> {
  const byName = new Map(Object.entries(handlers))
  if (byName.size === 0) throw new OptionsError('bySubprotocol() takes at least one subprotocol.')
  for (const [name, handler] of byName) {
    if (typeof handler !== 'function') {
      throw new OptionsError(
        `bySubprotocol(): "${name}" needs a handler, not ${describe(handler)}.`,
      )
    }
    const spoken = speakerOf(handler)?.subprotocols
    if (spoken && !spoken.includes(name)) {
      throw new OptionsError(
        `bySubprotocol(): the handler of "${name}" speaks ${spoken.join(', ')}: use that name.`,
      )
    }
  }
  if (raw !== undefined && typeof raw !== 'function') {
    throw new OptionsError(
      `bySubprotocol(): the second argument must be a handler, not ${describe(raw)}.`,
    )
  }
  const spoken = raw && speakerOf(raw)?.subprotocols
  if (spoken) {
    throw new OptionsError(
      `bySubprotocol(): the second argument serves clients without a subprotocol, and this handler speaks ${spoken.join(', ')}. Move it into the record.`,
    )
  }
  const pick = (subprotocol: string): AcceptHandler =>
    (byName.get(subprotocol) ?? raw) as unknown as AcceptHandler
  const handler: AcceptHandler = (connection, ctx) => pick(connection.protocol)(connection, ctx)
  setChoice(handler, pick)
  setSpeaker(handler, {
    subprotocols: [...byName.keys()],
    silent: raw !== undefined,
    authenticates: raw === undefined && [...byName.values()].every(authenticates),
    serve(connection, ctx, access) {
      const chosen = pick(connection.protocol)
      const speaker = speakerOf(chosen)
      return speaker ? speaker.serve(connection, ctx, access) : chosen(connection, ctx)
    },
  })
  return handler as unknown as Handler<State, Custom>
}

function authenticates(handler: object): boolean {
  return speakerOf(handler)?.authenticates === true
}

import type { DefaultContext, DefaultState } from 'koa'
import { setSpeaker, speakerOf } from '../connection/speaker.ts'
import { OptionsError } from '../errors.ts'
import { describe } from '../validate.ts'
import type { Handler } from './accept-middleware.ts'
import type { AcceptHandler } from './upgrade.ts'

/**
 * One route, several subprotocols, each with a handler of its own:
 *
 * ```ts
 * accept(bySubprotocol({ 'koaws.v1': chat, 'graphql-transport-ws': forward(wss) }, raw))
 * ```
 *
 * The first of the record that the client offers is spoken. `raw` is for clients that offer none; without
 * it they get 400, as do those that offer only others.
 *
 * @throws OptionsError for a record without names, or with something that is no handler
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
        `bySubprotocol(): the handler of "${name}" speaks ${spoken.join(', ')}.`,
      )
    }
  }
  if (raw !== undefined && typeof raw !== 'function') {
    throw new OptionsError(`bySubprotocol() takes a handler for the rest, not ${describe(raw)}.`)
  }
  if (raw && speakerOf(raw)) {
    throw new OptionsError(
      'bySubprotocol(): messages() speak a subprotocol: put them into the record.',
    )
  }
  const pick = (subprotocol: string): AcceptHandler =>
    (byName.get(subprotocol) ?? raw) as unknown as AcceptHandler
  const handler: AcceptHandler = (connection, ctx) => pick(connection.protocol)(connection, ctx)
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

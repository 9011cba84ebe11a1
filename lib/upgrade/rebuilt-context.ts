import type { Context } from 'koa'
import { RequestRecord, ResponseRecord } from './records.ts'

/** What is kept of a handshake, to build a ctx like its own again. */
export interface HandshakeMemory {
  readonly app: Context['app']
  readonly hub: Context['hub']
  readonly req: RequestRecord
  readonly params: unknown
  /** What the chain had put into `ctx.state`, without what authentication puts there. */
  readonly state: Readonly<Record<string, unknown>>
}

/** @param ctx that of the handshake, with the record of its request */
export function rememberHandshake(ctx: Context): HandshakeMemory {
  const { user: _, ...state } = ctx.state as Record<string, unknown>
  const req = ctx.req as unknown as RequestRecord
  return { app: ctx.app, hub: ctx.hub, req, params: ctx['params'], state }
}

/**
 * A ctx like that of the handshake, with a token as `Authorization`. What is set on its response goes
 * nowhere.
 */
export function rebuildContext(
  { app, hub, req: before, params, state }: HandshakeMemory,
  token: string,
): Context {
  const req = before.withHeader('authorization', `Bearer ${token}`)
  const ctx = Object.create(app.context) as Context
  const request = Object.create(app.request) as Context['request']
  const response = Object.create(app.response) as Context['response']
  // What Koa's own `createContext` links.
  const parts = { app, ctx, request, response, req, res: new ResponseRecord() }
  Object.assign(request, parts, { originalUrl: req.url })
  Object.assign(response, parts)
  Object.assign(ctx, parts, {
    hub,
    params,
    ws: undefined,
    originalUrl: req.url,
    state: { ...state },
  })
  return ctx
}

/** Whether a ctx is one of these. */
export function isRebuilt(ctx: Context): boolean {
  return (ctx.req as unknown) instanceof RequestRecord
}

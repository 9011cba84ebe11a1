// Builds a ctx like that of a handshake, for a token that arrives later.

import type { Context } from 'koa'
import { fieldsOf } from '../fields.ts'
import { RequestRecord, ResponseRecord } from './records.ts'

/** The data of a handshake that is needed to build a similar ctx. */
export interface HandshakeMemory {
  readonly app: Context['app']
  readonly hub: Context['hub']
  readonly req: RequestRecord
  readonly params: unknown
  /** The `ctx.state` of the chain, without `user`, which authentication sets. */
  readonly state: Readonly<Record<string, unknown>>
}

/** @param ctx the ctx of the handshake, after `slimContext` */
export function rememberHandshake(ctx: Context): HandshakeMemory {
  const { user: _, ...state } = fieldsOf(ctx.state)
  const req = ctx.req as unknown as RequestRecord
  return { app: ctx.app, hub: ctx.hub, req, params: ctx['params'], state }
}

/** Returns a ctx like the handshake's, with a token; discards output on its response. */
export function rebuildContext(
  { app, hub, req: before, params, state }: HandshakeMemory,
  token: string,
): Context {
  const req = before.withAuthorization(`Bearer ${token}`)
  const ctx = Object.create(app.context) as Context
  const request = Object.create(app.request) as Context['request']
  const response = Object.create(app.response) as Context['response']
  // The same links as `createContext` of Koa sets.
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

/** Returns whether a ctx was rebuilt, or has been slimmed by `slimContext`. */
export function isRebuilt(ctx: Context): boolean {
  return (ctx.req as unknown) instanceof RequestRecord
}

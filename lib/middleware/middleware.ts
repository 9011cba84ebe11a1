// Passes requests through the plugin: sets `ctx.ws` of upgrades, and decides them after the chain.

import type { IncomingMessage, Server } from 'node:http'
import type { Context, Next } from 'koa'
import { debugUpgrade } from '../debug.ts'
import { toError } from '../errors.ts'
import {
  type AdmissionHost,
  admit,
  announced,
  countName,
  passesFilter,
} from '../listener/admission.ts'
import { listen, listenerOf } from '../listener/listener.ts'
import { hasNeighbours } from '../listener/neighbours.ts'
import { sessionOf } from '../listener/sessions.ts'
import { mayTakeOver, takeOver } from '../listener/takeover.ts'
import { chainEnded } from '../upgrade/accept.ts'
import { clientGone } from '../upgrade/acceptor.ts'
import {
  asksForWebSocket,
  checkHandshake,
  declaresBody,
  type Refusal,
} from '../upgrade/handshake.ts'
import { hintAttach, hintTwoPlugins } from '../upgrade/hints.ts'
import { guardErrors, wasTold } from '../upgrade/koa-errors.ts'
import { refusalError } from '../upgrade/refusal.ts'
import { type Upgrade, upgradeOf } from '../upgrade/upgrade.ts'
import { assertKoaAnswers, bindContext, contextWs } from './context.ts'

/** Returns the server of a request. Node sets this property; its types lack it. */
export function serverOf(req: IncomingMessage): Server | undefined {
  const socket: (object & { server?: Server }) | undefined = req.socket
  return socket?.server
}

/** The part of a plugin that its middleware needs. */
export interface Passing {
  readonly host: AdmissionHost
  /** The name of the property on ctx. */
  readonly property: string
  /** Servers that were detached from the plugin. */
  readonly detached: WeakSet<Server>
  /** Called when the middleware attaches the plugin to a server by itself. */
  attached(server: Server): void
}

/** Gives an upgrade its `ctx.ws`, and passes other requests on. */
export function passPlugin(ctx: Context, next: Next, passing: Passing): Promise<unknown> {
  if (!upgradeOf(ctx.req) && ctx.req.headers.upgrade === undefined) return pass(ctx, next, passing)
  guardErrors(ctx)
  const passed = passUpgrade(ctx, next, passing)
  // Outer middleware may not await this promise: without a handler its rejection would end the
  // process.
  passed.catch(ignore)
  return passed
}

function passUpgrade(ctx: Context, next: Next, passing: Passing): Promise<unknown> {
  try {
    return pass(ctx, next, passing)
  } catch (error) {
    return Promise.reject(error)
  }
}

function pass(ctx: Context, next: Next, passing: Passing): Promise<unknown> {
  const { req } = ctx
  const server = serverOf(req)
  // A stream that has ended no longer has a server: an attempt to accept must fail.
  if (!server && upgradeOf(req)?.aborted) throw clientGone()
  if (!server || passing.detached.has(server)) return next()
  if (!listenerOf(server)?.has(passing.host)) attach(server, passing)
  if (req.httpVersionMajor >= 2) listenerOf(server)?.sessions?.know(sessionOf(req))
  const upgrade = upgradeOf(req)
  if (upgrade) {
    return passesFilter(passing.host, req) ? decideUpgrade(upgrade, ctx, next, passing) : next()
  }
  if (!asksForWebSocket(req) || !mayTakeOver(server, req)) return next()
  if (req.httpVersionMajor >= 2 || !passesFilter(passing.host, req)) return next()
  if (req.method !== 'GET' || declaresBody(req)) return refuseFirst(ctx, passing)
  return takeOverFirst(server, ctx, next, passing)
}

/**
 * Refuses an upgrade that arrived as an ordinary request with a body. Node is still reading the
 * body, so the socket cannot be handed over complete.
 */
async function refuseFirst(ctx: Context, { host }: Passing): Promise<never> {
  const refusal = announced(ctx.req, checkHandshake(ctx.req) as Refusal, ctx.ip, host.instance)
  ctx.res.shouldKeepAlive = false
  host.count(countName(refusal))
  throw refusalError(refusal)
}

function attach(server: Server, passing: Passing): void {
  listen(server).add(passing.host)
  passing.attached(server)
  if (hasNeighbours(server)) {
    hintAttach()
    debugUpgrade(
      'another upgrade listener was on this server before the first request: call hub.attach(server) when the server is created, so that koaws sees every upgrade',
    )
  }
}

/** Takes over an upgrade that arrived as a request: there was no `upgrade` listener. */
async function takeOverFirst(
  server: Server,
  ctx: Context,
  next: Next,
  passing: Passing,
): Promise<unknown> {
  const handover = await takeOver(ctx.req)
  if (!handover) {
    if (ctx.req.socket.destroyed) throw clientGone()
    return next()
  }
  const listener = listenerOf(server) ?? listen(server)
  const opened = await listener.resume(ctx.req, ctx.res, handover)
  // Not instanceof: the listener may belong to another copy of this package.
  const upgrade = upgradeOf(ctx.req)
  if (upgrade === opened) return decideUpgrade(upgrade, ctx, next, passing)
  passing.host.count(countName(opened as Refusal))
  throw refusalError(opened as Refusal)
}

async function decideUpgrade(
  upgrade: Upgrade,
  ctx: Context,
  next: Next,
  { host, property }: Passing,
): Promise<void> {
  // An upgrade that is over would never release the seat that `admit` counts.
  if (upgrade.aborted) throw upgrade.aborted
  const refusal = host.draining ?? admit(upgrade, host, ctx.app)
  if (refusal) {
    host.count(countName(refusal))
    throw refusalError(upgrade.noteRefusal(refusal))
  }
  if (upgrade.isRunning && property in ctx) hintTwoPlugins()
  upgrade.setHost(host)
  upgrade.setDeadline(host.handshakeTimeout)
  upgrade.setContext(ctx)
  const ws = contextWs(upgrade)
  bindContext(ctx, ws)
  ;(ctx as Record<string, unknown>)[property] = ws
  let failed = false
  upgrade.enter()
  try {
    await next()
    if (ctx.respond === false && upgrade.deferred) setImmediate(answerInstead, upgrade, ctx)
  } catch (thrown) {
    failed = true
    // Koa ignores null and undefined as errors, so the request would stay unanswered.
    const error = thrown ?? toError(thrown)
    upgrade.fail(error)
    if (upgrade.phase === 'http') setImmediate(tellIfUnheard, upgrade, ctx, error)
    throw error
  } finally {
    upgrade.leave()
    // The connection belongs to the innermost plugin.
    if (upgrade.host === host && upgrade.accepting) chainEnded(upgrade, upgrade.error, failed)
  }
}

/** Fails an accept that waits for a response that Koa will not end, unless it was answered. */
function answerInstead(upgrade: Upgrade, ctx: Context): void {
  try {
    assertKoaAnswers(upgrade)
  } catch (error) {
    upgrade.answerError(ctx, error)
  }
}

/** Reports an error after an HTTP answer, if middleware did not await the chain. */
function tellIfUnheard({ host }: Upgrade, ctx: Context, error: unknown): void {
  if (!wasTold(ctx)) host?.report(error, ctx)
}

function ignore(): void {}

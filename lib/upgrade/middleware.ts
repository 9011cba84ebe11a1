import type { IncomingMessage, Server } from 'node:http'
import type { Context, Next } from 'koa'
import { debugUpgrade } from '../debug.ts'
import { toError } from '../errors.ts'
import { chainEnded } from './accept.ts'
import { clientGone } from './acceptor.ts'
import { bindContext, contextWs } from './context.ts'
import { asksForWebSocket, checkHandshake, declaresBody, type Refusal } from './handshake.ts'
import type { UpgradeHost } from './host.ts'
import { sessionOf } from './http2/sessions.ts'
import { admit, countName, listen, listenerOf, wants } from './listener.ts'
import { hasNeighbours } from './neighbours.ts'
import { refusalError } from './refusal.ts'
import { mayTakeOver, takeOver } from './takeover.ts'
import { type Upgrade, upgradeOf } from './upgrade.ts'

/** The server that a request came in on. Node sets it on every connection, and does not type it. */
export function serverOf(req: IncomingMessage): Server | undefined {
  return (req.socket as { server?: Server } | undefined)?.server
}

/** What the middleware of a plugin does with a request. */
export interface Passing {
  readonly host: UpgradeHost
  /** The name on ctx. */
  readonly property: string
  /** Servers that the plugin was told to leave alone. */
  readonly detached: WeakSet<Server>
  /** Called when a server is taken without having been given. */
  attached(server: Server): void
}

/** Give `ctx.ws` to an upgrade, and let everything else pass. */
export function passPlugin(ctx: Context, next: Next, passing: Passing): Promise<unknown> {
  const { req } = ctx
  const server = serverOf(req)
  // Of a stream that has ended there is none any more: whoever accepts shall hear of that.
  if (!server && upgradeOf(req)?.aborted) throw clientGone()
  if (!server || passing.detached.has(server)) return next()
  if (!listenerOf(server)?.has(passing.host)) attach(server, passing)
  if (req.httpVersionMajor >= 2) listenerOf(server)?.sessions?.know(sessionOf(req))
  const upgrade = upgradeOf(req)
  if (upgrade) return wants(passing.host, req) ? decideUpgrade(upgrade, ctx, next, passing) : next()
  if (!asksForWebSocket(req) || !mayTakeOver(server, req)) return next()
  if (req.httpVersionMajor >= 2 || !wants(passing.host, req)) return next()
  if (req.method !== 'GET' || declaresBody(req)) return refuseFirst(ctx, passing)
  return takeOverFirst(server, ctx, next, passing)
}

/** Node is still busy with the body of this one, and would not let go of the socket whole. */
async function refuseFirst(ctx: Context, { host }: Passing): Promise<never> {
  const refusal = checkHandshake(ctx.req) as Refusal
  ctx.res.shouldKeepAlive = false
  host.count(countName(refusal))
  throw refusalError(refusal)
}

function attach(server: Server, passing: Passing): void {
  listen(server).add(passing.host)
  passing.attached(server)
  if (hasNeighbours(server)) {
    debugUpgrade(
      'somebody else listened for upgrades before the first request: call hub.attach(server) so that none is missed',
    )
  }
}

/** Node had nobody to give this upgrade to, and made a request of it. */
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
  // Not instanceof: the listener may be that of another copy of this package.
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
  // Nobody would give back what is counted for one that is over.
  if (upgrade.aborted) throw upgrade.aborted
  const refusal = host.draining ?? admit(upgrade, host, ctx.app)
  if (refusal) {
    host.count(countName(refusal))
    upgrade.refusal = refusal
    throw refusalError(refusal)
  }
  upgrade.setHost(host)
  upgrade.setDeadline(host.handshakeTimeout)
  upgrade.ctx = ctx
  const ws = contextWs(upgrade)
  bindContext(ctx, ws)
  ;(ctx as Record<string, unknown>)[property] = ws
  let failed = false
  try {
    await next()
  } catch (thrown) {
    failed = true
    // Koa passes over null and undefined: nobody would answer.
    upgrade.error = thrown ?? toError(thrown)
    throw upgrade.error
  } finally {
    // The innermost plugin is the one that the connection belongs to.
    if (upgrade.host === host && upgrade.accepting) chainEnded(upgrade, upgrade.error, failed)
  }
}

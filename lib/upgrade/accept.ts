import type { Context } from 'koa'
import { captureAsyncContext } from '../connection/async-context.ts'
import { type Connection, internals } from '../connection/connection.ts'
import { speakerOf } from '../connection/speaker.ts'
import { debugUpgrade, loggablePath } from '../debug.ts'
import { OptionsError, toError, UpgradeError } from '../errors.ts'
import { isThenable } from '../thenable.ts'
import {
  type AcceptOptions,
  assertRooms,
  chooseSubprotocol,
  expiryOf,
  roomsOf,
  userOf,
} from './accept-options.ts'
import { type Accepted, clientGone } from './acceptor.ts'
import { accessOf } from './access.ts'
import type { UpgradeHost } from './host.ts'
import { slimContext } from './records.ts'
import { refusalError } from './refusal.ts'
import { releaseGuard } from './socket-guard.ts'
import { type AcceptHandler, alreadyResponded, type Upgrade } from './upgrade.ts'

/** Accept now: the promise of the first form of `ctx.ws`. */
export function acceptInside(upgrade: Upgrade, options: AcceptOptions): Promise<Connection> {
  if (upgrade.accepting) return upgrade.accepting
  const accepting = tryAccept(upgrade, options)
  // Whoever does not await it must not end the process.
  accepting.catch(ignore)
  // A failed attempt may be followed by another; an accepted connection is given to all.
  if (upgrade.connection) upgrade.accepting = accepting
  return accepting
}

async function tryAccept(upgrade: Upgrade, options: AcceptOptions): Promise<Connection> {
  assertOpen(upgrade)
  if (upgrade.deferred) throw mixedForms()
  const ctx = upgrade.ctx as Context
  const subprotocol = subprotocolFor(upgrade, undefined, options)
  const { connection, admitted } = performHandshake(upgrade, options, subprotocol, ctx)
  const failure = await admitted
  if (failure) throw failure
  return connection
}

/** Accept when the chain has finished: the second form of `ctx.ws`. */
export function acceptAfter(
  upgrade: Upgrade,
  handler: AcceptHandler,
  options: AcceptOptions,
): void {
  if (upgrade.deferred || upgrade.accepting) throw mixedForms()
  assertOpen(upgrade)
  const ctx = upgrade.ctx as Context
  if (options.reject) upgrade.reject = options.reject
  upgrade.deferred = { handler, options, subprotocol: subprotocolFor(upgrade, handler, options) }
  ctx.status = upgrade.carrier.acceptStatus
  // An accept has no body. Left alone Koa would make one of the status text, and set headers for it that
  // are dropped again. Should Koa rename this member, that is what happens.
  ;(ctx.response as { _body?: unknown })._body = ''
}

function subprotocolFor(
  { offer, ctx }: Upgrade,
  handler: AcceptHandler | undefined,
  options: AcceptOptions,
): string | false {
  const speaker = handler && speakerOf(handler)
  const hadBearers = offer.bearers.length > 0
  return chooseSubprotocol(options, speaker, offer.subprotocols, hadBearers, ctx as Context)
}

/** The chain has ended with 101: handshake, then the handler, outside of the chain. */
export function acceptDeferred(upgrade: Upgrade): void {
  const { deferred, ctx, socket } = upgrade as Upgrade & { ctx: Context }
  if (!deferred) return
  const host = upgrade.host as UpgradeHost
  const { handler, options, subprotocol } = deferred
  const { connection, admitted } = performHandshake(upgrade, options, subprotocol, ctx)
  slimContext(ctx, socket)
  upgrade.release()
  const goOn = (failure: Error | null): void => {
    if (failure === null) runHandler(connection, handler, ctx, host, options)
    else {
      internals.handlerSettled(connection)
      // Closing in onConnect is how an application turns somebody away: no error.
      if (!('turnedAway' in failure)) host.report(failure, ctx)
    }
  }
  if (admitted instanceof Promise) void admitted.then(goOn)
  else goOn(admitted)
}

function runHandler(
  connection: Connection,
  handler: AcceptHandler,
  ctx: Context,
  host: UpgradeHost,
  options: AcceptOptions,
): void {
  try {
    const speaker = speakerOf(handler)
    const result = speaker
      ? speaker.serve(connection, ctx, accessOf(connection, ctx, options, host))
      : handler(connection, ctx)
    if (isThenable(result)) {
      result.then(
        () => internals.handlerSettled(connection),
        (error: unknown) => handlerFailed(connection, error, ctx, host),
      )
      return
    }
    internals.handlerSettled(connection)
  } catch (error) {
    handlerFailed(connection, error, ctx, host)
  }
}

function handlerFailed(
  connection: Connection,
  thrown: unknown,
  ctx: Context,
  host: UpgradeHost,
): void {
  const error = toError(thrown)
  internals.fail(connection, error, false)
  internals.handlerSettled(connection)
  host.report(error, ctx)
}

/** The accept happened inside, and the chain below the plugin has ended. */
export function chainEnded(upgrade: Upgrade, error: unknown, failed: boolean): void {
  const { connection, ctx, socket } = upgrade
  if (!connection) return
  if (failed) internals.fail(connection, error, false) // Koa reports what the chain threw
  internals.handlerSettled(connection)
  if (ctx) slimContext(ctx, socket)
  upgrade.release()
}

/** Write the 101 and hand the connection over. Synchronous, so that no frame can be missed. */
function performHandshake(
  upgrade: Upgrade,
  options: AcceptOptions,
  subprotocol: string | false,
  ctx: Context,
): { connection: Connection; admitted: Error | null | Promise<Error | null> } {
  const { req, socket } = upgrade
  const host = upgrade.host as UpgradeHost
  assertOpen(upgrade)
  // Who authenticates with a message is nobody yet.
  const later = options.authenticate !== undefined
  if (later && !upgrade.deferred) throw mayNotAuthenticate()
  const userId = later ? undefined : userOf(options, host, ctx)
  const expiresAt = later ? null : expiryOf(options, ctx)
  const rooms = later ? [] : roomsOf(options, ctx)
  const rules = host.rules.for(options)
  assertRooms(rooms, rules.maxRooms)
  const { connection, compression } = writeSwitch(upgrade, options, subprotocol)
  if (debugUpgrade.enabled) debugUpgrade('%s accepted', loggablePath(req.url))
  const { seat } = upgrade
  upgrade.seat = undefined // from here on the connection is what is counted
  upgrade.settle()
  upgrade.connection = connection
  finish(upgrade, ctx)
  const admitted = host.admit(connection, {
    ctx,
    userId,
    expiresAt,
    rooms,
    inAudiences: options.hub !== false,
    letInLater: later,
    rules,
    compression,
    seat,
    socket,
    scope: captureAsyncContext(),
  })
  return { connection, admitted }
}

/**
 * A client that reads no HTTP answer gets the rejection as a close code: accept, and close with
 * 4000 + status. No handler runs and nobody can reach the connection.
 */
export function rejectByClose(
  upgrade: Upgrade,
  subprotocol: string | false,
  code: number,
  reason: string,
): void {
  const { res, ctx } = upgrade
  const { connection } = writeSwitch(upgrade, {}, subprotocol, res.statusCode)
  // It counts as long as it is open.
  const { seat } = upgrade
  const counted = upgrade.checkedFor
  upgrade.seat = undefined
  if (seat) connection.once('close', () => counted?.limits.release(seat))
  upgrade.settle()
  finish(upgrade, ctx as Context)
  internals.handlerSettled(connection)
  connection.close(code, reason)
}

/** The response looks finished from here on, to hooks of `end` (express-session) as well. */
function finish(upgrade: Upgrade, ctx: Context): void {
  const { res } = upgrade
  const report = (error: unknown): void => (upgrade.host as UpgradeHost).report(error, ctx)
  upgrade.carrier.finish(upgrade, report)
  if (!upgrade.takenOver) return
  upgrade.collecting = true
  try {
    res.end()
  } catch (error) {
    report(error)
  } finally {
    upgrade.collecting = false
  }
}

/** The 101, or over HTTP/2 the 200, with everything that the chain has put on the response. */
function writeSwitch(
  upgrade: Upgrade,
  options: AcceptOptions,
  subprotocol: string | false,
  status = upgrade.carrier.acceptStatus,
): Accepted {
  const { carrier, res, socket } = upgrade
  const { maxPayload, maxFragments } = options
  const before = res.statusCode
  res.statusCode = status
  upgrade.collecting = true
  try {
    // Hooks that wait for the head of the response (on-headers) get their moment.
    res.writeHead(status)
    const acceptor = (upgrade.host as UpgradeHost).acceptors.for(maxPayload, maxFragments)
    const accepted = carrier.switch(upgrade, acceptor, subprotocol)
    upgrade.phase = 'accepted'
    releaseGuard(socket) // ws guards it now
    return accepted
  } catch (error) {
    res.statusCode = before
    throw error
  } finally {
    upgrade.collecting = false
  }
}

function assertOpen(upgrade: Upgrade): void {
  if (upgrade.aborted) throw upgrade.aborted
  if (upgrade.phase === 'accepted') throw mixedForms()
  if (upgrade.phase !== 'deciding') throw alreadyResponded()
  const draining = upgrade.host?.draining
  if (draining) throw refusalError(draining)
  if (upgrade.claimed?.()) {
    upgrade.abandon()
    throw clientGone()
  }
}

function mixedForms(): UpgradeError {
  return new UpgradeError(
    'ERR_KOAWS_ALREADY_ACCEPTED',
    'This upgrade has a handler already: accept it in one place, with ctx.ws(handler) or with await ctx.ws().',
  )
}

/** Nobody may be served who was to authenticate, and cannot. */
function mayNotAuthenticate(): OptionsError {
  return new OptionsError(
    '"authenticate" works with accept(messages(...)) and ctx.ws(messages(...)) alone.',
  )
}

function ignore(): void {}

// Implements both forms of accept, and the rejection by close code.

import type { Context } from 'koa'
import { type Connection, coreOf } from '../connection/connection.ts'
import { speakerOf } from '../connection/speaker.ts'
import { isTurnedAway, OptionsError, toError, UpgradeError } from '../errors.ts'
import { isThenable } from '../thenable.ts'
import { askOption } from '../validate.ts'
import {
  type AcceptOptions,
  assertRooms,
  chooseSubprotocol,
  expiryOf,
  roomsOf,
  userOf,
} from './accept-options.ts'
import { type Accepted, type Acceptor, clientGone } from './acceptor.ts'
import { accessOf } from './access.ts'
import { captureAsyncContext } from './async-context.ts'
import type { AcceptHandler } from './chain.ts'
import { assertTakes, chooseAsWs, type Forwarded, forwardedTo, keepRequest } from './forwarded.ts'
import type { UpgradeHost } from './host.ts'
import { reportWith } from './koa-errors.ts'
import { slimContext } from './records.ts'
import { refusalError } from './refusal.ts'
import { releaseGuard } from './socket-guard.ts'
import { alreadyResponded, type Passed, passedOf, type Upgrade } from './upgrade.ts'

/** Accept now: the promise of the first form of `ctx.ws`. */
export function acceptInside(upgrade: Upgrade, options: AcceptOptions): Promise<Connection> {
  if (upgrade.accepting) return upgrade.accepting
  const accepting = tryAccept(upgrade, options)
  // A handler that does not await it must not end the process.
  accepting.catch(ignore)
  // A failed attempt may be followed by another; an accepted connection is given to all.
  if (upgrade.connection) upgrade.acceptInside(accepting)
  return accepting
}

async function tryAccept(upgrade: Upgrade, options: AcceptOptions): Promise<Connection> {
  assertOpen(upgrade)
  if (upgrade.deferred) throw mixedForms()
  const { ctx } = passedOf(upgrade)
  upgrade.rejectAs(options.reject)
  const subprotocol = subprotocolFor(upgrade, ctx, undefined, options)
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
  const { ctx } = passedOf(upgrade)
  upgrade.rejectAs(options.reject)
  const forwarded = forwardedTo(handler)
  if (forwarded) assertTakes(forwarded)
  upgrade.defer({ handler, options, subprotocol: subprotocolFor(upgrade, ctx, handler, options) })
  ctx.status = upgrade.carrier.acceptStatus
  // An accept has no body. Left alone Koa would make one of the status text, and set headers for it that
  // are dropped again. Should Koa rename this member, that is what happens.
  const response: object & { _body?: unknown } = ctx.response
  response._body = ''
}

function subprotocolFor(
  { offer }: Upgrade,
  ctx: Context,
  handler: AcceptHandler | undefined,
  options: AcceptOptions,
): string | false {
  const speaker = handler && speakerOf(handler)
  const direct = handler && forwardedTo(handler)
  if (direct && options.subprotocol === undefined) {
    return askOption('handleProtocols', () => chooseAsWs(direct, offer.subprotocols, ctx.req))
  }
  const hadBearers = offer.bearers.length > 0
  return chooseSubprotocol(options, speaker, offer.subprotocols, hadBearers, ctx)
}

/** The chain has ended with 101: handshake, then the handler, outside of the chain. */
export function acceptDeferred(upgrade: Upgrade): void {
  const { deferred, socket } = upgrade
  if (!deferred) return
  const { ctx, host } = passedOf(upgrade)
  const { handler, options, subprotocol } = deferred
  const forwarded = forwardedTo(handler, subprotocol)
  if (forwarded) {
    assertTakes(forwarded)
    keepRequest(ctx, upgrade.req)
  }
  const { connection, admitted } = performHandshake(upgrade, options, subprotocol, ctx, forwarded)
  slimContext(ctx, socket)
  upgrade.release()
  const goOn = (failure: Error | null): void => {
    if (failure === null) runHandler(connection, handler, ctx, host, options)
    else {
      coreOf(connection).handlerSettled()
      // Closing in onConnect is how an application turns somebody away: no error.
      if (!isTurnedAway(failure)) host.report(failure, ctx, connection)
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
        () => coreOf(connection).handlerSettled(),
        (error: unknown) => handlerFailed(connection, error, ctx, host),
      )
      return
    }
    coreOf(connection).handlerSettled()
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
  coreOf(connection).fail(error, false)
  coreOf(connection).handlerSettled()
  host.report(error, ctx, connection)
}

/** The accept happened inside, and the chain below the plugin has ended. */
export function chainEnded(upgrade: Upgrade, error: unknown, failed: boolean): void {
  const { connection, ctx, socket, host } = upgrade
  if (!connection) return
  if (failed) {
    coreOf(connection).fail(error, false)
    // Koa hears what the chain throws, unless middleware in front catches it.
    if (ctx) reportWith(ctx, (thrown) => host?.report(thrown, ctx, connection))
  }
  coreOf(connection).handlerSettled()
  if (ctx) slimContext(ctx, socket)
  upgrade.release()
}

/** Write the 101 and hand the connection over. Synchronous, so that no frame can be missed. */
function performHandshake(
  upgrade: Upgrade,
  options: AcceptOptions,
  subprotocol: string | false,
  ctx: Context,
  forwarded?: Forwarded,
): { connection: Connection; admitted: Error | null | Promise<Error | null> } {
  const { socket } = upgrade
  const { host } = passedOf(upgrade)
  assertOpen(upgrade)
  // A connection that authenticates with a message has no user yet.
  const later = options.authenticate !== undefined
  if (later && !upgrade.deferred) throw mayNotAuthenticate()
  const userId = later ? undefined : userOf(options, host, ctx)
  const expiresAt = later ? null : expiryOf(options, ctx)
  const rooms = later ? [] : roomsOf(options, ctx)
  const rules = host.rules.for(options)
  assertRooms(rooms, rules.maxRooms)
  // Nothing can come between this count and the connection.
  const full = host.connections.refusal(userId)
  if (full) throw full
  const { connection, compression } = writeSwitch(upgrade, options, subprotocol, forwarded)
  const seat = upgrade.takeSeat()
  upgrade.settle()
  upgrade.connected(connection)
  finish(upgrade, { ctx, host })
  if (seat) host.connections.onEnd(connection, () => seat.release())
  const admitted = host.connections.add(connection, {
    ctx,
    userId,
    expiresAt,
    rooms,
    inAudiences: options.hub !== false,
    letInLater: later,
    rules,
    since: upgrade.arrival.at,
    compression,
    socket,
    scope: captureAsyncContext(),
  })
  return { connection, admitted }
}

/**
 * A client that reads no HTTP answer gets the rejection as a close code: accept, and close with
 * 4000 + status. No handler runs, and the connection is in no audience.
 */
export function rejectByClose(
  upgrade: Upgrade,
  subprotocol: string | false,
  code: number,
  reason: string,
): void {
  const { res } = upgrade
  const passed = passedOf(upgrade)
  const { connection } = writeSwitch(upgrade, {}, subprotocol, undefined, res.statusCode)
  // It counts as long as it is open.
  const seat = upgrade.takeSeat()
  if (seat) connection.once('close', () => seat.release())
  upgrade.settle()
  finish(upgrade, passed)
  coreOf(connection).handlerSettled()
  connection.close(code, reason)
}

/** The response looks finished from here on, to hooks of `end` (express-session) as well. */
function finish(upgrade: Upgrade, { ctx, host }: Passed): void {
  const { res } = upgrade
  const report = (error: unknown): void => host.report(error, ctx)
  upgrade.carrier.finish(upgrade, report)
  if (!upgrade.takenOver) return
  try {
    upgrade.collect(() => res.end())
  } catch (error) {
    report(error)
  }
}

/** The 101, or over HTTP/2 the 200, with everything that the chain has put on the response. */
function writeSwitch(
  upgrade: Upgrade,
  options: AcceptOptions,
  subprotocol: string | false,
  forwarded: Forwarded | undefined,
  status = upgrade.carrier.acceptStatus,
): Accepted {
  const { res, socket } = upgrade
  const { maxPayload, maxFragments } = options
  const before = res.statusCode
  res.statusCode = status
  try {
    return upgrade.collect(() => {
      // Hooks that wait for the head of the response (on-headers) get their moment.
      res.writeHead(status)
      const { acceptors } = passedOf(upgrade).host
      const all = forwarded ? acceptors.forwarding(forwarded) : acceptors
      const acceptor = all.for(maxPayload, maxFragments)
      const accepted = switchOf(upgrade, acceptor, subprotocol)
      upgrade.accepted()
      releaseGuard(socket) // ws guards it now
      return accepted
    })
  } catch (error) {
    res.statusCode = before
    throw error
  }
}

/** The socket's next owner is the connection, unless the handshake fails. */
function switchOf(upgrade: Upgrade, acceptor: Acceptor, subprotocol: string | false): Accepted {
  upgrade.watch(false)
  try {
    return upgrade.carrier.switch(upgrade, acceptor, subprotocol)
  } catch (error) {
    upgrade.watch(true)
    throw error
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

/** Rejects: `authenticate` is set, and this handler cannot authenticate. */
function mayNotAuthenticate(): OptionsError {
  return new OptionsError(
    '"authenticate" works only with accept(messages(...)) and ctx.ws(messages(...)).',
  )
}

function ignore(): void {}

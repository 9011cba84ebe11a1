// Puts methods in front of a response's own, so that its first output decides the upgrade.

import { type OutgoingHttpHeaders, ServerResponse, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { debugUpgrade, loggablePath, messageOf } from '../debug.ts'
import { exposureOf } from '../errors.ts'
import { closeReason } from '../protocol/close-codes.ts'
import { KOAWS_V1 } from '../protocol/subprotocol.ts'
import { acceptDeferred, rejectByClose } from './accept.ts'
import { answerText, callBack } from './finished-response.ts'
import { type RejectionByClose, rejectionByClose } from './reject.ts'
import { passedOf, type Upgrade, upgradeOf } from './upgrade.ts'

/**
 * How long a 404 waits for another `upgrade` listener to take the socket, in milliseconds: less than
 * the second after which engine.io ends an unanswered socket.
 */
const NEIGHBOUR_WAIT = 700

/** What becomes of the first output of a response. */
type Verdict = 'pass' | 'swallow' | 'hold'

/** Methods of the response as they were before we put ours in front: a framework may have wrapped them. */
interface Inner {
  readonly end: ServerResponse['end']
  readonly write: ServerResponse['write']
  readonly writeHead: ServerResponse['writeHead']
  readonly flushHeaders: ServerResponse['flushHeaders']
  /** Whether they are Node's own, and not wrapped by a library. */
  readonly bare: boolean
}

const kInner: unique symbol = Symbol('koaws.inner')
interface Armed extends ServerResponse {
  _last?: boolean
  [kInner]: Inner
}
type Method<T> = (this: ServerResponse, ...args: unknown[]) => T

/**
 * Put our methods in front of a response's own, so that its first output decides the upgrade: 101, or
 * 200 over HTTP/2, is the handshake, anything else an HTTP answer. On the instance, for some frameworks
 * swap the prototype; shared functions, for a handshake should allocate little.
 */
export function armResponse(upgrade: Upgrade): void {
  const { carrier, res } = upgrade
  const armed = res as unknown as Armed
  const { end, write, writeHead, flushHeaders } = res
  armed[kInner] =
    end === plain.end && writeHead === plain.writeHead
      ? plain
      : { end, write, writeHead, flushHeaders, bare: upgrade.req.httpVersionMajor >= 2 }
  armed.end = armedEnd as Armed['end']
  armed.write = armedWrite
  armed.writeHead = armedWriteHead as Armed['writeHead']
  armed.flushHeaders = armedFlushHeaders
  // A refused connection is never used again; kept here, for Koa's error path removes all headers.
  armed.shouldKeepAlive = false
  carrier.answerOf(upgrade).on('finish', answerOnFinish)
}

const { end, write, writeHead, flushHeaders } = ServerResponse.prototype
const plain: Inner = { end, write, writeHead, flushHeaders, bare: true }

function armedEnd(this: Armed, ...args: unknown[]): ServerResponse {
  const upgrade = upgradeOf(this)
  if (!upgrade) {
    callBack(args) // accepted, or abandoned
    return this
  }
  if (upgrade.collecting && !this[kInner].bare)
    (this[kInner].end as Method<ServerResponse>).call(this)
  else if (upgrade.phase === 'deciding') {
    const verdict = decide(upgrade, this, true)
    if (verdict === 'hold') {
      holdNotFound(upgrade, () => endOf(this)(...args))
      return this
    }
    if (verdict === 'swallow') {
      callBack(args)
      return this
    }
    if (replaced(upgrade)) return answerStray(upgrade, this)
  }
  if (upgrade.phase === 'http') return endOf(this)(...args)
  if (!upgrade.collecting) callBack(args)
  return this
}

function endOf(res: Armed): (...args: unknown[]) => ServerResponse {
  return (...args) => (res[kInner].end as Method<ServerResponse>).apply(res, args)
}

function armedWrite(this: Armed, ...args: unknown[]): boolean {
  const upgrade = upgradeOf(this)
  if (upgrade?.phase === 'deciding' && decide(upgrade, this) === 'pass' && replaced(upgrade)) {
    answerStray(upgrade, this)
    return true
  }
  if (upgrade?.phase === 'http') {
    upgrade.forwardDrain()
    return (this[kInner].write as Method<boolean>).apply(this, args)
  }
  callBack(args)
  return true
}

function armedWriteHead(this: Armed, ...args: unknown[]): ServerResponse {
  const upgrade = upgradeOf(this)
  if (!upgrade) return this
  if (upgrade.phase === 'deciding') {
    takeHead(this, args)
    if (upgrade.collecting) {
      // A hook from before the takeover sits inside of ours. Without a flush nothing is written.
      if (!this[kInner].bare) {
        this[kInner].writeHead.call(this, this.statusCode)
        // Node's own note that the connection ends with this answer; undocumented.
        this._last = false
      }
      return this
    }
    if (acceptsLater(upgrade, this)) return this
    if (decide(upgrade, this) !== 'pass') return this
    if (replaced(upgrade)) return answerStray(upgrade, this)
    args.splice(0, args.length, this.statusCode)
  }
  if (upgrade.phase !== 'http') return this
  return (this[kInner].writeHead as Method<ServerResponse>).apply(this, args)
}

function armedFlushHeaders(this: Armed): void {
  const upgrade = upgradeOf(this)
  if (!upgrade || upgrade.phase === 'held') return
  if (upgrade.phase === 'deciding') {
    if (acceptsLater(upgrade, this)) return
    if (decide(upgrade, this) !== 'pass') return
    if (replaced(upgrade)) {
      answerStray(upgrade, this)
      return
    }
  }
  if (upgrade.phase === 'http') this[kInner].flushHeaders.call(this)
}

/**
 * Whether a response is the accept of a handler that waits. A chain that has thrown accepts nothing: over
 * HTTP/2 a status of 200 may be how the application tells of errors.
 */
function acceptsLater({ carrier, deferred, error }: Upgrade, res: ServerResponse): boolean {
  if (deferred === null || res.statusCode !== carrier.acceptStatus) return false
  return error === undefined || carrier.acceptStatus === 101
}

/** The arguments of `writeHead`: status, message, headers as an object or a flat list. */
function takeHead(res: ServerResponse, args: unknown[]): void {
  const [status, second, third] = args as [number, unknown, unknown]
  res.statusCode = status
  if (typeof second === 'string') res.statusMessage = second
  const headers = (typeof second === 'string' ? third : second) as
    | OutgoingHttpHeaders
    | unknown[]
    | undefined
  if (Array.isArray(headers)) {
    for (let i = 0; i + 1 < headers.length; i += 2) res.removeHeader(String(headers[i]))
    for (let i = 0; i + 1 < headers.length; i += 2) {
      res.appendHeader(String(headers[i]), headers[i + 1] as string)
    }
  } else {
    for (const name in headers) res.setHeader(name, headers[name] as string)
  }
}

/** The one place where a response's first output becomes a decision. */
function decide(upgrade: Upgrade, res: ServerResponse, mayHold = false): Verdict {
  // A status may come as text, or as no integer; it goes out as one.
  if (!Number.isInteger(res.statusCode)) res.statusCode = Math.trunc(Number(res.statusCode)) || 500
  if (acceptsLater(upgrade, res)) return switchProtocols(upgrade)
  if (upgrade.carrier.accepts(res.statusCode)) {
    refuseStray(upgrade, res)
  } else if (!upgrade.refusal) {
    if (res.statusCode === 404 && upgrade.passOn) {
      upgrade.abandon()
      return 'swallow'
    }
    if (upgrade.claimed?.()) {
      upgrade.abandon()
      return 'swallow'
    }
    if (res.statusCode === 404 && upgrade.claimed && mayHold) {
      upgrade.hold()
      return 'hold'
    }
    if (toldByClose(upgrade, res)) return 'swallow'
  }
  upgrade.respond()
  return 'pass'
}

function switchProtocols(upgrade: Upgrade): Verdict {
  const { ctx, host } = passedOf(upgrade)
  try {
    acceptDeferred(upgrade)
  } catch (error) {
    // Before the 101: an ordinary error of the chain, and Koa answers it.
    if (upgrade.phase === 'accepted') host.report(error, ctx, upgrade.connection ?? undefined)
    else upgrade.answerError(ctx, error)
  }
  return 'swallow'
}

const stray = new WeakSet<Upgrade>()

/** An accept that no handler stands behind. */
function refuseStray(upgrade: Upgrade, res: ServerResponse): void {
  stray.add(upgrade)
  const { status, error } = upgrade.carrier.stray
  res.statusCode = status
  if (error && upgrade.ctx) upgrade.host?.report(new Error(error), upgrade.ctx)
}

function replaced(upgrade: Upgrade): boolean {
  return stray.has(upgrade)
}

/** Answer in place of a stray accept, and let nothing of its body follow. */
function answerStray({ carrier }: Upgrade, res: Armed): ServerResponse {
  const { status, text, headers } = carrier.stray
  answerText(res, status, text, headers)
  return res
}

/** A 404 beside other listeners: one of them may claim the socket only after a while. */
function holdNotFound(upgrade: Upgrade, answer: () => void): void {
  if (debugUpgrade.enabled)
    debugUpgrade('%s: 404 waits for another upgrade listener', loggablePath(upgrade.req.url))
  const timer = setTimeout(() => {
    if (upgrade.phase !== 'held') return
    if (upgrade.claimed?.()) {
      upgrade.abandon()
      return
    }
    upgrade.decideAgain()
    if (toldByClose(upgrade, upgrade.res)) return
    upgrade.respond()
    answer()
  }, NEIGHBOUR_WAIT)
  timer.unref()
}

/** Whether the rejection was told over the WebSocket, as the option `reject` says. */
function toldByClose(upgrade: Upgrade, res: ServerResponse): boolean {
  const status = res.statusCode
  const { host, ctx } = upgrade
  if (status < 400 || !host || !ctx) return false
  const { subprotocols, bearers } = upgrade.offer
  const speaksOurs = subprotocols.includes(KOAWS_V1)
  const subprotocol = speaksOurs ? KOAWS_V1 : (subprotocols[0] ?? false)
  // A browser fails a WebSocket without one of the offered subprotocols, and never sees the code.
  if (subprotocol === false && bearers.length > 0) return false
  let told: RejectionByClose | null
  try {
    told = rejectionByClose(upgrade.reject ?? host.reject, status, speaksOurs)
  } catch (error) {
    // The rejection stands, and goes out over HTTP.
    host.report(error, ctx)
    return false
  }
  if (!told) return false
  try {
    rejectByClose(upgrade, subprotocol, told.code, told.reason ?? reasonFor(upgrade, status))
    return true
  } catch (error) {
    debugUpgrade('%s: rejected over HTTP, %s', loggablePath(upgrade.req.url), messageOf(error))
    res.statusCode = status
    return upgrade.phase !== 'deciding'
  }
}

function reasonFor(upgrade: Upgrade, status: number): string {
  const said = exposureOf(upgrade.error)
  const message = said.status === status ? said.message : null
  return closeReason(message ?? STATUS_CODES[status] ?? '')
}

function answerOnFinish(this: ServerResponse | Duplex): void {
  const upgrade = upgradeOf(this)
  if (upgrade?.phase === 'http') upgrade.answered()
}

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { inspect } from 'node:util'
import type { Context } from 'koa'
import type { Connection } from '../connection/connection.ts'
import { hasMoved, type Progress, progressOf } from '../connection/taken.ts'
import { debugUpgrade, loggablePath, pathOf } from '../debug.ts'
import { channels } from '../diagnostics.ts'
import { UpgradeError } from '../errors.ts'
import type { AcceptOptions } from './accept-options.ts'
import { clientGone } from './acceptor.ts'
import type { Carried, Carrier } from './carrier.ts'
import { answerText, emitClose } from './finished-response.ts'
import type { Offer, Refusal } from './handshake.ts'
import type { RejectMode, UpgradeHost } from './host.ts'
import type { Seat } from './limits.ts'
import { forwardDrain } from './pipelined.ts'
import { linger, refusalError } from './refusal.ts'

/**
 * Where an upgrade stands. It starts as `deciding` and ends as one of the others, but for `held`:
 * a 404 that waits whether another `upgrade` listener takes the socket.
 */
export type Phase = 'deciding' | 'held' | 'http' | 'accepted' | 'gone' | 'abandoned'

/** What runs with an accepted connection. */
export type AcceptHandler = (connection: Connection, ctx: Context) => unknown

/** The handler that waits for the end of the chain. */
export interface Deferred {
  readonly handler: AcceptHandler
  readonly options: AcceptOptions
  readonly subprotocol: string | false
}

/** A link from Node's request to its upgrade: the same symbol in every copy of this package. */
const kUpgrade: unique symbol = Symbol.for('koaws.upgrade.1') as never

interface Linked {
  [kUpgrade]?: Upgrade | undefined
}

/** The upgrade that a request, response or socket belongs to. */
export function upgradeOf(part: IncomingMessage | ServerResponse | Duplex): Upgrade | undefined {
  return (part as Linked)[kUpgrade]
}

/** What an upgrade is made of. */
export interface UpgradeParts extends Carried {
  readonly carrier: Carrier
  readonly offer: Offer
  /** Whether another listener may take the socket. */
  readonly claimed: (() => boolean) | null
  /** Hand the untouched socket to the other listeners (the gate); null where they saw it already. */
  readonly passOn: (() => void) | null
}

/**
 * A WebSocket upgrade until it is decided: who owns the raw socket, what was asked for, and what
 * ends the waiting. One rule holds: the socket has one owner at a time, the listener, then the
 * response or the connection.
 */
export class Upgrade implements UpgradeParts {
  readonly carrier: Carrier
  readonly req: IncomingMessage
  readonly socket: Duplex
  readonly head: Buffer
  readonly res: ServerResponse
  readonly offer: Offer
  readonly takenOver: boolean
  readonly claimed: (() => boolean) | null
  readonly passOn: (() => void) | null
  phase: Phase = 'deciding'
  /** The plugin that was passed last: it owns the connection. */
  host: UpgradeHost | null = null
  /** The plugin that origin and limits were checked for. */
  checkedFor: UpgradeHost | null = null
  /** What the limits count it under. */
  seat: Seat | undefined = undefined
  ctx: Context | null = null
  /** What the chain threw. */
  error: unknown = undefined
  /** The route's own `reject`. */
  reject: RejectMode | undefined = undefined
  deferred: Deferred | null = null
  /** The connection of an accept inside of the chain. */
  accepting: Promise<Connection> | null = null
  connection: Connection | null = null
  /** The answer, where it is ours and not the chain's. */
  refusal: Refusal | null = null
  /** While hooks of `writeHead` run for the 101. */
  collecting = false
  /** Undo what was struck from the request; set by who strikes. */
  restore: (() => void)[] = NOTHING
  #deadline: NodeJS.Timeout | undefined
  #timeout = 0
  /** Of an answer that has begun. */
  #progress: Progress | null = null
  #drains = false
  #controller: AbortController | null = null
  #aborted: Error | null = null
  readonly #startedAt = Date.now()

  constructor(parts: UpgradeParts) {
    this.carrier = parts.carrier
    this.req = parts.req
    this.socket = parts.socket
    this.head = parts.head
    this.res = parts.res
    this.offer = parts.offer
    this.takenOver = parts.takenOver
    this.claimed = parts.claimed
    this.passOn = parts.passOn
    ;(this.req as Linked)[kUpgrade] = this
    ;(this.res as Linked)[kUpgrade] = this
    ;(this.socket as Linked)[kUpgrade] = this
    this.socket.on('close', socketOnClose)
    this.socket.on('end', socketOnEnd)
  }

  /** Aborts when the client leaves, the deadline passes, or the upgrade is refused by us. */
  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController()
      if (this.#aborted) this.#controller.abort(this.#aborted)
    }
    return this.#controller.signal
  }

  /** Why nothing can be accepted any more, where that is no answer of the chain. */
  get aborted(): Error | null {
    return this.#aborted
  }

  /** The whole chain must be done this many milliseconds after the upgrade came in. */
  setDeadline(timeout: number): void {
    if (this.#timeout === timeout) return
    this.#timeout = timeout
    clearTimeout(this.#deadline)
    const left = Math.max(0, this.#startedAt + timeout - Date.now())
    this.#deadline = setTimeout(upgradeTimedOut, left, this)
    this.#deadline.unref()
  }

  /**
   * An answer that has begun may take its time, as long as the client takes something of it. It is ended
   * when nothing has moved for one `handshakeTimeout`, unless it is the application that is slow.
   */
  checkProgress(): void {
    const { socket } = this
    const before = this.#progress
    const now = progressOf(socket)
    if (before && now.waiting > 0 && !hasMoved(before, now)) {
      this.host?.count('deadline')
      socket.destroy()
      return
    }
    this.#progress = now
    this.#deadline = setTimeout(upgradeTimedOut, this.#timeout, this)
    this.#deadline.unref()
  }

  /** Undo something when the socket is left to others. */
  onAbandon(undo: () => void): void {
    if (this.restore === NOTHING) this.restore = []
    this.restore.push(undo)
  }

  /** Who is asked about it: counts as pending there. */
  setHost(host: UpgradeHost): void {
    if (this.host === host) return
    this.host?.pending.delete(this)
    this.host = host
    host.pending.add(this)
  }

  /** Answer in place of the application, which may be waiting somewhere in its chain. */
  refuse(refusal: Refusal): void {
    if (this.phase !== 'deciding' && this.phase !== 'held') return
    this.phase = 'deciding'
    this.refusal = refusal
    if (debugUpgrade.enabled)
      debugUpgrade('%s refused: %s', loggablePath(this.req.url), refusal.code)
    this.#abort(refusalError(refusal))
    const { res } = this
    if (!res.socket || res.headersSent || (this.socket as { closed?: boolean }).closed) {
      // Still behind the answer to an earlier request. Or, over HTTP/2, a stream that the application
      // has answered by itself, or that was reset.
      this.phase = 'http'
      this.carrier.refuse(this.socket, refusal)
      return
    }
    answerText(res, refusal.status, refusal.message, refusal.headers)
  }

  /** End the TCP connection, or the stream, at once, whatever is being answered. */
  terminate(): void {
    this.socket.destroy()
  }

  /** The client has left. */
  gone(): void {
    if (this.phase === 'deciding' || this.phase === 'held') {
      this.phase = 'gone'
      if (debugUpgrade.enabled) debugUpgrade('%s: the client left', loggablePath(this.req.url))
      this.#abort(clientGone())
      this.socket.destroy()
    }
    this.settle()
  }

  /** An HTTP answer has been written whole: end the connection, or the stream. */
  answered(): void {
    this.settle()
    this.carrier.answered(this)
    linger(this.socket)
  }

  /**
   * Leave the untouched socket to the other listeners. Without any there is nobody to leave it to,
   * and the chain's answer stands.
   */
  abandon(): boolean {
    if (this.phase !== 'deciding' && this.phase !== 'held') return false
    if (!this.passOn && !this.claimed) {
      debugUpgrade(
        '%s: abandoned, but nobody else listens for upgrades',
        loggablePath(this.req.url),
      )
      return false
    }
    this.phase = 'abandoned'
    const { res, socket } = this
    if (res.socket === socket) res.detachSocket(socket as never)
    this.settle()
    for (const undo of this.restore) undo()
    ;(this.req as Linked)[kUpgrade] = undefined
    process.nextTick(emitClose, res)
    this.passOn?.()
    return true
  }

  /** It is decided: nothing waits for this upgrade any more. */
  settle(): void {
    clearTimeout(this.#deadline)
    const { socket, host } = this
    if (upgradeOf(socket) !== this) return
    if (channels.upgrade.hasSubscribers) this.#announce()
    ;(socket as Linked)[kUpgrade] = undefined
    socket.removeListener('close', socketOnClose)
    socket.removeListener('end', socketOnEnd)
    if (this.#drains) socket.removeListener('drain', socketOnDrain)
    host?.pending.delete(this)
    if (this.seat) (this.checkedFor as UpgradeHost).limits.release(this.seat)
    this.seat = undefined
    this.#deadline = undefined
  }

  #announce(): void {
    const answered = this.phase === 'accepted' || this.phase === 'http'
    const aborted = this.#aborted as { code?: string } | null
    channels.upgrade.publish({
      path: pathOf(this.req.url),
      status: answered ? this.res.statusCode : (this.refusal?.status ?? 0),
      code: this.refusal?.code ?? aborted?.code,
      duration: Date.now() - this.#startedAt,
    })
  }

  /** After the 101 nothing of the request may be kept by who keeps `ctx.ws`. */
  release(): void {
    const parts = this as { -readonly [K in 'req' | 'res' | 'head' | 'socket']: unknown }
    if (parts.req === null) return
    this.carrier.letGo(this)
    ;(this.req as Linked)[kUpgrade] = undefined
    parts.req = parts.res = parts.head = parts.socket = null
    this.ctx = null
    this.error = undefined
    this.deferred = null
    this.restore = NOTHING
  }

  /** Forward `drain` for the body of an HTTP answer: Node's own listener left with its parser. */
  forwardDrain(): void {
    if (this.#drains) return
    this.#drains = true
    this.socket.on('drain', socketOnDrain)
  }

  #abort(reason: Error): void {
    this.#aborted ??= reason
    this.#controller?.abort(this.#aborted)
  }
}

const NOTHING: (() => void)[] = []

// For a debugger or a logger that prints a request: the offer may hold a credential.
Object.defineProperty(Upgrade.prototype, inspect.custom, {
  value(this: Upgrade): string {
    return `Upgrade (${this.phase})`
  },
})

function upgradeTimedOut(upgrade: Upgrade): void {
  if (upgrade.phase === 'http') {
    upgrade.checkProgress()
    return
  }
  upgrade.host?.count('deadline')
  upgrade.refuse({
    code: 'ERR_KOAWS_DEADLINE',
    status: 503,
    message: 'The handshake took too long.',
    headers: { 'Retry-After': '5' },
  })
}

function socketOnClose(this: Duplex): void {
  upgradeOf(this)?.gone()
}

/** The client ended its side: it waits for no answer that we have not begun. */
function socketOnEnd(this: Duplex): void {
  const upgrade = upgradeOf(this)
  if (upgrade && upgrade.phase !== 'http') upgrade.gone()
}

function socketOnDrain(this: Duplex): void {
  forwardDrain(upgradeOf(this)?.res ?? null)
}

/** The error of a call that comes after an HTTP answer has begun. */
export function alreadyResponded(): UpgradeError {
  return new UpgradeError(
    'ERR_KOAWS_RESPONDED',
    'ctx.ws was called after a response had begun: accept before anything is sent.',
  )
}

// The class `Upgrade`: an upgrade until it is decided, its phases, and the owner of its socket.

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { inspect } from 'node:util'
import type { Context } from 'koa'
import { debugUpgrade, loggablePath } from '../debug.ts'
import { UpgradeError } from '../errors.ts'
import { clientGone } from './acceptor.ts'
import type { Carried, Carrier } from './carrier.ts'
import { ChainState } from './chain.ts'
import { Deadline } from './deadline.ts'
import { answerText, emitClose } from './finished-response.ts'
import type { Arrival, Findings, Offer, Refusal } from './handshake.ts'
import type { Seat, UpgradeHost } from './host.ts'
import { announceOutcome, isWatched } from './outcome.ts'
import { forwardDrain } from './pipelined.ts'
import { linger, refusalError } from './refusal.ts'

/**
 * Where an upgrade stands. It starts as `deciding` and ends as one of the others, but for `held`:
 * a 404 that waits whether another `upgrade` listener takes the socket.
 */
export type Phase = 'deciding' | 'held' | 'http' | 'accepted' | 'gone' | 'abandoned'

/** A link from Node's request to its upgrade: the same symbol in every copy of this package. */
const kUpgrade: unique symbol = Symbol.for('koaws.upgrade.1') as never

type Linked = object & { [kUpgrade]?: Upgrade | undefined }

/** The upgrade that a request, response or socket belongs to. */
export function upgradeOf(part: Linked): Upgrade | undefined {
  return part[kUpgrade]
}

function link(part: Linked, upgrade: Upgrade | undefined): void {
  part[kUpgrade] = upgrade
}

/** What the listener makes an upgrade of. */
export interface OpenParts extends Carried {
  readonly carrier: Carrier
  /** Whether another listener may take the socket. */
  readonly claimed: (() => boolean) | null
  /** Hand the untouched socket to the other listeners (the gate); null where they saw it already. */
  readonly passOn: (() => void) | null
}

/**
 * A WebSocket upgrade until it is decided: the owner of the raw socket, the request, and what
 * ends the waiting. One rule holds: the socket has one owner at a time, the listener, then the
 * response or the connection.
 */
export class Upgrade extends ChainState implements OpenParts, Findings {
  readonly carrier: Carrier
  readonly req: IncomingMessage
  readonly socket: Duplex
  readonly head: Buffer
  readonly res: ServerResponse
  readonly offer: Offer
  readonly takenOver: boolean
  readonly claimed: (() => boolean) | null
  readonly passOn: (() => void) | null
  readonly clientAddress: Findings['clientAddress']
  readonly #startedAt = Date.now()
  #phase: Phase = 'deciding'
  #host: UpgradeHost | null = null
  #checkedFor: UpgradeHost | null = null
  /** What the limits count it under. */
  #seat: Seat | null = null
  #refusal: Refusal | null = null
  /** Undo what was struck from the request. */
  #restore: (() => void)[] = NOTHING
  #deadline: Deadline | null = null
  #drains = false
  readonly arrival: Arrival

  constructor(parts: OpenParts, findings: Findings) {
    super()
    this.carrier = parts.carrier
    this.req = parts.req
    this.socket = parts.socket
    this.head = parts.head
    this.res = parts.res
    this.offer = findings.offer
    this.takenOver = parts.takenOver
    this.claimed = parts.claimed
    this.passOn = parts.passOn
    this.clientAddress = findings.clientAddress
    this.arrival = findings.arrival
    link(this.req, this)
    link(this.res, this)
    link(this.socket, this)
    this.watch(true)
  }

  /** Waits for the client's departure, or stops: ws listens itself, and Node keeps spare room where several did. */
  watch(on: boolean): void {
    const change = on ? 'on' : 'removeListener'
    this.socket[change]('close', socketOnClose)
    this.socket[change]('end', socketOnEnd)
  }

  get phase(): Phase {
    return this.#phase
  }

  /** The plugin that was passed last: it owns the connection. */
  get host(): UpgradeHost | null {
    return this.#host
  }

  /** The plugin that origin and limits were checked for. */
  get checkedFor(): UpgradeHost | null {
    return this.#checkedFor
  }

  /** The answer, where it is ours and not the chain's. */
  get refusal(): Refusal | null {
    return this.#refusal
  }

  /** The whole chain must be done this many milliseconds after the upgrade came in. */
  setDeadline(timeout: number): void {
    if (this.#phase !== 'deciding') return
    this.#deadline ??= new Deadline(this)
    this.#deadline.set(timeout, this.#startedAt)
  }

  /**
   * Refuse an upgrade that is not decided in time. An answer that has begun may take longer, while the
   * client takes some of it: it ends when nothing has moved for one `handshakeTimeout`. A slow application
   * does not count as a client that takes nothing.
   */
  expire(): void {
    if (this.#phase !== 'http') {
      this.#host?.count('deadline')
      this.refuse(TOO_LATE)
    } else if (this.#deadline?.hasStalled()) {
      this.#host?.count('deadline')
      this.socket.destroy()
    }
  }

  /** A plugin has checked origin and limits, and counts it. */
  admitted(host: UpgradeHost, seat: Seat | null): void {
    this.#seat = seat
    this.#checkedFor = host
    this.setHost(host)
  }

  /** Hand the seat over to a connection, which is what the limits count from then on. */
  takeSeat(): Seat | null {
    const seat = this.#seat
    this.#seat = null
    return seat
  }

  /** Undo something when the socket is left to others. */
  onAbandon(undo: () => void): void {
    if (this.#restore === NOTHING) this.#restore = []
    this.#restore.push(undo)
  }

  /** Set the plugin that decides: the upgrade counts as pending there. */
  setHost(host: UpgradeHost): void {
    if (this.#host === host) return
    this.#host?.pending.delete(this)
    this.#host = host
    host.pending.add(this)
  }

  /** Note a refusal that the listener or the chain answers. */
  noteRefusal(refusal: Refusal): Refusal {
    this.#refusal = refusal
    return refusal
  }

  /** A 404 waits until another listener has taken the socket, or has not. */
  hold(): void {
    this.#phase = 'held'
  }

  /** The wait of a 404 is over. */
  decideAgain(): void {
    this.#phase = 'deciding'
  }

  /** The response belongs to the chain: it is an HTTP answer. */
  respond(): void {
    this.#phase = 'http'
  }

  /** The 101 has been written. */
  accepted(): void {
    this.#phase = 'accepted'
  }

  /** Answer in place of the application, which may be waiting somewhere in its chain. */
  refuse(refusal: Refusal): void {
    if (this.#phase !== 'deciding' && this.#phase !== 'held') return
    this.#phase = 'deciding'
    this.#refusal = refusal
    this.abort(refusalError(refusal))
    const { res } = this
    if (!res.socket || res.headersSent || this.socket.closed) {
      // Still behind the answer to an earlier request. Or, over HTTP/2, a stream that the application
      // has answered by itself, or that was reset.
      this.#phase = 'http'
      this.carrier.refuse(this.socket, refusal)
      return
    }
    answerText(res, refusal.status, refusal.message, refusal.headers)
  }

  /** Ends the TCP connection, or the stream, at once, also in the middle of an answer. */
  terminate(): void {
    this.socket.destroy()
  }

  /** The client has left. */
  gone(): void {
    if (this.#phase === 'deciding' || this.#phase === 'held') {
      this.#phase = 'gone'
      this.abort(clientGone())
      this.socket.destroy()
    }
    this.settle()
  }

  /** The application had answered before the upgrade was looked at. */
  respondedAlready(): void {
    this.#phase = 'http'
    if (this.res.writableFinished) this.answered()
  }

  /** An HTTP answer has been written whole: end the connection, or the stream. */
  answered(): void {
    this.settle()
    this.carrier.answered(this)
    linger(this.socket)
  }

  /** Leaves the untouched socket to other listeners; without any, the chain's answer stands. */
  abandon(): boolean {
    if (this.#phase !== 'deciding' && this.#phase !== 'held') return false
    if (!this.passOn && !this.claimed) {
      debugUpgrade(
        '%s: abandoned, but the server has no other upgrade listener',
        loggablePath(this.req.url),
      )
      return false
    }
    this.#phase = 'abandoned'
    const { res, socket } = this
    if (res.socket === socket) res.detachSocket(socket as never)
    this.settle()
    for (const undo of this.#restore) undo()
    link(this.req, undefined)
    process.nextTick(emitClose, res)
    this.passOn?.()
    return true
  }

  /** It is decided: nothing waits for this upgrade any more. */
  settle(): void {
    this.#deadline?.leave()
    const { socket } = this
    if (upgradeOf(socket) !== this) return
    if (isWatched()) announceOutcome(this, Date.now() - this.#startedAt)
    link(socket, undefined)
    if (this.#phase !== 'accepted') this.watch(false)
    if (this.#drains) socket.removeListener('drain', socketOnDrain)
    this.#host?.pending.delete(this)
    this.takeSeat()?.release()
    this.#deadline = null
  }

  /** Lets go of the request after the 101, so that a kept `ctx.ws` does not keep it. */
  release(): void {
    const parts = this as { -readonly [K in 'req' | 'res' | 'head' | 'socket']: unknown }
    if (parts.req === null) return
    this.carrier.letGo(this)
    link(this.req, undefined)
    parts.req = parts.res = parts.head = parts.socket = null
    this.forget()
    this.#restore = NOTHING
  }

  /** Forward `drain` for the body of an HTTP answer: Node's own listener left with its parser. */
  forwardDrain(): void {
    if (this.#drains) return
    this.#drains = true
    this.socket.on('drain', socketOnDrain)
  }
}

const NOTHING: (() => void)[] = []

const TOO_LATE: Refusal = {
  code: 'ERR_KOAWS_DEADLINE',
  status: 503,
  message: 'The handshake took too long.',
  headers: { 'Retry-After': '5' },
}

// For a debugger or a logger that prints a request: the offer may hold a credential.
Object.defineProperty(Upgrade.prototype, inspect.custom, {
  value(this: Upgrade): string {
    return `Upgrade (${this.phase})`
  },
})

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

/** The ctx and the plugin of an upgrade that is being decided. */
export interface Passed {
  readonly ctx: Context
  readonly host: UpgradeHost
}

/** @throws Error for an upgrade that has not passed a plugin, or is over */
export function passedOf({ ctx, host }: Upgrade): Passed {
  if (!ctx || !host) throw new Error('this upgrade has not passed a plugin, or has ended')
  return { ctx, host }
}

/** The error of a call that comes after an HTTP answer has begun. */
export function alreadyResponded(): UpgradeError {
  return new UpgradeError(
    'ERR_KOAWS_RESPONDED',
    'ctx.ws was called after a response had begun: accept before a response is sent. If Koa answered too early, an earlier middleware lacks "await next()" or "return next()".',
  )
}

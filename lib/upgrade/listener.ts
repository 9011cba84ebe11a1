import { type IncomingMessage, type Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Context } from 'koa'
import { debugUpgrade, loggablePath, messageOf, pathOf } from '../debug.ts'
import { channels } from '../diagnostics.ts'
import { askOption } from '../validate.ts'
import { clientGone } from './acceptor.ts'
import type { Carrier } from './carrier.ts'
import { offerOf } from './first-upgrade.ts'
import { asksForWebSocket, type Offer, type Refusal } from './handshake.ts'
import type { UpgradeHost } from './host.ts'
import { http1 } from './http1.ts'
import { http2 } from './http2/carrier.ts'
import { asHttp2, ConnectListener } from './http2/listener.ts'
import { type Sessions, sessionOf } from './http2/sessions.ts'
import { claimWatch, hasNeighbours, installGate } from './neighbours.ts'
import { checkOrigin } from './origin.ts'
import { whenAnswered } from './pipelined.ts'
import { reinject } from './plain-upgrade.ts'
import { armResponse } from './response.ts'
import { guardSocket } from './socket-guard.ts'
import { type Handover, handOver } from './takeover.ts'
import { Upgrade, type UpgradeParts } from './upgrade.ts'

type ShouldUpgrade = (this: Server, req: IncomingMessage) => boolean
type UpgradeAware = Server & { shouldUpgradeCallback?: ShouldUpgrade }

/** The same symbol in every copy of this package: one listener for each server, whoever adds it. */
const kListener: unique symbol = Symbol.for('koaws.listener.1') as never
type Listened = Server & { [kListener]?: UpgradeListener }

/** The listener of a server, if it has one. */
export function listenerOf(server: Server): UpgradeListener | undefined {
  return (server as Listened)[kListener]
}

/** The listener of a server, added where there is none. */
export function listen(server: Server): UpgradeListener {
  const known = listenerOf(server)
  if (known) return known
  const added = new UpgradeListener(server)
  Object.defineProperty(server, kListener, { value: added, configurable: true })
  return added
}

/**
 * The one `upgrade` listener of a server, whatever the number of plugins and apps behind it. It owns
 * the raw socket first: it guards it against errors, turns away what is no handshake, strikes
 * credentials from the headers, and then runs the server's own request listeners with a real
 * response.
 */
export class UpgradeListener {
  readonly #server: UpgradeAware
  /** The plugins that take upgrades of this server. */
  readonly #hosts = new Set<UpgradeHost>()
  readonly #previous: ShouldUpgrade | undefined
  readonly #onUpgrade = (req: IncomingMessage, socket: Duplex, head: Buffer): void => {
    this.#take(req, socket, head, null, false)
  }
  readonly #shouldUpgrade: ShouldUpgrade
  /** Of a server that speaks HTTP/2. */
  readonly #connect: ConnectListener | null
  #openGate: (() => void) | null = null

  constructor(server: Server) {
    this.#server = server
    const speaksHttp2 = asHttp2(server)
    this.#connect = speaksHttp2 && new ConnectListener(speaksHttp2, this)
    this.#previous = this.#server.shouldUpgradeCallback
    const listener = this
    this.#shouldUpgrade = function (this: Server, req) {
      return listener.#wants(req)
    }
    server.on('upgrade', this.#onUpgrade)
    // Where Node asks, other protocols (h2c) stay ordinary requests, body and all.
    if (this.#previous) this.#server.shouldUpgradeCallback = this.#shouldUpgrade
  }

  add(host: UpgradeHost): void {
    this.#hosts.add(host)
  }

  has(host: UpgradeHost): boolean {
    return this.#hosts.has(host)
  }

  /** The sessions of a server that speaks HTTP/2. */
  get sessions(): Sessions | undefined {
    return this.#connect?.sessions
  }

  /** Forget a plugin; with the last one the listener goes. */
  delete(host: UpgradeHost): void {
    if (!this.#hosts.delete(host) || this.#hosts.size > 0) return
    const server = this.#server
    server.off('upgrade', this.#onUpgrade)
    if (this.#previous && server.shouldUpgradeCallback === this.#shouldUpgrade) {
      server.shouldUpgradeCallback = this.#previous
    }
    this.#openGate?.()
    this.#openGate = null
    this.#connect?.stop()
    Reflect.deleteProperty(server, kListener)
  }

  /** Ask Koa first, and hand on what it does not want. */
  gate(): void {
    this.#openGate ??= installGate(this.#server, this.#onUpgrade, (args, passOn) => {
      const [req, socket, head] = args as [IncomingMessage, Duplex, Buffer]
      this.#take(req, socket, head, passOn, true)
    })
  }

  /**
   * Go on with a request that Node gave to the middleware, now that Node has upgraded it. The chain
   * has begun, so a refusal is the chain's to answer.
   */
  resume(
    req: IncomingMessage,
    res: ServerResponse,
    handover: Handover,
  ): Promise<Upgrade | Refusal> {
    const { socket, head } = handover
    return new Promise((resolve, reject) => {
      const parts = { req, socket, head, res, takenOver: true, claimed: null, passOn: null }
      const open = (): void => resolve(this.#open({ ...parts, carrier: http1 }))
      whenAnswered(socket, res, open, () => reject(clientGone()))
    })
  }

  // ---- ConnectHost

  wants(req: IncomingMessage): boolean | null {
    return this.#isOurs(req)
  }

  take(req: IncomingMessage, stream: Duplex, res: ServerResponse, ours: true | null): void {
    if (ours === null) {
      this.#refuse(http2, stream, announced(req, FILTER_FAILED))
      return
    }
    const upgrade = this.#open({
      carrier: http2,
      req,
      socket: stream,
      head: NO_HEAD,
      res,
      takenOver: false,
      claimed: null,
      passOn: null,
    })
    if (upgrade instanceof Upgrade) this.#run(req, res)
    else this.#refuse(http2, stream, upgrade)
  }

  // ---- the rest

  #wants(req: IncomingMessage): boolean {
    if (this.#previous && !this.#previous.call(this.#server, req)) return false
    if (hasNeighbours(this.#server)) return true
    return asksForWebSocket(req) && this.#isOurs(req) !== false
  }

  #take(
    req: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    passOn: (() => void) | null,
    gated: boolean,
  ): void {
    // First, and before anything can wait: Node has just removed its own (an ECONNRESET would end
    // the process).
    guardSocket(socket)
    if (handOver(req, { socket, head })) return
    const ours = this.#isOurs(req)
    const neighbours = !gated && hasNeighbours(this.#server)
    if (!asksForWebSocket(req) || ours === false) {
      if (passOn) passOn()
      else if (!neighbours) {
        reinject(this.#server, req, socket, head)
      }
      return
    }
    const answer = (claimed: (() => boolean) | null): void => {
      if (ours === null) {
        whenAnswered(socket, null, () => this.#refuse(http1, socket, announced(req, FILTER_FAILED)))
      } else this.#answer(req, socket, head, claimed, passOn)
    }
    if (!neighbours) {
      answer(null)
      return
    }
    // Let every other listener have its say first.
    const claimed = claimWatch(socket)
    process.nextTick(() => {
      if (!claimed()) answer(claimed)
      else if (debugUpgrade.enabled) {
        debugUpgrade('%s: another upgrade listener took or ended it first', loggablePath(req.url))
      }
    })
  }

  /** The option `filter`: a socket that no plugin wants is left to others. Null: a filter failed. */
  #isOurs(req: IncomingMessage): boolean | null {
    let verdict: boolean | null = false
    for (const host of this.#hosts) {
      try {
        if (wants(host, req)) return true
      } catch (error) {
        debugUpgrade('filter failed: %s', messageOf(error))
        verdict = null
      }
    }
    return verdict
  }

  #answer(
    req: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    claimed: (() => boolean) | null,
    passOn: (() => void) | null,
  ): void {
    ;(socket as Socket).setTimeout?.(0)
    whenAnswered(socket, null, () => {
      if (socket.destroyed || socket.readableEnded) {
        socket.destroy()
        return
      }
      const res = new ServerResponse(req)
      const parts = { carrier: http1, req, socket, head, res, takenOver: false, claimed, passOn }
      const upgrade = this.#open(parts)
      if (!(upgrade instanceof Upgrade)) {
        this.#refuse(http1, socket, upgrade)
        return
      }
      res.assignSocket(socket as Socket)
      this.#run(req, res)
    })
  }

  /** From here on it is a request as any other. */
  #run(req: IncomingMessage, res: ServerResponse): void {
    this.#server.emit('request', req, res as ServerResponse & { req: IncomingMessage })
  }

  /** Strictness and, where they are certain, origin and limits: an upgrade, or what to answer. */
  #open(parts: Omit<UpgradeParts, 'offer'>): Upgrade | Refusal {
    const { carrier, req, takenOver } = parts
    const { offer, restore } = offerOf(req)
    const malformed = carrier.check(req) ?? (offer ? null : MALFORMED_OFFER)
    const only = this.#onlyHost
    const refusal = malformed ?? only?.draining ?? null
    if ((refusal || !offer) && !takenOver) return announced(req, refusal ?? MALFORMED_OFFER)
    const upgrade = new Upgrade({ ...parts, offer: offer ?? NO_OFFER })
    armResponse(upgrade)
    if (refusal || !offer) {
      // The chain has begun, and answers it: whole, and with the end of the connection.
      upgrade.refusal = refusal ?? MALFORMED_OFFER
      return upgrade.refusal
    }
    if (restore) upgrade.onAbandon(restore)
    upgrade.setDeadline(this.#timeout)
    if (only) {
      const early = admitEarly(upgrade, only)
      if (early) {
        upgrade.refusal = early
        if (!takenOver) upgrade.settle()
        return early
      }
    }
    return upgrade
  }

  #refuse(carrier: Carrier, socket: Duplex, refusal: Refusal): void {
    debugUpgrade('refused: %s %s', refusal.code, refusal.message)
    for (const host of this.#hosts) host.count(countName(refusal))
    carrier.refuse(socket, refusal)
  }

  get #onlyHost(): UpgradeHost | null {
    if (this.#hosts.size !== 1) return null
    return this.#hosts.values().next().value as UpgradeHost
  }

  /** Several plugins: none may be cut short before it is reached; each sets its own then. */
  get #timeout(): number {
    let longest = 0
    for (const host of this.#hosts) longest = Math.max(longest, host.handshakeTimeout)
    return longest
  }
}

const NO_HEAD = Buffer.alloc(0)
const NO_OFFER: Offer = { subprotocols: [], bearers: [] }

/** A plugin's answer to `filter`, which must be given at once. */
export function wants({ filter }: UpgradeHost, req: IncomingMessage): boolean {
  return !filter || Boolean(askOption('filter', () => filter(req)))
}

/** Publish a refusal for which no `Upgrade` was made. */
function announced(req: IncomingMessage, refusal: Refusal): Refusal {
  if (channels.upgrade.hasSubscribers) {
    const { status, code } = refusal
    channels.upgrade.publish({ path: pathOf(req.url), status, code, duration: 0 })
  }
  return refusal
}

const FILTER_FAILED: Refusal = {
  code: 'ERR_KOAWS_OPTIONS',
  status: 500,
  message: 'Internal Server Error',
}

const MALFORMED_OFFER: Refusal = {
  code: 'ERR_KOAWS_BAD_HANDSHAKE',
  status: 400,
  message: 'Sec-WebSocket-Protocol is no list of tokens.',
}

/**
 * Origin and limits of the only plugin, before anything of the application runs. Where it depends
 * on a proxy setting that is not known yet, the plugin looks when it is reached.
 */
function admitEarly(upgrade: Upgrade, host: UpgradeHost): Refusal | null {
  const { headers } = upgrade.req
  const forwarded = headers['x-forwarded-host'] ?? headers['x-forwarded-for']
  if (host.proxy === undefined && (forwarded !== undefined || host.limits.byAddress)) return null
  try {
    return admit(upgrade, host, host.app)
  } catch (error) {
    // A function of the options threw: it will again when the plugin is reached, and Koa answers.
    debugUpgrade('an option threw: %s', messageOf(error))
    return null
  }
}

/** Check what belongs to a plugin, once for each upgrade that passes it. */
export function admit(
  upgrade: Upgrade,
  host: UpgradeHost,
  app: Context['app'] | null,
): Refusal | null {
  if (upgrade.checkedFor === host) return null
  const refusal = checkOrigin(host.origin, upgrade.req, app?.proxy === true)
  if (refusal) return refusal
  if (upgrade.seat) upgrade.checkedFor?.limits.release(upgrade.seat)
  upgrade.seat = undefined
  if (host.limits.active) {
    const address = host.limits.byAddress ? host.addressOf(upgrade.req, app) : ''
    const seat = { address, session: sessionOf(upgrade.req) ?? null }
    const full = host.limits.acquire(seat)
    if (full) return full
    upgrade.seat = seat
  }
  upgrade.checkedFor = host
  upgrade.setHost(host)
  return null
}

/** The name of a refusal in `status().drops`. */
export function countName({ code, limit }: Refusal): string {
  if (code === 'ERR_KOAWS_ORIGIN') return 'origin'
  if (code === 'ERR_KOAWS_DRAINING') return 'draining'
  if (code === 'ERR_KOAWS_OPTIONS') return 'filter'
  return limit ?? 'badHandshake'
}

import { type IncomingMessage, type Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Context } from 'koa'
import { debugUpgrade, loggablePath, messageOf, pathOf } from '../debug.ts'
import { channels } from '../diagnostics.ts'
import { askOption } from '../validate.ts'
import { clientGone } from './acceptor.ts'
import { offerOf } from './first-upgrade.ts'
import { asksForWebSocket, checkHandshake, type Offer, type Refusal } from './handshake.ts'
import type { UpgradeHost } from './host.ts'
import { claimWatch, hasNeighbours, installGate } from './neighbours.ts'
import { checkOrigin } from './origin.ts'
import { whenAnswered } from './pipelined.ts'
import { reinject } from './plain-upgrade.ts'
import { writeRefusal } from './refusal.ts'
import { armResponse } from './response.ts'
import { guardSocket } from './socket-guard.ts'
import { type Handover, handOver } from './takeover.ts'
import { Upgrade } from './upgrade.ts'

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
  #openGate: (() => void) | null = null

  constructor(server: Server) {
    this.#server = server
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
      const open = (): void => resolve(this.#open(req, socket, head, res, null, null))
      whenAnswered(socket, res, open, () => reject(clientGone()))
    })
  }

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
        whenAnswered(socket, null, () => this.#refuse(socket, announced(req, FILTER_FAILED)))
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
      const upgrade = this.#open(req, socket, head, res, claimed, passOn)
      if (!(upgrade instanceof Upgrade)) {
        this.#refuse(socket, upgrade)
        return
      }
      res.assignSocket(socket as Socket)
      this.#server.emit('request', req, res as ServerResponse & { req: IncomingMessage })
    })
  }

  /** Strictness and, where they are certain, origin and limits: an upgrade, or what to answer. */
  #open(
    req: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    res: ServerResponse,
    claimed: (() => boolean) | null,
    passOn: (() => void) | null,
  ): Upgrade | Refusal {
    const { offer, restore } = offerOf(req)
    const malformed = checkHandshake(req) ?? (offer ? null : MALFORMED_OFFER)
    const only = this.#onlyHost
    const refusal = malformed ?? only?.draining ?? null
    const takenOver = res.socket !== null
    if ((refusal || !offer) && !takenOver) return announced(req, refusal ?? MALFORMED_OFFER)
    armResponse(res)
    const upgrade = new Upgrade({
      req,
      socket,
      head,
      res,
      offer: offer ?? NO_OFFER,
      takenOver,
      claimed,
      passOn,
    })
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

  #refuse(socket: Duplex, refusal: Refusal): void {
    debugUpgrade('refused: %s %s', refusal.code, refusal.message)
    for (const host of this.#hosts) host.count(countName(refusal))
    writeRefusal(socket, refusal)
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
  if (upgrade.address !== undefined) upgrade.checkedFor?.limits.release(upgrade.address)
  upgrade.address = undefined
  if (host.limits.active) {
    const address = host.limits.byAddress ? host.addressOf(upgrade.req, app) : ''
    const full = host.limits.acquire(address)
    if (full) return full
    upgrade.address = address
  }
  upgrade.checkedFor = host
  upgrade.setHost(host)
  return null
}

/** The name of a refusal in `status().drops`. */
export function countName({ code, status }: Refusal): string {
  if (code === 'ERR_KOAWS_ORIGIN') return 'origin'
  if (code === 'ERR_KOAWS_DRAINING') return 'draining'
  if (code === 'ERR_KOAWS_OPTIONS') return 'filter'
  if (code === 'ERR_KOAWS_TOO_MANY') return status === 429 ? 'maxPerAddress' : 'maxConnections'
  return 'badHandshake'
}

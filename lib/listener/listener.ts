// The one `upgrade` listener of a server: the first owner of each raw socket.

import { type IncomingMessage, type Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { debugUpgrade, loggablePath } from '../debug.ts'
import { clientGone } from '../upgrade/acceptor.ts'
import { asksForWebSocket, type Refusal } from '../upgrade/handshake.ts'
import { http1 } from '../upgrade/http1.ts'
import { whenAnswered } from '../upgrade/pipelined.ts'
import { guardSocket } from '../upgrade/socket-guard.ts'
import { Upgrade } from '../upgrade/upgrade.ts'
import type { AdmissionHost } from './admission.ts'
import { asHttp2, ConnectListener } from './connect.ts'
import { claimWatch, hasNeighbours, installGate } from './neighbours.ts'
import { reinject } from './plain-upgrade.ts'
import { ServerPlugins } from './plugins.ts'
import type { Sessions } from './sessions.ts'
import { type Handover, handOver } from './takeover.ts'

type ShouldUpgrade = (this: Server, req: IncomingMessage) => boolean
type UpgradeAware = Server & { shouldUpgradeCallback?: ShouldUpgrade }

/** The same symbol in every copy of this package, so a server has one listener. */
const kListener: unique symbol = Symbol.for('koaws.listener.1') as never
type Listened = Server & { [kListener]?: UpgradeListener }

/** The listener of a server, if it has one. */
export function listenerOf(server: Listened): UpgradeListener | undefined {
  return server[kListener]
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
 * The one `upgrade` listener of a server, for all plugins and apps behind it. It owns
 * the raw socket first: it guards it against errors, turns away what is no handshake, strikes
 * credentials from the headers, and then runs the server's own request listeners with a real
 * response.
 */
export class UpgradeListener {
  readonly #server: UpgradeAware
  readonly #plugins = new ServerPlugins()
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
    this.#connect = speaksHttp2 && new ConnectListener(speaksHttp2, this.#plugins)
    this.#previous = this.#server.shouldUpgradeCallback
    const listener = this
    this.#shouldUpgrade = function (this: Server, req) {
      return listener.#shouldTake(req)
    }
    server.on('upgrade', this.#onUpgrade)
    // Where Node asks, other protocols (h2c) stay ordinary requests, body and all.
    if (this.#previous) this.#server.shouldUpgradeCallback = this.#shouldUpgrade
  }

  add(host: AdmissionHost): void {
    this.#plugins.add(host)
  }

  has(host: AdmissionHost): boolean {
    return this.#plugins.has(host)
  }

  /** The sessions of a server that speaks HTTP/2. */
  get sessions(): Sessions | undefined {
    return this.#connect?.sessions
  }

  /** Forget a plugin; with the last one the listener goes. */
  delete(host: AdmissionHost): void {
    if (!this.#plugins.delete(host)) return
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
      const open = (): void => {
        const opened = this.#plugins.open({ ...parts, carrier: http1 })
        // Middleware in front of the plugin did not await it: Koa has answered meanwhile.
        if (res.writableEnded && opened instanceof Upgrade) opened.respondedAlready()
        resolve(opened)
      }
      whenAnswered(socket, res, open, () => reject(clientGone()))
    })
  }

  #shouldTake(req: IncomingMessage): boolean {
    if (this.#previous && !this.#previous.call(this.#server, req)) return false
    if (hasNeighbours(this.#server)) return true
    return asksForWebSocket(req) && this.#plugins.isOurs(req) !== false
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
    const ours = this.#plugins.isOurs(req)
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
        whenAnswered(socket, null, () => this.#plugins.refuseUnfiltered(http1, req, socket))
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
      const upgrade = this.#plugins.open(parts)
      if (!(upgrade instanceof Upgrade)) {
        this.#plugins.refuse(http1, socket, upgrade)
        return
      }
      res.assignSocket(socket as Socket)
      // From here on it is a request as any other.
      this.#server.emit('request', req, res)
    })
  }
}

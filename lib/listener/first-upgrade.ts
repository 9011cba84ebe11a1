// The state of an upgrade as it arrived; strips credentials before any middleware runs.
import { subscribe } from 'node:diagnostics_channel'
import type { IncomingMessage, Server } from 'node:http'
import { performance } from 'node:perf_hooks'
import { mayHoldBearer } from '../protocol/subprotocol.ts'
import { type Arrival, asksForWebSocket, type Offer, takeOffer } from '../upgrade/handshake.ts'

/** The offer of a handshake, and a function that restores the stripped headers. */
export interface TakenOffer {
  /** Null for a malformed list. */
  readonly offer: Offer | null
  readonly restore: (() => void) | null
}

/**
 * The offers of requests. The copies of this package in a process share them: each copy watches all
 * servers, so a bearer entry may be stripped by another copy than the one of the application.
 */
const kTaken: unique symbol = Symbol.for('koaws.offers.1') as never
const shared: object & { [kTaken]?: WeakMap<IncomingMessage, TakenOffer> } = globalThis
const taken = shared[kTaken] ?? new WeakMap<IncomingMessage, TakenOffer>()
shared[kTaken] = taken

/** Reads the offer of a handshake and strips credentials from its headers, once per request. */
export function offerOf(req: IncomingMessage): TakenOffer {
  const known = taken.get(req)
  if (known) return known
  const original = req.headers['sec-websocket-protocol']
  if (original === undefined || !mayHoldBearer(original)) {
    return { offer: takeOffer(req), restore: null }
  }
  const rawHeaders = [...req.rawHeaders]
  const offer = takeOffer(req)
  const restore = (): void => {
    req.headers['sec-websocket-protocol'] = original
    req.rawHeaders.splice(0, req.rawHeaders.length, ...rawHeaders)
  }
  const result = { offer, restore }
  taken.set(req, result)
  return result
}

let watching = false

/**
 * Strips bearer entries from first upgrades. Without `attach()`, the first upgrade of a server
 * reaches the middleware as a plain request, and middleware before the plugin would see the
 * credential. Node publishes each request on a diagnostics channel before any listener, so strip it
 * there. Only servers without an `upgrade` listener are affected, and only bearer entries are
 * removed.
 */
export function watchFirstUpgrades(): void {
  if (watching) return
  watching = true
  subscribe('http.server.request.start', strikeFirst)
}

function strikeFirst(message: unknown): void {
  const { request, server } = message as { request: IncomingMessage; server: Server }
  if (server.listenerCount('upgrade') > 0) return
  if (!asksForWebSocket(request)) return
  recordArrival(request)
  const offered = request.headers['sec-websocket-protocol']
  if (offered !== undefined && mayHoldBearer(offered)) offerOf(request)
}

const arrivals = new WeakMap<IncomingMessage, Arrival>()

/** Returns when and how an upgrade arrived; recorded before any middleware runs. */
export function recordArrival(req: IncomingMessage): Arrival {
  const arrival = arrivalOf(req)
  arrivals.set(req, arrival)
  return arrival
}

/** Returns when and how an upgrade arrived: now, if nothing has recorded it. */
export function arrivalOf(req: IncomingMessage): Arrival {
  return arrivals.get(req) ?? { at: performance.now(), url: req.url }
}

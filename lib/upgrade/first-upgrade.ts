import { subscribe } from 'node:diagnostics_channel'
import type { IncomingMessage, Server } from 'node:http'
import { mayHoldBearer } from '../protocol/subprotocol.ts'
import { asksForWebSocket, type Offer, takeOffer } from './handshake.ts'

/** What was offered in a handshake, and how to put back what was struck from its headers. */
export interface TakenOffer {
  /** Null: the list is malformed. */
  readonly offer: Offer | null
  readonly restore: (() => void) | null
}

const taken = new WeakMap<IncomingMessage, TakenOffer>()

/** Read the offer of a handshake and strike credentials from its headers, once for each request. */
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
 * The first upgrade of a server that nobody attached reaches the middleware as a request, and what
 * stands before the plugin would see its headers as they came, credential and all. Node announces
 * each request before anybody gets it: the bearer entries of such an upgrade are struck there. It
 * looks at servers without an `upgrade` listener only, and touches nothing but those entries.
 */
export function watchFirstUpgrades(): void {
  if (watching) return
  watching = true
  subscribe('http.server.request.start', strikeFirst)
}

function strikeFirst(message: unknown): void {
  const { request, server } = message as { request: IncomingMessage; server: Server }
  if (server.listenerCount('upgrade') > 0) return
  const offered = request.headers['sec-websocket-protocol']
  if (offered !== undefined && mayHoldBearer(offered) && asksForWebSocket(request)) offerOf(request)
}

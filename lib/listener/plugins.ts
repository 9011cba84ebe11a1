// The plugins of one server: their filters, strictness, and an `Upgrade` or a refusal.

import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { debugUpgrade, messageOf } from '../debug.ts'
import type { Carrier } from '../upgrade/carrier.ts'
import type { Offer, Refusal } from '../upgrade/handshake.ts'
import { armResponse } from '../upgrade/response.ts'
import { type OpenParts, Upgrade } from '../upgrade/upgrade.ts'
import { type AdmissionHost, admitEarly, announced, countName, passesFilter } from './admission.ts'
import { arrivalOf, offerOf } from './first-upgrade.ts'

/** The plugins that take upgrades of one server, and what they decide before the chain runs. */
export class ServerPlugins {
  readonly #hosts = new Set<AdmissionHost>()
  /** The forwarded address of a client; undefined unless all plugins know their app and trust its proxy. */
  readonly #clientAddress = (req: IncomingMessage): string | undefined => {
    const addresses = new Set([...this.#hosts].map((host) => host.clientAddress(req)))
    return addresses.size === 1 ? [...addresses][0] : undefined
  }

  /** The only plugin, if there is one; and the longest `handshakeTimeout` of all. */
  #only: AdmissionHost | null = null
  #timeout = 0

  add(host: AdmissionHost): void {
    this.#hosts.add(host)
    this.#changed()
  }

  has(host: AdmissionHost): boolean {
    return this.#hosts.has(host)
  }

  /** Forget a plugin; true where it was the last. */
  delete(host: AdmissionHost): boolean {
    const found = this.#hosts.delete(host)
    this.#changed()
    return found && this.#hosts.size === 0
  }

  /** The longest timeout counts, so that no chain is cut short before its plugin, which then sets its own. */
  #changed(): void {
    const all = [...this.#hosts]
    this.#only = all.length === 1 ? (all[0] ?? null) : null
    this.#timeout = Math.max(0, ...all.map((host) => host.handshakeTimeout))
  }

  /**
   * The option `filter` of all plugins: false where every one of them leaves the socket to other listeners,
   * null where a filter threw and no other plugin takes the socket.
   */
  isOurs(req: IncomingMessage): boolean | null {
    let verdict: boolean | null = false
    for (const host of this.#hosts) {
      try {
        if (passesFilter(host, req)) return true
      } catch (error) {
        debugUpgrade('the option "filter" failed: %s', messageOf(error))
        verdict = null
      }
    }
    return verdict
  }

  /** Strictness and, where they are certain, origin and limits: an upgrade, or what to answer. */
  open(parts: OpenParts): Upgrade | Refusal {
    const { carrier, req, takenOver } = parts
    const { offer, restore } = offerOf(req)
    const malformed = carrier.check(req) ?? (offer ? null : MALFORMED_OFFER)
    const only = this.#only
    const refusal = malformed ?? only?.draining ?? null
    if ((refusal || !offer) && !takenOver) return this.#announced(req, refusal ?? MALFORMED_OFFER)
    // Two objects: V8 copies a spread of so many properties one by one.
    const upgrade = new Upgrade(parts, {
      clientAddress: this.#clientAddress,
      arrival: arrivalOf(req),
      offer: offer ?? NO_OFFER,
    })
    armResponse(upgrade)
    if (refusal || !offer) {
      // The chain has begun, and answers it: whole, and with the end of the connection.
      return upgrade.noteRefusal(refusal ?? MALFORMED_OFFER)
    }
    if (restore) upgrade.onAbandon(restore)
    upgrade.setDeadline(this.#timeout)
    const early = only && admitEarly(upgrade, only)
    if (!only || !early) return upgrade
    upgrade.setHost(only) // which decides
    upgrade.noteRefusal(early)
    if (!takenOver) upgrade.settle()
    return early
  }

  /** Answer a request that the application does not see, and count it. */
  refuse(carrier: Carrier, socket: Duplex, refusal: Refusal): void {
    for (const host of this.#hosts) host.count(countName(refusal))
    carrier.refuse(socket, refusal)
  }

  /** Refuse a request for which a filter threw. */
  refuseUnfiltered(carrier: Carrier, req: IncomingMessage, socket: Duplex): void {
    this.refuse(carrier, socket, this.#announced(req, FILTER_FAILED))
  }

  #announced(req: IncomingMessage, refusal: Refusal): Refusal {
    return announced(req, refusal, this.#clientAddress(req), this.#only?.instance)
  }
}

const NO_OFFER: Offer = { subprotocols: [], bearers: [] }

const FILTER_FAILED: Refusal = {
  code: 'ERR_KOAWS_OPTIONS',
  status: 500,
  message: 'Internal Server Error',
}

const MALFORMED_OFFER: Refusal = {
  code: 'ERR_KOAWS_BAD_HANDSHAKE',
  status: 400,
  message: 'Sec-WebSocket-Protocol must be a list of tokens (RFC 9110), each of them once.',
}

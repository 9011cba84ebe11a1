// Validates a handshake, and reads the offered subprotocols.

import type { IncomingMessage } from 'node:http'
import type { ErrorCode } from '../error-table.ts'
import {
  isBearerEntry,
  KOAWS_RESUME,
  mayHoldBearer,
  parseSubprotocols,
} from '../protocol/subprotocol.ts'

/** An answer of koaws itself to a request that the application must not see. */
export interface Refusal {
  readonly code: ErrorCode
  readonly status: number
  readonly message: string
  readonly headers?: Record<string, string>
  /** The option with the limit that was reached. */
  readonly limit?: string
}

/** The entries of `Sec-WebSocket-Protocol`: subprotocols, and bearer entries with a credential. */
export interface Offer {
  readonly subprotocols: readonly string[]
  readonly bearers: readonly string[]
}

/** An upgrade as it arrived. */
export interface Arrival {
  /** The time on the clock of `performance`, in milliseconds. */
  readonly at: number
  /** The URL before any mount or rewrite. */
  readonly url: string | undefined
}

/** What the listener finds out about a handshake. */
export interface Findings {
  readonly offer: Offer
  readonly arrival: Arrival
  /** The forwarded address of a client, where all plugins of the server trust their proxy. */
  readonly clientAddress: (req: IncomingMessage) => string | undefined
}

const NOTHING_OFFERED: Offer = { subprotocols: [], bearers: [] }

/** 16 bytes in base64 (RFC 6455, section 4.1, item 7). */
const KEY = /^[+/0-9A-Za-z]{22}==$/
/** A host with an optional port (RFC 9110, section 7.2); without a user, a path or a list. */
export const HOST: RegExp = /^(?:\[[0-9a-f:.]+\]|[^\s/?#@:\\,[\]]+)(?::\d{1,5})?$/i
const WEBSOCKET = /(?:^|,)\s*websocket\s*(?:,|$)/i
const UPGRADE = /(?:^|,)\s*upgrade\s*(?:,|$)/i

/** Returns whether a request asks for a WebSocket, well-formed or not. */
export function asksForWebSocket(req: IncomingMessage): boolean {
  const { upgrade, connection } = req.headers
  if (upgrade === undefined || connection === undefined) return false
  return (upgrade === 'websocket' || WEBSOCKET.test(upgrade)) && UPGRADE.test(connection)
}

/**
 * Returns the problem with a handshake, or null (RFC 6455, section 4.2.1). It is called before any
 * code of the application, so a malformed handshake cannot reach the application.
 */
export function checkHandshake(req: IncomingMessage): Refusal | null {
  const { headers } = req
  if (req.method !== 'GET') {
    return bad(405, `A WebSocket handshake is a GET request, not ${req.method}.`, { Allow: 'GET' })
  }
  if (req.httpVersion !== '1.1') {
    return bad(400, `A WebSocket handshake needs HTTP/1.1, not HTTP/${req.httpVersion}.`)
  }
  if (headers.upgrade?.toLowerCase() !== 'websocket') {
    return bad(400, 'The Upgrade header of a WebSocket handshake must be exactly "websocket".')
  }
  if (!HOST.test(headers.host ?? '') || countHeader(req, 'host') !== 1) {
    return bad(
      400,
      'A WebSocket handshake has exactly one Host header, with a host and perhaps a port.',
    )
  }
  if (!KEY.test(headers['sec-websocket-key'] ?? '')) {
    return bad(400, 'Sec-WebSocket-Key is missing, or is not 16 bytes in base64.')
  }
  if (declaresBody(req)) return bad(400, 'A WebSocket handshake has no body.')
  return headers['sec-websocket-version'] === '13' ? null : otherVersion(426)
}

/** Returns the refusal of an unsupported version (RFC 6455, section 4.4). */
export function otherVersion(status: number): Refusal {
  return {
    code: 'ERR_KOAWS_VERSION',
    status,
    message: 'Sec-WebSocket-Version must be 13.',
    headers: { 'Sec-WebSocket-Version': '13' },
  }
}

/** Returns whether the headers announce a body. */
export function declaresBody({ headers }: IncomingMessage): boolean {
  const length = headers['content-length']
  return (length !== undefined && length !== '0') || headers['transfer-encoding'] !== undefined
}

/**
 * Returns the offered subprotocols, and removes the bearer entries from `headers` and `rawHeaders`.
 * Loggers of the application therefore never see the credential. Returns null when the list is
 * malformed.
 */
export function takeOffer(req: IncomingMessage): Offer | null {
  const header = req.headers['sec-websocket-protocol']
  if (header === undefined) return NOTHING_OFFERED
  const names = parseSubprotocols(header)
  if (mayHoldBearer(header)) strikeBearers(req)
  if (names === null) return null
  const subprotocols = names.filter((name) => !isBearerEntry(name) && name !== KOAWS_RESUME)
  if (subprotocols.length === names.length) return { subprotocols, bearers: [] }
  return { subprotocols, bearers: names.filter(isBearerEntry) }
}

/** Removes the bearer entries from the headers of a request. */
function strikeBearers(req: IncomingMessage): void {
  const kept = withoutBearers(req.headers['sec-websocket-protocol'] as string)
  if (kept) req.headers['sec-websocket-protocol'] = kept
  else delete req.headers['sec-websocket-protocol']
  const raw = req.rawHeaders
  for (let i = raw.length - 2; i >= 0; i -= 2) {
    if ((raw[i] as string).toLowerCase() !== 'sec-websocket-protocol') continue
    // The line stays even when empty: `headersDistinct` of Node has one entry per line.
    raw[i + 1] = withoutBearers(raw[i + 1] as string)
  }
}

function withoutBearers(header: string): string {
  return header
    .split(',')
    .filter((name) => !isBearerEntry(name.trim()))
    .join(',')
    .trim()
}

/** Returns how often a header was sent. Node keeps one value of some headers, and joins others. */
export function countHeader(req: IncomingMessage, name: string): number {
  const raw = req.rawHeaders
  let count = 0
  for (let i = 0; i < raw.length; i += 2) {
    const header = raw[i] as string
    if (header.length === name.length && header.toLowerCase() === name) count++
  }
  return count
}

/** Returns the refusal of a malformed handshake. */
export function bad(status: number, message: string, headers?: Record<string, string>): Refusal {
  const refusal = { code: 'ERR_KOAWS_BAD_HANDSHAKE', status, message } as const
  return headers ? { ...refusal, headers } : refusal
}

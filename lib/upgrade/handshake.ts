import type { IncomingMessage } from 'node:http'
import type { ErrorCode } from '../errors.ts'
import { isBearerEntry, mayHoldBearer, parseSubprotocols } from '../protocol/subprotocol.ts'

/** An answer of ours to a request that the application shall not see. */
export interface Refusal {
  readonly code: ErrorCode
  readonly status: number
  readonly message: string
  readonly headers?: Record<string, string>
  /** The option that was reached. */
  readonly limit?: string
}

/** What a client offers in `Sec-WebSocket-Protocol`: protocols, and carriers of a credential. */
export interface Offer {
  readonly subprotocols: readonly string[]
  readonly bearers: readonly string[]
}

const NOTHING_OFFERED: Offer = { subprotocols: [], bearers: [] }

/** 16 bytes in base64 (RFC 6455, section 4.1, item 7). */
const KEY = /^[+/0-9A-Za-z]{22}==$/
/** A host and perhaps a port (RFC 9110, section 7.2); no user, no path, no list. */
export const HOST: RegExp = /^(?:\[[0-9a-f:.]+\]|[^\s/?#@:\\,[\]]+)(?::\d{1,5})?$/i
const WEBSOCKET = /(?:^|,)\s*websocket\s*(?:,|$)/i
const UPGRADE = /(?:^|,)\s*upgrade\s*(?:,|$)/i

/** Whether the request asks for the WebSocket protocol, well-formed or not. */
export function asksForWebSocket(req: IncomingMessage): boolean {
  const { upgrade, connection } = req.headers
  if (upgrade === undefined || connection === undefined) return false
  return (upgrade === 'websocket' || WEBSOCKET.test(upgrade)) && UPGRADE.test(connection)
}

/**
 * What is wrong with a handshake, or null (RFC 6455, section 4.2.1). Nothing of the application
 * has run, so nothing of the application can be reached by a handshake that is not one.
 */
export function checkHandshake(req: IncomingMessage): Refusal | null {
  const { headers } = req
  if (req.method !== 'GET') {
    return bad(405, `A WebSocket handshake is a GET request, not ${req.method}.`, { Allow: 'GET' })
  }
  if (req.httpVersion !== '1.1') {
    return bad(400, 'A WebSocket handshake needs HTTP/1.1.')
  }
  if (headers.upgrade?.toLowerCase() !== 'websocket') {
    return bad(400, 'The Upgrade header of a WebSocket handshake is "websocket", and nothing else.')
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

/** The refusal of a version that is not spoken, with the one that is (RFC 6455, section 4.4). */
export function otherVersion(status: number): Refusal {
  return {
    code: 'ERR_KOAWS_VERSION',
    status,
    message: 'Sec-WebSocket-Version must be 13.',
    headers: { 'Sec-WebSocket-Version': '13' },
  }
}

/** Whether a request says that a body follows. */
export function declaresBody({ headers }: IncomingMessage): boolean {
  const length = headers['content-length']
  return (length !== undefined && length !== '0') || headers['transfer-encoding'] !== undefined
}

/**
 * Read the offered subprotocols and strike the bearer entries from `headers` and `rawHeaders`, so
 * that no logger of the application ever holds the credential. Null: the list is malformed.
 */
export function takeOffer(req: IncomingMessage): Offer | null {
  const header = req.headers['sec-websocket-protocol']
  if (header === undefined) return NOTHING_OFFERED
  const names = parseSubprotocols(header)
  if (mayHoldBearer(header)) strikeBearers(req)
  if (names === null) return null
  const subprotocols = names.filter((name) => !isBearerEntry(name))
  if (subprotocols.length === names.length) return { subprotocols, bearers: [] }
  return { subprotocols, bearers: names.filter(isBearerEntry) }
}

/** The protocol header without the entries that carry a credential. */
function strikeBearers(req: IncomingMessage): void {
  const kept = withoutBearers(req.headers['sec-websocket-protocol'] as string)
  if (kept) req.headers['sec-websocket-protocol'] = kept
  else delete req.headers['sec-websocket-protocol']
  const raw = req.rawHeaders
  for (let i = raw.length - 2; i >= 0; i -= 2) {
    if ((raw[i] as string).toLowerCase() !== 'sec-websocket-protocol') continue
    // The line stays, if empty: Node counts them for `headersDistinct`.
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

/** How often a header was sent; Node keeps one of some, and joins others. */
export function countHeader(req: IncomingMessage, name: string): number {
  const raw = req.rawHeaders
  let count = 0
  for (let i = 0; i < raw.length; i += 2) {
    const header = raw[i] as string
    if (header.length === name.length && header.toLowerCase() === name) count++
  }
  return count
}

/** A refusal of a handshake that is none. */
export function bad(status: number, message: string, headers?: Record<string, string>): Refusal {
  const refusal = { code: 'ERR_KOAWS_BAD_HANDSHAKE', status, message } as const
  return headers ? { ...refusal, headers } : refusal
}

// Parses `Sec-WebSocket-Protocol`, and bearer entries that carry a credential.

/** The subprotocol of the message protocol of koaws. */
export const KOAWS_V1 = 'koaws.v1'

/** The offer of a client that knows room history. A server never selects it. */
export const KOAWS_RESUME = 'koaws.resume'

const BEARER = 'koaws.bearer.'
const BEARER64 = 'koaws.bearer64.'

/** The characters of a token: RFC 9110, section 5.6.2. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

/**
 * Returns the names in a `Sec-WebSocket-Protocol` header, in the client's order. Returns null for a
 * malformed list: an empty element, an invalid token, or a duplicate (RFC 6455, section 4.1, item
 * 10).
 */
export function parseSubprotocols(header: string): string[] | null {
  const names = header.split(',').map((name) => name.trim())
  if (!names.every((name) => TOKEN.test(name))) return null
  return names.length > 1 && new Set(names).size !== names.length ? null : names
}

/** Returns whether a header may hold a bearer entry: cheap, and false for most clients. */
export function mayHoldBearer(header: string): boolean {
  return header.includes('koaws.bearer')
}

/** Returns whether an offered subprotocol is a bearer entry. */
export function isBearerEntry(name: string): boolean {
  return name.startsWith(BEARER) || name.startsWith(BEARER64)
}

/** Returns the credential of a bearer entry, or null when it is empty or not base64url of UTF-8. */
export function bearerToken(name: string): string | null {
  if (name.startsWith(BEARER)) return name.slice(BEARER.length) || null
  const encoded = name.slice(BEARER64.length)
  if (!/^[\w-]+$/.test(encoded)) return null
  const token = Buffer.from(encoded, 'base64url').toString('utf8')
  // The credential becomes a header value: reject control characters and characters beyond ASCII.
  return /^[\x21-\x7e]+$/.test(token) ? token : null
}

/** Returns whether the client of a handshake knows room history. */
export function offersResume({ headers }: { headers: NodeJS.Dict<string | string[]> }): boolean {
  const offered = headers['sec-websocket-protocol']
  return typeof offered === 'string' && /(?:^|,)\s*koaws\.resume\s*(?:,|$)/.test(offered)
}

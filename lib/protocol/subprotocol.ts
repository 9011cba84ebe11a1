/** The subprotocol of koaws' own message protocol. */
export const KOAWS_V1 = 'koaws.v1'

const BEARER = 'koaws.bearer.'
const BEARER64 = 'koaws.bearer64.'

/** RFC 9110, section 5.6.2: the characters of a token. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

/**
 * The names in a `Sec-WebSocket-Protocol` header, in the client's order, or null when the list is
 * malformed: an empty element, something that is no token, or a name offered twice
 * (RFC 6455, section 4.1, item 10).
 */
export function parseSubprotocols(header: string): string[] | null {
  const names = header.split(',')
  for (let i = 0; i < names.length; i++) {
    const name = (names[i] as string).trim()
    if (!TOKEN.test(name)) return null
    names[i] = name
  }
  return names.length > 1 && new Set(names).size !== names.length ? null : names
}

/** Whether a header could hold an entry that carries a credential; cheap, for the common no. */
export function mayHoldBearer(header: string): boolean {
  return header.includes('koaws.bearer')
}

/** Whether an offered subprotocol is a carrier of a credential and no protocol. */
export function isBearerEntry(name: string): boolean {
  return name.startsWith(BEARER) || name.startsWith(BEARER64)
}

/** The credential of a bearer entry, or null when it is empty or no base64url of UTF-8. */
export function bearerToken(name: string): string | null {
  if (name.startsWith(BEARER)) return name.slice(BEARER.length) || null
  const encoded = name.slice(BEARER64.length)
  if (!/^[\w-]+$/.test(encoded)) return null
  const token = Buffer.from(encoded, 'base64url').toString('utf8')
  // It becomes the value of a header: no control characters, nothing beyond ASCII.
  return /^[\x21-\x7e]+$/.test(token) ? token : null
}

// The token of a client, and its form in the handshake.

/** A token, or no token. */
export type Token = string | null | undefined

/** The source of the token: the token itself, or a function that returns a new one. */
export type TokenSource = Token | (() => Token | Promise<Token>)

const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

/** The characters of a subprotocol name: RFC 9110, section 5.6.2. */
const RFC_TOKEN = /^[\w!#$%&'*+\-.^`|~]+$/

/** Returns the subprotocol that carries a token in the handshake: docs/protocol.md, section 1. */
export function bearerEntry(token: string): string {
  if (RFC_TOKEN.test(token)) return `koaws.bearer.${token}`
  return `koaws.bearer64.${base64url(token)}`
}

/** Returns base64url without padding. `btoa` may be absent, and rejects most of Unicode. */
function base64url(text: string): string {
  return encodeURIComponent(text)
    .replace(/%(..)|./g, (char, hex) =>
      (hex ? Number.parseInt(hex, 16) : char.charCodeAt(0)).toString(2).padStart(8, '0'),
    )
    .replace(/.{1,6}/g, (bits) => DIGITS.charAt(Number.parseInt(bits.padEnd(6, '0'), 2)))
}

/** Returns a random key of 128 bits. */
export function randomKey(): string {
  return crypto.getRandomValues(new Uint32Array(4)).join('-')
}

/** Returns the token. An error that the function throws becomes a rejection. */
export async function takeToken(source: TokenSource): Promise<Token> {
  return typeof source === 'function' ? source() : source
}

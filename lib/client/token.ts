import { utf8 } from './envelope.ts'

/** A token, or none. */
export type Token = string | null | undefined

/** Where a client gets its token: the token itself, or what is asked for a new one each time. */
export type TokenSource = Token | (() => Token | Promise<Token>)

/** RFC 9110, section 5.6.2: what a subprotocol may be made of. */
const RFC_TOKEN = /^[\w!#$%&'*+\-.^`|~]+$/

/** The subprotocol that carries a token in the handshake: docs/protocol.md, section 1. */
export function bearerEntry(token: string): string {
  if (RFC_TOKEN.test(token)) return `koaws.bearer.${token}`
  const bytes = String.fromCharCode(...utf8(token))
  const base64 = btoa(bytes).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
  return `koaws.bearer64.${base64}`
}

/** Get the token. A function that throws is one that rejects. */
export async function takeToken(source: TokenSource): Promise<Token> {
  return typeof source === 'function' ? source() : source
}

// Tells the channel `koaws:sent` what was sent.

import { channels, Sent, type SentAudience } from '../diagnostics.ts'
import { KOAWS_V1 } from '../protocol/subprotocol.ts'
import type { Sendable } from './types.ts'

/** How a message of `koaws.v1` begins that the server sends. */
const HEAD = '{"type":"'
/** The longest type in JSON: 255 bytes, of which each may be escaped with six characters. */
const LONGEST = HEAD.length + 255 * 6 + 1

/** Tells of one message to one connection; call it only with subscribers. */
export function tellSent(connection: { readonly protocol: string }, data: Sendable): void {
  const size = typeof data === 'string' ? Buffer.byteLength(data) : data.byteLength
  const head = typeof data === 'string' && connection.protocol === KOAWS_V1 ? data : ''
  const [instance, audience] = [undefined, undefined]
  const type = typeIn(head)
  channels.sent.publish(new Sent({ instance, connection, type, size, count: 1, audience }, data))
}

/**
 * Tells of one message to several connections; call it only with subscribers.
 *
 * @param pushed whether the payload is a message of `koaws.v1`
 */
export function tellSentToMany(
  instance: string,
  payload: Buffer,
  pushed: boolean,
  count: number,
  audience: SentAudience,
): void {
  if (count === 0) return
  const type = pushed ? lastType.of(payload) : undefined
  const [connection, size] = [undefined, payload.length]
  channels.sent.publish(new Sent({ instance, connection, type, size, count, audience }, payload))
}

/** Reads the type of pushes. Most have the type of the one before: then no text is decoded. */
class LastType {
  #type: string | undefined
  /** The bytes before the type's closing quote, and the quote. */
  #head: Buffer = Buffer.alloc(0)

  of(payload: Buffer): string | undefined {
    if (this.#type !== undefined && startsWith(payload, this.#head)) return this.#type
    const type = typeIn(payload.toString('utf8', 0, LONGEST))
    if (type !== undefined) {
      this.#type = type
      this.#head = Buffer.from(HEAD.slice(0, -1) + JSON.stringify(type))
    }
    return type
  }
}

const lastType = new LastType()

function startsWith(payload: Buffer, head: Buffer): boolean {
  if (payload.length < head.length) return false
  for (let i = 0; i < head.length; i++) if (payload[i] !== head[i]) return false
  return true
}

/** Returns the type at the beginning of a message of `koaws.v1`. */
function typeIn(text: string): string | undefined {
  if (!text.startsWith(HEAD)) return undefined
  const end = text.indexOf('"', HEAD.length)
  const type = text.slice(HEAD.length, end)
  if (end > 0 && !type.includes('\\')) return type
  for (let i = HEAD.length; i < text.length; i++) {
    if (text[i] === '\\') i++
    else if (text[i] === '"') return JSON.parse(text.slice(HEAD.length - 1, i + 1)) as string
  }
  return undefined
}

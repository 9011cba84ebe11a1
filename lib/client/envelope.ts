import { RESERVED } from '../protocol/definition.ts'

/** A message from the server. Only `type` and `id` are known to be what they should. */
export interface Incoming {
  readonly type: string
  readonly id?: number
  readonly data?: unknown
  readonly error?: unknown
  readonly about?: unknown
}

/** @throws TypeError for a name that a type of an application cannot have */
export function assertType(type: unknown): void {
  if (typeof type === 'string' && !type.startsWith(RESERVED)) {
    const size = utf8(type).length
    if (size > 0 && size < 256) return
  }
  throw new TypeError(`A type is a string of 1 to 255 bytes that does not begin with ${RESERVED}`)
}

/** @throws TypeError when the data have no JSON form */
export function encode(type: string, data?: unknown, id?: number): string {
  const text = JSON.stringify({ type, id, data })
  // What has no JSON form is left out; only undefined may be.
  if (data !== undefined && !text.includes('"data":')) {
    throw new TypeError(`${type}: a ${typeof data} has no JSON form.`)
  }
  return text
}

/** An error that answers a request of the server. */
export function encodeError(
  id: number,
  code: string,
  status: number,
  message: string,
  retryable = false,
  data?: unknown,
): string {
  const error = { code, message, status, retryable, data }
  return JSON.stringify({ type: 'koaws:error', id, error })
}

/** `No listener for …`: the answer to a request that the client does not know. */
export function encodeUnknown(id: number, type: string): string {
  return encodeError(id, 'ERR_KOAWS_UNKNOWN_TYPE', 404, `No listener for ${type}`)
}

/** What the server sent, or undefined when it is no message. */
export function decode(text: string): Incoming | undefined {
  try {
    const message = JSON.parse(text) as Incoming
    const { type, id = 1 } = message
    const named = textOf(type) && type.length < 256
    return named && Number.isSafeInteger(id) && id > 0 ? message : undefined
  } catch {
    return undefined // no JSON, or `null`
  }
}

/** Text as bytes. */
export function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

/** A text that a server named, or undefined. Never by `String()`, which an object can make throw. */
export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

/** A number that a server named, or 0 where it named nothing that can be used. */
export function positive(value: unknown): number {
  return Number.isFinite(value) && (value as number) > 0 ? (value as number) : 0
}

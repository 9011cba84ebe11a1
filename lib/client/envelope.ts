// Encodes and decodes the messages of `koaws.v1` for the client.
import { RESERVED } from '../protocol/definition.ts'

/** What a held message counts beyond its length, so that the number of them is bounded as well. */
const EXTRA_WEIGHT = 1_024

/** A message from the server. Only `type` and `id` have been checked. */
export interface Incoming {
  readonly type: string
  readonly id?: number
  /** The length of its text in UTF-16 units, and 1 KiB more. */
  readonly weight: number
  /** Of a message with an id: its text. */
  readonly text?: string | undefined
  /** With `position`: the room in which the message has its place. */
  readonly room?: string
  readonly position?: string
  /** Identifies a message to several rooms. */
  readonly once?: string
  readonly data?: unknown
  readonly error?: unknown
  readonly about?: unknown
}

/**
 * Asserts that a type is valid for a message of an application.
 *
 * @throws TypeError for another value, or a reserved name
 */
export function assertType(type: unknown): void {
  if (typeof type === 'string' && !type.startsWith(RESERVED)) {
    const size = byteLength(type)
    if (size > 0 && size < 256 && !/[\ud800-\udfff]/u.test(type)) return
  }
  throw new TypeError(`A type has 1 to 255 well-formed bytes, and no prefix ${RESERVED}`)
}

/**
 * Returns the text of a message.
 *
 * @throws TypeError when the data have no JSON form, or lose objects in it
 */
export function encode(type: string, data?: unknown, id?: number, key?: string): string {
  const text = JSON.stringify({ type, id, key, data }, keep)
  // JSON.stringify leaves out a function or a symbol without an error.
  if (data !== undefined && !text.includes('"data":')) {
    throw new TypeError(`${type}: a ${typeof data} has no JSON form.`)
  }
  return text
}

/**
 * For `JSON.stringify`: asserts that it keeps the objects in data.
 *
 * @throws TypeError for a Map, a Set, a typed array, or another object that becomes `{}`
 */
export function keep(key: string, value: unknown): unknown {
  const kind = {}.toString.apply(value) // `call` is a name that the bundle shortens
  if (/ Map| Set|\wArray|yBuffer|Promise|Error|Blob|File/.test(kind)) {
    throw new TypeError(`${key}: ${kind} has no JSON form.`)
  }
  return value
}

/** Returns the text of an error that answers a request of the server. */
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

/** Returns the message in a text, or undefined when the text is not a valid message. */
export function decode(text: string): Incoming | undefined {
  try {
    const message = JSON.parse(text) as Incoming
    const { type, id = 1 } = message
    const weight = text.length + EXTRA_WEIGHT
    return type && isName(type) && Number.isSafeInteger(id) && id > 0
      ? { ...message, weight, text: message.id ? text : undefined }
      : undefined
  } catch {
    return undefined // not JSON, or `null`, which cannot be destructured
  }
}

/** Returns the size of a text in bytes of UTF-8. Some runtimes have no `TextEncoder`. */
export function byteLength(text: string): number {
  let size = text.length
  for (const char of text) if (char > '\x7f') size += char > '\u07ff' ? 2 : 1
  return size
}

/** Returns whether a value from outside is a string of at most 255 UTF-16 units. */
export function isName(value: unknown): value is string {
  return typeof value === 'string' && value.length < 256
}

/** Returns a string of the server, else undefined. `String()` throws for a throwing `toString`. */
export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

/** Returns a value from the server if it is a finite number above 0, otherwise 0. */
export function positive(value: unknown): number {
  return Number.isFinite(value) && (value as number) > 0 ? (value as number) : 0
}

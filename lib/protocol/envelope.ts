import { assertName } from '../validate.ts'
import { RESERVED } from './definition.ts'

/** A message of `koaws.v1` that was read: `docs/protocol.md`, section 2. */
export interface Envelope {
  readonly type: string
  readonly id?: number
  readonly data?: unknown
  readonly error?: unknown
}

/** The error of a message: `docs/protocol.md`, section 4. */
export interface ErrorBody {
  readonly code: string
  readonly message: string
  readonly status: number
  readonly retryable: boolean
  readonly data?: unknown
}

/** What a welcome tells: `docs/protocol.md`, section 3.1. */
export interface Welcome {
  readonly version: 1
  readonly connection: string
  readonly user: string | null
  readonly heartbeat: number | null
  readonly maxMessage: number
  readonly maxDepth: number
  readonly expiresAt: number | null
  readonly refresh: boolean
}

/**
 * A message of the application that asks for no answer.
 *
 * @throws TypeError when the type is no string of 1 to 255 bytes, or is reserved, or the data has no
 * JSON form
 */
export function pushText(type: string, data: unknown): string {
  assertType(type)
  return data === undefined
    ? `{"type":${JSON.stringify(type)}}`
    : `{"type":${JSON.stringify(type)},"data":${dataText(data)}}`
}

/**
 * A message of the application that asks for an answer.
 *
 * @throws TypeError as {@link pushText}
 */
export function requestText(type: string, id: number, data: unknown): string {
  assertType(type)
  const rest = data === undefined ? '' : `,"data":${dataText(data)}`
  return `{"type":${JSON.stringify(type)},"id":${id}${rest}}`
}

/** @throws TypeError when the data has no JSON form */
export function replyText(id: number, data: unknown): string {
  return `{"type":"koaws:reply","id":${id},"data":${data === undefined ? 'null' : dataText(data)}}`
}

/** An error that answers a message, or where it has no id, one that is about its type. */
export function errorText(error: ErrorBody, id?: number, about?: string): string {
  return JSON.stringify({
    type: 'koaws:error',
    id,
    about: id === undefined ? about : undefined,
    error,
  })
}

export function welcomeText(welcome: Welcome): string {
  return JSON.stringify({ type: 'koaws:welcome', data: welcome })
}

/** The server asks for a token, within so many milliseconds. */
export function authenticateText(timeout: number): string {
  return `{"type":"koaws:authenticate","data":{"timeout":${timeout}}}`
}

/** The last message before a shutdown closes: when to come back, in milliseconds. */
export function byeText(code: number, reason: string, after: number | undefined): string {
  return JSON.stringify({ type: 'koaws:bye', data: { code, reason, after } })
}

/** Something for a room, or without one for the receiver itself, was lost: it should ask anew. */
export function resyncText(room: string | undefined): string {
  return `{"type":"koaws:resync","data":{"room":${JSON.stringify(room ?? null)}}}`
}

/** Who is in a room: everything, or what has changed. */
export function presenceText(data: object): string {
  return JSON.stringify({ type: 'koaws:presence', data })
}

function assertType(type: string): void {
  assertName('message type', type)
  if (type.startsWith(RESERVED)) {
    throw new TypeError(`Message types that begin with "${RESERVED}" are the protocol's own.`)
  }
}

function dataText(data: unknown): string {
  const text = JSON.stringify(data) as string | undefined
  if (text === undefined) {
    throw new TypeError(`The data of a message needs a JSON form; ${typeof data} has none.`)
  }
  return text
}

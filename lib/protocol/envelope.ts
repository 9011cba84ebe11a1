// Encodes the messages of `koaws.v1` that a server sends.
import type { ErrorBody } from '../errors.ts'
import type { TraceFields, Tracer } from '../tracer.ts'
import { assertName } from '../validate.ts'
import { RESERVED } from './definition.ts'
import { jsonText } from './json-form.ts'

export type { ErrorBody } from '../errors.ts'

/** A message of `koaws.v1` as read: `docs/protocol.md`, section 2. */
export interface Envelope {
  readonly type: string
  readonly id?: number
  readonly data?: unknown
  readonly error?: unknown
  /** In a request that may be sent again: the same each time. */
  readonly key?: string
  /** Whether the request was sent before. */
  readonly again?: boolean
  /** The trace that the message belongs to. */
  readonly trace?: unknown
  readonly tracestate?: unknown
  /** In a request: the server may send items, at first with this number of bytes. */
  readonly credit?: number
  /** In a request: the client sends items. */
  readonly upload?: boolean
  /** In a request that resumes a stream: how many items the client has received. */
  readonly since?: number
  /** In a request that resumes a stream: grows with each time that it is sent. */
  readonly attempt?: number
}

/** The data of a welcome: `docs/protocol.md`, section 3.1. */
export interface Welcome {
  readonly version: 1
  readonly connection: string
  readonly user: string | null
  readonly heartbeat: number | null
  readonly maxMessage: number
  readonly maxDepth: number
  readonly expiresAt: number | null
  readonly refresh: boolean
  readonly retry: number | null
}

/**
 * Returns the text of a push.
 *
 * @param tracer gives the fields `trace` and `tracestate`
 * @throws TypeError when the type is not a string of 1 to 255 bytes, the type is reserved, or the
 * data have no JSON form
 */
export function pushText(type: string, data: unknown, tracer?: Tracer | null): string {
  return messageText('push', type, '', data, tracer)
}

/** @param id the member `id` with its comma; empty for none */
function messageText(
  what: 'push' | 'request',
  type: string,
  id: string,
  data: unknown,
  tracer: Tracer | null | undefined,
): string {
  assertType(type)
  const fields = tracer?.inject(type)
  const rest = data === undefined ? '' : `,"data":${jsonText(data, what, type)}`
  const last = fields === undefined ? '' : traceText(fields)
  return `{"type":${JSON.stringify(type)}${id}${rest}${last}}`
}

function traceText({ trace, tracestate }: TraceFields): string {
  const state = tracestate === undefined ? '' : `,"tracestate":${JSON.stringify(tracestate)}`
  return `,"trace":${JSON.stringify(trace)}${state}`
}

/**
 * Returns the text of a request to a client.
 *
 * @param tracer gives the fields `trace` and `tracestate`
 * @throws TypeError as {@link pushText}
 */
export function requestText(
  type: string,
  id: number,
  data: unknown,
  tracer?: Tracer | null,
): string {
  return messageText('request', type, `,"id":${id}`, data, tracer)
}

/**
 * Returns the data of a reply as JSON.
 *
 * @param type the type of the request, for the error message
 * @throws TypeError when the data have no JSON form
 */
export function replyData(data: unknown, type: string): string {
  return data === undefined ? 'null' : jsonText(data, 'reply to', type)
}

/**
 * Returns the text of a reply.
 *
 * @param type the type of the request, for the error message
 * @throws TypeError when the data have no JSON form
 */
export function replyText(id: number, data: unknown, type: string): string {
  return replyWith(id, replyData(data, type))
}

/** Returns the text of a reply with data that are JSON already. */
export function replyWith(id: number, json: string): string {
  return `{"type":"koaws:reply","id":${id},"data":${json}}`
}

/** Returns the text of an error: an answer, or without an id a report about a type. */
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

/** Returns the text that asks for a token within `timeout` milliseconds. */
export function authenticateText(timeout: number): string {
  return `{"type":"koaws:authenticate","data":{"timeout":${timeout}}}`
}

/** Returns the last message before a shutdown; `after`: reconnect after this many milliseconds. */
export function byeText(code: number, reason: string, after: number | undefined): string {
  return JSON.stringify({ type: 'koaws:bye', data: { code, reason, after } })
}

/** Returns the text that reports lost messages for a room, or for the receiver itself. */
export function resyncText(room: string | undefined): string {
  return `{"type":"koaws:resync","data":{"room":${JSON.stringify(room ?? null)}}}`
}

/**
 * Returns the text that announces the size of the next message, in bytes. A client on a slow link
 * can then tell a long transfer from a dead connection.
 */
export function incomingText(bytes: number): string {
  return `{"type":"koaws:incoming","data":{"bytes":${bytes}}}`
}

/** Returns the text of a presence message: all members, or the changes. */
export function presenceText(data: object): string {
  return JSON.stringify({ type: 'koaws:presence', data })
}

/** @throws TypeError when the type of a message is not a string of 1 to 255 bytes, or is reserved */
export function assertType(type: string): void {
  assertName('message type', type)
  if (type.startsWith(RESERVED)) {
    throw new TypeError(
      `The message type ${JSON.stringify(type)} begins with "${RESERVED}", which is reserved for koaws.v1.`,
    )
  }
}

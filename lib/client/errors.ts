// `RequestError`, and the errors that the client makes itself.
import type { Fields } from '../fields.ts'
import { textOf } from './envelope.ts'

/** The code and message of an error from the server that has none. */
const UNNAMED = 'internal'

/** The properties of a {@link RequestError} other than its message. */
export interface RequestErrorInit {
  /** A stable name for programs. The prefix `ERR_KOAWS_` is reserved for koaws. */
  code: string
  /** An integer from 400 to 599, with its meaning in HTTP. @default 500 */
  status?: number
  /** Whether the same request may succeed later. @default false */
  retryable?: boolean
  /** Any JSON value. */
  data?: unknown
  /** The type of the message that failed. */
  type?: string | undefined
  /** Whether the message was sent. If so, the server may have handled it. @default true */
  sent?: boolean
}

/**
 * The error of a failed message. `request()` rejects with it, and `onError` receives it. A listener
 * may throw it to answer a request of the server: code, message, status, retryable and data go to
 * the server.
 *
 * The client makes the codes `ERR_KOAWS_TIMEOUT`, `ERR_KOAWS_CLOSED`, `ERR_KOAWS_CANCELLED`,
 * `ERR_KOAWS_QUEUE_FULL`, `ERR_KOAWS_TOO_LARGE`, `ERR_KOAWS_MALFORMED` and `ERR_KOAWS_NOT_LOADED`. All others
 * come from the server.
 *
 * @example
 * ```js
 * import { connect, RequestError } from 'koaws/client'
 * import { fakeServer } from 'koaws/testing'
 *
 * const server = fakeServer()
 * const client = connect('ws://test/', { WebSocket: server.WebSocket })
 * try {
 *   await client.request('nothing')
 * } catch (error) {
 *   if (error instanceof RequestError) console.log(error.code, error.sent) // ERR_KOAWS_UNKNOWN_TYPE true
 * }
 * client.close()
 * ```
 */
export class RequestError extends Error {
  /** A stable name for programs. */
  declare readonly code: string
  /** An integer from 400 to 599, with its meaning in HTTP. */
  declare readonly status: number
  /** Whether the same request may succeed later. */
  declare readonly retryable: boolean
  /** Data that the server added. Untrusted. */
  declare readonly data: unknown
  /** The type of the message that failed, if known. */
  declare readonly type: string | undefined
  /** Whether the message was sent. If so, the server may have handled it. */
  declare readonly sent: boolean

  /**
   * @param message the text, for people
   * @param init the code, and what differs from the defaults
   */
  constructor(message: string, init: RequestErrorInit) {
    super(message)
    Object.assign(this, {
      name: 'RequestError',
      status: 500,
      retryable: false,
      data: undefined,
      type: undefined,
      sent: true,
      ...init,
    })
  }
}

/** Returns whether a value is a valid status of an error: an integer from 400 to 599. */
export function isErrorStatus(status: unknown): status is number {
  return Number.isInteger(status) && (status as number) >= 400 && (status as number) <= 599
}

/** Makes a `RequestError` from the error object of a server message. Invalid parts get defaults. */
export function remoteError(error: unknown, type: unknown): RequestError {
  const { code, message, status, retryable, data }: Fields = Object(error)
  return new RequestError(textOf(message) ?? UNNAMED, {
    code: textOf(code) ?? UNNAMED,
    status: isErrorStatus(status) ? status : 500,
    retryable: retryable === true,
    data,
    type: textOf(type),
  })
}

/** The codes of the client's own errors, without their prefix. */
export type LocalCode =
  | 'TIMEOUT'
  | 'CLOSED'
  | 'QUEUE_FULL'
  | 'TOO_LARGE'
  | 'CANCELLED'
  | 'MALFORMED'
  | 'NOT_LOADED'

/** Makes a `RequestError` for a message that the client could not deliver. */
export function localError(
  { type, sent }: { type: string; sent: boolean },
  code: LocalCode,
  why: string,
  status = 503,
): RequestError {
  const outcome = sent ? 'it may have been carried out' : 'it was not sent'
  return new RequestError(`${type}: ${why}; ${outcome}`, {
    code: `ERR_KOAWS_${code}`,
    status,
    retryable: code === 'QUEUE_FULL',
    type,
    sent,
  })
}

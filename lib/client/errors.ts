import { textOf } from './envelope.ts'

/** What stands for the code, and the message, of an error that has none. */
const UNNAMED = 'internal'

/** What a {@link RequestError} carries beside its message. */
export interface RequestErrorInit {
  /** A stable name for programs. `ERR_KOAWS_` is koaws' own. */
  code: string
  /** An integer, 400 to 599, with the meaning that it has in HTTP. @default 500 */
  status?: number
  /** Whether the same request may succeed later. @default false */
  retryable?: boolean
  /** Any JSON value. */
  data?: unknown
  /** The type of the message that failed. */
  type?: string | undefined
  /** Whether the message went out, so that it may have been carried out. @default true */
  sent?: boolean
}

/**
 * A message that failed. `request()` rejects with it, `onError` gets it, and a listener that answers
 * a request of the server may throw it: code, message, status, retryable and data go to the server.
 *
 * The client's own codes: `ERR_KOAWS_TIMEOUT`, `ERR_KOAWS_CLOSED`, `ERR_KOAWS_QUEUE_FULL`,
 * `ERR_KOAWS_TOO_LARGE`, `ERR_KOAWS_MALFORMED`. All others are the server's.
 */
export class RequestError extends Error {
  /** A stable name for programs. */
  declare readonly code: string
  /** An integer, 400 to 599, with the meaning that it has in HTTP. */
  declare readonly status: number
  /** Whether the same request may succeed later. */
  declare readonly retryable: boolean
  /** What the other side added. Its data, not to be trusted. */
  declare readonly data: unknown
  /** The type of the message that failed, where it is known. */
  declare readonly type: string | undefined
  /** Whether the message went out: if so, it may have been carried out. */
  declare readonly sent: boolean

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

/** Whether a number is a status that an error may have. */
export function isErrorStatus(status: unknown): status is number {
  return Number.isInteger(status) && (status as number) >= 400 && (status as number) <= 599
}

/** The error object of a message from the server, whatever it holds. */
export function remoteError(error: unknown, type: unknown): RequestError {
  const { code, message, status, retryable, data } = (error ?? {}) as Record<string, unknown>
  return new RequestError(textOf(message) ?? UNNAMED, {
    code: textOf(code) ?? UNNAMED,
    status: isErrorStatus(status) ? status : 500,
    retryable: retryable === true,
    data,
    type: textOf(type),
  })
}

/** A message that did not get through, by the client's own account. */
export function localError(
  { type, sent }: { type: string; sent: boolean },
  code: 'TIMEOUT' | 'CLOSED' | 'QUEUE_FULL' | 'TOO_LARGE',
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

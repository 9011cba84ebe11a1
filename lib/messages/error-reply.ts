import { type ErrorCode, errorTable, exposureOf, isRetryable, statusCode } from '../errors.ts'
import type { ErrorBody } from '../protocol/envelope.ts'

/** What a client is told of a failure that is none of its business. */
export const INTERNAL: ErrorBody = {
  code: 'internal',
  message: 'Internal Server Error',
  status: 500,
  retryable: false,
}

/**
 * What a client is told of an error: all of it where it has `expose` and a status, as http-errors and
 * `MessageError` have. Null for any other: the client gets {@link INTERNAL}, the application the error.
 */
export function exposedBody(error: unknown): ErrorBody | null {
  const { status, message } = exposureOf(error)
  if (status === null || message === null) return null
  const { code, retryable, data } = fieldsOf(error)
  return {
    code: typeof code === 'string' && code !== '' ? code : statusCode(status),
    message,
    status,
    retryable: typeof retryable === 'boolean' ? retryable : isRetryable(status),
    ...jsonForm(data),
  }
}

/** What a client is told of an error of koaws' own, with the status of the table of codes. */
export function faultBody(code: ErrorCode, message: string): ErrorBody {
  const { reply, status, client } = errorTable[code]
  return { code, message, status: (reply ?? status) as number, retryable: client === 'back off' }
}

/** The `code` of an error, which may be a getter that throws. */
export function codeOf(error: unknown): unknown {
  return fieldsOf(error).code
}

function fieldsOf(error: unknown): { code?: unknown; retryable?: unknown; data?: unknown } {
  try {
    const { code, retryable, data } = error as Record<string, unknown>
    return { code, retryable, data }
  } catch {
    return {}
  }
}

/** The data in their JSON form, for a `toJSON` of theirs may give another, or throw, the next time. */
function jsonForm(data: unknown): { data?: unknown } {
  try {
    const text = JSON.stringify(data) as string | undefined
    return text === undefined ? {} : { data: JSON.parse(text) as unknown }
  } catch {
    return {}
  }
}

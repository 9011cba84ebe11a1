// Builds the error bodies that clients get.

import { exposureOf, isRetryable, statusCode } from '../errors.ts'
import { fieldsOf } from '../fields.ts'
import type { ErrorBody } from '../protocol/envelope.ts'

/** The body that hides the details of an error from the client. */
export const INTERNAL: ErrorBody = {
  code: 'internal',
  message: 'Internal Server Error',
  status: 500,
  retryable: false,
}

/**
 * Returns the body for an error that has `expose` and a status, as errors of http-errors and
 * `MessageError` have. Returns null for any other: the client then gets {@link INTERNAL}, and the
 * application gets the error.
 */
export function exposedBody(error: unknown): ErrorBody | null {
  const { status, message } = exposureOf(error)
  if (status === null || message === null) return null
  const { code, retryable, data } = readFields(error)
  return {
    code: typeof code === 'string' && code !== '' ? code : statusCode(status),
    message,
    status,
    retryable: typeof retryable === 'boolean' ? retryable : isRetryable(status),
    ...jsonForm(data),
  }
}

/** Returns the `code` of an error; undefined when a getter throws. */
export function codeOf(error: unknown): unknown {
  return readFields(error).code
}

function readFields(error: unknown): { code?: unknown; retryable?: unknown; data?: unknown } {
  try {
    const { code, retryable, data } = fieldsOf(error)
    return { code, retryable, data }
  } catch {
    return {}
  }
}

/** Converts the data to JSON once: a later `toJSON` call could return something else, or throw. */
function jsonForm(data: unknown): { data?: unknown } {
  try {
    const text: string | undefined = JSON.stringify(data)
    return text === undefined ? {} : { data: JSON.parse(text) }
  } catch {
    return {}
  }
}

// Settles `connection.request()` with the client's answer, after checking it against the schema.

import { isMessageError, MessageError, toError } from '../errors.ts'
import { fieldsOf, isIntegerWithin } from '../fields.ts'
import type { Envelope, ErrorBody } from '../protocol/envelope.ts'
import { isThenable } from '../thenable.ts'
import type { Answerer } from './answerer.ts'
import type { Requests } from './requests.ts'
import type { Routes } from './routes.ts'
import { checkData } from './schema.ts'

/** Settles the waiting request, after the schema has checked the data. */
export function settleAnswer(
  { type, id, data, error }: Envelope,
  requests: Requests,
  routes: Routes,
  answerer: Answerer,
): void {
  if (id === undefined) return
  const asked = requests.typeOf(id)
  if (asked === undefined) return
  if (type === 'koaws:error') {
    requests.reject(id, errorOf(error, asked))
    return
  }
  const schema = routes.entry(asked)?.reply
  const unfit = (thrown: unknown): void => {
    requests.reject(id, unexposed(thrown, asked))
    if (isMessageError(thrown)) answerer.misfit(bodyOf(thrown), undefined, asked)
  }
  try {
    const given = data === undefined ? null : data
    const value = schema ? checkData(schema, given) : given
    if (isThenable(value)) Promise.resolve(value).then((one) => requests.resolve(id, one), unfit)
    else requests.resolve(id, value)
  } catch (thrown) {
    unfit(thrown)
  }
}

/** Returns an error with a hidden text: it may quote this client. */
function unexposed(thrown: unknown, asked: string): Error {
  if (!isMessageError(thrown)) return toError(thrown)
  const { status, message, code, retryable, data } = thrown
  const text = `the client's reply to ${JSON.stringify(asked)}: ${message}`
  return new MessageError(status, text, { code, retryable, data, expose: false })
}

/**
 * Returns the error that `connection.request()` rejects with. It is not exposed: its text is the
 * client's, and other clients must not see it.
 */
function errorOf(error: unknown, asked: string): MessageError {
  const given = fieldsOf(error)
  const { code, message, status, retryable, data } = given
  return new MessageError(
    isIntegerWithin(status, 400, 599) ? status : 500,
    typeof message === 'string' ? message : `The client answered "${asked}" with an error.`,
    {
      code: typeof code === 'string' ? code : undefined,
      retryable: typeof retryable === 'boolean' ? retryable : undefined,
      data,
      expose: false,
    },
  )
}

function bodyOf({ code, message, status, retryable, data }: MessageError): ErrorBody {
  return { code, message, status, retryable, data }
}

// The errors that answer a request with `retry` in place of its handler.
import { faultBody, faultOf, KoaWsError, type MessageError } from '../errors.ts'

const TEXTS = {
  ERR_KOAWS_OUTCOME_UNKNOWN:
    'It is unknown whether the request was carried out. It was not carried out again.',
  ERR_KOAWS_ANSWER_NOT_KEPT: 'The request was carried out. Its answer was not kept.',
  ERR_KOAWS_KEY_REUSED: 'The key belongs to a request with another type or other data.',
  ERR_KOAWS_TOO_MANY_KEYS: 'Too many requests with "retry". The request was not carried out.',
  ERR_KOAWS_RETRY_STORE: 'The request could not be recorded. It was not carried out.',
}

/** Returns the error for a code. It is an answer, and its text may be shown. */
export function retryFault(code: keyof typeof TEXTS, cause?: unknown): MessageError {
  return faultOf(faultBody(code, TEXTS[code]), cause)
}

/** Returns the error for a client that left while it waited. */
export function leftError(): KoaWsError {
  return new KoaWsError('ERR_KOAWS_CLOSED', 'The client left while it waited for a kept answer.')
}

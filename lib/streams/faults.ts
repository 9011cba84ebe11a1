// The errors that end a stream, as its reader or its handler gets them.
import { faultBody, faultOf, type MessageError } from '../errors.ts'
import type { ErrorBody } from '../protocol/envelope.ts'

const TEXTS = {
  ERR_KOAWS_STREAM: 'The type has a stream, and the request did not ask for it.',
  ERR_KOAWS_STREAM_LIMIT: 'Too many streams are open. The request was not carried out.',
  ERR_KOAWS_STREAM_MEMORY: 'The streams of the server hold too many bytes.',
  ERR_KOAWS_STREAM_IDLE: 'The stream did not move for too long.',
  ERR_KOAWS_STREAM_LOST: 'The stream cannot go on.',
}

/** The codes of errors that end a stream. */
export type StreamFault = keyof typeof TEXTS

/**
 * Returns the error for a code.
 *
 * @param items the number of items before a loss, if known
 */
export function streamFault(code: StreamFault, items?: number, text?: string): MessageError {
  return faultOf(streamFaultBody(code, items, text))
}

/** Returns the body of such an error. */
export function streamFaultBody(
  code: StreamFault,
  items?: number,
  text: string = TEXTS[code],
): ErrorBody {
  return faultBody(code, text, items === undefined ? undefined : { items })
}

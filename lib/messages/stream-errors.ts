// The errors of handlers that do not fit their request: with or without a stream.

import { KoaWsError } from '../errors.ts'
import { streamFault } from '../streams/faults.ts'

/** Returns the error for a handler with a stream that the request did not ask for; ends the stream. */
export function unasked(stream: object, type: string): Error {
  if ('return' in stream && typeof stream.return === 'function') {
    void (async () => (stream.return as () => unknown)())().catch(() => {})
  }
  const text = `"${type}" has a stream: use client.stream().`
  return streamFault('ERR_KOAWS_STREAM', undefined, text)
}

/** Returns the error for a handler that reads items, of a request without. */
export function withoutItems(type: string): Error {
  const text = `"${type}" reads items of the client: use client.upload().`
  return streamFault('ERR_KOAWS_STREAM', undefined, text)
}

/** Returns the error for a request with the key of another stream. */
export function keyInUse(): Error {
  return streamFault('ERR_KOAWS_STREAM', undefined, 'The key belongs to another stream.')
}

/** Returns the error for a handler that reads items after the answer. */
export function afterAnswer(type: string): KoaWsError {
  return new KoaWsError(
    'ERR_KOAWS_ALREADY_REPLIED',
    `"${type}" was answered before all of message.upload was read: call message.reply() last.`,
  )
}

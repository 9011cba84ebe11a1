import { KoaWsError } from '../errors.ts'

/** The error of what can only be done with a connection that `messages()` serve. */
export function notServed(): KoaWsError {
  return new KoaWsError(
    'ERR_KOAWS_NOT_NEGOTIATED',
    'No messages() serve this connection over koaws.v1: accept it with accept(messages(...)), or use send() or json().',
  )
}

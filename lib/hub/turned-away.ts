// Ends connections that `onConnect` or an order did not let in.

import { type Connection, coreOf } from '../connection/connection.ts'
import { markTurnedAway, presentable, toError, UpgradeError } from '../errors.ts'
import { CloseCode } from '../protocol/close-codes.ts'

/** Closes a connection that `onConnect` did not let in. The caller reports the error. */
export function connectFailed(connection: Connection, thrown: unknown): Error {
  const error = toError(thrown)
  coreOf(connection).fail(error, false)
  // Resolving a promise reads `then` of the value, and a getter that throws would reject it.
  return presentable(error) as Error
}

/** Closes a connection that `onConnect` closed: no handler, no messages. */
export function turnedAway(connection: Connection): Error {
  coreOf(connection).closeForCause(CloseCode.normal, '')
  const error = new UpgradeError('ERR_KOAWS_CLIENT_GONE', 'onConnect closed the connection.')
  return markTurnedAway(error)
}

/** Resolves with an error after `patience`, if `onConnect` still runs when the client has left. */
export function gaveUp(patience: number): Promise<Error> {
  return new Promise((resolve) => {
    const error = new UpgradeError('ERR_KOAWS_CLIENT_GONE', 'The client left while onConnect ran.')
    setTimeout(resolve, patience, error).unref()
  })
}

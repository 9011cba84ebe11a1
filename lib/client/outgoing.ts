import { utf8 } from './envelope.ts'
import { localError } from './errors.ts'
import type { Session } from './session.ts'

/** A message on its way to the server. */
export interface Outgoing {
  readonly type: string
  readonly text: string
  sent: boolean
  /** It did not get through. */
  fail(error: unknown): void
}

/**
 * Send a message, if the connection takes it: sets `sent`, and returns it.
 *
 * @throws RequestError when it is more than the server takes
 */
export function transmit(session: Session, item: Omit<Outgoing, 'fail'>): boolean {
  const { maxMessage } = session
  // A UTF-16 unit is 3 bytes at most: most messages need not be encoded for this.
  if (item.text.length * 3 > maxMessage && utf8(item.text).length > maxMessage) {
    throw localError(item, 'TOO_LARGE', `more than ${maxMessage} bytes`, 413)
  }
  item.sent = session.send(item.text)
  return item.sent
}

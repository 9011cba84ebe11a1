// A message on its way to the server.
import { byteLength } from './envelope.ts'
import { localError } from './errors.ts'

/** A message to send, with its fate. */
export interface Outgoing {
  readonly type: string
  readonly text: string
  sent: boolean
  /** With `retry`: when it was first sent to a server that recognizes it (epoch), or 0. */
  since?: number | undefined
  /** Reports that the message failed. */
  fail(error: unknown): void
}

/** The part of a session that sends messages. */
interface Line {
  readonly maxMessage: number
  readonly window: number
  send(this: void, text: string): boolean
}

/**
 * Sends a message if the connection is open. Sets `sent`, and returns whether it was sent now.
 *
 * @throws RequestError `ERR_KOAWS_TOO_LARGE` when the message is above the server's `maxMessage`,
 * `ERR_KOAWS_CLOSED` when it was sent before, and the server may not recognize it
 */
export function transmit(
  { maxMessage, window, send }: Line,
  item: Omit<Outgoing, 'fail'>,
): boolean {
  const { since, text } = item
  const final = since ? `${text.slice(0, -1)},"again":true}` : text
  // A UTF-16 unit takes at most 3 bytes of UTF-8, so that most messages need no exact count.
  if (final.length * 3 > maxMessage && byteLength(final) > maxMessage) {
    throw localError(item, 'TOO_LARGE', `more than ${maxMessage} bytes`, 413)
  }
  if (since && Date.now() - since >= window) throw localError(item, 'CLOSED', 'too late')
  const sent = send(final)
  item.sent ||= sent
  if (since === 0 && sent && window) item.since = Date.now()
  return sent
}

/**
 * The close codes that koaws sends (RFC 6455, section 7.4; 4000 to 4999 are the application's).
 * What a client should do after each is in `docs/reference/errors.md`.
 */
export const CloseCode = {
  /** A normal end. */
  normal: 1000,
  /** A frame that RFC 6455 does not allow. */
  protocolError: 1002,
  /** The client went on sending more than `flood` allows. */
  policyViolation: 1008,
  /** A message above `maxPayload`. */
  tooBig: 1009,
  /** The handler, or a listener of the connection, threw. */
  internal: 1011,
  /** The hub is shutting down: come back later. */
  restart: 1012,
  /** Too many bad messages. */
  badMessages: 4400,
  /** The authorisation of this connection has ended (`expiresAt`). */
  expired: 4401,
  /** `refresh()` named another user than the one who connected. */
  otherUser: 4403,
  /** The client was silent for longer than `heartbeat` allows, or did not authenticate in time. */
  silent: 4408,
  /** The client takes less than it is sent (`maxBufferedAmount`, `slowConsumer`). */
  slowConsumer: 4610,
} as const

/** The close code for an HTTP status of a client that is told over the WebSocket: 4000 + status. */
export function closeCodeForStatus(status: number): number {
  return 4000 + status
}

/**
 * A close reason cut to the 123 bytes of UTF-8 that a close frame holds (RFC 6455, section 5.5:
 * 125 bytes of a control frame, less 2 for the code), never in the middle of a character.
 */
export function closeReason(text: string): string {
  if (text.length <= 41) return text // at most 3 bytes for each UTF-16 unit
  const bytes = Buffer.from(text)
  if (bytes.length <= 123) return text
  let end = 123
  while (end > 0 && ((bytes[end] as number) & 0xc0) === 0x80) end--
  return bytes.toString('utf8', 0, end)
}

/** The codes that a close frame may carry (RFC 6455, section 7.4). */
export function isCloseCode(value: unknown): boolean {
  if (typeof value !== 'number' || !Number.isInteger(value)) return false
  if (value >= 1000 && value <= 1014) return value !== 1004 && value !== 1005 && value !== 1006
  return value >= 3000 && value <= 4999
}

/**
 * Check what a close frame is to carry, before anything happens.
 *
 * @throws RangeError for a code that must not be sent, or a reason above 123 bytes
 */
export function assertClosable(code: unknown, reason: unknown): void {
  if (code !== undefined && !isCloseCode(code)) {
    throw new RangeError(
      `A close code is 1000 to 1003, 1007 to 1014, or 3000 to 4999, not ${String(code)}.`,
    )
  }
  if (reason !== undefined && Buffer.byteLength(reason as string) > 123) {
    throw new RangeError('A close reason has at most 123 bytes of UTF-8.')
  }
}

/**
 * What ws says of a close that cannot be sent, before ws is asked: its versions before 8.23 throw with
 * the connection already half closed.
 *
 * @throws TypeError for a code that must not be sent
 * @throws RangeError for a reason above 123 bytes
 */
export function assertAsWs(code: unknown, reason: string | Uint8Array | undefined): void {
  if (code === undefined) return
  if (!isCloseCode(code)) throw new TypeError('First argument must be a valid error code number')
  if (reason !== undefined && Buffer.byteLength(reason) > 123) {
    throw new RangeError('The message must not be greater than 123 bytes')
  }
}

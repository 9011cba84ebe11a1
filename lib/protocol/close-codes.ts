// The close codes that koaws sends, and checks of codes and reasons.
import { isIntegerWithin } from '../fields.ts'
import { describe, LONE_SURROGATE } from '../validate.ts'

/**
 * The close codes that koaws sends (RFC 6455, section 7.4; the range 4000 to 4999 is for private
 * use). `docs/reference/errors.md` says what a client should do after each.
 */
export const CloseCode = {
  /** A normal end. */
  normal: 1000,
  /** A frame that RFC 6455 does not allow. */
  protocolError: 1002,
  /** The client kept sending more than `flood` allows. */
  policyViolation: 1008,
  /** A message above `maxPayload`. */
  tooBig: 1009,
  /** The handler, or a listener of the connection, threw an error. */
  internal: 1011,
  /** The server is shutting down: reconnect later. */
  restart: 1012,
  /** Too many bad messages. */
  badMessages: 4400,
  /** The authorization of this connection has expired (`expiresAt`). */
  expired: 4401,
  /** `refresh()` returned another user than the connection's. */
  otherUser: 4403,
  /** The client was silent for longer than `heartbeat` allows, or did not authenticate in time. */
  silent: 4408,
  /**
   * The client receives more slowly than the server sends (`maxBufferedAmount`, `slowConsumer`).
   */
  slowConsumer: 4610,
  /** Replaced by a newer login of the same user (`maxPerUser`). */
  replaced: 4612,
} as const

/** Returns the close code for an HTTP status that is sent over the WebSocket: 4000 + status. */
export function closeCodeForStatus(status: number): number {
  return 4000 + status
}

/**
 * Returns a close reason, cut to the 123 bytes of UTF-8 that fit in a close frame (RFC 6455,
 * section 5.5: 125 bytes of a control frame, less 2 for the code). Never cuts a character in two.
 */
export function closeReason(message: string): string {
  const text = message.toWellFormed()
  if (text.length <= 41) return text // a UTF-16 unit takes at most 3 bytes
  const bytes = Buffer.from(text)
  if (bytes.length <= 123) return text
  let end = 123
  while (end > 0 && ((bytes[end] as number) & 0xc0) === 0x80) end--
  return bytes.toString('utf8', 0, end)
}

/** Returns whether a close frame may carry a code (RFC 6455, section 7.4). */
export function isCloseCode(value: unknown): boolean {
  if (typeof value !== 'number' || !Number.isInteger(value)) return false
  if (value >= 1000 && value <= 1014) return value !== 1004 && value !== 1005 && value !== 1006
  return value >= 3000 && value <= 4999
}

/**
 * Asserts that a close frame can carry a code and a reason, before anything is closed.
 *
 * @throws RangeError for a code that must not be sent, or a reason above 123 bytes
 * @throws TypeError for a reason that is not a string, or has a lone surrogate
 */
export function assertClosable(code: unknown, reason: unknown): void {
  if (code !== undefined && !isCloseCode(code)) {
    throw new RangeError(
      `A close code must be 1000 to 1003, 1007 to 1014, or 3000 to 4999, not ${describe(code)}.`,
    )
  }
  if (reason === undefined) return
  if (typeof reason !== 'string') {
    throw new TypeError(`A close reason must be a string, not ${describe(reason)}.`)
  }
  if (Buffer.byteLength(reason) > 123) {
    throw new RangeError(
      `A close reason must have at most 123 bytes of UTF-8, not ${Buffer.byteLength(reason)}.`,
    )
  }
  if (!reason.isWellFormed()) {
    throw new TypeError(`The close reason ${describe(reason)} has ${LONE_SURROGATE}.`)
  }
}

/**
 * Asserts that `connection.close()` got a valid code and reason. ws before 8.23 throws when the
 * connection is already half closed, so check first. The error classes are those of ws.
 *
 * @throws TypeError for a code that must not be sent, or a reason that is neither a string nor
 * bytes
 * @throws RangeError for a reason above 123 bytes
 */
export function assertAsWs(code: unknown, reason: unknown): void {
  if (code === undefined) return
  if (!isCloseCode(code)) {
    const isStatus = isIntegerWithin(code, 400, 599)
    const hint = isStatus ? ` For the HTTP status ${String(code)} close with ${4000 + code}.` : ''
    const given = typeof code === 'number' ? String(code) : `a value of the type ${typeof code}`
    throw new TypeError(
      `connection.close() takes a code of 1000 to 1003, 1007 to 1014 or 3000 to 4999, not ${given}.${hint}`,
    )
  }
  if (reason === undefined) return
  if (typeof reason !== 'string' && !(reason instanceof Uint8Array)) {
    throw new TypeError(
      `connection.close() takes a string or a Buffer as the reason, not ${reason === null ? 'null' : `a value of the type ${typeof reason}`}.`,
    )
  }
  const bytes = typeof reason === 'string' ? Buffer.byteLength(reason) : reason.length
  if (bytes > 123) {
    throw new RangeError(
      `connection.close() takes a reason of at most 123 bytes of UTF-8, not ${bytes}.`,
    )
  }
}

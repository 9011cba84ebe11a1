/**
 * The close codes that koaws sends (RFC 6455, section 7.4; 4000 to 4999 are the application's).
 * What a client should do after each is in `docs/reference/errors.md`.
 */
export const CloseCode = {
  /** A normal end. */
  normal: 1000,
  /** A frame that RFC 6455 does not allow. */
  protocolError: 1002,
  /** A message above `maxPayload`. */
  tooBig: 1009,
  /** The handler, or a listener of the connection, threw. */
  internal: 1011,
  /** The hub is shutting down: come back later. */
  restart: 1012,
  /** The authorisation of this connection has ended (`expiresAt`). */
  expired: 4401,
  /** `refresh()` named another user than the one who connected. */
  otherUser: 4403,
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

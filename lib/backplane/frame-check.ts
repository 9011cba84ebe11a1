// Checks that the bytes of another instance are one whole frame.

/**
 * Returns whether bytes are one complete, unmasked, unfragmented frame of text or binary data (RFC
 * 6455, section 5.2), as one instance encodes it for all others.
 */
export function isWholeFrame(frame: Buffer): boolean {
  const first = frame[0]
  const second = frame[1]
  if ((first !== 0x81 && first !== 0x82) || second === undefined) return false
  if (second < 126) return frame.length === 2 + second
  if (second === 126) return frame.length >= 4 && frame.length === 4 + frame.readUInt16BE(2)
  if (second !== 127 || frame.length < 10 || frame.readUInt16BE(2) !== 0) return false
  return frame.length === 10 + frame.readUIntBE(4, 6)
}

const PING = 0x89
const PONG = 0x8a

/**
 * Removes the pings from the frames of a server. The first frame begins at `from`, and frames that
 * are not pings are `size` bytes long. Returns the bytes of an incomplete ping as the rest.
 */
export function takePings(bytes, from, size, onPing) {
  let at = from
  while (at < bytes.length) {
    if (bytes[at] !== PING) {
      at += size
      continue
    }
    const end = at + 2 + (bytes[at + 1] ?? Number.POSITIVE_INFINITY)
    if (end > bytes.length) return { bytes: bytes.subarray(0, at), rest: bytes.subarray(at) }
    onPing(pong(bytes.subarray(at + 2, end)))
    bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(end)])
  }
  return { bytes, rest: null }
}

/** Masked with zeros. */
function pong(payload) {
  return Buffer.concat([Buffer.from([PONG, 0x80 | payload.length, 0, 0, 0, 0]), payload])
}

export function mayHoldPing(bytes) {
  return bytes.includes(PING)
}

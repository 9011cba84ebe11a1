const PING = 0x89
const PONG = 0x8a

/**
 * Takes the pings out of the frames of a server, whose first frame begins at `from` and which are
 * `size` bytes long, if they are no pings. What is left of a ping that is not whole comes back as rest.
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

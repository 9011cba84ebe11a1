import { RawClient, textFrame } from '../lib/raw-client.mjs'
import { KEY } from '../lib/request.mjs'

/** The `koaws:resume` of a client with these positions. */
export function resumeFrame(positions = {}) {
  return textFrame(JSON.stringify({ type: 'koaws:resume', data: { positions } }))
}

/** The offers of a client that knows history, and of a client that does not. */
export const RESUMES = 'koaws.v1, koaws.resume'
export const PLAIN = 'koaws.v1'

/** A client of `koaws.v1` on a raw socket. */
export class HistorySocket extends RawClient {
  constructor(port, path, offers, owner) {
    super(
      port,
      `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${KEY}\r\nSec-WebSocket-Protocol: ${offers}\r\n\r\n`,
      owner,
    )
  }
}

/** Whether a text is a push of the application with a position: `{"room"`; messages of the protocol begin with `{"type"`. */
export const isPlaced = (bytes, start) => bytes[start + 2] === 0x72

/** Whether a text is a message of the protocol: `{"type":"koaws:`. */
export const isProtocol = (bytes, start) => !isPlaced(bytes, start) && bytes[start + 9] === 0x6b

/** The number of a message: the digits after `"s":`. */
export function numberIn(bytes, start, size) {
  let at = bytes.indexOf('"s":', start, 'latin1') + 4
  if (at < start + 4 || at > start + size) return -1
  let number = 0
  for (let digit = bytes[at] - 48; digit >= 0 && digit <= 9; digit = bytes[++at] - 48) {
    number = number * 10 + digit
  }
  return number
}

/** The object of a message of the protocol. */
export const objectIn = (bytes, start, size) => JSON.parse(bytes.utf8Slice(start, start + size))

/** Percentiles of a list of times. */
export function percentiles(times) {
  const sorted = Float64Array.from(times).sort()
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]
  return { p50: at(0.5), p99: at(0.99), max: at(1) }
}

/** The CPU time of this process since the given one, in microseconds. */
export function cpuSince(before = 0) {
  const { user, system } = process.cpuUsage()
  return user + system - before
}

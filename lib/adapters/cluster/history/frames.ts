// The frames of a session between two instances, as bytes.

/** The kinds of frames. */
export const FrameKind = {
  /** A part of messages. More parts follow. */
  part: 1,
  /** The last part of messages. */
  end: 2,
  /** Acknowledges only. */
  acknowledgment: 3,
  /** The receiver counts as ended: it was not reachable. */
  ended: 4,
  /** The sender ends. */
  bye: 5,
} as const

/** The kind, the length of the id, the process, the number, and the last number that arrived. */
const HEAD = 2 + 4 + 8 + 8
const ID = /^[\w-]{1,40}$/

/** A frame of a session. */
export interface Frame {
  readonly kind: number
  /** The sender. */
  readonly from: string
  /** The id of its process. */
  readonly pid: number
  /** Counts the frames with parts, from 1; 0 for others. */
  readonly number: number
  /** The number of the last frame that the sender has got. */
  readonly got: number
  readonly body: Buffer
}

/** Returns a frame as bytes. */
export function encodeFrame({ kind, from, pid, number, got, body }: Frame): Buffer {
  const id = Buffer.from(from)
  const head = Buffer.allocUnsafe(HEAD + id.length)
  head[0] = kind
  head[1] = id.length
  head.writeUInt32BE(pid, 2)
  head.writeDoubleBE(number, 6)
  head.writeDoubleBE(got, 14)
  id.copy(head, HEAD)
  return body.length === 0 ? head : Buffer.concat([head, body])
}

/** Returns a frame from bytes; null for others. */
export function decodeFrame(bytes: Buffer): Frame | null {
  const [kind = 0, length = 0] = bytes
  if (bytes.length < HEAD + length || kind < FrameKind.part || kind > FrameKind.bye) return null
  const from = bytes.toString('utf8', HEAD, HEAD + length)
  const pid = bytes.readUInt32BE(2)
  const number = bytes.readDoubleBE(6)
  const got = bytes.readDoubleBE(14)
  if (!ID.test(from) || !isCount(number) || !isCount(got)) return null
  return { kind, from, pid, number, got, body: bytes.subarray(HEAD + length) }
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0
}

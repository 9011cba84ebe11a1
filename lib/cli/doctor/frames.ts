// Frames of RFC 6455, section 5, as a client sends and receives them.
import { randomBytes } from 'node:crypto'

/** The opcodes of RFC 6455, section 5.2. */
export const Opcode = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

/** Returns a masked frame. */
export function maskedFrame(opcode: number, payload: Buffer, fin = true): Buffer {
  const { length } = payload
  const extra = length < 126 ? 0 : length < 65_536 ? 2 : 8
  const frame = Buffer.allocUnsafe(2 + extra + 4 + length)
  frame[0] = (fin ? 0x80 : 0) | opcode
  frame[1] = 0x80 | (extra === 0 ? length : extra === 2 ? 126 : 127)
  if (extra === 2) frame.writeUInt16BE(length, 2)
  if (extra === 8) frame.writeBigUInt64BE(BigInt(length), 2)
  const key = randomBytes(4)
  key.copy(frame, 2 + extra)
  const start = 6 + extra
  for (let at = 0; at < length; at++)
    frame[start + at] = payload.readUInt8(at) ^ key.readUInt8(at & 3)
  return frame
}

/** What a reader of frames reports. */
export interface FrameEvents {
  /** A whole control frame. */
  control(opcode: number, payload: Buffer): void
  /** The start of a data frame; its payload is skipped. */
  data(opcode: number, length: number): void
}

/**
 * Reads the frames of a server. Keeps one header or one control frame, at most 139 bytes, and skips
 * the payload of data, so that a frame of any size costs no memory.
 */
export class FrameReader {
  #kept: Buffer = Buffer.alloc(0)
  #skip = 0
  readonly #events: FrameEvents

  constructor(events: FrameEvents) {
    this.#events = events
  }

  /** Reads a chunk. Returns the problem with its bytes, or null. */
  push(chunk: Buffer): string | null {
    let bytes = chunk
    while (bytes.length > 0) {
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, bytes.length)
        this.#skip -= skipped
        bytes = bytes.subarray(skipped)
        continue
      }
      // A header has at most 10 bytes, the payload of a control frame at most 125.
      const taken = bytes.subarray(0, 139 - this.#kept.length)
      const joined = Buffer.concat([this.#kept, taken])
      const used = this.#readFrame(joined)
      if (typeof used === 'string') return used
      if (used === 0) {
        this.#kept = joined
        bytes = bytes.subarray(taken.length)
        continue
      }
      bytes = bytes.subarray(used - this.#kept.length)
      this.#kept = Buffer.alloc(0)
    }
    return null
  }

  /** Returns the bytes of the frame at the start without skipped payload; 0 when some are missing. */
  #readFrame(bytes: Buffer): number | string {
    if (bytes.length < 2) return 0
    const first = bytes.readUInt8(0)
    const second = bytes.readUInt8(1)
    const opcode = first & 15
    const short = second & 127
    if (second & 128) return 'a frame from the server was masked'
    if (first & 0x30) return 'a frame had reserved bits'
    if ((opcode > 2 && opcode < 8) || opcode > 10) return `a frame had the unknown opcode ${opcode}`
    if (opcode >= 8) {
      if (short > 125 || (first & 0x80) === 0) return 'a control frame was too long or fragmented'
      if (first & 0x40) return 'a control frame was compressed'
      if (bytes.length < 2 + short) return 0
      this.#events.control(opcode, Buffer.from(bytes.subarray(2, 2 + short)))
      return 2 + short
    }
    const head = short < 126 ? 2 : short === 126 ? 4 : 10
    if (bytes.length < head) return 0
    const length =
      short < 126 ? short : short === 126 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2))
    if (length > Number.MAX_SAFE_INTEGER) return 'a frame announced more than 8 PiB'
    this.#events.data(opcode, length)
    this.#skip = length
    return head
  }
}

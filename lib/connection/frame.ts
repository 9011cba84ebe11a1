// `Frame`, a message encoded once, and `Batch`, the frames of a connection in one turn.

import { isAnyArrayBuffer } from 'node:util/types'
import { constants, deflateRawSync, type ZlibOptions } from 'node:zlib'
import { describe } from '../validate.ts'
import type { Sendable } from './types.ts'

/** The first byte of a text message in one frame. */
export const TEXT = 0x81
const BINARY = 0x82
const COMPRESSED = 0x40

/** How frames are compressed for connections that share them (RFC 7692). */
export interface FrameDeflate {
  /** Messages below this many bytes are not compressed. */
  readonly threshold: number
  readonly options: ZlibOptions | undefined
}

/** A ping without payload (RFC 6455, section 5.5.2). */
export const PING: Buffer = Buffer.from([0x89, 0])

/**
 * One message, encoded once for all receivers (RFC 6455, section 5.2: a single unmasked frame).
 * What the caller gave may be changed afterwards.
 */
export class Frame {
  readonly plain: Buffer
  readonly binary: boolean
  readonly #payloadAt: number
  readonly #deflate: FrameDeflate | null
  #compressed: Buffer | null = null
  // The batch that most members are in when the frame comes to them, and the one they are in then.
  #from: Batch | null = null
  #to: Batch | null = null
  #others: Map<Batch, Batch> | null = null

  private constructor(plain: Buffer, payloadAt: number, deflate: FrameDeflate | null) {
    this.plain = plain
    this.binary = plain[0] === BINARY
    this.#payloadAt = payloadAt
    this.#deflate = deflate
  }

  /** @throws TypeError for what is no string, Buffer, ArrayBuffer or view */
  static encode(data: Sendable, deflate: FrameDeflate | null): Frame {
    if (typeof data === 'string') {
      const length = Buffer.byteLength(data)
      const plain = allocate(TEXT, length)
      plain.write(data, plain.length - length)
      return new Frame(plain, plain.length - length, deflate)
    }
    const bytes = bytesOf(data)
    const plain = allocate(BINARY, bytes.length)
    plain.set(bytes, plain.length - bytes.length)
    return new Frame(plain, plain.length - bytes.length, deflate)
  }

  /** A text message that begins with `head`, and goes on with bytes of UTF-8. */
  static text(head: string, rest: Buffer, deflate: FrameDeflate | null): Frame {
    const length = Buffer.byteLength(head) + rest.length
    const plain = allocate(TEXT, length)
    const payloadAt = plain.length - length
    plain.set(rest, payloadAt + plain.write(head, payloadAt))
    return new Frame(plain, payloadAt, deflate)
  }

  /** A frame as it was encoded by another instance. */
  static decode(plain: Buffer, deflate: FrameDeflate | null): Frame {
    return new Frame(plain, payloadAt(plain), deflate)
  }

  /** Many whole frames in one piece, for one connection that takes them as they are. */
  static joined(frames: Buffer): Frame {
    return new Frame(frames, 0, null)
  }

  get payload(): Buffer {
    return this.plain.subarray(this.#payloadAt)
  }

  /** Returns the batch with this frame at its end; the same object for all connections of the batch. */
  after(batch: Batch): Batch {
    if (batch === this.#from) return this.#to as Batch
    const known = this.#others?.get(batch)
    const next = known ?? new Batch(batch, batch.compresses ? this.#smallest() : this.plain)
    if (this.#from && !known) {
      this.#others ??= new Map([[this.#from, this.#to as Batch]])
      this.#others.set(batch, next)
    }
    this.#from = batch
    this.#to = next
    return next
  }

  /** The compressed frame, or the plain one below the threshold. */
  #smallest(): Buffer {
    if (this.#compressed) return this.#compressed
    const { payload } = this
    if (!this.#deflate || payload.length < this.#deflate.threshold) this.#compressed = this.plain
    else this.#compressed = compress(payload, this.binary ? BINARY : TEXT, this.#deflate.options)
    return this.#compressed
  }
}

/**
 * What waits for a connection in one turn of the event loop: a chain of frames. Connections that got
 * the same frames in the same order are in the same batch, so that its bytes are joined once for all.
 */
export class Batch {
  /** In bytes, headers included. */
  readonly size: number
  /** Whether the connections of this batch take compressed frames. */
  readonly compresses: boolean
  readonly #before: Batch | null
  readonly #frame: Buffer
  #bytes: Buffer | null = null

  /** @param before a batch, or for an empty one whether it compresses */
  constructor(before: Batch | boolean, frame: Buffer) {
    this.#frame = frame
    if (typeof before === 'boolean') {
      this.#before = null
      this.size = 0
      this.compresses = before
    } else {
      this.#before = before.size === 0 ? null : before
      this.size = before.size + frame.length
      this.compresses = before.compresses
    }
  }

  /** All frames in order, in one piece. */
  get bytes(): Buffer {
    if (!this.#before) return this.#frame
    if (this.#bytes) return this.#bytes
    const bytes = Buffer.allocUnsafe(this.size)
    let end = this.size
    for (let batch: Batch | null = this; batch; batch = batch.#before) {
      end -= batch.#frame.length
      bytes.set(batch.#frame, end)
    }
    this.#bytes = bytes
    return bytes
  }
}

/** The empty batches: of connections that take plain frames, and of those with compressed ones. */
export const EMPTY: Batch = new Batch(false, Buffer.alloc(0))
export const EMPTY_COMPRESSING: Batch = new Batch(true, Buffer.alloc(0))

/** A frame with its header written; the payload is still to come. */
function allocate(first: number, length: number): Buffer {
  const frame = Buffer.allocUnsafe(headerSize(length) + length)
  writeHeader(frame, 0, first, length)
  return frame
}

/** Returns where the payload of an unmasked frame begins. */
export function payloadAt(frame: Buffer): number {
  const length = frame[1] as number
  return length < 126 ? 2 : length === 126 ? 4 : 10
}

/** Returns the size of the header of an unmasked frame with a payload of so many bytes. */
export function headerSize(length: number): number {
  return length < 126 ? 2 : length < 65_536 ? 4 : 10
}

/** Writes such a header. Returns the index behind it. */
export function writeHeader(bytes: Buffer, at: number, first: number, length: number): number {
  bytes[at] = first
  if (length < 126) {
    bytes[at + 1] = length
    return at + 2
  }
  if (length < 65_536) {
    bytes[at + 1] = 126
    return bytes.writeUInt16BE(length, at + 2)
  }
  bytes[at + 1] = 127
  bytes.writeUInt16BE(0, at + 2)
  return bytes.writeUIntBE(length, at + 4, 6)
}

/** RFC 7692, section 7.2.1: a sync flush, less its last four bytes. */
function compress(payload: Buffer, first: number, options: ZlibOptions | undefined): Buffer {
  const deflated = deflateRawSync(payload, { ...options, finishFlush: constants.Z_SYNC_FLUSH })
  const length = deflated.length - 4
  const frame = allocate(first | COMPRESSED, length)
  deflated.copy(frame, frame.length - length, 0, length)
  return frame
}

/**
 * Checks what `connection.send()` is given: all that ws takes, except for undefined and null, which ws sends as an empty
 * message, and for objects that it would make meaningless bytes of.
 *
 * @throws TypeError that says what was given
 */
export function assertSendable(data: unknown): void {
  if (typeof data === 'string' || typeof data === 'number' || ArrayBuffer.isView(data)) return
  if (isAnyArrayBuffer(data) || data instanceof Blob) return
  if (Array.isArray(data) && data.every(Number.isInteger)) return
  throw new TypeError(
    `connection.send() takes a string, a Buffer, an ArrayBuffer, a view of one or a Blob, not ${describe(data)}. Use connection.json() for other values.`,
  )
}

/** @throws TypeError for a value without a JSON form */
export function jsonText(value: unknown): string {
  if (typeof value !== 'bigint') {
    const text = JSON.stringify(value) as string | undefined
    if (text !== undefined) return text
  }
  throw new TypeError(`json() needs a value with a JSON form, not ${describe(value)}.`)
}

function bytesOf(data: Exclude<Sendable, string>): Uint8Array {
  if (data instanceof Uint8Array) return data
  if (ArrayBuffer.isView(data)) {
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  }
  if (data instanceof ArrayBuffer) return new Uint8Array(data)
  throw new TypeError(
    `A message must be a string, a Buffer, an ArrayBuffer or a view of one, not ${describe(data)}. Use json() for other values.`,
  )
}

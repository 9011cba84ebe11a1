// The records on a stream between two instances, as bytes.

/** The kinds of records on a stream between two instances. */
export const RecordKind = {
  /** Introduces the sender: version, id. */
  hello: 1,
  /** The same, from an instance that asks the receiver to connect to it. */
  knock: 2,
  /** A number, and topics that the sender subscribes to. 0 marks the end of its first list. */
  subscribe: 3,
  /** Topics that the sender unsubscribes from. */
  unsubscribe: 4,
  /** The number of a subscribe that is in effect, with all before it. */
  subscribed: 5,
  payload: 6,
  /** The sender ends and will not come back. */
  bye: 7,
} as const

/** The version of the records; it changes with their meaning. */
const VERSION = 1
/** The size of a header: the length of the rest, and the kind. */
const HEADER = 5
/** The longest record that is accepted, in bytes, including the kind. */
const LARGEST = 64 * 1024 * 1024
/**
 * The longest first record, in bytes. Bounds the memory for a stream that is not introduced yet.
 */
const LARGEST_FIRST = 128
/** The longest payload, in bytes. */
export const LARGEST_PAYLOAD: number = LARGEST - 1
/** The size at which a list of topics is split into several records, in bytes. */
export const LIST_BYTES: number = 1024 * 1024
/** The number of a list that is followed by further parts. */
export const MORE = 0xffff_ffff
/**
 * The memory to allocate at once for a long record, in bytes; further memory follows the arrivals.
 */
const FIRST_PART = 1024 * 1024

/** Returns a header. The body follows in separate writes. */
export function header(kind: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER)
  bytes.writeUInt32BE(length + 1, 0)
  bytes[4] = kind
  return bytes
}

export function introduction(kind: 1 | 2, id: string): Buffer {
  const body = Buffer.from(`${String.fromCharCode(VERSION)}${id}`)
  return Buffer.concat([header(kind, body.length), body])
}

/** Returns the id of an introduction, or null for another version. */
export function readIntroduction(body: Buffer): string | null {
  return body[0] === VERSION && body.length > 1 && body.length < 100
    ? body.toString('utf8', 1)
    : null
}

/** @param number the number of a subscribe; 0 for an unsubscribe */
export function topicList(kind: 3 | 4, number: number, topics: readonly string[]): Buffer {
  const start = Buffer.allocUnsafe(4)
  start.writeUInt32BE(number)
  const parts = topics.flatMap((topic) => {
    const text = Buffer.from(topic)
    const length = Buffer.allocUnsafe(2)
    length.writeUInt16BE(text.length)
    return [length, text]
  })
  const body = Buffer.concat([start, ...parts])
  return Buffer.concat([header(kind, body.length), body])
}

/**
 * Reads a list of topics.
 *
 * @throws RangeError for a malformed list
 */
export function readTopicList(body: Buffer): { number: number; topics: string[] } {
  const topics: string[] = []
  for (let at = 4; at < body.length; ) {
    const end = at + 2 + body.readUInt16BE(at)
    if (end > body.length) throw new RangeError('a topic is truncated')
    topics.push(body.toString('utf8', at + 2, end))
    at = end
  }
  return { number: body.readUInt32BE(0), topics }
}

export function confirmation(number: number): Buffer {
  const bytes = Buffer.concat([header(RecordKind.subscribed, 4), Buffer.alloc(4)])
  bytes.writeUInt32BE(number, HEADER)
  return bytes
}

/** Splits a stream into records. The body is a view when a record arrives in one piece. */
export class RecordReader {
  readonly #read: (kind: number, body: Buffer) => void
  #longest = LARGEST_FIRST
  /** The beginning of an incomplete record, in memory that grows with its arrival. */
  #part = Buffer.alloc(0)
  #length = 0
  /** The size at which the record is complete, or its length is known. */
  #needed = HEADER

  constructor(read: (kind: number, body: Buffer) => void) {
    this.#read = read
  }

  /** Whether a record has begun and not ended. */
  get isPartial(): boolean {
    return this.#length > 0
  }

  /**
   * Reads a chunk.
   *
   * @throws RangeError for an impossible length
   */
  push(chunk: Buffer): void {
    let bytes = chunk
    while (this.#length > 0) {
      const more = Math.min(this.#needed - this.#length, bytes.length)
      this.#keep(bytes.subarray(0, more))
      bytes = bytes.subarray(more)
      if (this.#length < this.#needed) return
      const whole = this.#part.subarray(0, this.#length)
      this.#needed = HEADER + this.#bodyLength(whole)
      if (this.#needed > whole.length) continue
      this.#part = Buffer.alloc(0)
      this.#length = 0
      this.#done(whole)
    }
    while (bytes.length >= HEADER) {
      const end = HEADER + this.#bodyLength(bytes)
      if (bytes.length < end) {
        this.#needed = end
        break
      }
      this.#done(bytes.subarray(0, end))
      bytes = bytes.subarray(end)
    }
    if (bytes.length === 0) return
    if (bytes.length < HEADER) this.#needed = HEADER
    this.#keep(bytes)
  }

  #done(record: Buffer): void {
    this.#longest = LARGEST
    this.#read(record.readUInt8(4), record.subarray(HEADER))
  }

  #bodyLength(bytes: Buffer): number {
    const length = bytes.readUInt32BE(0)
    if (length === 0 || length > this.#longest)
      throw new RangeError('the length of a record is out of range')
    return length - 1
  }

  #keep(bytes: Buffer): void {
    const length = this.#length + bytes.length
    if (length > this.#part.length) {
      const atOnce = Math.max(length, 2 * this.#part.length, FIRST_PART)
      const part = Buffer.allocUnsafe(Math.min(this.#needed, atOnce))
      this.#part.copy(part, 0, 0, this.#length)
      this.#part = part
    }
    bytes.copy(this.#part, this.#length)
    this.#length = length
  }
}

/** What one instance says to another on their stream. */
export const Record = {
  /** Who I am: version, id. */
  hello: 1,
  /** The same, of one that wants to be connected to. */
  knock: 2,
  /** A number, and topics that I want from now on. The first one bears 0, and has all of them. */
  subscribe: 3,
  /** Topics that I do not want any more. */
  unsubscribe: 4,
  /** The number of a subscribe that holds. */
  subscribed: 5,
  payload: 6,
  /** I end, and shall not come back. */
  bye: 7,
} as const

/** Changes with what the bytes mean. */
const VERSION = 1
/** The length of what follows, and the kind. */
const HEADER = 5
/** Longer ones are none of ours: the kind, and what comes behind it. */
const LARGEST = 64 * 1024 * 1024
/** Bytes of a payload. */
export const LARGEST_PAYLOAD: number = LARGEST - 1

/** A header: the body follows in writes of its own. */
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

/** @returns the id, or null for another version */
export function readIntroduction(body: Buffer): string | null {
  return body[0] === VERSION && body.length > 1 && body.length < 100
    ? body.toString('utf8', 1)
    : null
}

/** @param number of a subscribe; 0 for an unsubscribe */
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

/** @throws RangeError for what is none */
export function readTopicList(body: Buffer): { number: number; topics: string[] } {
  const topics: string[] = []
  for (let at = 4; at < body.length; ) {
    const end = at + 2 + body.readUInt16BE(at)
    if (end > body.length) throw new RangeError('a topic is cut')
    topics.push(body.toString('utf8', at + 2, end))
    at = end
  }
  return { number: body.readUInt32BE(0), topics }
}

export function confirmation(number: number): Buffer {
  const bytes = Buffer.concat([header(Record.subscribed, 4), Buffer.alloc(4)])
  bytes.writeUInt32BE(number, HEADER)
  return bytes
}

/** Cuts a stream into records. Bodies are views where a record came in one piece. */
export class RecordReader {
  readonly #read: (kind: number, body: Buffer) => void
  #parts: Buffer[] = []
  #length = 0
  /** How much there has to be before a record is whole. */
  #needed = HEADER

  constructor(read: (kind: number, body: Buffer) => void) {
    this.#read = read
  }

  /** @throws RangeError for a length that cannot be */
  push(chunk: Buffer): void {
    this.#parts.push(chunk)
    this.#length += chunk.length
    if (this.#length < this.#needed) return
    let bytes = this.#parts.length === 1 ? chunk : Buffer.concat(this.#parts, this.#length)
    this.#needed = HEADER
    while (bytes.length >= HEADER) {
      const length = bytes.readUInt32BE(0)
      if (length === 0 || length > LARGEST)
        throw new RangeError('a record has an impossible length')
      if (bytes.length < 4 + length) {
        this.#needed = 4 + length
        break
      }
      this.#read(bytes[4] as number, bytes.subarray(HEADER, 4 + length))
      bytes = bytes.subarray(4 + length)
    }
    this.#parts = bytes.length > 0 ? [bytes] : []
    this.#length = bytes.length
  }
}

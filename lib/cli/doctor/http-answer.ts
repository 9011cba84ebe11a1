// Reads an HTTP/1 answer from a socket that may send anything, within bounds of bytes and time.
import type { Duplex } from 'node:stream'

/** An HTTP answer. */
export interface HttpAnswer {
  /** The version of the status line, such as `1.1`. */
  readonly version: string
  readonly status: number
  /** The headers in lower case; several values are joined with a comma. */
  readonly headers: ReadonlyMap<string, string>
  /** The start of the body. */
  readonly body: string
  /** The bytes after the head of a 101. */
  readonly rest: Buffer
}

/** The reason why there is no answer. */
export type NoAnswer = 'silent' | 'cut' | 'garbage' | 'endless'

/** The most bytes of a head, and of a body that is shown. */
const MOST_HEAD = 65_536
const MOST_BODY = 8_192
/** The most interim answers before the final one. */
const MOST_INTERIM = 8
/** Milliseconds that a body may take: it is shown as far as it came. */
const BODY_PATIENCE = 2_000

const STATUS_LINE = /^HTTP\/(\d\.\d) (\d{3})(?: [^\r\n]*)?\r?\n/

/** Reads one answer after interim ones such as 103. Leaves the socket paused, with the rest. */
export async function readAnswer(socket: Duplex, patience: number): Promise<HttpAnswer | NoAnswer> {
  const source = new Source(socket)
  try {
    for (let interim = 0; interim < MOST_INTERIM; interim++) {
      const found = await source.until(headEnd, MOST_HEAD, patience)
      if (found < 0) return missing(source)
      if (found === 0) return 'garbage'
      const head = source.bytes.toString('latin1', 0, found)
      const [line, version = '', digits = ''] = STATUS_LINE.exec(head) ?? []
      if (line === undefined) return 'garbage'
      const status = Number(digits)
      const headers = parseHeaders(head.slice(line.length))
      source.drop(found)
      if (status === 101) return { version, status, headers, body: '', rest: source.bytes }
      if (status < 200) continue
      const body = await readBody(source, headers)
      return { version, status, headers, body, rest: Buffer.alloc(0) }
    }
    return 'endless'
  } finally {
    source.release()
  }
}

function missing({ bytes, ended }: Source): NoAnswer {
  if (bytes.length > 0 && bytes.length < 5) return 'garbage'
  if (ended) return 'cut'
  return bytes.length > MOST_HEAD ? 'endless' : 'silent'
}

/** Returns the offset after the empty line; 0 for bytes that are not HTTP; or -1. */
function headEnd(bytes: Buffer): number {
  if (bytes.length >= 5 && bytes.toString('latin1', 0, 5) !== 'HTTP/') return 0
  const at = bytes.indexOf('\r\n\r\n')
  if (at >= 0) return at + 4
  const bare = bytes.indexOf('\n\n')
  return bare >= 0 ? bare + 2 : -1
}

function parseHeaders(text: string): Map<string, string> {
  const headers = new Map<string, string>()
  for (const line of text.split(/\r?\n/)) {
    const colon = line.indexOf(':')
    if (colon <= 0) continue
    const name = line.slice(0, colon).toLowerCase()
    const value = line.slice(colon + 1).trim()
    const known = headers.get(name)
    headers.set(name, known === undefined ? value : `${known}, ${value}`)
  }
  return headers
}

async function readBody(source: Source, headers: ReadonlyMap<string, string>): Promise<string> {
  const chunked = /\bchunked\b/i.test(headers.get('transfer-encoding') ?? '')
  const length = Number(headers.get('content-length') ?? Number.NaN)
  const end = (bytes: Buffer): number => {
    if (chunked) return /(?:^|\n)0+\r\n/.test(bytes.toString('latin1')) ? bytes.length : -1
    return bytes.length >= length ? length : -1
  }
  await source.until(end, MOST_BODY, BODY_PATIENCE)
  const text = source.bytes.subarray(0, MOST_BODY)
  return (chunked ? withoutChunks(text) : text).toString('utf8')
}

function withoutChunks(bytes: Buffer): Buffer {
  const parts: Buffer[] = []
  for (let at = 0; at < bytes.length; ) {
    const line = bytes.indexOf('\r\n', at)
    const size = line < 0 ? Number.NaN : Number.parseInt(bytes.toString('latin1', at, line), 16)
    if (!(size > 0)) break
    parts.push(bytes.subarray(line + 2, line + 2 + size))
    at = line + 2 + size + 2
  }
  return Buffer.concat(parts)
}

/** The bytes of a socket that were not used yet. */
class Source {
  bytes: Buffer = Buffer.alloc(0)
  ended = false
  readonly #socket: Duplex
  #wake: () => void = () => {}
  readonly #onData = (chunk: Buffer): void => {
    this.bytes = Buffer.concat([this.bytes, chunk])
    this.#wake()
  }
  readonly #onEnd = (): void => {
    this.ended = true
    this.#wake()
  }

  constructor(socket: Duplex) {
    this.#socket = socket
    socket.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onEnd)
    if (socket.destroyed) this.ended = true
  }

  /** Reads until a condition finds its offset; -1 at the end, at the bound, or after the time. */
  async until(find: (bytes: Buffer) => number, most: number, patience: number): Promise<number> {
    const deadline = Date.now() + patience
    for (;;) {
      const found = find(this.bytes)
      if (found >= 0) return found
      const left = deadline - Date.now()
      if (this.ended || this.bytes.length > most || left <= 0) return -1
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }

  drop(bytes: number): void {
    this.bytes = this.bytes.subarray(bytes)
  }

  release(): void {
    this.#socket.pause()
    this.#socket.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onEnd)
  }
}

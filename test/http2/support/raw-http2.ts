import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'

/** Frame types (RFC 9113, section 6). */
export const Type = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const

/** Frame flags. */
export const Flag = { endStream: 1, ack: 1, endHeaders: 4, padded: 8 } as const

/** Settings (RFC 9113, section 6.5.2; RFC 8441, section 3). */
export const Setting = {
  headerTableSize: 1,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  enableConnectProtocol: 8,
} as const

/** Error codes (RFC 9113, section 7). */
export const Code = {
  noError: 0,
  protocolError: 1,
  internalError: 2,
  flowControlError: 3,
  streamClosed: 5,
  refusedStream: 7,
  cancel: 8,
  enhanceYourCalm: 11,
} as const

/** A frame as received. */
export interface Http2Frame {
  readonly type: number
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

/** A WebSocket frame from DATA. */
export interface InnerFrame {
  readonly opcode: number
  readonly payload: Buffer
}

export type Field = readonly [name: string, value: string]

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1')
const EMPTY = Buffer.alloc(0)
const HEAD = 9
const DEFAULT_WINDOW = 65_535

// ---- frames

export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Buffer = EMPTY,
): Buffer {
  const head = Buffer.alloc(HEAD)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

export function data(stream: number, payload: Buffer | string, flags = 0): Buffer {
  return frame(Type.data, flags, stream, Buffer.from(payload as string, 'latin1'))
}

export function headers(
  stream: number,
  fields: readonly Field[],
  flags: number = Flag.endHeaders,
): Buffer {
  return frame(Type.headers, flags, stream, headerBlock(fields))
}

export function settings(values: Readonly<Record<number, number>>): Buffer {
  const entries = Object.entries(values)
  const payload = Buffer.alloc(entries.length * 6)
  for (const [i, [id, value]] of entries.entries()) {
    payload.writeUInt16BE(Number(id), i * 6)
    payload.writeUInt32BE(value, i * 6 + 2)
  }
  return frame(Type.settings, 0, 0, payload)
}

export function rstStream(stream: number, code: number): Buffer {
  return frame(Type.rstStream, 0, stream, uint32(code))
}

export function windowUpdate(stream: number, increment: number): Buffer {
  return frame(Type.windowUpdate, 0, stream, uint32(increment))
}

export function ping(flags = 0, payload: Buffer = Buffer.alloc(8)): Buffer {
  return frame(Type.ping, flags, 0, payload)
}

export function goaway(code: number, last = 0): Buffer {
  return frame(Type.goaway, 0, 0, Buffer.concat([uint32(last), uint32(code)]))
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value >>> 0)
  return bytes
}

/** Encodes literal fields that are never indexed, without Huffman (RFC 7541, section 6.2.3). */
export function headerBlock(fields: readonly Field[]): Buffer {
  return Buffer.concat(
    fields.flatMap(([name, value]) => [Buffer.from([0x10]), text(name), text(value)]),
  )
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'latin1')
  return Buffer.concat([integer(bytes.length), bytes])
}

/** RFC 7541, section 5.1, with a prefix of seven bits. */
function integer(value: number): Buffer {
  if (value < 127) return Buffer.from([value])
  const bytes = [127]
  let rest = value - 127
  for (; rest >= 128; rest >>>= 7) bytes.push((rest & 127) | 128)
  return Buffer.from([...bytes, rest])
}

// ---- frames of a WebSocket client

/** Returns the fields of a valid extended CONNECT with these changes; null omits a field. */
export function connectFields(changed: Readonly<Record<string, string | null>> = {}): Field[] {
  const fields: Record<string, string | null> = {
    ':method': 'CONNECT',
    ':protocol': 'websocket',
    ':scheme': 'http',
    ':path': '/',
    ':authority': '127.0.0.1',
    'sec-websocket-version': '13',
    ...changed,
  }
  return Object.entries(fields).filter((field): field is [string, string] => field[1] !== null)
}

/** Returns a masked WebSocket frame (RFC 6455, section 5.2) with a zero key. */
export function inner(opcode: number, payload: Buffer | string = EMPTY, fin = true): Buffer {
  const body = Buffer.from(payload as string, 'utf8')
  const { length } = body
  const first = (fin ? 0x80 : 0) | opcode
  let head: Buffer
  if (length < 126) head = Buffer.from([first, 0x80 | length])
  else if (length < 65_536) {
    head = Buffer.from([first, 0x80 | 126, 0, 0])
    head.writeUInt16BE(length, 2)
  } else {
    head = Buffer.alloc(10)
    head[0] = first
    head[1] = 0x80 | 127
    head.writeUInt32BE(length, 6)
  }
  return Buffer.concat([head, Buffer.alloc(4), body])
}

export function textFrame(message: string): Buffer {
  return inner(1, message)
}

export function closeFrame(code = 1000): Buffer {
  return inner(8, Buffer.from([code >> 8, code & 255]))
}

// ---- reading

/** Splits a byte stream into frames. */
export class FrameReader {
  #chunks: Buffer[] = []
  #size = 0
  #needed = HEAD

  /** Returns the frames that these bytes complete. */
  read(chunk: Buffer): Http2Frame[] {
    this.#chunks.push(chunk)
    this.#size += chunk.length
    if (this.#size < this.#needed) return []
    const all = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks)
    const frames: Http2Frame[] = []
    let at = 0
    this.#needed = HEAD
    while (all.length - at >= HEAD) {
      const length = all.readUIntBE(at, 3)
      if (all.length - at < HEAD + length) {
        this.#needed = HEAD + length
        break
      }
      frames.push({
        type: all[at + 3] as number,
        flags: all[at + 4] as number,
        stream: all.readUInt32BE(at + 5) & 0x7fffffff,
        payload: all.subarray(at + HEAD, at + HEAD + length),
      })
      at += HEAD + length
    }
    this.#chunks = at < all.length ? [all.subarray(at)] : []
    this.#size = all.length - at
    return frames
  }
}

/** The first seven of the static table's statuses (RFC 7541, appendix A), from index 8 on. */
const STATUSES = [200, 204, 206, 304, 400, 404, 500]
/** Huffman codes of the digits (RFC 7541, appendix B): 0 to 2 have five bits, the others six. */
const SHORT_DIGITS = 3
const SIX_BITS_OF_3 = 0b011001

/** Returns the status, the first field of a header block; undefined for other blocks. */
export function statusOf(block: Buffer): number | undefined {
  let at = 0
  while (((block[at] ?? 0) & 0xe0) === 0x20) at++ // the size of the dynamic table
  const first = block[at] ?? 0
  if ((first & 0x80) !== 0) return STATUSES[(first & 0x7f) - 8]
  const index = (first & 0xc0) === 0x40 ? first & 0x3f : first & 0x0f
  if (index < 8 || index > 14) return undefined
  const length = block[at + 1] as number
  const value = block.subarray(at + 2, at + 2 + (length & 0x7f))
  const digits = (length & 0x80) !== 0 ? huffmanDigits(value) : value.toString('latin1')
  return digits === '' ? undefined : Number(digits)
}

function huffmanDigits(bytes: Buffer): string {
  let bits = ''
  for (const byte of bytes) bits += byte.toString(2).padStart(8, '0')
  let digits = ''
  for (let at = 0; at + 5 <= bits.length; ) {
    const short = Number.parseInt(bits.slice(at, at + 5), 2)
    if (short < SHORT_DIGITS) {
      digits += short
      at += 5
      continue
    }
    const digit = Number.parseInt(bits.slice(at, at + 6), 2) - SIX_BITS_OF_3 + SHORT_DIGITS
    if (at + 6 > bits.length || digit < SHORT_DIGITS || digit > 9) break
    digits += digit
    at += 6
  }
  return digits
}

/** The received state of a stream. */
export interface RawStream {
  readonly id: number
  /** The status of its first HEADERS. */
  status: number | undefined
  /** The number of DATA frames, without empty ones. */
  dataFrames: number
  /** Received bytes that form no complete WebSocket frame yet. */
  body: Buffer
  /** WebSocket frames, after the stream was accepted. */
  readonly inner: InnerFrame[]
  /** Whether the server has ended its side. */
  ended: boolean
  /** The code of the server's RST_STREAM. */
  reset: number | undefined
}

export interface RawHttp2Options {
  /** Whether to use TLS. */
  secure?: boolean
  settings?: Readonly<Record<number, number>>
  /** Whether received DATA reopens the windows, except for `starved` streams. @default true */
  updates?: boolean
  /** Whether to keep all frames; a long run would exhaust the memory. @default true */
  keep?: boolean
}

const clients = new Set<RawHttp2>()

/** An HTTP/2 client that sends exactly the given frames, and keeps what it receives. */
export class RawHttp2 {
  readonly frames: Http2Frame[] = []
  readonly streams: Map<number, RawStream> = new Map()
  /** Streams with a window that is never reopened. */
  readonly starved: Set<number> = new Set()
  /** The code of the server's GOAWAY. */
  goaway: number | undefined
  /** The settings of the server. */
  remote: Record<number, number> | null = null
  /** The number of answered PINGs. */
  pongs = 0
  closed = false
  readonly socket: Socket
  readonly #tcp: Socket
  /** The bytes that may be sent, by stream; 0 is the session. */
  readonly #credit = new Map<number, number>([[0, DEFAULT_WINDOW]])
  /** Called when a stream has changed. */
  onStream: ((stream: RawStream) => void) | null = null
  readonly #reader = new FrameReader()
  readonly #options: Required<Pick<RawHttp2Options, 'updates' | 'keep'>>
  #waiters: (() => void)[] = []
  #next = 1
  #taken = 0

  private constructor(
    socket: Socket,
    tcp: Socket,
    { updates = true, keep = true }: RawHttp2Options,
  ) {
    this.socket = socket
    this.#tcp = tcp
    this.#options = { updates, keep }
    socket.on('data', (chunk) => {
      for (const one of this.#reader.read(chunk)) this.#take(one)
      this.#wake()
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      this.closed = true
      clients.delete(this)
      this.#wake()
    })
    clients.add(this)
  }

  /** Connects, sends the preface, and waits for the settings of the server. */
  static async open(port: number, options: RawHttp2Options = {}): Promise<RawHttp2> {
    const tcp = connectTcp({ port, host: '127.0.0.1' })
    const socket = options.secure
      ? connectTls({ socket: tcp, ALPNProtocols: ['h2'], rejectUnauthorized: false })
      : tcp
    const client = new RawHttp2(socket, tcp, options)
    // Without a dynamic table, every header block can be decoded on its own.
    const ours = { [Setting.headerTableSize]: 0, ...options.settings }
    client.send(PREFACE, settings(ours), windowUpdate(0, 2 ** 24))
    await client.until(() => client.remote !== null, 'the settings of the server')
    return client
  }

  /** Sends frames in one write. */
  send(...frames: Buffer[]): void {
    this.socket.write(Buffer.concat(frames))
  }

  /** Sends DATA if the windows allow it. @returns whether they did */
  sendData(id: number, payload: Buffer, flags = 0): boolean {
    if (Math.min(this.#creditOf(0), this.#creditOf(id)) < payload.length) return false
    this.#addCredit(0, -payload.length)
    this.#addCredit(id, -payload.length)
    this.send(data(id, payload, flags))
    return true
  }

  /** Returns the id for a new stream. */
  next(): number {
    const id = this.#next
    this.#next += 2
    return id
  }

  /** Sends an extended CONNECT with further frames, and returns its stream. */
  connect(changed: Readonly<Record<string, string | null>> = {}, ...more: Buffer[]): RawStream {
    const id = this.next()
    this.send(headers(id, connectFields(changed)), ...more)
    return this.stream(id)
  }

  /** Opens a WebSocket. */
  async websocket(path = '/'): Promise<RawStream> {
    const stream = this.connect({ ':path': path })
    await this.until(() => stream.status !== undefined || over(stream), 'an answer')
    if (stream.status !== 200) throw new Error(`it was answered with ${stream.status}`)
    return stream
  }

  stream(id: number): RawStream {
    let stream = this.streams.get(id)
    if (!stream) {
      stream = {
        id,
        status: undefined,
        dataFrames: 0,
        body: EMPTY,
        inner: [],
        ended: false,
        reset: undefined,
      }
      this.streams.set(id, stream)
    }
    return stream
  }

  /** Resolves when the server has read all sent frames: it has answered a PING behind them. */
  async settled(): Promise<void> {
    const { pongs } = this
    this.send(ping())
    await this.until(() => this.pongs > pongs, 'the answer to a PING')
  }

  /**
   * Resolves when a condition holds; rejects when the connection ends first, or after five
   * seconds.
   */
  async until(condition: () => boolean, what = 'the condition'): Promise<void> {
    const late = setTimeout(() => this.#wake(), 5_000)
    const deadline = performance.now() + 4_990
    try {
      while (!condition()) {
        if (this.closed) throw new Error(`the connection ended before ${what}`)
        if (performance.now() > deadline) throw new Error(`${what} did not come about`)
        await new Promise<void>((resolve) => this.#waiters.push(resolve))
      }
    } finally {
      clearTimeout(late)
    }
  }

  /** Resolves when the TCP connection has ended. */
  async ended(): Promise<void> {
    await this.until(() => this.closed, 'the end of the connection')
  }

  /** Resets the TCP connection. */
  cut(): void {
    this.#tcp.resetAndDestroy()
  }

  destroy(): void {
    this.socket.destroy()
  }

  #take(one: Http2Frame): void {
    const { type, flags, stream: id, payload } = one
    if (this.#options.keep) this.frames.push(one)
    if (type === Type.settings && (flags & Flag.ack) === 0) {
      this.remote ??= {}
      for (let at = 0; at + 6 <= payload.length; at += 6) {
        this.remote[payload.readUInt16BE(at)] = payload.readUInt32BE(at + 2)
      }
      this.send(frame(Type.settings, Flag.ack, 0))
    } else if (type === Type.ping) {
      if ((flags & Flag.ack) !== 0) this.pongs++
      else this.send(ping(Flag.ack, payload))
    } else if (type === Type.goaway) this.goaway = payload.readUInt32BE(4)
    else if (type === Type.windowUpdate) this.#addCredit(id, payload.readUInt32BE(0))
    else if (id !== 0) this.#takeStream(one)
  }

  #takeStream({ type, flags, stream: id, payload }: Http2Frame): void {
    const stream = this.stream(id)
    if (type === Type.headers) stream.status ??= statusOf(payload)
    else if (type === Type.rstStream) stream.reset = payload.readUInt32BE(0)
    else if (type === Type.data) {
      if (payload.length > 0) stream.dataFrames++
      stream.body = stream.body.length > 0 ? Buffer.concat([stream.body, payload]) : payload
      if (stream.status === 200) readInner(stream)
      this.#update(id, payload.length)
    }
    const ends = type === Type.data || type === Type.headers
    if (ends && (flags & Flag.endStream) !== 0) stream.ended = true
    this.onStream?.(stream)
  }

  #creditOf(id: number): number {
    return this.#credit.get(id) ?? this.remote?.[Setting.initialWindowSize] ?? DEFAULT_WINDOW
  }

  #addCredit(id: number, size: number): void {
    this.#credit.set(id, this.#creditOf(id) + size)
  }

  #update(id: number, size: number): void {
    if (size === 0 || !this.#options.updates) return
    this.#taken += size
    const frames = this.starved.has(id) ? [] : [windowUpdate(id, size)]
    if (this.#taken >= DEFAULT_WINDOW) {
      frames.push(windowUpdate(0, this.#taken))
      this.#taken = 0
    }
    if (frames.length > 0 && !this.closed) this.send(...frames)
  }

  #wake(): void {
    for (const resolve of this.#waiters.splice(0)) resolve()
  }
}

/** Whether the server has ended a stream. */
export function over({ ended, reset }: RawStream): boolean {
  return ended || reset !== undefined
}

/** Returns the received texts. */
export function textsOf({ inner }: RawStream): string[] {
  return inner.filter(({ opcode }) => opcode === 1).map(({ payload }) => payload.toString())
}

/** Reads WebSocket frames; those of a server are unmasked. */
function readInner(stream: RawStream): void {
  for (;;) {
    const { body } = stream
    if (body.length < 2) return
    let length = (body[1] as number) & 127
    let at = 2
    if (length === 126) {
      if (body.length < 4) return
      length = body.readUInt16BE(2)
      at = 4
    } else if (length === 127) {
      if (body.length < 10) return
      length = Number(body.readBigUInt64BE(2))
      at = 10
    }
    if (body.length < at + length) return
    stream.inner.push({
      opcode: (body[0] as number) & 15,
      payload: body.subarray(at, at + length),
    })
    stream.body = body.subarray(at + length)
  }
}

/** Closes the clients of a test. Called in `afterEach`. */
export function closeRawHttp2(): void {
  for (const client of clients) client.destroy()
  clients.clear()
}

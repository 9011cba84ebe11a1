import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'

/** An HTTP answer as it was on the wire. */
export interface RawAnswer {
  status: number
  headers: Map<string, string[]>
  rawHead: string
  body: string
}

/** A received frame (RFC 6455, section 5.2). */
export interface RawFrame {
  opcode: number
  payload: Buffer
}

/** A client that sends exactly the given bytes, and keeps everything that it receives. */
export class RawClient {
  received: Buffer = Buffer.alloc(0)
  ended = false
  closed = false
  error: Error | null = null
  readonly socket: Duplex
  #waiters: (() => void)[] = []
  #frameOffset = -1

  constructor(socket: Duplex) {
    this.socket = socket
    socket.on('data', (chunk: Buffer) => {
      this.received = Buffer.concat([this.received, chunk])
      this.#wake()
    })
    socket.on('end', () => {
      this.ended = true
      this.#wake()
    })
    socket.on('error', (error) => {
      this.error = error
      this.#wake()
    })
    socket.on('close', () => {
      this.ended = this.closed = true
      this.#wake()
    })
  }

  write(data: string | Buffer): void {
    this.socket.write(data, 'latin1' as never)
  }

  /** Resets the connection. */
  reset(): void {
    ;(this.socket as Socket).resetAndDestroy()
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.closed)
        throw new Error(`the connection closed; received: ${this.text.slice(0, 500)}`)
      await new Promise<void>((resolve) => this.#waiters.push(resolve))
    }
  }

  async end(): Promise<void> {
    while (!this.ended) await new Promise<void>((resolve) => this.#waiters.push(resolve))
  }

  get text(): string {
    return this.received.toString('latin1')
  }

  /** Returns the next answer with a Content-Length, a chunked body, or no body (101). */
  async answer(): Promise<RawAnswer> {
    await this.until(() => this.text.includes('\r\n\r\n') || this.ended)
    const headEnd = this.text.indexOf('\r\n\r\n')
    if (headEnd < 0) throw new Error(`no answer; received: ${this.text.slice(0, 500)}`)
    const rawHead = this.text.slice(0, headEnd)
    const [line = '', ...rest] = rawHead.split('\r\n')
    const headers = new Map<string, string[]>()
    for (const one of rest) {
      const colon = one.indexOf(':')
      const name = one.slice(0, colon).toLowerCase()
      headers.set(name, [...(headers.get(name) ?? []), one.slice(colon + 1).trim()])
    }
    const status = Number(line.split(' ')[1])
    this.received = this.received.subarray(headEnd + 4)
    if (status === 101) {
      this.#frameOffset = 0
      return { status, headers, rawHead, body: '' }
    }
    const length = headers.get('content-length')?.[0]
    if (length !== undefined) {
      const bytes = Number(length)
      await this.until(() => this.received.length >= bytes || this.ended)
      const body = this.received.subarray(0, bytes).toString('latin1')
      this.received = this.received.subarray(bytes)
      return { status, headers, rawHead, body }
    }
    if (headers.get('transfer-encoding')?.[0] === 'chunked') {
      return { status, headers, rawHead, body: await this.#chunked() }
    }
    return { status, headers, rawHead, body: '' }
  }

  async #chunked(): Promise<string> {
    let body = ''
    for (;;) {
      await this.until(() => this.text.includes('\r\n') || this.ended)
      const lineEnd = this.text.indexOf('\r\n')
      const size = Number.parseInt(this.text.slice(0, lineEnd), 16)
      if (Number.isNaN(size)) throw new Error(`bad chunk: ${this.text.slice(0, 100)}`)
      await this.until(() => this.received.length >= lineEnd + 2 + size + 2 || this.ended)
      body += this.received.subarray(lineEnd + 2, lineEnd + 2 + size).toString('latin1')
      this.received = this.received.subarray(lineEnd + 2 + size + 2)
      if (size === 0) return body
    }
  }

  /** Returns the next frame after a 101. */
  async frame(): Promise<RawFrame> {
    if (this.#frameOffset < 0) throw new Error('no 101 yet')
    let found: { frame: RawFrame; size: number } | null = null
    await this.until(() => {
      found = parseFrame(this.received)
      return found !== null || this.ended
    })
    if (!found)
      throw new Error(
        `no frame; received ${this.received.length} bytes: ${this.text.slice(0, 200)}`,
      )
    const { frame, size } = found as { frame: RawFrame; size: number }
    this.received = this.received.subarray(size)
    return frame
  }

  /** Returns the next frame other than a ping: the heartbeat of the server pings at any moment. */
  async #noPing(): Promise<RawFrame> {
    for (;;) {
      const frame = await this.frame()
      if (frame.opcode !== 9) return frame
    }
  }

  /** Returns the text of the next frame, which must be a text. */
  async textFrame(): Promise<string> {
    const { opcode, payload } = await this.#noPing()
    if (opcode !== 1) throw new Error(`opcode ${opcode}, not a text: ${payload.toString('hex')}`)
    return payload.toString()
  }

  /** Returns the code of the next frame, which must be a close. */
  async closeCode(): Promise<number> {
    const { opcode, payload } = await this.#noPing()
    if (opcode !== 8) throw new Error(`opcode ${opcode}, not a close: ${payload.toString()}`)
    return payload.length >= 2 ? payload.readUInt16BE(0) : 1005
  }

  #wake(): void {
    for (const waiter of this.#waiters.splice(0)) waiter()
  }
}

function parseFrame(data: Buffer): { frame: RawFrame; size: number } | null {
  if (data.length < 2) return null
  const second = data[1] as number
  let length = second & 0x7f
  let offset = 2
  if (length === 126) {
    if (data.length < 4) return null
    length = data.readUInt16BE(2)
    offset = 4
  } else if (length === 127) {
    if (data.length < 10) return null
    length = Number(data.readBigUInt64BE(2))
    offset = 10
  }
  if (data.length < offset + length) return null
  const frame = {
    opcode: (data[0] as number) & 0x0f,
    payload: data.subarray(offset, offset + length),
  }
  return { frame, size: offset + length }
}

/** Makes a masked frame of a client. */
export function frame(opcode: number, payload: string | Buffer, fin = true): Buffer {
  const data = Buffer.from(payload)
  const mask = Buffer.from([1, 2, 3, 4])
  let head: Buffer
  if (data.length < 126) head = Buffer.from([0, 0x80 | data.length])
  else if (data.length < 65536) {
    head = Buffer.from([0, 0x80 | 126, 0, 0])
    head.writeUInt16BE(data.length, 2)
  } else {
    head = Buffer.alloc(10)
    head[1] = 0x80 | 127
    head.writeBigUInt64BE(BigInt(data.length), 2)
  }
  head[0] = (fin ? 0x80 : 0) | opcode
  const masked = Buffer.from(data)
  for (let i = 0; i < masked.length; i++)
    masked[i] = (masked[i] as number) ^ (mask[i % 4] as number)
  return Buffer.concat([head, mask, masked])
}

export const textFrame = (text: string): Buffer => frame(1, text)
export const pingFrame = (text = ''): Buffer => frame(9, text)
export function closeFrame(code = 1000, reason = ''): Buffer {
  const payload = Buffer.alloc(2 + Buffer.byteLength(reason))
  payload.writeUInt16BE(code, 0)
  payload.write(reason, 2)
  return frame(8, payload)
}

export const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='

/** Makes the head of a handshake; a header of null is left out, an array is sent more than once. */
export function handshake(
  path = '/',
  headers: Record<string, string | string[] | null> = {},
  line = `GET ${path} HTTP/1.1`,
): string {
  const all: Record<string, string | string[] | null> = {
    Host: 'localhost',
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    'Sec-WebSocket-Key': KEY,
    'Sec-WebSocket-Version': '13',
    ...headers,
  }
  let text = `${line}\r\n`
  for (const [name, value] of Object.entries(all)) {
    if (value === null) continue
    for (const one of Array.isArray(value) ? value : [value]) text += `${name}: ${one}\r\n`
  }
  return `${text}\r\n`
}

const open = new Set<RawClient>()

/** Connects to a port of this machine. */
export async function rawClient(
  port: number | { path: string },
  host = '127.0.0.1',
): Promise<RawClient> {
  const socket = typeof port === 'number' ? connect({ port, host }) : connect(port)
  socket.setNoDelay(true)
  await once(socket, 'connect')
  const client = new RawClient(socket)
  open.add(client)
  return client
}

/** Destroys the connections that a test left open. */
export function closeRawClients(): void {
  for (const client of open) client.socket.destroy()
  open.clear()
}

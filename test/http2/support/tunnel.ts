import { createHash } from 'node:crypto'
import type { ClientHttp2Session, ClientHttp2Stream, IncomingHttpHeaders } from 'node:http2'
import { Duplex } from 'node:stream'

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
/** RFC 9113, section 7. */
const CANCEL = 8
/** Headers of HTTP/1 only (RFC 8441, section 5). */
const ONE_HOP = new Set(['connection', 'upgrade', 'host', 'sec-websocket-key'])

/**
 * The connection of a WebSocket client of HTTP/1.1 over one stream of an HTTP/2 session: its GET
 * leaves as an extended CONNECT, and a 200 returns as a 101.
 */
export class Tunnel extends Duplex {
  readonly #session: ClientHttp2Session
  #head = Buffer.alloc(0)
  stream: ClientHttp2Stream | null = null

  constructor(session: ClientHttp2Session) {
    super({ emitClose: true })
    this.#session = session
  }

  override _write(
    chunk: Buffer,
    _encoding: string,
    callback: (error?: Error | null) => void,
  ): void {
    if (this.stream) {
      this.stream.write(chunk, callback)
      return
    }
    this.#head = Buffer.concat([this.#head, chunk])
    const end = this.#head.indexOf('\r\n\r\n')
    if (end >= 0) {
      this.#open(this.#head.subarray(0, end).toString('latin1'))
      const rest = this.#head.subarray(end + 4)
      if (rest.length > 0) (this.stream as unknown as ClientHttp2Stream).write(rest)
    }
    callback()
  }

  override _read(): void {
    this.stream?.resume()
  }

  override _final(callback: () => void): void {
    if (this.stream) this.stream.end(callback)
    else callback()
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    if (!this.readableEnded || !this.writableFinished) this.stream?.close(CANCEL)
    callback(error)
  }

  #open(head: string): void {
    const [first, ...lines] = head.split('\r\n') as [string, ...string[]]
    const headers: Record<string, string | string[]> = {}
    for (const line of lines) {
      const colon = line.indexOf(':')
      const name = line.slice(0, colon).toLowerCase()
      const value = line.slice(colon + 1).trim()
      headers[name] = name in headers ? [headers[name] as string, value].flat() : value
    }
    const kept = Object.entries(headers).filter(([name]) => !ONE_HOP.has(name))
    const stream = this.#session.request(
      {
        ':method': 'CONNECT',
        ':protocol': 'websocket',
        ':scheme': this.#session.encrypted ? 'https' : 'http',
        ':authority': headers['host'] as string,
        ':path': first.split(' ')[1],
        ...Object.fromEntries(kept),
      },
      { endStream: false },
    )
    this.stream = stream
    stream.on('response', (answer) => this.#answered(answer, String(headers['sec-websocket-key'])))
    stream.on('data', (chunk) => {
      if (!this.push(chunk)) stream.pause()
    })
    stream.on('end', () => this.push(null))
    stream.on('error', () => this.destroy())
    stream.on('close', () => {
      if (stream.rstCode !== 0 || !stream.readableEnded) this.destroy()
    })
    stream.pause()
  }

  #answered(answer: IncomingHttpHeaders, key: string): void {
    const status = Number(answer[':status'])
    let head =
      status === 200
        ? `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${acceptOf(key)}\r\n`
        : `HTTP/1.1 ${status} Status\r\nConnection: close\r\n`
    for (const [name, value] of Object.entries(answer)) {
      if (name.startsWith(':') || name === 'sec-websocket-accept') continue
      for (const one of [value].flat()) head += `${name}: ${one}\r\n`
    }
    this.push(Buffer.from(`${head}\r\n`, 'latin1'))
    this.stream?.resume()
  }
}

function acceptOf(key: string): string {
  return createHash('sha1')
    .update(key + GUID)
    .digest('base64')
}

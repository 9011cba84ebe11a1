import { on, once } from 'node:events'
import { get, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { connect, type Socket } from 'node:net'
import { gunzipSync } from 'node:zlib'
import { WebSocket } from 'ws'
import type { Headers } from './entry.ts'

/** A complete HTTP answer. */
export interface HttpAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
}

/** An open WebSocket, and the headers of its 101. */
export interface Opened {
  readonly socket: WebSocket
  readonly headers: IncomingHttpHeaders
  /** Its messages as text, from the first on. */
  readonly messages: AsyncIterator<string>
}

const open = new Set<{ destroy(): void }>()

/** Ends the sockets that a failed test left open. */
export function destroyClients(): void {
  for (const client of open) client.destroy()
  open.clear()
}

/** Opens a WebSocket; rejects when the answer is not 101. */
export function openSocket(port: number, path: string, headers: Headers = {}): Promise<Opened> {
  return new Promise((resolve, reject) => {
    let response: IncomingMessage
    const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, { headers })
    open.add({ destroy: () => socket.terminate() })
    const messages = texts(socket)
    socket.once('upgrade', (res) => {
      response = res
    })
    socket.once('open', () => resolve({ socket, headers: response.headers, messages }))
    socket.once('error', reject)
  })
}

function texts(socket: WebSocket): AsyncIterator<string> {
  const events = on(socket, 'message', { close: ['close'] })
  return {
    next: async () => {
      const { value, done } = await events.next()
      if (done) throw new Error('closed, and no message is waiting')
      return { value: String(value[0]) }
    },
  }
}

/** The next message. */
export async function nextText({ messages }: Opened): Promise<string> {
  return (await messages.next()).value as string
}

/** Sends a text, and waits for the next message. */
export function echo(opened: Opened, text: string): Promise<string> {
  opened.socket.send(text)
  return nextText(opened)
}

/** Performs a closing handshake, and returns the code. */
export async function closeSocket({ socket }: Opened): Promise<number> {
  const closed = once(socket, 'close')
  socket.close(1000)
  const [code] = await closed
  return code as number
}

/**
 * Requests an upgrade, and reads until the server ends the connection, or until the answer to an
 * ordinary request (keep-alive) is complete. A body with another length than declared is an
 * error.
 */
export async function rawUpgrade(
  port: number,
  path: string,
  headers: Headers = {},
): Promise<HttpAnswer> {
  const socket = connect(port, '127.0.0.1')
  open.add(socket)
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.write(
    `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n' +
      `${lines.join('')}\r\n`,
  )
  return parseAnswer(await readToEnd(socket))
}

async function readToEnd(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of socket) {
    chunks.push(chunk as Buffer)
    if (isKeptAlive(Buffer.concat(chunks))) break // `break` destroys the socket
  }
  return Buffer.concat(chunks)
}

function isKeptAlive(bytes: Buffer): boolean {
  const end = bytes.indexOf('\r\n\r\n')
  const head = bytes.subarray(0, Math.max(end, 0)).toString('latin1')
  if (!/^connection: keep-alive$/im.test(head)) return false
  const length = /^content-length: (\d+)$/im.exec(head)?.[1]
  return length !== undefined && bytes.length >= end + 4 + Number(length)
}

function parseAnswer(bytes: Buffer): HttpAnswer {
  const end = bytes.indexOf('\r\n\r\n')
  if (end < 0) throw new Error(`no HTTP answer in ${bytes.length} bytes`)
  const [first = '', ...lines] = bytes.subarray(0, end).toString('latin1').split('\r\n')
  const headers: Record<string, string> = {}
  for (const line of lines) {
    const [name = '', value = ''] = line.split(/:\s*(.*)/s)
    const key = name.toLowerCase()
    headers[key] = key in headers ? `${headers[key]}, ${value}` : value
  }
  const framed = unframe(bytes.subarray(end + 4), headers)
  const body = headers['content-encoding'] === 'gzip' ? gunzipSync(framed) : framed
  return { status: Number(first.split(' ')[1]), headers, body }
}

function unframe(bytes: Buffer, headers: Readonly<Record<string, string>>): Buffer {
  const length = headers['content-length']
  if (headers['transfer-encoding'] === 'chunked') return unchunk(bytes)
  if (length !== undefined && Number(length) !== bytes.length) {
    throw new Error(`content-length ${length}, but ${bytes.length} bytes came`)
  }
  return bytes
}

function unchunk(bytes: Buffer): Buffer {
  const chunks: Buffer[] = []
  let at = 0
  while (at < bytes.length) {
    const lineEnd = bytes.indexOf('\r\n', at)
    const size = Number.parseInt(bytes.subarray(at, lineEnd).toString('latin1'), 16)
    at = lineEnd + 2
    if (size === 0) {
      if (at + 2 !== bytes.length) throw new Error('bytes after the last chunk')
      return Buffer.concat(chunks)
    }
    chunks.push(bytes.subarray(at, at + size))
    at += size + 2
  }
  throw new Error('the last chunk is missing')
}

/** A plain GET, on its own connection. */
export async function plainGet(
  port: number,
  path: string,
  headers: Headers = {},
): Promise<{ status: number; headers: IncomingHttpHeaders; body: string }> {
  const request = get({ host: '127.0.0.1', port, path, headers, agent: false })
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    body: Buffer.concat(chunks).toString('latin1'),
  }
}

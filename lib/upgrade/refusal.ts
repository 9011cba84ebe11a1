import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { UpgradeError } from '../errors.ts'
import type { Refusal } from './handshake.ts'

/** How long a refused client may take to close its side, in milliseconds. */
const LINGER = 400

/**
 * Answer a request that the application shall not see, whole and in one write, and end the TCP
 * connection.
 */
export function writeRefusal(socket: Duplex, refusal: Refusal): void {
  const { status, message, headers } = refusal
  if (!socket.writable) {
    socket.destroy()
    return
  }
  let head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\n`
  head += `Content-Type: text/plain; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(message)}\r\n`
  for (const name in headers) head += `${name}: ${headers[name]}\r\n`
  socket.write(`${head}\r\n${message}`)
  linger(socket)
}

/** The same refusal as an error, for where Koa answers. */
export function refusalError({ code, message, status, headers }: Refusal): UpgradeError {
  return new UpgradeError(code, message, headers ? { status, headers } : { status })
}

/**
 * End our side of a refused connection, and discard what the client still sends until it ends its
 * own: closing at once would reset the connection and could take the answer away from the client
 * (RFC 9112, section 9.6). Nothing reads those bytes as a request.
 */
export function linger(socket: Duplex): void {
  socket.resume()
  socket.end()
  if (socket.destroyed) return
  const lingering = socket as Lingering
  lingering[kTimer] = setTimeout(destroySocket, LINGER, socket)
  lingering[kTimer].unref()
  socket.on('close', clearLinger)
}

const kTimer: unique symbol = Symbol('koaws.linger')
type Lingering = Duplex & { [kTimer]?: NodeJS.Timeout }

function clearLinger(this: Lingering): void {
  clearTimeout(this[kTimer])
}

function destroySocket(socket: Duplex): void {
  socket.destroy()
}

// Writes refusals, and ends refused TCP connections.

import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { UpgradeError } from '../errors.ts'
import type { Refusal } from './handshake.ts'
import { Waiter, WaitingList } from './waiting-list.ts'

/** How long a refused client may take to close its side, in milliseconds. */
const LINGER = 400

/** Answers a request that the application must not see, and ends the TCP connection. */
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

/** Returns a refusal as an error, for requests that Koa answers. */
export function refusalError({ code, message, status, headers }: Refusal): UpgradeError {
  return new UpgradeError(code, message, headers ? { status, headers } : { status })
}

/**
 * Ends our side of a refused connection, and discards data until the client ends its side. Closing
 * at once would reset the connection, and the client might lose the answer (RFC 9112, section 9.6).
 * The discarded bytes are not parsed as a request.
 */
export function linger(socket: Duplex): void {
  socket.resume()
  socket.end()
  if (socket.destroyed) return
  const lingering: LingeringSocket = socket
  lingering[kLinger] = new Lingering(socket)
  waiting.add(lingering[kLinger], LINGER)
  socket.on('close', clearLinger)
}

const waiting = new WaitingList()

/** A refused socket, until the client ends its side. */
class Lingering extends Waiter {
  readonly #socket: Duplex

  constructor(socket: Duplex) {
    super()
    this.#socket = socket
  }

  override expire(): void {
    this.#socket.destroy()
  }
}

const kLinger: unique symbol = Symbol('koaws.linger')
type LingeringSocket = Duplex & { [kLinger]?: Lingering }

function clearLinger(this: LingeringSocket): void {
  this[kLinger]?.leave()
}

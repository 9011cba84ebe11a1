// Gives a request for another protocol (`Upgrade: h2c`) back to the server.
import type { IncomingMessage, Server } from 'node:http'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { whenAnswered } from '../upgrade/pipelined.ts'
import { releaseGuard } from '../upgrade/socket-guard.ts'

/**
 * Gives back a request for a protocol other than WebSocket, such as `Upgrade: h2c`, which Java's
 * HttpClient sends by default. Some versions of Node pass every upgrade to the listener. The server
 * ignores the offer, as RFC 9110, section 7.8 allows, and reads an ordinary request with its body.
 * The head is rebuilt without the connection option `upgrade`, and the connection is passed to the
 * server again, which Node documents.
 */
export function reinject(server: Server, req: IncomingMessage, socket: Duplex, head: Buffer): void {
  whenAnswered(socket, null, () => {
    socket.unshift(Buffer.concat([Buffer.from(rebuiltHead(req), 'latin1'), head]))
    releaseGuard(socket) // the server adds its own error listener
    const secure = (socket as TLSSocket).encrypted === true
    server.emit(secure ? 'secureConnection' : 'connection', socket)
  })
}

function rebuiltHead(req: IncomingMessage): string {
  let text = `${req.method} ${req.url} HTTP/${req.httpVersion}\r\n`
  const raw = req.rawHeaders
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] as string
    const value = raw[i + 1] as string
    const kept = name.toLowerCase() === 'connection' ? withoutUpgrade(value) : value
    if (kept !== null) text += `${name}: ${kept}\r\n`
  }
  return `${text}\r\n`
}

function withoutUpgrade(value: string): string | null {
  const kept = value.split(',').filter((option) => option.trim().toLowerCase() !== 'upgrade')
  return kept.join(',').trim() || null
}

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { selfSigned } from './certificate.ts'
import { freePort } from './free-port.ts'
import { proxies } from './redis.ts'

/** The behavior of a front. */
export interface FrontMode {
  /** `closed`: the port refuses connections. `silent`: it accepts them, and sends nothing. */
  readonly entry: 'tls' | 'untrusted' | 'plain' | 'silent' | 'closed'
  /** As soon as the client has sent this in clear text, the connection is mute or reset. */
  readonly at?: RegExp
  readonly fault?: 'mute' | 'reset'
}

/** A TLS server in front of a Redis that can fail in each phase of a connection. */
export interface RedisFront {
  readonly port: number
  /** The number of connections that reached the phase of the mode. */
  readonly reached: number
  /** Changes the mode; `cut` ends the present connections. */
  be(mode: FrontMode, cut?: boolean): Promise<void>
}

/** Starts a front in the mode `tls`, with the certificate of `selfSigned()`. */
export async function startFront(target: number): Promise<RedisFront> {
  const trusted = pairOf('the server')
  const untrusted = pairOf('a stranger')
  const sockets = new Set<Socket>()
  let mode: FrontMode = { entry: 'tls' }
  let reached = 0
  const keep = (socket: Socket): void => {
    sockets.add(socket)
    socket.on('error', () => socket.destroy())
    socket.on('close', () => sockets.delete(socket))
  }
  const server = createServer((raw) => {
    keep(raw)
    if (!mode.at) reached++
    if (mode.entry === 'silent') {
      raw.resume()
      return
    }
    const options = { isServer: true, ...(mode.entry === 'tls' ? trusted : untrusted) }
    const socket = mode.entry === 'plain' ? raw : new TLSSocket(raw, options)
    const other = connect(target, '127.0.0.1')
    keep(other)
    if (socket !== raw) keep(socket)
    const { at, fault } = mode
    let isMute = false
    socket.on('data', (data: Buffer) => {
      if (at?.test(String(data))) {
        reached++
        isMute = true
        if (fault === 'reset') raw.resetAndDestroy()
      }
      if (!isMute) other.write(data)
    })
    other.on('data', (data) => {
      if (!isMute) socket.write(data)
    })
    socket.on('close', () => other.destroy())
    other.on('close', () => {
      if (!isMute) socket.destroy()
    })
  })
  // While the front is closed, no connection and no other listener takes its port.
  const port = await freePort()
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  const cut = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  proxies.add({
    close() {
      cut()
      server.close()
    },
  })
  return {
    port,
    get reached() {
      return reached
    },
    async be(next, isCut = true) {
      mode = next
      if (isCut) cut()
      if (next.entry === 'closed') {
        if (server.listening) server.close()
      } else if (!server.listening) {
        server.listen(port, '127.0.0.1')
        await once(server, 'listening')
      }
    },
  }
}

function pairOf(owner: string): { key: Buffer; cert: Buffer } {
  const { key, cert } = selfSigned(owner)
  return { key: readFileSync(key), cert: readFileSync(cert) }
}

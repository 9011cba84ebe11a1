import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** A TCP proxy that lets a limited number of bytes pass at a time, in each direction. */
export class SlowLink {
  /** Bytes that have passed, from the server and from the client. */
  readonly passed = { down: 0, up: 0 }
  /** Connections that clients have made. */
  connections = 0
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #timer: NodeJS.Timeout
  readonly #pumps = new Set<() => void>()
  #dead = false

  constructor(target: number, { bytes, every }: { bytes: number; every: number }) {
    this.#server = createServer((client) => {
      this.connections++
      const server = connect(target, '127.0.0.1')
      this.#join(client, server, bytes, 'up')
      this.#join(server, client, bytes, 'down')
    })
    this.#timer = setInterval(() => {
      if (!this.#dead) for (const pump of this.#pumps) pump()
    }, every)
  }

  async listen(): Promise<number> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return (this.#server.address() as AddressInfo).port
  }

  /** Stops all traffic, even the end of a connection, as a pulled cable does. */
  goDead(): void {
    this.#dead = true
  }

  close(): void {
    clearInterval(this.#timer)
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
  }

  #join(from: Socket, to: Socket, bytes: number, direction: 'up' | 'down'): void {
    let ended = false
    this.#sockets.add(from)
    from.setNoDelay()
    from.on('readable', () => {}) // bytes are read by the pump
    const pump = (): void => {
      const chunk = from.read(Math.min(bytes, from.readableLength)) as Buffer | null
      if (chunk) {
        this.passed[direction] += chunk.length
        to.write(chunk)
      } else if (ended && from.readableLength === 0) {
        this.#pumps.delete(pump)
        to.end()
      }
    }
    this.#pumps.add(pump)
    from.on('end', () => {
      ended = true
    })
    from.on('close', () => {
      ended = true
    })
    from.on('error', () => {})
  }
}

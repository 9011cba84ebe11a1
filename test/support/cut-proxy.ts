import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** A TCP proxy in front of some servers, which cuts its connections. */
export interface CutProxy {
  readonly port: number
  /** Cuts all connections: what is on its way is lost. Returns how many there were. */
  cut(): number
  close(): void
}

/** Starts a proxy. @param target returns the port for the next connection */
export async function startCutProxy(target: () => number): Promise<CutProxy> {
  const pairs = new Set<readonly [Socket, Socket]>()
  const server = createServer({ noDelay: true }, (socket) => {
    const other = connect({ port: target(), host: '127.0.0.1', noDelay: true })
    const pair = [socket, other] as const
    pairs.add(pair)
    for (const [from, to] of [pair, [other, socket] as const]) {
      from.on('error', () => from.destroy())
      from.on('close', () => {
        pairs.delete(pair)
        to.destroy()
      })
      from.pipe(to)
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const cut = (): number => {
    const { size } = pairs
    for (const pair of pairs) for (const one of pair) one.resetAndDestroy()
    pairs.clear()
    return size
  }
  return {
    port: (server.address() as AddressInfo).port,
    cut,
    close() {
      server.close()
      cut()
    },
  }
}

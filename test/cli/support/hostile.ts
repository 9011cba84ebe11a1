import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'

/** A TCP server of a test, which may send anything. */
export interface RawServer {
  readonly url: string
  /** The requests, with their bodies. */
  readonly requests: string[]
  close(): Promise<void>
}

/** Starts a server that calls a function with each request head. */
export async function rawServer(
  answer: (socket: Socket, request: string) => void,
  onConnect: (socket: Socket) => void = () => {},
): Promise<RawServer> {
  const sockets = new Set<Socket>()
  const requests: string[] = []
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
    onConnect(socket)
    let head = ''
    const read = (chunk: Buffer): void => {
      head += chunk.toString('latin1')
      if (!head.includes('\r\n\r\n')) return
      socket.off('data', read)
      requests.push(head)
      answer(socket, head)
    }
    socket.on('data', read)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  return {
    url: `ws://127.0.0.1:${port}/`,
    requests,
    close: async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Returns the 101 to a request, with more header lines. */
export function switching(request: string, lines = ''): string {
  const [, key = ''] = /^sec-websocket-key: (.*)\r$/im.exec(request) ?? []
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
  return `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept.digest('base64')}\r\n${lines}\r\n`
}

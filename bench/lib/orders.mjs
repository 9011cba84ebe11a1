import { once } from 'node:events'
import { createServer } from 'node:net'

/** Takes orders as lines over plain TCP: calls `carryOut` with each. Resolves to the port. */
export async function serveOrders(carryOut) {
  const server = createServer({ noDelay: true }, (socket) => {
    let left = ''
    socket.on('error', () => {})
    socket.on('data', (data) => {
      const lines = (left + data.latin1Slice()).split('\n')
      left = lines.pop()
      for (const line of lines) carryOut(line)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server.address().port
}

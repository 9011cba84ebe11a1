import { createServer } from 'node:http'
import { WebSocketServer } from 'ws'
import { guard, listening } from './shared.mjs'

/** Written without a library: one function for all connections. */
function onMessage(received) {
  const { type, id, data } = JSON.parse(received.toString())
  switch (type) {
    case 'echo':
      this.send(JSON.stringify({ type: 'koaws:reply', id, data }))
      break
    default:
      this.close(4400, 'unknown type')
  }
}

export function start() {
  const wss = new WebSocketServer({ noServer: true, clientTracking: false })
  const server = createServer((_req, res) => res.writeHead(404).end())
  server.on('upgrade', (req, socket, head) => {
    guard(socket)
    wss.handleUpgrade(req, socket, head, (ws) => {
      guard(ws)
      ws.on('message', onMessage)
    })
  })
  return listening(server.listen(0, '127.0.0.1'))
}

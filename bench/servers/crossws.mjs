import { createServer } from 'node:http'
import crossws from 'crossws/adapters/node'
import { verify } from '../lib/token.mjs'
import { guard, listening, sameOrigin } from './shared.mjs'

const ROOM = /\/room\/([^/?]+)(?:\?|$)/

function refusal(status, message) {
  const body = JSON.stringify({ error: message })
  return new Response(body, {
    status,
    headers: {
      'content-type': 'application/json',
      'content-length': String(Buffer.byteLength(body)),
    },
  })
}

export function start({ behaviour }) {
  const hooks = {
    upgrade(request) {
      const { headers } = request
      const origin = headers.get('origin') ?? undefined
      if (!sameOrigin({ origin, host: headers.get('host') })) return refusal(403, 'origin')
      const claims = verify(headers.get('authorization') ?? undefined)
      if (claims === null) return refusal(401, 'bad token')
      const match = ROOM.exec(request.url)
      if (match === null) return refusal(404, 'not found')
      return { context: { claims, room: decodeURIComponent(match[1]) } }
    },
    open() {},
  }
  if (behaviour !== 'none') throw new Error('crossws is here for the handshake only')
  const ws = crossws({ hooks })
  const server = createServer((_req, res) => res.writeHead(404).end())
  server.on('upgrade', (req, socket, head) => {
    guard(socket)
    void ws.handleUpgrade(req, socket, head)
  })
  return listening(server.listen(0, '127.0.0.1'))
}

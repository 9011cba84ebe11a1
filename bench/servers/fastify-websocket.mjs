import websocket from '@fastify/websocket'
import fastify from 'fastify'
import { verify } from '../lib/token.mjs'
import { listener, sameOrigin } from './shared.mjs'

function refusal(statusCode, message) {
  return Object.assign(new Error(message), { statusCode, expose: true })
}

export async function start({ behaviour }) {
  const attach = listener(behaviour)
  const app = fastify()
  app.setErrorHandler((error, _request, reply) => {
    reply.code(error.statusCode ?? 500).send({ error: error.expose ? error.message : 'internal' })
  })
  // Before the checks, because its own hook ends the TCP connection of an upgrade that they reject.
  await app.register(websocket)
  app.decorateRequest('claims', null)
  app.addHook('onRequest', (request, _reply, done) => {
    if (!sameOrigin(request.headers)) return done(refusal(403, 'origin'))
    const claims = verify(request.headers.authorization)
    if (claims === null) return done(refusal(401, 'bad token'))
    request.claims = claims
    done()
  })
  app.get('/room/:id', { websocket: true }, (socket) => attach(socket))
  await app.listen({ port: 0, host: '127.0.0.1' })
  return app.server
}

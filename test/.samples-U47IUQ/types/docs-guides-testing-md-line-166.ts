// test/port.test.ts
import { once } from 'node:events'
import type { Server } from 'node:http'
import Koa from 'koa'
import koaWs, { accept } from 'koaws'
import supertest from 'supertest'
import request from 'superwstest'

const app = new Koa()
const hub = koaWs()
app.use(hub)
app.use((ctx, next) => {
  if (ctx.path === '/forbidden') ctx.throw(403, 'Not here')
  return next()
})
app.use(
  accept((connection) => {
    connection.send('hello')
    connection.on('message', (data) => connection.json({ said: data.toString() }))
  }),
)

describe('over a port', () => {
  let server: Server

  before(async () => {
    server = app.listen(0, '127.0.0.1')
    hub.attach(server)
    await once(server, 'listening')
  })

  after(() => hub.close({ server: true }))

  it('talks', async () => {
    await request(server)
      .ws('/')
      .expectText('hello')
      .sendText('hi')
      .expectJson({ said: 'hi' })
      .close()
      .expectClosed()
  })

  it('rejects a WebSocket', async () => {
    await request(server).ws('/forbidden').expectConnectionError(403)
  })

  it('answers plain HTTP', async () => {
    await supertest(server).get('/forbidden').expect(403, 'Not here')
  })
})

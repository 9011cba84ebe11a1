import { expect } from 'chai'
import { accept } from '../../lib/index.ts'
import { cleanUpHttp2, connectHttp2, openOver, serveHttp2 } from './support/site.ts'

describe('an extended CONNECT', () => {
  afterEach(cleanUpHttp2)

  it('runs the chain as a GET, and is accepted with 200', async () => {
    const seen: unknown[] = []
    const site = await serveHttp2((app) => {
      app.use(async (ctx, next) => {
        seen.push(ctx.method, ctx.path, ctx.host, ctx.protocol, ctx.ip, ctx.req.httpVersion)
        await next()
        seen.push(ctx.status)
        ctx.set('X-Later', 'yes')
      })
      app.use(
        accept((connection) => {
          connection.on('message', (data, binary) => connection.send(String(data), { binary }))
        }),
      )
    })
    const session = await connectHttp2(site)
    const socket = await openOver(session, '/room?x=1')
    expect(seen).to.deep.equal([
      'GET',
      '/room',
      `127.0.0.1:${site.port}`,
      'https',
      '127.0.0.1',
      '2.0',
      200,
    ])
    expect(socket.handshake).to.include({ 'x-later': 'yes' })
    socket.send('hello')
    expect(await socket.next()).to.equal('hello')
    const closed = new Promise((resolve) => socket.once('close', (code) => resolve(code)))
    socket.close(4001, 'bye')
    expect(await closed).to.equal(4001)
  })
})

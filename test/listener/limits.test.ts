import { expect } from 'chai'
import { accept, type KoaWsOptions } from '../../lib/index.ts'
import { handshake, rawClient } from '../support/raw.ts'
import { cleanUp, deferred, eventually, openSocket, rejected, serve } from '../support/server.ts'

describe('limits', () => {
  afterEach(cleanUp)

  for (const attach of [true, false]) {
    const how = attach ? 'attached' : 'not attached'
    it(`maxConnections answers 503 above the limit, and counts pending upgrades (${how})`, async () => {
      const release = deferred()
      const { port, hub } = await serve(
        (app) =>
          app
            .use(async (ctx, next) => {
              if (ctx.path === '/slow') await release.promise
              await next()
            })
            .use(accept(() => {})),
        { maxConnections: 2, attach },
      )
      const first = await openSocket(port)
      const slow = openSocket(port, '/slow')
      await eventually(() => hub.status().pending === 1)
      const { status, headers } = await rejected(openSocket(port))
      expect([status, headers['retry-after']]).to.deep.equal([503, '5'])
      release.resolve()
      await slow
      expect((await rejected(openSocket(port))).status).to.equal(503)
      first.close()
      await eventually(() => hub.status().connections === 1)
      await openSocket(port)
      expect(hub.status().drops).to.deep.equal({ maxConnections: 2 })
    })
  }

  const outcomes: [what: string, path: string, act?: 'RST'][] = [
    ['accepted and closed', '/'],
    ['accepted inside the chain and closed', '/inside'],
    ['rejected', '/401'],
    ['answered with 404', '/404'],
    ['reset by the client while pending', '/wait', 'RST'],
    ['ended by the deadline', '/wait'],
    ['closed as a rejection', '/401'],
    ['closed after the handler threw', '/throw'],
  ]
  for (const [what, path, act] of outcomes) {
    it(`a place is free again after an upgrade was ${what}`, async () => {
      const options: KoaWsOptions = { maxConnections: 1, maxPerAddress: 1, handshakeTimeout: 150 }
      if (what === 'closed as a rejection') options.reject = 'close'
      const { port, hub } = await serve(
        (app) =>
          app.use(async (ctx) => {
            if (ctx.path === '/wait')
              await new Promise((resolve) => ctx.ws?.signal.addEventListener('abort', resolve))
            else if (ctx.path === '/401') ctx.throw(401)
            else if (ctx.path === '/inside') await ctx.ws?.()
            else if (ctx.path === '/throw')
              ctx.ws?.(() => {
                throw new Error('x')
              })
            else if (ctx.path === '/') ctx.ws?.(() => {})
          }),
        options,
      )
      for (let i = 0; i < 4; i++) {
        const client = await rawClient(port)
        client.write(handshake(path))
        if (act === 'RST') {
          await eventually(() => hub.status().pending === 1)
          client.reset()
        } else {
          const { status } = await client.answer()
          expect(status).to.not.equal(429)
          client.socket.destroy()
        }
        await eventually(() => hub.status().pending === 0 && hub.status().connections === 0)
        await new Promise((resolve) => setImmediate(resolve))
      }
      expect(hub.status().drops).to.not.have.any.keys('maxConnections', 'maxPerAddress')
    })
  }

  it('maxPerAddress counts forwarded addresses only when the app trusts a proxy', async () => {
    const from = (address: string): { headers: Record<string, string> } => ({
      headers: { 'x-forwarded-for': `${address}, 10.0.0.1` },
    })
    for (const proxy of [true, false]) {
      const { port } = await serve((app) => app.use(accept(() => {})), {
        maxPerAddress: 1,
        koa: { proxy },
      })
      await openSocket(port, '/', from('1.1.1.1'))
      const second = openSocket(port, '/', from('2.2.2.2'))
      if (proxy) await second
      else expect((await rejected(second)).status).to.equal(429)
      expect((await rejected(openSocket(port, '/', from('1.1.1.1')))).status).to.equal(429)
      await cleanUp()
    }
  })

  it('the option "address" returns the address to count, and the answer is 500 when it throws', async () => {
    const { port, errors } = await serve((app) => app.use(accept(() => {})), {
      maxPerAddress: 1,
      attach: true,
      address: (req) => {
        if (req.url === '/throw') throw new Error('address')
        return req.url as string
      },
    })
    await openSocket(port, '/a')
    await openSocket(port, '/b')
    expect((await rejected(openSocket(port, '/a'))).status).to.equal(429)
    expect((await rejected(openSocket(port, '/throw'))).status).to.equal(500)
    expect(errors[0]?.error.message).to.equal('address')
  })
})

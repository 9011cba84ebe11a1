import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { connect as connectTls } from 'node:tls'
import { expect } from 'chai'
import type Koa from 'koa'
import { selfSigned } from '../support/certificate.ts'
import { RawClient, rawClient } from '../support/raw.ts'
import { cleanUp, deferred, listen, makeApp, makeHub, openSocket } from '../support/server.ts'

/** An app that answers with the method, the URL and the length of the body. */
function echoApp(withHub: boolean): Koa {
  const { app } = makeApp()
  if (withHub) app.use(makeHub())
  app.use(async (ctx) => {
    if (ctx.ws) return ctx.ws((connection) => connection.send('hello'))
    const chunks: Buffer[] = []
    for await (const chunk of ctx.req) chunks.push(chunk as Buffer)
    ctx.set('Date', 'fixed')
    ctx.body = `${ctx.method} ${ctx.url} ${Buffer.concat(chunks).length} ${ctx.get('upgrade')}`
  })
  return app
}

const h2c = (method: string, rest = ''): string =>
  `${method} /x HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n${rest}\r\n`

describe('a request that offers another protocol (h2c)', () => {
  afterEach(cleanUp)

  /**
   * Returns the answers of a server to a request in these parts, and to another request on the
   * same connection.
   */
  async function conversation(
    withHub: boolean,
    parts: (string | Buffer)[],
    tls: boolean,
  ): Promise<string> {
    const app = echoApp(withHub)
    const { key, cert } = selfSigned()
    const server = tls
      ? (createTlsServer(
          { key: readFileSync(key), cert: readFileSync(cert) },
          app.callback(),
        ) as unknown as Server)
      : createServer(app.callback())
    const port = await listen(server)
    if (withHub)
      await openSocket(`${tls ? 'wss' : 'ws'}://127.0.0.1:${port}/`, '/', {
        rejectUnauthorized: false,
      })
    let client: RawClient
    if (tls) {
      const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
      await once(socket, 'secureConnect')
      client = new RawClient(socket)
    } else client = await rawClient(port)
    for (const part of parts) {
      client.socket.write(part)
      await new Promise((resolve) => setImmediate(resolve))
    }
    const first = await client.answer()
    client.write('GET /again HTTP/1.1\r\nHost: localhost\r\n\r\n')
    const second = await client.answer()
    client.socket.destroy()
    return [first.rawHead, first.body, second.rawHead, second.body].join('\n')
  }

  const body = Buffer.alloc(300_000, 'x')
  const cases: [what: string, parts: (string | Buffer)[]][] = [
    ['GET', [h2c('GET')]],
    ['POST with a body in the same segment', [`${h2c('POST', 'Content-Length: 6\r\n')}abcdef`]],
    ['POST with a body that comes later', [h2c('POST', 'Content-Length: 6\r\n'), 'abc', 'def']],
    ['POST with 300 kB', [h2c('POST', 'Content-Length: 300000\r\n'), body]],
    [
      'POST with a chunked body',
      [h2c('POST', 'Transfer-Encoding: chunked\r\n'), '6\r\nabcdef\r\n0\r\n\r\n'],
    ],
  ]
  for (const tls of [false, true]) {
    for (const [what, parts] of cases) {
      it(`(${what}${tls ? ' over TLS' : ''}) is answered byte for byte as without koaws, and the connection stays open`, async () => {
        const without = await conversation(false, parts, tls)
        const withKoaws = await conversation(true, parts, tls)
        expect(withKoaws).to.equal(without)
        expect(withKoaws).to.include('GET /again 0')
      })
    }
  }

  it('waits behind an unfinished answer', async () => {
    const release = deferred()
    const { app } = makeApp()
    const hub = makeHub()
    app.use(async (ctx, next) => {
      if (ctx.path === '/slow') await release.promise
      await next()
    })
    app.use(hub)
    app.use((ctx) => {
      ctx.body = ctx.path
    })
    const server = hub.attach(createServer(app.callback()))
    const client = await rawClient(await listen(server))
    client.write(`GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n${h2c('GET')}`)
    await new Promise((resolve) => setImmediate(resolve))
    release.resolve()
    expect((await client.answer()).body).to.equal('/slow')
    expect((await client.answer()).body).to.equal('/x')
  })
})

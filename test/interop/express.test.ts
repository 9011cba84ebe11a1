import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { Readable } from 'node:stream'
import { expect } from 'chai'
import type Koa from 'koa'
import { accept } from '../../lib/index.ts'
import { handshake, rawClient } from '../support/raw.ts'
import { cleanUp, listen, makeApp, makeHub, openSocket, rejected } from '../support/server.ts'

const load = createRequire(new URL('../peers/package.json', import.meta.url))
const express = load('express')

const BYTES = 1024 * 1024

/** The ways in which express hands a request to Koa. */
const shapes = [
  {
    title: 'express falls back to the Koa app',
    prefix: '',
    mount: (site: Express, koa: unknown) => site.use(koa),
  },
  {
    title: 'express mounts the Koa app at a path',
    prefix: '/koa',
    mount: (site: Express, koa: unknown) => site.use('/koa', koa),
  },
]

interface Express {
  use(...middleware: unknown[]): void
  get(path: string, handler: (req: unknown, res: { send(text: string): void }) => void): void
}

for (const { title, prefix, mount } of shapes) {
  describe(`koaws behind express: ${title}`, () => {
    afterEach(cleanUp)

    const start = async (attach: boolean) => {
      const { app, errors } = makeApp()
      const hub = makeHub()
      app.use(hub)
      app.use(routes)
      const site: Express = express()
      site.use(load('helmet')())
      site.get('/express', (_req, res) => res.send('from express'))
      mount(site, app.callback())
      const server = createServer(site as never)
      if (attach) hub.attach(server)
      return { port: await listen(server), errors, hub }
    }

    for (const attach of [true, false]) {
      const how = attach ? 'attached' : 'not attached'

      it(`${how}: accept(handler) opens, and the 101 has the headers of express and its middleware`, async () => {
        const { port, errors } = await start(attach)
        for (const text of ['the first upgrade', 'a later one']) {
          const socket = await openSocket(port, `${prefix}/accept`)
          expect(socket.handshake['x-frame-options'], text).to.equal('SAMEORIGIN')
          expect(socket.handshake['x-after'], text).to.equal('set by Koa')
          socket.send(text)
          expect(await socket.next()).to.equal(text)
          socket.close(1000)
          expect((await socket.closed).code).to.equal(1000)
        }
        expect(errors).to.deep.equal([])
      })

      it(`${how}: await ctx.ws() opens the connection`, async () => {
        const { port, errors } = await start(attach)
        for (const text of ['the first upgrade', 'a later one']) {
          const socket = await openSocket(port, `${prefix}/inside`)
          socket.send(text)
          expect(await socket.next()).to.equal(text)
          socket.close(1000)
          await socket.closed
        }
        expect(errors).to.deep.equal([])
      })

      it(`${how}: ctx.throw(401) arrives with its body, and the connection ends`, async () => {
        const { port } = await start(attach)
        for (let i = 0; i < 2; i++) {
          const client = await rawClient(port)
          client.write(handshake(`${prefix}/rejected`))
          const { status, headers, body } = await client.answer()
          expect([status, body]).to.deep.equal([401, 'no entry'])
          expect(headers.get('connection')).to.deep.equal(['close'])
          await client.end()
        }
      })

      it(`${how}: a streamed body of 1 MiB arrives completely`, async () => {
        const { port } = await start(attach)
        for (let i = 0; i < 2; i++) {
          const error = await rejected(openSocket(port, `${prefix}/streamed`))
          expect(error.status).to.equal(403)
          expect(error.body).to.have.length(BYTES)
        }
      })

      it(`${how}: a path that is unknown to Koa is answered with 404`, async () => {
        const { port } = await start(attach)
        for (let i = 0; i < 2; i++) {
          const error = await rejected(openSocket(port, `${prefix}/nowhere`))
          expect([error.status, error.body]).to.deep.equal([404, 'Not Found'])
        }
      })

      it(`${how}: an upgrade to a route of express gets the answer of express`, async () => {
        const { port } = await start(attach)
        for (let i = 0; i < 2; i++) {
          const error = await rejected(openSocket(port, '/express'))
          expect([error.status, error.body]).to.deep.equal([200, 'from express'])
        }
      })

      it(`${how}: plain requests reach express and Koa`, async () => {
        const { port } = await start(attach)
        const text = async (path: string): Promise<string> =>
          (await fetch(`http://127.0.0.1:${port}${path}`)).text()
        expect(await text('/express')).to.equal('from express')
        expect(await text(`${prefix}/plain`)).to.equal('from Koa')
      })
    }
  })
}

const accepted = accept((connection) => {
  connection.on('message', (data) => connection.send(String(data)))
})

const routes: Koa.Middleware = async (ctx, next) => {
  switch (ctx.path) {
    case '/accept':
      await accepted(ctx as never, next)
      ctx.set('x-after', 'set by Koa')
      break
    case '/inside': {
      const connection = await ctx.ws?.()
      connection?.on('message', (data) => connection.send(String(data)))
      break
    }
    case '/rejected':
      ctx.throw(401, 'no entry')
      break
    case '/streamed':
      ctx.status = 403
      ctx.type = 'text'
      ctx.body = Readable.from([Buffer.alloc(BYTES / 2, 'a'), Buffer.alloc(BYTES / 2, 'b')], {
        objectMode: false,
      })
      break
    case '/plain':
      ctx.body = 'from Koa'
      break
    default:
      await next()
  }
}

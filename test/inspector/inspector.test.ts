import { expect } from 'chai'
import Koa from 'koa'
import { OptionsError } from '../../lib/index.ts'
import { inspector } from '../../lib/inspector/index.ts'
import { cleanUp, listen, makeHub, openSocket, rejected, serve } from '../support/server.ts'
import { inspectedHouse, PageSocket } from './support/page.ts'

describe('inspector()', () => {
  afterEach(cleanUp)

  const get = (port: number, path: string, headers: Record<string, string> = {}) =>
    fetch(`http://127.0.0.1:${port}${path}`, { headers, redirect: 'manual' })

  it('serves a page of three files, with a strict policy', async () => {
    const { port } = await inspectedHouse()
    const entry = await get(port, '/inspector')
    expect(entry.status).to.equal(200)
    const references = (await entry.text()).match(/(?<=(?:href|src)=")[^"#]*inspector\.\w+/g)
    expect(references).to.deep.equal(['inspector/inspector.css', 'inspector/inspector.js'])
    const types = {
      '': 'text/html',
      'inspector.css': 'text/css',
      'inspector.js': 'text/javascript',
    }
    for (const [name, type] of Object.entries(types)) {
      const answer = await get(port, `/inspector/${name}`)
      expect(answer.status).to.equal(200)
      expect(answer.headers.get('content-type')).to.equal(`${type}; charset=utf-8`)
      expect(answer.headers.get('cache-control')).to.equal('no-store')
      expect(answer.headers.get('content-security-policy')).to.include("default-src 'none'")
      const text = await answer.text()
      expect(text).to.not.match(
        /innerHTML|insertAdjacentHTML|<style|style="|onclick=|https?:\/\/(?!www\.w3\.org)/,
      )
    }
    expect((await get(port, '/inspector/../package.json')).status).to.equal(404)
    expect((await get(port, '/inspector/other.js')).status).to.equal(404)
    const posted = await fetch(`http://127.0.0.1:${port}/inspector/`, { method: 'POST' })
    expect(posted.status).to.equal(405)
  })

  it('leaves other paths alone, and has its own', async () => {
    const { port } = await serve((app, hub) => {
      app.use(inspector(hub, { path: '/admin/sockets' }))
      app.use((ctx) => {
        ctx.body = 'app'
      })
    })
    expect(await (await get(port, '/inspector')).text()).to.equal('app')
    expect(await (await get(port, '/admin/sockets2')).text()).to.equal('app')
    expect(await (await get(port, '/admin/sockets')).text()).to.include(
      'src="sockets/inspector.js"',
    )
    expect((await get(port, '/admin/sockets/')).status).to.equal(200)
  })

  it('asks authorize for each file and each socket, and answers with what it throws', async () => {
    const asked: string[] = []
    const { port } = await inspectedHouse({
      authorize: async (ctx) => {
        asked.push(ctx.path)
        if (ctx.get('x-role') === '') ctx.throw(401)
        return ctx.get('x-role') === 'admin'
      },
    })
    const admin = { 'x-role': 'admin' }
    expect((await get(port, '/inspector/')).status).to.equal(401)
    expect((await get(port, '/inspector/', { 'x-role': 'guest' })).status).to.equal(403)
    expect((await get(port, '/inspector/inspector.js', admin)).status).to.equal(200)
    const { status } = await rejected(openSocket(port, '/inspector/socket'))
    expect(status).to.equal(401)
    const page = await PageSocket.open(port, admin)
    await page.ask('hello')
    expect(asked).to.deep.equal([
      '/inspector/',
      '/inspector/',
      '/inspector/inspector.js',
      '/inspector/socket',
      '/inspector/socket',
    ])
  })

  it('without authorize serves direct requests of this machine only', async () => {
    const { port } = await inspectedHouse({}, {})
    expect((await get(port, '/inspector/')).status).to.equal(200)
    for (const headers of [{ 'x-forwarded-for': '127.0.0.1' }, { via: '1.1 proxy' }]) {
      const answer = await get(port, '/inspector/', headers)
      expect(answer.status).to.equal(403)
      expect(await answer.text()).to.include('Set authorize')
    }
    const forwarded = { headers: { 'x-real-ip': '127.0.0.1' } }
    expect((await rejected(openSocket(port, '/inspector/socket', forwarded))).status).to.equal(403)
  })

  it('checks the origin of its socket as of any other', async () => {
    const { port } = await inspectedHouse({ authorize: () => true })
    const options = { headers: { Origin: 'https://evil.example' } }
    expect((await rejected(openSocket(port, '/inspector/socket', options))).status).to.equal(403)
  })

  it('keeps its sockets out of audiences, and its messages out of the rates', async () => {
    const { port, hub } = await inspectedHouse({}, { user: () => 'user-of-the-app' })
    const page = await PageSocket.open(port)
    expect(await hub.all().count()).to.equal(0)
    expect(hub.status().users).to.equal(0)
    let samples: { n: number; sent: number; received: number }[] = []
    while (samples.length < 2) samples = (await page.ask('overview')).instances[0].samples
    expect(samples.every(({ sent, received }) => sent + received === 0)).to.equal(true)
  })

  it('ends with its hub', async () => {
    const { port, hub } = await inspectedHouse()
    const page = await PageSocket.open(port)
    await hub.close()
    expect((await page.socket.closed).code).to.equal(1012)
    expect((await hub.ask('koaws:inspector')).missing).to.deep.equal([hub.status().id])
  })

  it('works below koa-mount, where the path is shorter', async () => {
    const hub = makeHub()
    const inner = inspector(hub)
    const app = new Koa()
    app.use(hub)
    app.use(async (ctx, next) => {
      if (!ctx.path.startsWith('/ops')) return next()
      const { path } = ctx
      ctx.path = path.slice(4)
      await inner(ctx as never, next)
      ctx.path = path
      return undefined
    })
    const { createServer } = await import('node:http')
    const port = await listen(createServer(app.callback()))
    expect((await get(port, '/ops/inspector/')).status).to.equal(200)
    const socket = await openSocket(port, '/ops/inspector/socket', { protocols: ['koaws.v1'] })
    expect(await socket.nextJson()).to.have.property('type', 'koaws:welcome')
  })

  it('refuses a second call for a hub, and what is no hub', () => {
    const hub = makeHub()
    inspector(hub)
    expect(() => inspector(hub)).to.throw(OptionsError, 'has an inspector already')
    expect(() => inspector({} as never)).to.throw(OptionsError, 'takes the hub first')
  })
})

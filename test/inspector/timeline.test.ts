import { createServer } from 'node:http'
import { expect } from 'chai'
import Koa from 'koa'
import { accept } from '../../lib/index.ts'
import { inspector } from '../../lib/inspector/index.ts'
import { Timelines } from '../../lib/inspector/timeline.ts'
import { cleanUp, listen, makeHub, openSocket, rejected } from '../support/server.ts'
import { PageSocket } from './support/page.ts'

interface Shown {
  name: string
  before: number
  after: number | null
  threw: number | null
}

describe('the timeline of a handshake', () => {
  afterEach(cleanUp)

  async function site(build: (app: Koa) => void) {
    const hub = makeHub()
    const app = new Koa()
    app.on('error', () => {})
    app.use(hub)
    app.use(inspector(hub, { app }))
    build(app)
    const port = await listen(createServer(app.callback()))
    const page = await PageSocket.open(port)
    const refused = async (): Promise<Shown[]> => (await page.ask('refusals')).all[0].timeline.steps
    return { app, hub, port, page, refused }
  }

  it('shows which middleware threw, and its status', async () => {
    const { port, refused } = await site((app) => {
      app.use(async function session(_ctx, next) {
        await next()
      })
      app.use(function auth(ctx) {
        ctx.throw(401)
      })
    })
    expect((await rejected(openSocket(port))).status).to.equal(401)
    expect((await refused()).map(({ name, threw }) => [name, threw])).to.deep.equal([
      ['koaWs()', 401],
      ['2 koawsInspector', 401],
      ['3 session', 401],
      ['4 auth', 401],
    ])
    expect((await refused()).map(({ after }) => after === null)).to.deep.equal([
      false,
      false,
      false,
      true,
    ])
  })

  it('shows where the time went', async () => {
    const work = (ms: number): void => {
      const until = performance.now() + ms
      while (performance.now() < until);
    }
    const { port, hub, page } = await site((app) => {
      app.use(async function slow(_ctx, next) {
        work(20)
        await next()
        work(40)
      })
      app.use(accept(() => {}))
    })
    await openSocket(port)
    const [, connection] = [...hub.localConnections.values()]
    const { timeline } = await page.ask('connection', { id: connection?.id })
    const slow = timeline.steps.find(({ name }: Shown) => name === '3 slow')
    expect(slow.before).to.be.at.least(20)
    expect(slow.after).to.be.at.least(40)
    expect(timeline.steps.at(-1)).to.include({ name: '4 middleware', after: null, threw: null })
  })

  it('does not change what middleware does: errors, results and middleware that awaits nothing', async () => {
    const { app, port } = await site((app) => {
      app.use((ctx, next) => {
        if (ctx.path === '/floating') {
          void next() // not awaited
          return
        }
        return next()
      })
      app.use(async (ctx) => {
        if (ctx.path === '/floating') throw new Error('late')
        ctx.status = 418
      })
    })
    expect((await rejected(openSocket(port, '/floating'))).status).to.be.at.least(400)
    expect((await rejected(openSocket(port, '/'))).status).to.equal(418)
    expect((await fetch(`http://127.0.0.1:${port}/`)).status).to.equal(418)
    const { length } = app.middleware
    app.callback() // wraps nothing twice
    expect(app.middleware).to.have.length(length)
  })

  it('is kept for the last 1,000 connections', () => {
    const timelines = new Timelines(null)
    const app = new Koa()
    const states: object[] = []
    app.use((ctx) => {
      states.push(ctx.state)
    })
    timelines.watch(app)
    app.callback()
    const [timed] = app.middleware as unknown as ((ctx: object) => unknown)[]
    for (let i = 0; i <= 1_000; i++) {
      const ctx = { headers: { upgrade: 'websocket' }, req: {}, state: {} }
      void timed?.(ctx)
      timelines.keep(`c${i}`, ctx.state)
    }
    expect(states).to.have.length(1_001)
    expect(timelines.ofConnection('c0')).to.equal(undefined)
    expect(timelines.ofConnection('c1')?.steps).to.have.length(1)
    timelines.keep('other', {})
    expect(timelines.ofConnection('other')).to.equal(undefined)
  })
})

/// <reference lib="dom" />
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import { expect } from 'chai'
import type { Context } from 'koa'
import session from 'koa-session'
import type { Browser, Page } from 'playwright-core'
import { accept, type Connection, type KoaWsOptions, messages } from '../../lib/index.ts'
import { launchChromium } from '../support/chromium.ts'
import { needs } from '../support/programs.ts'
import { deferred, soon } from '../support/server.ts'
import { dial, ending, look, type OnPage, PAGE } from './support/browser-page.ts'
import { cleanUpHttp2, type Http2Site, serveHttp2 } from './support/site.ts'

const bundle = readFileSync(new URL('../../dist/koaws-client.js', import.meta.url))
const MEGABYTE = 1_000_000

/** A request as the chain sees it. */
interface Visit {
  path: string
  isWebSocket: boolean
  version: string
  /** Undefined over HTTP/1. */
  stream: ServerHttp2Stream | undefined
  session: unknown
}

interface Shop extends Http2Site {
  url: string
  visits: Visit[]
  /** The connections of the echo routes. */
  accepted: Connection[]
  /** Returns the number of TLS connections. */
  dialled(): number
  /** Resolved by a test to let `/slow` answer. */
  slow: ReturnType<typeof deferred<void>>
}

for (const attach of [true, false]) {
  const how = attach ? 'attached with hub.attach()' : 'known by its first request'
  describe(`a page in Chromium over HTTP/2, on a server ${how},`, () => {
    needs('chromium')
    let browser: Browser

    before(async () => {
      browser = await launchChromium()
    })

    after(() => browser?.close())

    afterEach(async () => {
      for (const context of browser.contexts()) await context.close()
      await cleanUpHttp2()
    })

    /** Serves a page and a login to everyone; all other paths echo, and require the login. */
    async function serve(options: KoaWsOptions = {}): Promise<Shop> {
      const visits: Visit[] = []
      const accepted: Connection[] = []
      const slow = deferred()
      const echo = (connection: Connection): void => {
        accepted.push(connection)
        connection.on('message', (data, binary) => connection.send(data as Buffer, { binary }))
      }
      const chat = messages().on('greet', ({ data, connection }) => `${data}, ${connection.userId}`)
      const site = await serveHttp2(
        (app, hub) => {
          app.use((ctx, next) => {
            visits.push(visitOf(ctx))
            return next()
          })
          app.use(async (ctx, next) => {
            if (ctx.path === '/') [ctx.type, ctx.body] = ['html', PAGE]
            else if (ctx.path === '/koaws-client.js') [ctx.type, ctx.body] = ['js', bundle]
            else await next()
          })
          app.use(session({ maxAge: 60_000 }, app))
          app.use(async (ctx, next) => {
            if (ctx.path === '/login') {
              ctx['session'].user = new URLSearchParams(String(await bodyOf(ctx))).get('user')
              ctx.redirect('/')
            } else if (ctx['session'].user) await next()
            else ctx.throw(401, 'Log in first')
          })
          app.use(async (ctx, next) => {
            if (ctx.ws) {
              ctx.cookies.set('visited', ctx.path, { httpOnly: false, signed: false })
              await next()
              return
            }
            if (ctx.path === '/slow') await slow.promise
            ctx.body = `${(await bodyOf(ctx)).length} bytes`
          })
          app.use(hub.route('/chat', accept(chat)))
          app.use(hub.route('/v2', accept(echo, { subprotocol: 'v2' })))
          app.use(accept(echo))
        },
        { koa: { keys: ['secret'] }, attach, user: (ctx) => ctx['session'].user, ...options },
      )
      let connections = 0
      site.server.on('secureConnection', () => connections++)
      const url = `https://127.0.0.1:${site.port}/`
      return { ...site, url, visits, accepted, dialled: () => connections, slow }
    }

    async function visit({ url }: Shop): Promise<Page> {
      const page = await (await browser.newContext({ ignoreHTTPSErrors: true })).newPage()
      await page.goto(url)
      return page
    }

    async function logIn(site: Shop): Promise<Page> {
      const page = await visit(site)
      await Promise.all([page.waitForEvent('load'), page.click('button')])
      return page
    }

    /** Expects that all requests used one open HTTP/2 session, on the only connection. */
    function expectOneSession(site: Shop): void {
      expect(site.dialled()).to.equal(1)
      expect(site.seen).to.have.lengthOf(1)
      expect(site.seen[0]).to.include({ closed: false, destroyed: false })
      for (const { path, version, session } of site.visits) {
        expect(version, path).to.equal('2.0')
        expect(session, path).to.equal(site.seen[0])
      }
      expect(faultsOf(site)).to.deep.equal([])
    }

    /** Runs a test in one of the two variants only, where attach() makes no difference. */
    const itOnce: (title: string, test: () => Promise<void>) => void = attach ? it : () => {}

    it('logs in with a form, and opens three WebSockets on the same session', async () => {
      const site = await serve()
      const page = await logIn(site)
      const sockets = await Promise.all(['/a', '/b', '/c'].map((path) => dial(page, path)))
      for (const socket of sockets) {
        expect(await look(socket)).to.deep.include({ events: ['open'], protocol: '' })
        const answer = await socket.evaluate(({ socket, next }) => (socket.send('hi'), next()))
        expect(answer).to.equal('hi')
      }
      expect(site.accepted.map(({ userId }) => userId)).to.deep.equal(['ann', 'ann', 'ann'])
      const taken = site.visits.filter(({ isWebSocket }) => isWebSocket)
      expect(taken.map(({ path }) => path)).to.have.members(['/a', '/b', '/c'])
      expect(taken.map(statusOf)).to.deep.equal([200, 200, 200])
      expect(new Set(taken.map(({ stream }) => stream))).to.have.property('size', 3)
      expect(site.visits.map(({ path }) => path)).to.include.members(['/', '/login'])
      expectOneSession(site)
    })

    it('receives a cookie and the subprotocol with the 200', async () => {
      const site = await serve()
      const page = await logIn(site)
      const socket = await dial(page, '/v2', ['v1', 'v2'])
      expect(await look(socket)).to.deep.include({ events: ['open'], protocol: 'v2' })
      expect(site.accepted[0]?.protocol).to.equal('v2')
      expect(await page.evaluate(() => document.cookie)).to.equal('visited=/v2')
      expectOneSession(site)
    })

    itOnce('exchanges compressed messages', async () => {
      const site = await serve({ perMessageDeflate: true })
      const page = await logIn(site)
      const socket = await dial(page, '/echo')
      expect((await look(socket)).extensions).to.match(/^permessage-deflate/)
      const before = bytesOf(site)
      const same = await socket.evaluate(async ({ socket, next }, length) => {
        const text = 'a'.repeat(length)
        socket.send(text)
        return (await next()) === text
      }, MEGABYTE)
      expect(same).to.equal(true)
      const after = bytesOf(site)
      expect(after.read - before.read).to.be.within(100, MEGABYTE / 20)
      expect(after.written - before.written).to.be.within(100, MEGABYTE / 20)
      expectOneSession(site)
    })

    it('is rejected by the chain without a login', async () => {
      const site = await serve()
      const page = await visit(site)
      const socket = await dial(page, '/echo')
      expect((await look(socket)).events).to.deep.equal(['error', 'close'])
      expect(await ending(socket)).to.deep.equal({ code: 1006, reason: '', wasClean: false })
      expect(site.visits.at(-1)).to.include({ path: '/echo', isWebSocket: true })
      expect(statusOf(site.visits.at(-1))).to.equal(401)

      const speaker = await dial(page, '/chat', ['koaws.v1'])
      const closed = { code: 4401, reason: 'Log in first', wasClean: true }
      expect(await ending(speaker)).to.deep.equal(closed)
      expect(await look(speaker)).to.deep.include({
        events: ['open', 'close'],
        protocol: 'koaws.v1',
      })

      const state = await page.evaluate(
        () =>
          new Promise((resolve) => {
            const client = (window as unknown as OnPage).connect('/chat')
            client.subscribe(() => client.state.status === 'stopped' && resolve(client.state))
          }),
      )
      expect(state).to.deep.equal({ status: 'stopped', code: 4401, reason: 'Log in first' })
      expect(site.accepted).to.deep.equal([])
      expect(site.hub.status()).to.include({ connections: 0, pending: 0 })
      expectOneSession(site)
    })

    itOnce('carries close code 4001 in both directions', async () => {
      const site = await serve()
      const page = await logIn(site)
      const ours = await dial(page, '/ours')
      const theirs = await dial(page, '/theirs')
      const closed = { code: 4001, reason: 'bye', wasClean: true }
      site.accepted[0]?.close(4001, 'bye')
      expect(await ending(ours)).to.deep.equal(closed)
      await theirs.evaluate(({ socket }) => socket.close(4001, 'bye'))
      expect(await ending(theirs)).to.deep.equal(closed)
      for (const connection of site.accepted) {
        expect(await connection.closed).to.deep.equal({ code: 4001, reason: 'bye', clean: true })
      }
      expectOneSession(site)
    })

    // Over HTTP/1.1 Chromium 156 sends 1001. Over HTTP/2 it drops the queued Close frame, and
    // resets the stream with CANCEL.
    it('ends its WebSockets when it navigates, and keeps the session', async () => {
      const site = await serve()
      const page = await logIn(site)
      await Promise.all(['/a', '/b'].map((path) => dial(page, path)))
      const left = site.accepted.map(({ closed }) => closed)
      await page.goto(`${site.url}?again`)
      for (const { code } of await Promise.all(left)) expect(code).to.be.oneOf([1001, 1006])
      expect(site.hub.localConnections.size).to.equal(0)
      await dial(page, '/c')
      expect(site.hub.localConnections.size).to.equal(1)
      expectOneSession(site)
    })

    it('gets a reply with the client of koaws', async () => {
      const site = await serve()
      const page = await logIn(site)
      const answer = await page.evaluate(() => {
        const page = window as unknown as OnPage
        page.client = page.connect('/chat')
        return page.client.request('greet', 'Hello')
      })
      expect(answer).to.equal('Hello, ann')
      const [connection] = site.hub.localConnections.values() as unknown as [Connection]
      await page.evaluate(() => (window as unknown as OnPage).client.close(4000, 'done'))
      expect(await connection.closed).to.deep.equal({ code: 4000, reason: 'done', clean: true })
      expectOneSession(site)
    })

    it('is refused from a foreign origin', async () => {
      const victim = await serve()
      const page = await logIn(victim)
      // Another port is the same site for the browser, so it sends the cookies, on the same
      // session.
      await page.goto((await serve()).url)
      const reached = victim.visits.length
      const told = page.waitForEvent('console')
      const socket = await dial(page, `${victim.url.replace('https', 'wss')}echo`)
      expect(await ending(socket)).to.deep.equal({ code: 1006, reason: '', wasClean: false })
      expect((await look(socket)).events).to.deep.equal(['error', 'close'])
      expect((await told).text()).to.match(/response code: 403$/)
      expect(victim.hub.status().drops).to.deep.equal({ origin: 1 })
      expect(victim.visits).to.have.lengthOf(reached)
      expectOneSession(victim)
    })

    itOnce('fetches while messages of 1 MB are under way', async () => {
      const site = await serve()
      const page = await logIn(site)
      const socket = await dial(page, '/echo')
      const statuses = await socket.evaluate(async ({ socket, next }, length) => {
        const statuses: number[] = []
        let left = 8
        const messages = (async () => {
          for (; left > 0; left--) {
            socket.send(new Uint8Array(length))
            if ((await next()) !== length) throw new Error('not what was sent')
          }
        })()
        while (left > 0) {
          statuses.push((await fetch('/bytes', { method: 'POST', body: 'x' })).status)
        }
        await messages
        return statuses
      }, MEGABYTE)
      expect(statuses.length).to.be.above(2)
      expect(new Set(statuses)).to.deep.equal(new Set([200]))
      expectOneSession(site)
    })

    itOnce('fetches while the server does not read from a WebSocket', async () => {
      const site = await serve()
      const page = await logIn(site)
      const socket = await dial(page, '/echo')
      site.accepted[0]?.pause()
      const [text, waiting] = await socket.evaluate(async ({ socket }, length) => {
        for (let i = 0; i < 3; i++) socket.send(new Uint8Array(length))
        const upload = { method: 'POST', body: new Uint8Array(length) }
        const text = await (await fetch('/bytes', upload)).text()
        return [text, socket.bufferedAmount] as const
      }, MEGABYTE)
      expect(text).to.equal(`${MEGABYTE} bytes`)
      expect(waiting).to.be.above(2 * MEGABYTE)
      site.accepted[0]?.resume()
      for (let i = 0; i < 3; i++) {
        expect(await socket.evaluate(({ next }) => next())).to.equal(MEGABYTE)
      }
      expectOneSession(site)
    })

    it('receives 1012 and GOAWAY when the hub closes with its server', async () => {
      const site = await serve()
      const page = await logIn(site)
      const socket = await dial(page, '/echo')
      const slow = page.evaluate(async () => (await fetch('/slow')).text())
      await soon(() => expect(site.visits.at(-1)?.path).to.equal('/slow'))
      expectOneSession(site)
      const [session] = site.seen as [ServerHttp2Session]
      const down = once(site.server, 'close')
      const closing = site.hub.close({ server: true })
      expect(await ending(socket)).to.include({ code: 1012, wasClean: true })
      // The session stays open for its request; new requests need another connection, which is
      // refused.
      expect(session).to.include({ closed: true, destroyed: false })
      const failed = page.waitForEvent('requestfailed')
      const refused = await page.evaluate(() => fetch('/bytes').catch(String))
      expect(refused).to.equal('TypeError: Failed to fetch')
      expect((await failed).failure()?.errorText).to.equal('net::ERR_CONNECTION_REFUSED')
      expect(session.destroyed).to.equal(false)
      site.slow.resolve()
      expect(await slow).to.equal('0 bytes')
      await Promise.all([closing, down])
      expect(session.destroyed).to.equal(true)
      expect(site.dialled()).to.equal(1)
      expect(faultsOf(site)).to.deep.equal([])
    })
  })
}

function visitOf({ req, path, ws }: Context): Visit {
  const { stream } = req as unknown as { stream?: ServerHttp2Stream }
  const { httpVersion: version } = req
  return { path, isWebSocket: ws !== undefined, version, stream, session: stream?.session }
}

/** Returns errors that are not answers of the chain. */
function faultsOf({ errors }: Shop): Error[] {
  return errors.map(({ error }) => error).filter(({ expose }) => expose !== true)
}

function statusOf(visit: Visit | undefined): unknown {
  return visit?.stream?.sentHeaders[':status']
}

async function bodyOf({ req }: Context): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of req) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

/** Returns the bytes that the only session has read and written. */
function bytesOf({ seen }: Shop): { read: number; written: number } {
  const { bytesRead: read, bytesWritten: written } = (seen[0] as ServerHttp2Session).socket
  return { read, written }
}

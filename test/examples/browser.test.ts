/// <reference lib="dom" />
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { expect } from 'chai'
import Koa from 'koa'
import jwt from 'koa-jwt'
import type { Browser, Page } from 'playwright-core'
import koaWs, { accept, bearer, type Hub } from '../../lib/index.ts'
import { launchChromium } from '../support/chromium.ts'
import { needs } from '../support/programs.ts'

// jsonwebtoken ships no types.
const { sign } = createRequire(import.meta.url)('jsonwebtoken') as {
  sign: (claims: object, secret: string) => string
}

/** What a page observed of a WebSocket. */
interface Seen {
  events: string[]
  protocol: string
  messages: string[]
  code: number
}

describe('a page in Chromium', () => {
  needs('chromium')
  const sites: { hub: Hub; server: Server }[] = []
  let browser: Browser

  before(async () => {
    browser = await launchChromium()
  })

  after(() => browser?.close())

  afterEach(async () => {
    for (const context of browser.contexts()) await context.close()
    for (const { hub, server } of sites.splice(0)) {
      await hub.close({ timeout: 500 })
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    }
  })

  /** Starts a server on 127.0.0.1 that answers `/` with an empty page; `build` adds the rest. */
  async function serve(build: (app: Koa) => void): Promise<string> {
    const app = new Koa()
    const hub = koaWs()
    app.use(hub)
    app.use((ctx, next) => {
      if (ctx.path !== '/') return next()
      ctx.type = 'html'
      ctx.body = '<!doctype html><title>test</title>'
      return
    })
    build(app)
    const server = createServer(app.callback())
    sites.push({ hub, server })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  }

  async function visit(url: string): Promise<Page> {
    const page = await (await browser.newContext()).newPage()
    await page.goto(url)
    return page
  }

  it('is accepted with a bearer token among its subprotocols, and rejected with a forged one', async () => {
    const secret = 'a secret'
    const url = await serve((app) => {
      app.use(bearer())
      app.use(jwt({ secret }))
      app.use(accept((connection) => connection.send(`hello ${connection.state['user'].name}`)))
    })
    // The page itself is served before the authentication.
    const page = await visit(url)
    const good = await openSocket(page, url, [
      'chat',
      `koaws.bearer.${sign({ name: 'Ann' }, secret)}`,
    ])
    expect(good.events).to.deep.equal(['open', 'message', 'close'])
    expect(good.protocol).to.equal('chat')
    expect(good.messages).to.deep.equal(['hello Ann'])

    const forged = await openSocket(page, url, [
      'chat',
      `koaws.bearer.${sign({ name: 'Ann' }, 'other')}`,
    ])
    expect(forged.events).to.deep.equal(['error', 'close'])
  })

  it('of another origin is rejected, although the browser sends the cookies of the user', async () => {
    const cookies: (string | undefined)[] = []
    let reached = 0
    const victim = await serve((app) => {
      app.use(
        accept((connection, ctx) => {
          reached++
          connection.send(ctx.cookies.get('session') ?? 'no cookie')
        }),
      )
    })
    const server = sites[0]?.server as Server
    const other = await serve(() => {})

    const page = await visit(victim)
    server.prependListener('upgrade', (req) => cookies.push(req.headers.cookie))
    await page.context().addCookies([{ name: 'session', value: 'ann', url: victim }])
    const same = await openSocket(page, victim)
    expect(same.events).to.deep.equal(['open', 'message', 'close'])
    expect(same.messages).to.deep.equal(['ann'])

    await page.goto(other)
    const foreign = await openSocket(page, victim)
    expect(foreign.events).to.deep.equal(['error', 'close'])
    expect(foreign.code).to.equal(1006)
    expect(reached).to.equal(1)
    // Another port is the same site, so the browser sent the cookie.
    expect(cookies).to.deep.equal(['session=ann', 'session=ann'])
  })

  it('keeps a cookie that middleware sets after next()', async () => {
    const url = await serve((app) => {
      app.use(async (ctx, next) => {
        await next()
        ctx.cookies.set('visited', ctx.path, { httpOnly: false })
      })
      app.use(accept((connection) => connection.send('hello')))
    })
    const page = await visit(url)
    expect((await openSocket(page, url)).events).to.include('open')
    const cookies = await page.context().cookies()
    expect(cookies.map(({ name, value }) => `${name}=${value}`)).to.deep.equal(['visited=/socket'])
    expect(await page.evaluate(() => document.cookie)).to.equal('visited=/socket')
  })

  it('reads the close code 4401 when its authorization expires', async () => {
    const url = await serve((app) => {
      app.use(
        accept((connection) => connection.send('hello'), { expiresAt: () => Date.now() + 200 }),
      )
    })
    const seen = await openSocket(await visit(url), url, [], { untilClosed: true })
    expect(seen.events).to.deep.equal(['open', 'message', 'close'])
    expect(seen.code).to.equal(4401)
  })

  it('has every message delivered in order, even those sent while the handler awaits', async () => {
    const COUNT = 200
    const received: string[] = []
    let letGo = (): void => {}
    const url = await serve((app) => {
      app.use((ctx, next) => {
        if (ctx.path !== '/go') return next()
        ctx.status = 204
        letGo()
        return
      })
      app.use(
        accept(async (connection) => {
          await new Promise<void>((resolve) => {
            letGo = resolve
          })
          for await (const message of connection) {
            received.push(String(message))
            if (received.length === COUNT) connection.send('all')
          }
        }),
      )
    })
    const page = await visit(url)
    const answer = await page.evaluate(
      ({ url, count }) =>
        new Promise<string>((resolve) => {
          const socket = new WebSocket(url)
          socket.onopen = async () => {
            for (let i = 0; i < count; i++) socket.send(`message ${i}`)
            await fetch('/go')
          }
          socket.onmessage = ({ data }) => resolve(data)
          socket.onclose = ({ code }) => resolve(`closed with ${code}`)
        }),
      { url: `${url.replace('http', 'ws')}socket`, count: COUNT },
    )
    expect(answer).to.equal('all')
    expect(received).to.deep.equal(Array.from({ length: COUNT }, (_, i) => `message ${i}`))
  })
})

/**
 * Opens a WebSocket in a page, and returns what the page observed. The page closes it at the first
 * message, unless it waits for the server to close.
 */
function openSocket(
  page: Page,
  url: string,
  protocols: string[] = [],
  { untilClosed = false } = {},
): Promise<Seen> {
  return page.evaluate(
    ({ url, protocols, untilClosed }) =>
      new Promise<Seen>((resolve) => {
        const events: string[] = []
        const messages: string[] = []
        const socket = new WebSocket(url, protocols)
        socket.onopen = () => events.push('open')
        socket.onerror = () => events.push('error')
        socket.onmessage = ({ data }) => {
          events.push('message')
          messages.push(data)
          if (!untilClosed) socket.close()
        }
        socket.onclose = ({ code }) => {
          events.push('close')
          resolve({ events, messages, code, protocol: socket.protocol })
        }
      }),
    { url: `${url.replace('http', 'ws')}socket`, protocols, untilClosed },
  )
}

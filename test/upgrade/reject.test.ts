/// <reference lib="dom" />
import { expect } from 'chai'
import type { Context, Next } from 'koa'
import type { Browser } from 'playwright-core'
import koaWs, {
  type AcceptOptions,
  accept,
  type KoaWsOptions,
  type RejectOption,
} from '../../lib/index.ts'
import { launchChromium } from '../support/chromium.ts'
import { needs } from '../support/programs.ts'
import { cleanUp, openSocket, rejected, type Site, serve } from '../support/server.ts'

const login = (ctx: Context, next: Next): Promise<unknown> => {
  if (ctx.path.endsWith('/401')) ctx.throw(401, 'Log in first')
  if (ctx.path.endsWith('/429')) ctx.throw(429)
  if (ctx.path.endsWith('/500')) ctx.throw(500, 'secret')
  return next()
}

const guarded = (options: KoaWsOptions, accepting: AcceptOptions = {}): Promise<Site> =>
  serve((app) => {
    app.use(login)
    app.use(accept(() => {}, accepting))
  }, options)

/** Returns the close code and reason, or the HTTP status, that a client gets. */
async function told(port: number, path: string, protocols: string[] = []): Promise<unknown> {
  try {
    const { code, reason } = await (await openSocket(port, path, { protocols })).closed
    return `${code} ${reason}`
  } catch (error) {
    return (error as { status?: number }).status
  }
}

describe('reject', () => {
  afterEach(cleanUp)

  const forms: [string, RejectOption, Record<string, unknown>][] = [
    ['a close code', 1008, { '/401': '1008 Log in first', '/500': '1008 Internal Server Error' }],
    [
      'a close code and a reason',
      { code: 1008, reason: 'policy' },
      { '/401': '1008 policy', '/500': '1008 policy' },
    ],
    ['a close code in an object', { code: 4001 }, { '/401': '4001 Log in first' }],
    [
      'a function that returns a code, "http" or an object',
      (status) => (status === 401 ? 1008 : status === 429 ? 'http' : { code: 4999, reason: '' }),
      { '/401': '1008 Log in first', '/429': 429, '/500': '4999 ' },
    ],
    ['a function that returns "close"', () => 'close', { '/401': '4401 Log in first' }],
    ['a function that returns "auto"', () => 'auto', { '/401': 401 }],
  ]
  for (const [what, reject, expected] of forms) {
    it(`can be ${what}`, async () => {
      const { port, hub } = await guarded({ reject })
      for (const [path, outcome] of Object.entries(expected)) {
        expect(await told(port, path), path).to.equal(outcome)
      }
      expect(hub.status().connections).to.equal(0)
    })
  }

  it('closes a client of koaws.v1 with the same code as other clients', async () => {
    const { port } = await guarded({ reject: 1008 })
    expect(await told(port, '/401', ['koaws.v1'])).to.equal('1008 Log in first')
  })

  it('does not apply to refusals by koaws, which are HTTP', async () => {
    const { port } = await guarded({ reject: 1008 })
    const opening = openSocket(port, '/', { headers: { origin: 'https://evil.example' } })
    expect((await rejected(opening)).status).to.equal(403)
  })

  for (const [what, reject, message] of [
    [
      'throws',
      () => {
        throw new Error('broken')
      },
      'broken',
    ],
    [
      'returns a code that cannot be sent',
      () => 1005,
      'must be 1000 to 1003, 1007 to 1014, or 3000 to 4999, not 1005',
    ],
    ['returns nothing', () => undefined, 'not undefined'],
    ['returns a promise', async () => 1008, 'synchronous'],
  ] as [string, RejectOption, string][]) {
    it(`with a function that ${what} rejects over HTTP, and emits an error on the app`, async () => {
      const { port, errors } = await guarded({ reject })
      expect(await told(port, '/401')).to.equal(401)
      expect(errors.map(({ error }) => error.message).join()).to.contain(message)
    })
  }

  it('of a route applies from the accept on', async () => {
    const late: AcceptOptions = { reject: 1008, subprotocol: 'chat' }
    const { port } = await guarded({}, late)
    expect(await told(port, '/401')).to.equal(401)
    expect(await told(port, '/', ['other'])).to.match(/^1008 /)
  })

  it('of a route applies to an accept inside the chain that fails', async () => {
    const { port } = await serve((app) => {
      app.use(async (ctx) => void (await ctx.ws?.({ reject: 1008, expiresAt: Date.now() - 1_000 })))
    })
    expect(await told(port, '/')).to.match(/^1008 /)
  })

  it('of a route in hub.route() applies to all its middleware, and to no other route', async () => {
    const { port } = await serve((app, hub) => {
      app.use(
        hub.route(
          '/a/*rest',
          login as never,
          accept(() => {}, { reject: 1008 }),
        ),
      )
      app.use(
        hub.route(
          '/b/*rest',
          login as never,
          accept(() => {}),
        ),
      )
    })
    expect(await told(port, '/a/401')).to.equal('1008 Log in first')
    expect(await told(port, '/b/401')).to.equal(401)
  })

  const wrong: [unknown, RegExp][] = [
    [1005, /or 3000 to 4999, not 1005/],
    [401, /or 3000 to 4999, not 401/],
    [{}, /needs "code": a close code/],
    [{ code: '1008' }, /close code/],
    [{ code: 1008, reason: 'x'.repeat(124) }, /at most 123 bytes/],
    [{ code: 1008, reason: '\ud800' }, /well-formed/],
    [{ code: 1008, why: 'x' }, /no option "why"/],
    ['never', /must be one of "auto", "http", "close"/],
    [null, /not null/],
  ]
  for (const [reject, message] of wrong) {
    it(`throws for ${JSON.stringify(reject)}, in the plugin and in a route`, () => {
      expect(() => koaWs({ reject: reject as never })).to.throw(message)
      expect(() => accept(() => {}, { reject: reject as never })).to.throw(message)
    })
  }
})

describe('a rejection in a browser', () => {
  needs('chromium')
  let browser: Browser
  before(async () => {
    browser = await launchChromium()
  })
  after(() => browser.close())
  afterEach(cleanUp)

  for (const [what, reject, expected] of [
    ['over HTTP', 'http', ['error', 'close 1006 "" false']],
    ['by close code', 'close', ['open', 'close 4401 "Log in first" true']],
    ['with 1008', 1008, ['open', 'close 1008 "Log in first" true']],
  ] as [string, RejectOption, string[]][]) {
    it(`${what} fires ${expected.join(', ')}`, async () => {
      const { port } = await serve(
        (app) => {
          app.use(login)
          app.use((ctx, next) => {
            if (ctx.ws) return next()
            ctx.body = 'a page'
            return undefined
          })
          app.use(accept(() => {}))
        },
        { reject },
      )
      const page = await browser.newPage()
      await page.goto(`http://127.0.0.1:${port}/`)
      const events = await page.evaluate(
        (url) =>
          new Promise<string[]>((resolve) => {
            const seen: string[] = []
            const socket = new WebSocket(url)
            socket.onopen = () => seen.push('open')
            socket.onerror = () => seen.push('error')
            socket.onclose = ({ code, reason, wasClean }) => {
              seen.push(`close ${code} ${JSON.stringify(reason)} ${wasClean}`)
              resolve(seen)
            }
          }),
        `ws://127.0.0.1:${port}/401`,
      )
      await page.close()
      expect(events).to.deep.equal(expected)
    })
  }
})

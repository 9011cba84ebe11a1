import { readFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { createServer, request as httpsRequest } from 'node:https'
import { expect } from 'chai'
import koaWs, { accept, type KoaWsOptions, messages, type OriginPolicy } from '../../lib/index.ts'
import { checkOrigin } from '../../lib/listener/origin.ts'
import { normalizedHosts, normalizedOrigins } from '../../lib/listener/origin-entries.ts'
import { forgetWarnings } from '../../lib/warn.ts'
import { selfSigned } from '../support/certificate.ts'
import { KEY } from '../support/raw.ts'
import {
  cleanUp,
  listen,
  makeApp,
  makeHub,
  openSocket,
  rejected,
  serve,
} from '../support/server.ts'
import { ask, hear, speak } from '../support/talk.ts'

/** A request as Node makes it, with the parts that the check of the origin reads. */
function requestOf(headers: Record<string, string>, encrypted = false): IncomingMessage {
  const rawHeaders = Object.entries(headers).flat()
  return { headers, rawHeaders, socket: { encrypted }, url: '/' } as never
}

function allows(
  headers: Record<string, string>,
  {
    encrypted = false,
    proxy = false,
    origin = 'same' as OriginPolicy,
    hosts = undefined as string[] | undefined,
  } = {},
): boolean {
  const rules = {
    origin: Array.isArray(origin) ? normalizedOrigins(origin) : origin,
    hosts: hosts && normalizedHosts(hosts),
  }
  return checkOrigin(rules, requestOf(headers, encrypted), proxy) === null
}

describe('the scheme of a page', () => {
  afterEach(cleanUp)

  const over: [string, object, Record<string, string>, string, boolean][] = [
    ['TLS', { encrypted: true }, {}, 'https', true],
    ['TLS', { encrypted: true }, {}, 'http', false],
    ['X-Forwarded-Proto: https', { proxy: true }, { 'x-forwarded-proto': 'https' }, 'https', true],
    ['X-Forwarded-Proto: https', { proxy: true }, { 'x-forwarded-proto': 'https' }, 'http', false],
    ['X-Forwarded-Proto: wss', { proxy: true }, { 'x-forwarded-proto': 'wss' }, 'http', false],
    [
      'X-Forwarded-Proto: HTTPS, http',
      { proxy: true },
      { 'x-forwarded-proto': 'HTTPS, http' },
      'http',
      false,
    ],
    ['X-Forwarded-Proto: http', { proxy: true }, { 'x-forwarded-proto': 'http' }, 'http', true],
    ['X-Forwarded-Proto: http', { proxy: true }, { 'x-forwarded-proto': 'http' }, 'https', false],
    [
      'X-Forwarded-Proto that is unknown',
      { proxy: true },
      { 'x-forwarded-proto': 'gopher' },
      'http',
      true,
    ],
    ['X-Forwarded-Proto without app.proxy', {}, { 'x-forwarded-proto': 'https' }, 'http', true],
    ['a plain socket', {}, {}, 'https', true],
    ['a plain socket', {}, {}, 'http', true],
  ]
  for (const [what, options, headers, scheme, expected] of over) {
    for (const host of ['example.com', 'example.com:8443']) {
      it(`${scheme}: is ${expected ? 'allowed' : 'refused'} for ${host} over ${what}`, () => {
        const all = { host, origin: `${scheme}://${host}`, ...headers }
        expect(allows(all, options)).to.equal(expected)
      })
    }
  }

  it('is compared over HTTP/2 as well, with any :scheme', () => {
    const of = (scheme: string): Record<string, string> => ({
      ':authority': 'example.com:8443',
      ':scheme': scheme,
      origin: 'http://example.com:8443',
    })
    expect(allows(of('https'), { encrypted: true })).to.equal(false)
    expect(allows(of('http'), { encrypted: true })).to.equal(false)
    expect(allows(of('https'))).to.equal(true)
  })

  describe('over a real TLS connection', () => {
    it('http: on the same host and port gets 403, and https: is accepted', async () => {
      const { key, cert } = selfSigned()
      const { app } = makeApp()
      const hub = makeHub()
      app.use(hub).use(accept(() => {}))
      const server = createServer(
        { key: readFileSync(key), cert: readFileSync(cert) },
        app.callback(),
      )
      hub.attach(server)
      const port = await listen(server as never)
      const statusOf = (scheme: string): Promise<number | undefined> =>
        new Promise((resolve, reject) => {
          const headers = {
            Host: `localhost:${port}`,
            Origin: `${scheme}://localhost:${port}`,
            Connection: 'Upgrade',
            Upgrade: 'websocket',
            'Sec-WebSocket-Key': KEY,
            'Sec-WebSocket-Version': '13',
          }
          httpsRequest({ port, host: '127.0.0.1', headers, rejectUnauthorized: false })
            .on('response', ({ statusCode }) => resolve(statusCode))
            .on('upgrade', ({ statusCode }, socket) => {
              socket.destroy()
              resolve(statusCode)
            })
            .on('error', reject)
            .end()
        })
      expect(await statusOf('http')).to.equal(403)
      expect(await statusOf('https')).to.equal(101)
    })
  })
})

describe('entries of "origin" and "hosts"', () => {
  const origins: [string, string, boolean][] = [
    ['file://', 'file://', true],
    ['capacitor://localhost', 'capacitor://localhost', true],
    ['ionic://localhost', 'ionic://localhost', true],
    ['chrome-extension://abcdefgh', 'chrome-extension://abcdefgh', true],
    ['vscode-webview://1a2b', 'vscode-webview://1a2b', true],
    ['null', 'null', true],
    ['https://example.org:443', 'https://example.org', true],
    ['http://example.org:80', 'http://example.org', true],
    ['http://example.org:443', 'http://example.org:443', true],
    ['https://münchen.example', 'https://xn--mnchen-3ya.example', true],
    ['HTTPS://Example.ORG', 'https://example.org', true],
    ['http://[0:0:0:0:0:0:0:1]:3000', 'http://[::1]:3000', true],
    ['https://example.org', 'http://example.org', false],
    ['https://example.org', 'https://sub.example.org', false],
    ['https://example.org', 'https://example.org:8443', false],
    ['file://', 'null', false],
  ]
  for (const [entry, sent, expected] of origins) {
    it(`origin: ["${entry}"] ${expected ? 'allows' : 'refuses'} ${sent}`, () => {
      koaWs({ origin: [entry] })
      expect(allows({ host: 'x', origin: sent }, { origin: [entry] })).to.equal(expected)
    })
  }

  const never: [KoaWsOptions, RegExp][] = [
    [
      { origin: ['https://*.example.com'] },
      /never matches: wildcards are not supported\. Use a RegExp/,
    ],
    [
      { origin: ['http://localhost:*'] },
      /never matches: wildcards are not supported\. Use a RegExp/,
    ],
    [{ origin: ['*'] }, /Use a RegExp/],
    [
      { origin: ['wss://example.com'] },
      /does not begin with wss:\. Write "https:\/\/example\.com"/,
    ],
    [{ origin: ['https://example.com/'] }, /not an origin/],
    [{ origin: ['https://example.com/app'] }, /not an origin/],
    [{ origin: ['https://user@example.com'] }, /not an origin/],
    [{ origin: ['https://example.com:99999'] }, /not an origin/],
    [{ origin: ['https://'] }, /not an origin/],
    [{ origin: ['localhost:3000'] }, /not an origin/],
    [{ origin: ['https://.example.com'] }, /not an origin/],
    [{ origin: ['https://a..example.com'] }, /not an origin/],
    [{ origin: ['https://%2A.example.com'] }, /not an origin/],
    [{ hosts: ['.'] }, /not a host name/],
    [{ hosts: ['.example.com'] }, /not a host name/],
    [{ hosts: ['%2A.example.com'] }, /not a host name/],
    [{ hosts: ['*.example.com'] }, /never matches: wildcards are not supported/],
    [{ hosts: ['example.com:*'] }, /never matches: leave the port out/],
    [{ hosts: ['example.com:99999'] }, /not a host name/],
    [{ hosts: ['user@example.com'] }, /not a host name/],
    [{ hosts: ['a b'] }, /not a host name/],
    [{ hosts: ['https://example.com'] }, /leave out the scheme/],
  ]
  for (const [options, message] of never) {
    it(`${JSON.stringify(options)} throws, and says what to do`, () => {
      expect(() => koaWs(options)).to.throw(message)
    })
  }

  const hosts: [string, string, boolean][] = [
    ['::1', '[::1]:3000', true],
    ['[::1]', '[::1]', true],
    ['0:0:0:0:0:0:0:1', '[::1]', true],
    ['München.example', 'xn--mnchen-3ya.example', true],
    ['example.com:443', 'example.com', true],
    ['example.com:80', 'example.com', true],
    ['example.com:8080', 'example.com:8080', true],
    ['example.com:8080', 'example.com', false],
    ['example.com:8080', 'example.com:8081', false],
    ['example.com', 'example.com:1', true],
    ['example.com', 'evil.example.com', false],
  ]
  for (const [entry, host, expected] of hosts) {
    it(`hosts: ["${entry}"] ${expected ? 'allows' : 'refuses'} ${host}`, () => {
      koaWs({ hosts: [entry] })
      expect(allows({ host }, { hosts: [entry] })).to.equal(expected)
    })
  }

  it('hosts: a default port follows the scheme, when it is known', () => {
    expect(allows({ host: 'a.example' }, { encrypted: true, hosts: ['a.example:80'] })).to.equal(
      false,
    )
    expect(allows({ host: 'a.example' }, { encrypted: true, hosts: ['a.example:443'] })).to.equal(
      true,
    )
  })
})

describe('option functions', () => {
  afterEach(cleanUp)

  for (const attach of [true, false]) {
    for (const hubs of [1, 2]) {
      it(`are called once, with the request as it arrived, ${attach ? 'attached' : 'at a first upgrade'}, with ${hubs} ${hubs === 1 ? 'hub' : 'hubs'}`, async () => {
        const asked: string[] = []
        const note = (name: string, req: IncomingMessage): true => {
          asked.push(`${name} ${req.url} ${req.headers['x-own']}`)
          return true
        }
        const site = await serve(
          (app) => {
            if (hubs === 2) app.use(makeHub({ origin: 'any' }))
            app.use(accept((connection) => connection.send('in')))
          },
          {
            attach,
            filter: (req) => note('filter', req),
            origin: (_origin, req) => note('origin', req),
            address: (req) => String(note('address', req)),
            maxPerAddress: 10,
            before: (app) =>
              void app.use((ctx, next) => {
                ctx.url = ctx.url.replace('/api', '')
                return next()
              }),
          },
        )
        const socket = await openSocket(site.port, '/api/live', {
          headers: { origin: 'https://a.example', 'x-own': 'kept' },
        })
        expect(await socket.next()).to.equal('in')
        expect(asked.sort()).to.deep.equal([
          'address /api/live kept',
          'filter /api/live kept',
          'origin /api/live kept',
        ])
      })
    }
  }

  it('decide alike before and after a mount', async () => {
    for (const attach of [true, false]) {
      const site = await serve((app) => app.use(accept(() => {})), {
        attach,
        filter: (req) => req.url === '/api/live',
        origin: (_origin, req) => req.url === '/api/live',
        before: (app) =>
          void app.use((ctx, next) => {
            ctx.url = '/live'
            return next()
          }),
      })
      await openSocket(site.port, '/api/live', { headers: { origin: 'https://a.example' } })
    }
  })

  it('that throw are called once', async () => {
    let asked = 0
    const site = await serve((app) => app.use(accept(() => {})), {
      attach: true,
      origin: () => {
        asked++
        throw new Error('broken')
      },
    })
    const { status } = await rejected(
      openSocket(site.port, '/', { headers: { origin: 'https://a.example' } }),
    )
    expect([status, asked]).to.deep.equal([500, 1])
  })
})

describe('ctx.state.user.exp', () => {
  afterEach(cleanUp)

  const seconds = Math.floor(Date.now() / 1000)
  const implausible: unknown[] = [
    1500,
    0,
    -1,
    978_307_199,
    Date.now() + 60_000,
    253_402_300_800,
    Number.POSITIVE_INFINITY,
    Number.NaN,
    '1500',
    String(seconds + 60),
    new Date(),
    {},
    true,
  ]
  for (const exp of implausible) {
    it(`that is ${String(exp)} (${typeof exp}) is ignored`, async () => {
      const site = await serve((app) => {
        app.use((ctx, next) => {
          ctx.state['user'] = { exp }
          return next()
        })
        app.use(accept((connection) => connection.json([connection.expiresAt])))
      })
      const socket = await openSocket(site.port)
      expect(await socket.nextJson()).to.deep.equal([null])
    })
  }

  it('that is ignored causes one warning in a process, which names the option', async () => {
    const warnings: Error[] = []
    const hear = (warning: Error & { code?: string }): void => {
      if (warning.code === 'KOAWS_EXP') warnings.push(warning)
    }
    forgetWarnings()
    process.on('warning', hear)
    try {
      const site = await serve((app) => {
        app.use((ctx, next) => {
          ctx.state['user'] = { exp: 1500 }
          return next()
        })
        app.use(accept((connection) => connection.send('in')))
      })
      for (let i = 0; i < 3; i++) await (await openSocket(site.port)).next()
      expect(warnings.map(({ message }) => message)).to.have.lengthOf(1)
      expect(warnings[0]?.message).to.contain('exp is 1500').and.contain('"expiresAt"')
    } finally {
      process.off('warning', hear)
    }
  })

  for (const [exp, expected] of [
    [seconds + 60, 'in'],
    [seconds + 0.5 + 60, 'in'],
    [253_402_300_799, 'in'],
    [978_307_200, 401],
    [seconds - 1, 401],
  ] as const) {
    it(`that is ${exp} is applied: ${expected}`, async () => {
      const site = await serve((app) => {
        app.use((ctx, next) => {
          ctx.state['user'] = { exp }
          return next()
        })
        app.use(accept((connection) => connection.json([connection.expiresAt])))
      })
      const opening = openSocket(site.port)
      if (expected === 'in') {
        expect(await (await opening).nextJson()).to.deep.equal([Math.floor(exp * 1000)])
      } else expect((await rejected(opening)).status).to.equal(expected)
    })
  }
})

describe('a credential', () => {
  afterEach(cleanUp)

  it('of a message is visible to the authentication, but not to loggers that copy headers', async () => {
    const seen: string[] = []
    const site = await serve((app) => {
      app.use(
        accept(
          messages() as never,
          {
            user: () => 'ann',
            authenticate: (async (ctx: unknown, next: () => Promise<unknown>) => {
              const { req, request, headers, header, get } = ctx as Record<string, unknown>
              seen.push(
                JSON.stringify([headers, header, request]),
                JSON.stringify({ ...(headers as object) }),
                JSON.stringify([
                  (req as IncomingMessage).rawHeaders,
                  (req as IncomingMessage).headersDistinct,
                ]),
              )
              seen.push((get as (name: string) => string).call(ctx, 'authorization'))
              await next()
            }) as never,
          } as never,
        ),
      )
    })
    const socket = await speak(site.port)
    await hear(socket)
    expect((await ask(socket, 'koaws:auth', { token: 'very-secret' })).type).to.equal('koaws:reply')
    expect(seen.pop()).to.equal('Bearer very-secret')
    expect(seen.join()).not.to.contain('very-secret')
  })
})

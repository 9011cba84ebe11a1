import { expect } from 'chai'
import { accept, type KoaWsOptions } from '../../lib/index.ts'
import { handshake, rawClient } from '../support/raw.ts'
import { acceptStatus, cleanUp, type Site, serve } from '../support/server.ts'

type Headers = Record<string, string | string[] | null>

describe('the origin of a page', () => {
  afterEach(cleanUp)

  async function statusOf(site: Site, headers: Headers, path = '/'): Promise<number> {
    const client = await rawClient(site.port)
    client.write(handshake(path, headers))
    const { status } = await client.answer()
    client.socket.destroy()
    return status
  }

  async function verdict(
    options: KoaWsOptions & { koa?: { proxy: boolean }; attach?: boolean },
    headers: Headers,
  ): Promise<string> {
    const statuses = []
    for (const attach of [true, false]) {
      const ran: string[] = []
      const site = await serve(
        (app) => app.use((ctx, next) => (ran.push(ctx.path), next())).use(accept(() => {})),
        { ...options, attach },
      )
      statuses.push(await statusOf(site, headers), await statusOf(site, headers))
      if (statuses.at(-1) === 403) {
        expect(ran).to.deep.equal([])
        expect(site.hub.status().drops).to.deep.equal({ origin: 2 })
      }
      await cleanUp()
    }
    expect(new Set(statuses).size, statuses.join()).to.equal(1)
    return statuses[0] === 101 ? 'accepted' : `refused ${statuses[0]}`
  }

  const same: [host: string, origin: string | string[] | null, expected: string][] = [
    ['example.com', null, 'accepted'],
    ['example.com', 'http://example.com', 'accepted'],
    ['example.com', 'https://example.com', 'accepted'],
    ['example.com', 'http://example.com:80', 'accepted'],
    ['example.com:80', 'http://example.com', 'accepted'],
    ['example.com:443', 'https://example.com', 'accepted'],
    ['EXAMPLE.com', 'http://Example.COM', 'accepted'],
    ['example.com:8080', 'http://example.com:8080', 'accepted'],
    ['[::1]:8080', 'http://[::1]:8080', 'accepted'],
    ['example.com', 'http://evil.com', 'refused 403'],
    ['example.com', 'http://example.com.evil.com', 'refused 403'],
    ['example.com', 'http://evil.com/example.com', 'refused 403'],
    ['example.com', 'http://evil.com#example.com', 'refused 403'],
    ['example.com', 'http://example.com@evil.com', 'refused 403'],
    ['example.com', 'http://example.com:8080', 'refused 403'],
    ['example.com:443', 'http://example.com', 'refused 403'],
    ['example.com:8080', 'http://example.com', 'refused 403'],
    ['evil:x@example.com', 'http://example.com', 'refused 400'],
    ['example.com', 'null', 'refused 403'],
    ['example.com', '', 'refused 403'],
    ['example.com', 'http://', 'refused 403'],
    ['example.com', 'file://', 'refused 403'],
    ['example.com', 'chrome-extension://example.com', 'refused 403'],
    ['example.com', ['http://example.com', 'http://example.com'], 'refused 403'],
    ['example.com', ['http://example.com', 'http://evil.com'], 'refused 403'],
  ]
  for (const [host, origin, expected] of same) {
    it(`${JSON.stringify(origin)} for host ${host} is ${expected}`, async () => {
      expect(await verdict({}, { Host: host, Origin: origin })).to.equal(expected)
    })
  }

  it('is never compared with the request target', async () => {
    // Node resets a stream of HTTP/2 when its :path is not a path.
    const targets = acceptStatus() === 101 ? ['//evil.com/', 'http://evil.com/'] : ['//evil.com/']
    for (const path of targets) {
      const site = await serve((app) => app.use(accept(() => {})), { attach: true })
      expect(
        await statusOf(site, { Host: 'example.com', Origin: 'http://evil.com' }, path),
      ).to.equal(acceptStatus() === 101 ? 403 : 400)
    }
  })

  it('is compared with X-Forwarded-Host only when the app trusts a proxy', async () => {
    const headers = {
      Host: 'internal:3000',
      'X-Forwarded-Host': 'example.com',
      Origin: 'https://example.com',
    }
    expect(await verdict({}, headers)).to.equal('refused 403')
    expect(await verdict({ koa: { proxy: true } }, headers)).to.equal('accepted')
    expect(
      await verdict({ koa: { proxy: true } }, { ...headers, Origin: 'http://internal:3000' }),
    ).to.equal('refused 403')
  })

  it('can be allowed by a list, in addition to the same origin', async () => {
    const origin = ['https://a.example', /^https:\/\/[a-z]+\.b\.example$/g]
    for (const allowed of [
      'https://a.example',
      'HTTPS://A.example',
      'https://x.b.example',
      'http://localhost',
    ]) {
      expect(await verdict({ origin }, { Origin: allowed }), allowed).to.equal('accepted')
    }
    for (const refused of ['https://c.example', 'https://x.b.example.evil.com', 'null']) {
      expect(await verdict({ origin }, { Origin: refused }), refused).to.equal('refused 403')
    }
    expect(await verdict({ origin: ['null'] }, { Origin: 'null' })).to.equal('accepted')
  })

  it('can be allowed by "any", or by a function that returns true', async () => {
    expect(await verdict({ origin: 'any' }, { Origin: 'https://evil.com' })).to.equal('accepted')
    expect(
      await verdict({ origin: 'any' }, { Origin: ['https://evil.com', 'https://evil.com'] }),
    ).to.equal('refused 403')
    const origin = (value: string): boolean => value === 'https://a.example'
    expect(await verdict({ origin }, { Origin: 'https://a.example' })).to.equal('accepted')
    expect(await verdict({ origin }, { Origin: 'https://b.example' })).to.equal('refused 403')
    const promises = (async () => true) as never
    expect(await verdict({ origin: promises }, { Origin: 'https://b.example' })).to.equal(
      'refused 500',
    )
  })

  it('is answered with 500 when the function throws', async () => {
    const origin = (): never => {
      throw new Error('origin')
    }
    const site = await serve((app) => app.use(accept(() => {})), { origin, attach: true })
    expect(await statusOf(site, { Origin: 'https://a.example' })).to.equal(500)
    expect(await statusOf(site, {})).to.equal(101)
  })

  it('is not enough for a Host that "hosts" does not list', async () => {
    const hosts = ['Example.com']
    expect(await verdict({ hosts }, { Host: 'example.com' })).to.equal('accepted')
    expect(await verdict({ hosts }, { Host: 'EXAMPLE.com:8080' })).to.equal('accepted')
    expect(
      await verdict({ hosts }, { Host: 'rebound.evil.com', Origin: 'http://rebound.evil.com' }),
    ).to.equal('refused 403')
  })

  it('is rejected with a body that names both values and the option', async () => {
    const site = await serve((app) => app.use(accept(() => {})), { attach: true })
    const client = await rawClient(site.port)
    client.write(handshake('/', { Host: 'example.com', Origin: 'http://evil.com' }))
    const { body } = await client.answer()
    expect(body).to.include('evil.com').and.to.include('example.com').and.to.include('"origin"')
  })
})

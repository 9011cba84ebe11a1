import { expect } from 'chai'
import type { Context, Next } from 'koa'
import koaWs, { type AcceptOptions, accept, type KoaWsOptions, messages } from '../../lib/index.ts'
import type { TestSocket } from '../../lib/testing/index.ts'
import {
  cleanUp,
  deferred,
  eventually,
  openSocket,
  rejected,
  type Site,
  serve,
} from '../support/server.ts'
import { ask, hear, speak } from '../support/talk.ts'

const REPLACED = { code: 4612, reason: 'replaced by a newer login' }

const limited = (
  maxPerUser: KoaWsOptions['maxPerUser'],
  options: KoaWsOptions = {},
  accepting: AcceptOptions = {},
): Promise<Site> =>
  serve((app) => app.use(accept(() => {}, accepting)), {
    maxPerUser,
    user: (ctx) => ctx.query['user'] as string | undefined,
    attach: true,
    ...options,
  })

const enter = ({ port }: Site, user = 'ann', protocols: string[] = []): Promise<TestSocket> =>
  openSocket(port, `/?user=${user}`, { protocols })

describe('maxPerUser', () => {
  afterEach(cleanUp)

  for (const when of [undefined, 'reject'] as const) {
    it(`rejects a connection above the limit with 429, and counts it as a drop (when: ${when})`, async () => {
      const site = await limited({ connections: 2, when })
      const first = await enter(site)
      await enter(site)
      const { status, headers, body } = await rejected(enter(site))
      expect([status, headers['retry-after'], body]).to.deep.equal([
        429,
        '5',
        'Too many connections of this user.',
      ])
      expect(site.hub.status().drops).to.deep.equal({ maxPerUser: 1 })
      await enter(site, 'bob')
      first.close()
      await first.closed
      await eventually(() => site.hub.status().connections === 2)
      await enter(site)
      expect(site.hub.status().drops).to.deep.equal({ maxPerUser: 1 })
    })
  }

  for (const inside of [false, true]) {
    it(`is exact when 20 clients of a user connect at once, accepted ${inside ? 'inside' : 'after'} the chain`, async () => {
      const go = deferred()
      let waiting = 0
      const site = await serve(
        (app) => {
          app.use(async (_ctx, next) => {
            waiting++
            await go.promise
            return next()
          })
          if (!inside) app.use(accept(() => {}))
          else app.use(async (ctx) => void (await ctx.ws?.()))
        },
        { maxPerUser: { connections: 3, when: 'reject' }, user: () => 'ann', attach: true },
      )
      const all = Array.from({ length: 20 }, () =>
        openSocket(site.port).then(
          () => 101,
          (error: { status?: number }) => error.status,
        ),
      )
      await eventually(() => waiting === 20)
      go.resolve()
      const statuses = await Promise.all(all)
      expect(statuses.filter((status) => status === 101)).to.have.length(3)
      expect(statuses.filter((status) => status === 429)).to.have.length(17)
      expect(site.hub.status()).to.deep.include({ connections: 3, drops: { maxPerUser: 17 } })
    })
  }

  it('counts a connection during onConnect, and a connection with hub: false', async () => {
    const done = deferred()
    const waits = await limited({ connections: 1 }, { onConnect: () => done.promise })
    await enter(waits)
    expect((await rejected(enter(waits))).status).to.equal(429)
    done.resolve()
    const outside = await limited({ connections: 1 }, {}, { hub: false })
    await enter(outside)
    expect((await rejected(enter(outside))).status).to.equal(429)
  })

  it('does not count a connection that is closing, or a connection without a user', async () => {
    const site = await limited({ connections: 1 }, { user: () => undefined })
    await enter(site)
    await enter(site)
    const other = await limited({ connections: 1 }, { closeTimeout: 60_000 })
    const first = await enter(other)
    first.pause() // it does not answer the close
    await other.hub.user('ann').close(4000)
    await enter(other)
    expect(other.hub.status().drops).to.deep.equal({})
  })

  it('frees the place of a connection that onConnect closed', async () => {
    let turn = 0
    const site = await limited(
      { connections: 1 },
      {
        onConnect(connection) {
          if (turn++ === 0) connection.close(4003)
        },
      },
    )
    expect((await (await enter(site)).closed).code).to.equal(4003)
    await enter(site)
  })

  it('closes a client of koaws.v1 with 4429', async () => {
    const site = await serve((app) => app.use(accept(messages() as never)), {
      maxPerUser: { connections: 1 },
      user: () => 'ann',
      attach: true,
    })
    await hear(await speak(site.port))
    const second = await speak(site.port)
    expect((await second.closed).code).to.equal(4429)
  })

  describe("with when: 'replace'", () => {
    it('closes the oldest with 4612', async () => {
      const site = await limited({ connections: 2, when: 'replace' })
      const [one, two] = [await enter(site), await enter(site)]
      await eventually(() => site.hub.status().users === 1)
      const three = await enter(site)
      expect(await one.closed).to.deep.equal(REPLACED)
      expect([two.readyState, three.readyState]).to.deep.equal([1, 1])
      await enter(site)
      expect(await two.closed).to.deep.equal(REPLACED)
      expect(site.hub.status().drops).to.deep.equal({ maxPerUser: 2 })
      expect(await site.hub.user('ann').count()).to.equal(2)
    })

    it('leaves exactly the limit when many connect at once', async () => {
      const site = await limited({ connections: 2, when: 'replace' })
      const all = await Promise.all(Array.from({ length: 12 }, () => enter(site)))
      await eventually(() => site.hub.status().connections === 2)
      const codes = await Promise.all(
        all
          .filter((socket) => socket.readyState !== 1)
          .map(async ({ closed }) => (await closed).code),
      )
      expect(new Set(codes)).to.deep.equal(new Set([4612]))
      expect(site.hub.status().drops).to.deep.equal({ maxPerUser: 10 })
    })

    it('keeps the old connection until onConnect has let the new one in', async () => {
      let attempt = 0
      const site = await limited(
        { connections: 1, when: 'replace' },
        {
          onConnect() {
            if (attempt++ === 1) throw Object.assign(new Error('no'), { status: 403 })
          },
        },
      )
      const old = await enter(site)
      expect((await (await enter(site)).closed).code).to.equal(4403)
      expect(old.readyState).to.equal(1)
      await enter(site)
      expect(await old.closed).to.deep.equal(REPLACED)
    })
  })

  for (const [when, expected] of [
    ['reject', 4429],
    ['replace', 4612],
  ] as const) {
    it(`applies to a token in a message (when: ${when}), and not to a refresh`, async () => {
      const authenticate = (ctx: Context, next: Next): Promise<unknown> => {
        ctx.state['user'] = { sub: ctx.get('authorization').slice(7) }
        return next()
      }
      const site = await serve(
        (app) => app.use(accept(messages() as never, { authenticate } as never)),
        { maxPerUser: { connections: 1, when }, user: (ctx) => ctx.state['user']?.sub },
      )
      const [one, two] = [await speak(site.port), await speak(site.port)]
      for (const socket of [one, two]) await hear(socket)
      const accepted = async (socket: TestSocket): Promise<unknown> =>
        (await ask(socket, 'koaws:auth', { token: 'ann' })).type
      expect(await accepted(one)).to.equal('koaws:reply')
      await hear(one)
      expect(await accepted(one), 'a refresh').to.equal('koaws:reply')
      expect(await accepted(two)).to.equal(when === 'reject' ? 'koaws:error' : 'koaws:reply')
      const loser = when === 'reject' ? two : one
      expect((await loser.closed).code).to.equal(expected)
      await eventually(() => site.hub.status().connections === 1)
      expect(site.hub.status().drops['maxPerUser']).to.equal(1)
      expect(site.errors).to.deep.equal([])
    })
  }

  const wrong: [KoaWsOptions, RegExp][] = [
    [{ maxPerUser: {} as never }, /needs "connections"/],
    [{ maxPerUser: { connections: 0 } }, /whole number above 0/],
    [{ maxPerUser: { connections: 1, when: 'kick' as never } }, /one of "reject", "replace"/],
    [{ maxPerUser: { connection: 1 } as never }, /Did you mean "connections"/],
    [{ maxPerUser: 2 as never }, /takes an object of options/],
    [{ maxPerUser: { connections: 5 }, maxConnections: 4 }, /can never be reached/],
  ]
  for (const [options, message] of wrong) {
    it(`throws for ${JSON.stringify(options)}`, () => {
      expect(() => koaWs(options)).to.throw(message)
    })
  }
})

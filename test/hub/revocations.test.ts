import { once } from 'node:events'
import { performance } from 'node:perf_hooks'
import { expect } from 'chai'
import type { Context, Next } from 'koa'
import type { Target } from '../../lib/backplane/order.ts'
import { Revocations } from '../../lib/hub/revocations.ts'
import {
  type AcceptOptions,
  accept,
  type Hub,
  type KoaWsOptions,
  messages,
} from '../../lib/index.ts'
import type { TestSocket } from '../../lib/testing/index.ts'
import { type BreakableAdapter, breakableAdapter } from '../support/breakable-adapter.ts'
import {
  cleanUp,
  deferred,
  eventually,
  openSocket,
  type Site,
  serve,
  turn,
} from '../support/server.ts'
import { hear, speak } from '../support/talk.ts'

const OUT = { code: 4401, reason: 'logged out' }

/** Two instances: clients connect to `site`, and `away` is the hub of the other instance. */
interface Pair {
  site: Site
  away: Hub
  adapter: BreakableAdapter
}

async function pair(
  options: KoaWsOptions,
  accepting: AcceptOptions,
  before: (ctx: Context, next: Next) => Promise<unknown> = (_ctx, next) => next(),
  handled: () => void = () => {},
): Promise<Pair> {
  const adapter = breakableAdapter()
  const site = await serve(
    (app) => {
      app.use(before)
      app.use(accept(handled, accepting))
    },
    { adapter, ...options },
  )
  const away = (await serve(() => {}, { adapter })).hub
  await eventually(() => [site.hub, away].every((hub) => hub.status().backplane.instances === 1))
  return { site, away, adapter }
}

/**
 * Waits until an order has arrived: it is published at the end of one turn, and carried out in a
 * later one.
 */
async function arrived(): Promise<void> {
  for (let i = 0; i < 5; i++) await turn()
}

/** The options of a route that accepts ann into a fixed room. */
const ann: AcceptOptions = { user: 'ann', rooms: ['team'] }

const closes: [string, (hub: Hub) => Promise<void>][] = [
  ['hub.user().close()', (hub) => hub.user('ann').close(4401, 'logged out')],
  ['hub.room().close()', (hub) => hub.room('team').close(4401, 'logged out')],
  ['hub.all().close()', (hub) => hub.all().close(4401, 'logged out')],
]

for (const from of ['this instance', 'another instance']) {
  const hubOf = ({ site, away }: Pair): Hub => (from === 'this instance' ? site.hub : away)

  describe(`a close or leave from ${from}`, () => {
    afterEach(cleanUp)

    for (const [what, close] of closes) {
      it(`by ${what} reaches a connection while onConnect runs`, async () => {
        const [running, done] = [deferred(), deferred()]
        let handled = 0
        const both = await pair(
          {
            onConnect() {
              running.resolve()
              return done.promise
            },
          },
          ann,
          undefined,
          () => handled++,
        )
        const socket = await openSocket(both.site.port)
        await running.promise
        await close(hubOf(both))
        expect(await socket.closed).to.deep.equal(OUT)
        done.resolve()
        await turn()
        expect([handled, both.site.errors]).to.deep.equal([0, []])
      })

      for (const [form, first] of [
        ['an upgrade that is still in the chain', false],
        ['the first upgrade of a server, seen by middleware before the plugin', true],
      ] as const) {
        it(`by ${what} reaches ${form}`, async () => {
          const [checked, go] = [deferred(), deferred()]
          const slow = async (_ctx: Context, next: Next): Promise<unknown> => {
            checked.resolve()
            await go.promise
            return next()
          }
          let handled = 0
          const adapter = breakableAdapter()
          const site = await serve(
            (app) => {
              if (!first) app.use(slow)
              app.use(accept(() => handled++, ann))
            },
            { adapter, attach: !first, ...(first && { before: (app) => void app.use(slow) }) },
          )
          const away = (await serve(() => {}, { adapter })).hub
          await eventually(() => away.status().backplane.instances === 1)
          const opening = openSocket(site.port)
          await checked.promise
          await close(hubOf({ site, away, adapter }))
          await arrived()
          go.resolve()
          expect(await (await opening).closed).to.deep.equal(OUT)
          expect([handled, site.errors]).to.deep.equal([0, []])
        })
      }
    }

    for (const [what, close] of [closes[0], closes[2]] as typeof closes) {
      it(`by ${what} reaches a connection that was accepted with hub: false`, async () => {
        const both = await pair({}, { user: 'ann', hub: false })
        const socket = await openSocket(both.site.port)
        await close(hubOf(both))
        expect(await socket.closed).to.deep.equal(OUT)
      })

      it(`by ${what} reaches a connection while its token is verified`, async () => {
        const [checked, go] = [deferred(), deferred()]
        const authenticate = async (ctx: Context, next: Next): Promise<unknown> => {
          ctx.state['user'] = { sub: 'ann' }
          checked.resolve()
          await go.promise
          return next()
        }
        const adapter = breakableAdapter()
        let opened = 0
        const chat = messages().onOpen(() => void opened++)
        const site = await serve(
          (app) => {
            const options = { authenticate, user: (ctx: Context) => ctx.state['user'].sub }
            app.use(accept(chat as never, options as never))
          },
          { adapter },
        )
        const away = (await serve(() => {}, { adapter })).hub
        await eventually(() => away.status().backplane.instances === 1)
        const socket = await speak(site.port)
        await hear(socket)
        socket.json({ type: 'koaws:auth', id: 1, data: { token: 'x' } })
        await checked.promise
        await close(hubOf({ site, away, adapter }))
        await arrived()
        go.resolve()
        expect(await socket.closed).to.deep.equal(OUT)
        expect([opened, site.errors]).to.deep.equal([0, []])
      })
    }

    it('by hub.connection().close() reaches a connection in onConnect, and a connection with hub: false', async () => {
      const done = deferred()
      for (const options of [ann, { user: 'ann', hub: false }]) {
        const both = await pair({ onConnect: () => done.promise }, options)
        const socket = await openSocket(both.site.port)
        await eventually(() => both.site.hub.status().connections === 1)
        const [id] = both.site.hub.localConnections.keys() as unknown as string[]
        await hubOf(both)
          .connection(id as string)
          .close(4401, 'logged out')
        expect(await socket.closed).to.deep.equal(OUT)
      }
      done.resolve()
    })

    it('spares excepted connections and other users', async () => {
      const done = deferred()
      const both = await pair(
        { onConnect: () => done.promise },
        { user: (ctx) => String(ctx.query['user']), rooms: ['team'] },
      )
      const enter = (user: string): Promise<TestSocket> =>
        openSocket(both.site.port, `/?user=${user}`)
      const [one, two, bob] = [await enter('ann'), await enter('ann'), await enter('bob')]
      await eventually(() => both.site.hub.status().connections === 3)
      const [kept] = both.site.hub.localConnections.keys() as unknown as string[]
      const hub = hubOf(both)
      await hub
        .user('ann')
        .except(kept as string)
        .close(4401, 'logged out')
      expect(await two.closed).to.deep.equal(OUT)
      await hub
        .all()
        .except(kept as string)
        .exceptUser('bob')
        .close(4000)
      await hub
        .room('team')
        .except(kept as string)
        .exceptUser('bob')
        .close(4000)
      done.resolve()
      await eventually(() => both.site.hub.status().users === 2)
      expect([one.readyState, bob.readyState]).to.deep.equal([1, 1])
    })

    it('does not affect a client that begins its handshake later', async () => {
      const both = await pair({}, ann)
      await hubOf(both).user('ann').close(4401)
      await arrived()
      const socket = await openSocket(both.site.port)
      await eventually(() => both.site.hub.status().users === 1)
      expect(socket.readyState).to.equal(1)
    })

    it('by hub.user().leave() reaches rooms that a connection is about to join', async () => {
      const [running, done] = [deferred(), deferred()]
      const both = await pair(
        {
          async onConnect(connection) {
            await connection.join('early')
            running.resolve()
            await done.promise
          },
        },
        { user: 'ann', rooms: ['team', 'other'] },
      )
      await openSocket(both.site.port)
      await running.promise
      await hubOf(both).user('ann').leave('team', 'early')
      await arrived()
      done.resolve()
      await eventually(() => both.site.hub.status().users === 1)
      const [connection] = both.site.hub.localConnections.values()
      expect([...(connection?.rooms ?? [])]).to.deep.equal(['other'])
    })

    it('by hub.user().leave() reaches an upgrade that is still in the chain', async () => {
      const [checked, go] = [deferred(), deferred()]
      const both = await pair({}, { user: 'ann', rooms: ['team', 'other'] }, async (_ctx, next) => {
        checked.resolve()
        await go.promise
        return next()
      })
      const opening = openSocket(both.site.port)
      await checked.promise
      await hubOf(both).user('ann').leave('team')
      await arrived()
      go.resolve()
      await opening
      await eventually(() => both.site.hub.status().users === 1)
      const [connection] = both.site.hub.localConnections.values()
      expect([...(connection?.rooms ?? [])]).to.deep.equal(['other'])
    })
  })
}

describe('a close from another instance', () => {
  afterEach(cleanUp)

  for (const [what, close] of closes) {
    it(`by ${what} reaches a connection before its subscription is confirmed`, async () => {
      const both = await pair({}, ann)
      const hold = both.adapter.slow('')
      const socket = await openSocket(both.site.port)
      await eventually(() => both.site.hub.status().users === 1)
      await close(both.away)
      expect(await socket.closed).to.deep.equal(OUT)
      hold()
    })
  }

  it('keeps its order between sends', async () => {
    const { site, away } = await pair({}, ann)
    const socket = await openSocket(site.port)
    await eventually(() => site.hub.status().users === 1)
    away.user('ann').send('1')
    away.room('team').send('2')
    void away.user('ann').close(4401, 'logged out')
    away.user('ann').send('late')
    const ended = once(socket, 'close')
    expect([await socket.next(), await socket.next()]).to.deep.equal(['1', '2'])
    await ended
    expect(await socket.closed).to.deep.equal(OUT)
  })
})

describe('Revocations', () => {
  const of = (...names: string[]): Target => ({ kind: 'users', names, except: [], exceptUsers: [] })
  const out = (...names: string[]) =>
    ({ type: 'close', target: of(...names), code: 4401, reason: '' }) as const
  const arriving = { userId: 'ann', rooms: [] }

  it('apply a close to handshakes that began before it, and to no later ones', () => {
    const revocations = new Revocations(10_000)
    const since = performance.now()
    revocations.add(out('ann'))
    const { close } = revocations.verdict({ ...arriving, since })
    expect(close).to.deep.equal({ code: 4401, reason: '' })
    expect(revocations.verdict({ ...arriving, userId: 'bob', since }).close).to.equal(null)
    expect(revocations.verdict({ ...arriving, since: performance.now() + 1 }).close).to.equal(null)
  })

  it('are bounded: a handshake that began before a forgotten close is closed with 1013', () => {
    const revocations = new Revocations(10_000)
    const since = performance.now()
    revocations.add(out('ann'))
    revocations.add(out(...Array.from({ length: 10_000 }, (_, i) => `user ${i}`)))
    expect(revocations.verdict({ ...arriving, since }).close).to.include({ code: 1013 })
    const later = { ...arriving, since: performance.now() + 1 }
    expect(revocations.verdict(later).close).to.equal(null)
  })

  it('forget a close after the longest handshake', () => {
    const revocations = new Revocations(-1)
    const since = performance.now()
    revocations.add(out('bob'))
    expect(revocations.verdict({ ...arriving, since }).close).to.include({ code: 1013 })
  })
})

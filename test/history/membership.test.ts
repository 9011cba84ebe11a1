import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { Redis } from 'ioredis'
import { clusterAdapter } from '../../lib/adapters/cluster/index.ts'
import { memoryHistory } from '../../lib/adapters/memory-history.ts'
import { redisAdapter } from '../../lib/adapters/redis/index.ts'
import { type Adapter, memoryAdapter } from '../../lib/index.ts'
import { enterAndHold, type Guest, type House, house, received } from '../support/order.ts'
import { needs } from '../support/programs.ts'
import { startRedis, stopRedis, type TestRedis } from '../support/redis.ts'
import { RemoteEngine } from '../support/remote-history.ts'
import { cleanUp, eventually } from '../support/server.ts'

/** Rounds of each test: the engine and the order between instances travel on paths of their own. */
const ROUNDS = 20

/** Makes the adapter of each instance of one site. */
type Engine = () => () => Adapter

let folder = ''
let redis: TestRedis
let runs = 0

const engines: Record<string, Engine> = {
  'in this process': () => {
    const adapter = { ...memoryAdapter(), history: memoryHistory() }
    return () => adapter
  },
  'outside, and slow': () => {
    const engine = new RemoteEngine(() => Math.random() * 4)
    const adapter = { ...memoryAdapter(), history: engine.open }
    return () => adapter
  },
  'of the processes of one machine': () => {
    const name = `m${runs++}`
    return () => clusterAdapter({ name, folder, heartbeat: 200 })
  },
  Redis: () => {
    const prefix = `m${runs++}:`
    return () => {
      const client = new Redis({ host: '127.0.0.1', port: redis.port, lazyConnect: true })
      return redisAdapter({ client, prefix, heartbeat: 1_000 }) // 200 is too short for a busy machine
    }
  },
}

for (const [what, make] of Object.entries(engines)) {
  describe(`a change of the membership from another instance, with an engine ${what}`, () => {
    if (what === 'Redis') needs('redis-server')
    let sites: House[]

    before(async () => {
      folder = mkdtempSync(join(tmpdir(), 'koaws-'))
      if (what === 'Redis') redis = await startRedis()
    })
    beforeEach(async () => {
      const adapter = make()
      const history = { rooms: 'chat:*', users: true }
      sites = await Promise.all(
        [0, 1, 2].map(() => house({ adapter: adapter(), history, heartbeat: {} })),
      )
      await eventually(() =>
        sites.every(({ hub }) => {
          const { state, instances } = hub.status().backplane
          return state === 'ready' && instances === sites.length - 1
        }),
      )
      await Promise.all(sites.map(({ hub }) => hub.room('chat:up').send('up').recorded))
    })
    afterEach(cleanUp)
    after(async () => {
      await stopRedis()
      rmSync(folder, { recursive: true, force: true })
    })

    /** Two members on each instance: one stays, one goes. */
    async function members(room: string): Promise<{ stay: Guest[]; go: Guest[] }> {
      const enter = (user: string): Promise<Guest[]> =>
        Promise.all(sites.map((site) => enterAndHold(site, { user, rooms: [room] })))
      return { stay: await enter('stays'), go: await enter('goes') }
    }

    /** Sends the last message of a room, and waits until the members that stay have got it. */
    async function end(room: string, { stay }: { stay: Guest[] }): Promise<string[][]> {
      sites[0]?.hub.room(room).send('end')
      return Promise.all(
        stay.map(async ({ socket }) => {
          const got: string[] = []
          while (got.at(-1) !== 'end') got.push(String(await socket.next()))
          return got
        }),
      )
    }

    const each = async (act: (room: string) => Promise<void>): Promise<void> => {
      for (let i = 0; i < ROUNDS; i++) await act(`chat:${i}`)
    }

    for (const isAwaited of [false, true]) {
      const when = isAwaited ? 'that are recorded already' : 'of the same turn'

      it(`a leave comes after the messages before it, ${when}`, async () => {
        await each(async (room) => {
          const all = await members(room)
          const audience = (sites[0] as House).hub.room(room)
          const { recorded } = audience.send('1')
          if (isAwaited) await recorded
          void audience.exceptUser('stays').leave(room)
          expect(await end(room, all)).to.deep.equal(Array(3).fill(['1', 'end']))
          for (const guest of all.go) {
            await eventually(() => !guest.connection.rooms.has(room))
            expect((await received(guest))[0], room).to.equal('1')
          }
        })
      })

      it(`a close comes after the messages before it, ${when}`, async () => {
        await each(async (room) => {
          const all = await members(room)
          const audience = (sites[0] as House).hub.room(room)
          const { recorded } = audience.send('1')
          if (isAwaited) await recorded
          void audience.exceptUser('stays').close(4000, 'out')
          expect(await end(room, all)).to.deep.equal(Array(3).fill(['1', 'end']))
          for (const { socket } of all.go) {
            expect(await socket.next(), room).to.equal('1')
            expect((await socket.closed).code).to.equal(4000)
          }
        })
      })

      it(`a join comes after the messages before it, ${when}`, async () => {
        await each(async (room) => {
          const all = await members(room)
          const { hub } = sites[0] as House
          const { recorded } = hub.room(room).send('1')
          if (isAwaited) await recorded
          void hub.room(room).exceptUser('stays').join('news')
          await end(room, all)
          await eventually(() => all.go.every(({ connection }) => connection.rooms.has('news')))
          for (const { connection } of all.go) connection.send('2')
          for (const guest of all.go) {
            expect((await received(guest)).slice(0, 1), room).to.deep.equal(['1'])
          }
        })
      })
    }

    it('a leave comes before the messages after it', async () => {
      await each(async (room) => {
        const all = await members(room)
        const audience = (sites[0] as House).hub.room(room)
        audience.send('1')
        await audience.exceptUser('stays').leave(room)
        audience.send('2')
        expect(await end(room, all)).to.deep.equal(Array(3).fill(['1', '2', 'end']))
        for (const guest of all.go) expect(await received(guest), room).to.deep.equal(['1'])
      })
    })

    it('a leave comes before the messages after it in the same turn', async () => {
      await each(async (room) => {
        const all = await members(room)
        const audience = (sites[0] as House).hub.room(room)
        audience.send('1')
        void audience.exceptUser('stays').leave(room)
        audience.send('2')
        expect(await end(room, all)).to.deep.equal(Array(3).fill(['1', '2', 'end']))
        for (const guest of all.go) expect(await received(guest), room).to.deep.equal(['1'])
      })
    })
  })
}

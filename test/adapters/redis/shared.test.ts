import { expect } from 'chai'
import { redisAdapter } from '../../../lib/adapters/redis/index.ts'
import type { Adapter, EchoingLink } from '../../../lib/backplane/adapter.ts'
import type { HistoryStore } from '../../../lib/history/store.ts'
import { needs } from '../../support/programs.ts'
import { startRedis, stopRedis, type TestRedis } from '../../support/redis.ts'
import { type Library, libraries } from './clients.ts'
import { entryOf, LIMITS } from './history/stores.ts'
import { slowly } from './patience.ts'

describe('a link to Redis with a history', function () {
  needs('redis-server')
  this.timeout(120_000)

  let redis: TestRedis
  const closing: (() => unknown)[] = []
  const [library] = libraries as [Library]
  beforeEach(async () => {
    redis = await startRedis()
  })
  afterEach(async () => {
    for (const close of closing.splice(0)) await close()
    await redis.kill()
  })
  after(stopRedis)

  const adapterOf = (of = library): Adapter =>
    redisAdapter({ client: of.client(redis.port), heartbeat: 200 })

  function connect(adapter: Adapter, id = 'me') {
    const turns: string[] = []
    const payloads: string[] = []
    const link = adapter.connect(id, {
      received: (payload) => void payloads.push(payload.toString()),
      up: () => void turns.push('up'),
      down: () => void turns.push('down'),
      gone() {},
    }) as EchoingLink
    closing.push(() => link.close())
    link.subscribe(['all']).catch(() => {})
    return { link, turns, payloads }
  }

  function open(adapter: Adapter, id = 'me') {
    const turns: string[] = []
    const texts: string[] = []
    const store = adapter.history?.(id, LIMITS, {
      recorded: (_log, _epoch, entries) => {
        for (const { payload } of entries) texts.push(payload.toString())
      },
      up: () => void turns.push('up'),
      down: () => void turns.push('down'),
    }) as HistoryStore
    closing.push(() => store.close())
    return { store, turns, texts }
  }

  /** The number of connections, without the connection of this question. */
  async function connections(): Promise<number> {
    const lines = (await redis.command('client', 'list')).match(/\bid=\d+/g) ?? []
    return lines.length - 1
  }
  const isUp = ({ turns }: { turns: readonly string[] }): boolean => turns.at(-1) === 'up'

  for (const each of libraries) {
    it(`has two connections for both, and keeps the order of its messages: ${each.name}`, async () => {
      const adapter = adapterOf(each)
      const [hub, history] = [connect(adapter), open(adapter)]
      await slowly(() => isUp(hub) && isUp(history))
      expect(await connections()).to.equal(2)
      await history.store.follow('room:r')
      const order: string[] = []
      const [payloads, texts] = [hub.payloads, history.texts]
      payloads.push = (...given) => order.push(...given)
      texts.push = (...given) => order.push(...given)
      const sent: Promise<unknown>[] = []
      for (let i = 0; i < 30; i++) {
        sent.push(hub.link.publish(['all'], Buffer.from(`${i} plain`)))
        sent.push(Promise.resolve(history.store.append('room:r', entryOf(`${i} recorded`))))
        if (i % 7 === 0) await new Promise(setImmediate)
      }
      await Promise.all(sent)
      await slowly(() => order.length === 60)
      const expected = Array.from({ length: 30 }, (_, i) => [`${i} plain`, `${i} recorded`])
      expect(order).to.deep.equal(expected.flat())
    })
  }

  it('tells each part that is opened when the link is up already', async () => {
    const adapter = adapterOf()
    const history = open(adapter)
    await slowly(() => isUp(history))
    const hub = connect(adapter)
    expect(hub.turns).to.deep.equal([])
    await slowly(() => isUp(hub))
    const other = open(adapter, 'other')
    await slowly(() => isUp(other))
    const otherHub = connect(adapter, 'other')
    await slowly(() => isUp(otherHub))
    expect(await connections()).to.equal(4)
  })

  it('takes the history down when the hub replaces the connections', async () => {
    const adapter = adapterOf()
    const [hub, history] = [connect(adapter), open(adapter)]
    await slowly(() => isUp(hub) && isUp(history))
    await history.store.follow('room:r')
    const attempt = Promise.resolve(history.store.append('room:r', entryOf('1'))).catch(() => {})
    hub.link.restart()
    await attempt
    expect(history.turns).to.deep.equal(['up', 'down'])
    await slowly(() => isUp(history) && hub.turns.length === 2)
    await history.store.append('room:r', entryOf('2'))
    await slowly(() => history.texts.at(-1) === '2')
  })

  it('is closed when both are, in either order', async () => {
    for (const first of ['hub', 'history']) {
      const adapter = adapterOf()
      const [hub, history] = [connect(adapter), open(adapter)]
      await slowly(() => isUp(hub) && isUp(history))
      if (first === 'hub') await hub.link.close()
      else await history.store.close()
      expect(await connections()).to.equal(2)
      if (first === 'hub') await history.store.append('room:r', entryOf('1'))
      else await hub.link.publish(['all'], Buffer.from('1'))
      await hub.link.close()
      await history.store.close()
      await hub.link.close()
      await connectionsAre(0)
      const again = connect(adapter)
      await slowly(() => isUp(again))
      await again.link.close()
      await connectionsAre(0)
    }
  })

  it('is another one for another hub with the same id', async () => {
    const adapter = adapterOf()
    const [one, other] = [connect(adapter), connect(adapter)]
    await slowly(() => isUp(one) && isUp(other))
    await one.link.close()
    await other.link.publish(['all'], Buffer.from('1'))
    expect(await connections()).to.equal(2)
  })

  async function connectionsAre(count: number): Promise<void> {
    const deadline = Date.now() + 60_000
    while ((await connections()) !== count) {
      if (Date.now() > deadline) throw new Error(`not ${count} connections`)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }
})

import { expect } from 'chai'
import { slotOf } from '../../../../lib/adapters/redis/history/keys.ts'
import { redisAdapter } from '../../../../lib/adapters/redis/index.ts'
import type { Place } from '../../../../lib/history/store.ts'
import { adapterSuite } from '../../../../lib/testing/index.ts'
import { needs } from '../../../support/programs.ts'
import { startRedisCluster, stopRedis, type TestRedis } from '../../../support/redis.ts'
import { type Library, libraries } from '../clients.ts'
import { slowly } from '../patience.ts'
import { closeStores, entryOf, openStore, TestStore, textsOf } from './stores.ts'

const LOGS = Array.from({ length: 24 }, (_, i) => `room:r${i}`).concat(
  'room:e}f',
  'room:{g',
  'user:{}',
)

describe('the history in a Redis Cluster', function () {
  needs('redis-server')
  this.timeout(120_000)

  let nodes: [TestRedis, TestRedis, TestRedis]
  let tests = 0
  let prefix = ''
  before(async () => {
    nodes = (await startRedisCluster()) as [TestRedis, TestRedis, TestRedis]
  })
  beforeEach(() => {
    prefix = `t${tests++}:`
  })
  afterEach(closeStores)
  after(stopRedis)

  const open = (library: Library): Promise<TestStore> =>
    openStore(library, { port: nodes[0].port, prefix, isCluster: true })
  const [first] = libraries as [Library]
  const masterOf = (log: string): TestRedis =>
    nodes[Math.floor((3 * slotOf(`${prefix}log:{${log}}:meta`)) / 16_384)] as TestRedis

  for (const library of libraries) {
    it(`records logs on all nodes, in order, and gives them to every instance: ${library.name}`, async () => {
      const [one, other] = [await open(library), await open(library)]
      for (const log of LOGS) await other.store.follow(log)
      const texts = ['1', '2', '3']
      const places = await Promise.all(LOGS.map((log) => one.append(log, ...texts)))
      await slowly(() => other.heard.length === LOGS.length * 3)
      for (const [i, log] of LOGS.entries()) {
        expect(textsOf(other.heard.filter((entry) => entry.log === log))).to.deep.equal(texts)
        expect(await other.all(log)).to.deep.equal(texts)
        expect(await other.top(log)).to.deep.equal(places[i])
      }
      const sizes = await Promise.all(nodes.map((node) => node.command('dbsize')))
      expect(sizes).to.not.include(':0\r\n')
    })

    it(`is up again when a node was killed, and records the rest in order: ${library.name}`, async () => {
      const [one, other] = [await open(library), await open(library)]
      for (const log of LOGS) await other.store.follow(log)
      const before = await Promise.all(LOGS.map((log) => one.append(log, 'before')))
      const killed = masterOf('room:r0')
      const entries = LOGS.map((log) => entryOf(log))
      const attempts = LOGS.map(async (log, i) => one.store.append(log, entries[i] as never))
      await killed.kill()
      const results = await Promise.allSettled(attempts)
      await killed.start()
      await slowly(() => one.isUp && other.isUp)
      for (const [i, log] of LOGS.entries()) {
        if (results[i]?.status === 'fulfilled') continue
        for (let isRecorded = false; !isRecorded; ) {
          await one.up()
          const attempt = Promise.resolve(one.store.append(log, entries[i] as never))
          isRecorded = await attempt.then(
            () => true,
            () => false,
          )
        }
      }
      await Promise.all([one.up(), other.up()])
      for (const [i, log] of LOGS.entries()) {
        const wasLost = masterOf(log) === killed
        expect(await other.after(log, before[i] as Place)).to.deep.equal(wasLost ? 'epoch' : [log])
        expect((await other.all(log)).slice(-1)).to.deep.equal([log])
      }
    })
  }

  it('finds the new node of a log after its slot has moved', async () => {
    const one = await open(first)
    const place = await one.append('room:r1', '1')
    const from = masterOf('room:r1')
    const to = nodes.find((node) => node !== from) as TestRedis
    const slot = String(slotOf(`${prefix}log:{room:r1}:meta`))
    const idOf = async (node: TestRedis): Promise<string> =>
      /\w{40}/.exec(await node.command('cluster', 'myid'))?.[0] ?? ''
    const [fromId, toId] = [await idOf(from), await idOf(to)]
    await to.command('cluster', 'setslot', slot, 'importing', fromId)
    await from.command('cluster', 'setslot', slot, 'migrating', toId)
    const keys = ['meta', 'list'].map((key) => `${prefix}log:{room:r1}:${key}`)
    const port = String(to.port)
    expect(
      await from.command('migrate', '127.0.0.1', port, '', '0', '5000', 'keys', ...keys),
    ).to.match(/^\+OK/)
    for (const node of [to, from]) await node.command('cluster', 'setslot', slot, 'node', toId)
    const entry = entryOf('2')
    const error = await Promise.resolve(one.store.append('room:r1', entry)).catch(
      (error: unknown) => error,
    )
    expect(error).to.include({ code: 'ERR_KOAWS_BACKPLANE' })
    for (let isRecorded = false; !isRecorded; ) {
      await one.up()
      isRecorded = await Promise.resolve(one.store.append('room:r1', entry)).then(
        () => true,
        () => false,
      )
    }
    expect(await one.after('room:r1', place)).to.deep.equal(['2'])
    expect(one.reasons.join()).to.match(/MOVED|ASK/)
    for (const node of nodes) await node.command('cluster', 'setslot', slot, 'node', fromId)
  })

  it('is down with a client of one node, and says why', async () => {
    const one = new TestStore(first, { port: nodes[0].port, prefix })
    const elsewhere = LOGS.find((log) => masterOf(log) !== nodes[0]) as string
    if (masterOf('probe:0') === nodes[0]) {
      await one.up()
      await Promise.resolve(one.append(elsewhere, '1')).catch(() => {})
    }
    await slowly(() => one.reasons.length > 0)
    expect(one.reasons[0]).to.match(/give redisAdapter\(\) a cluster client: MOVED/)
  })

  const suite = adapterSuite(() => {
    const own = `suite${tests++}:`
    return {
      adapter: () =>
        redisAdapter({ client: first.cluster(nodes[0].port), prefix: own, heartbeat: 200 }),
    }
  }, ['cut', 'inject'])
  for (const { name, run, needs } of suite) {
    if (needs.includes('history')) it(`keeps the contract: ${name}`, run).timeout(20_000)
  }
})

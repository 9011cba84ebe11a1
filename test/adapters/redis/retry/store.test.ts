import { expect } from 'chai'
import { redisAdapter } from '../../../../lib/adapters/redis/index.ts'
import type { AdapterLink } from '../../../../lib/backplane/adapter.ts'
import { newId } from '../../../../lib/connection/id.ts'
import type { Claim, RetryStore } from '../../../../lib/retry/store.ts'
import { needs } from '../../../support/programs.ts'
import {
  type RedisProxy,
  startProxy,
  startRedis,
  stopRedis,
  type TestRedis,
} from '../../../support/redis.ts'
import { runRetryModel } from '../../../support/retry-model.ts'
import { eventually } from '../../../support/server.ts'
import { libraries } from '../clients.ts'

const [library] = libraries as [(typeof libraries)[number]]
const FIRST: Claim = { state: 'first' }
const UNKNOWN: Claim = { state: 'unknown' }

describe('the record of requests with `retry` in Redis', () => {
  needs('redis-server')
  let redis: TestRedis
  let proxy: RedisProxy
  let prefix = ''
  let tests = 0
  let open: { store: RetryStore; link: AdapterLink }[] = []

  beforeEach(async () => {
    redis = await startRedis()
    proxy = await startProxy(redis.port)
    prefix = `retry${tests++}:`
  })

  afterEach(async () => {
    for (const { store, link } of open) {
      await store.close()
      await link.close()
    }
    open = []
    await stopRedis()
  })

  async function make(): Promise<{ id: string; store: RetryStore; link: AdapterLink }> {
    const id = newId()
    const adapter = redisAdapter({ client: library.client(proxy.port), prefix, heartbeat: 100 })
    let isUp = false
    const link = adapter.connect(id, {
      received() {},
      up: () => void (isUp = true),
      down: () => void (isUp = false),
      gone() {},
    })
    const store = adapter.retries?.(id) as RetryStore
    open.push({ store, link })
    await eventually(() => isUp)
    await answers(store)
    return { id, store, link }
  }

  async function answers(store: RetryStore): Promise<void> {
    let is = false
    await eventually(() => {
      void Promise.resolve(store.look(newId())).then(
        () => void (is = true),
        () => {},
      )
      return is
    })
  }

  /** Makes the mark older than the window, as it is some minutes after the start. */
  async function age(): Promise<void> {
    const mark = await redis.command('get', `${prefix}retry:mark`)
    const [, server] = /(\S+:\d+) \d+/.exec(mark) ?? []
    await redis.command('set', `${prefix}retry:mark`, `${server} 1`)
  }

  it('is sure of a request without a record when it has lost nothing for the window', async () => {
    const { store } = await make()
    expect(await store.claim('a', 'h', true)).to.deep.equal(UNKNOWN)
    await age()
    expect(await store.claim('a', 'h', true)).to.deep.equal(FIRST)
  })

  for (const [what, harm] of [
    ['its data were flushed', () => redis.command('flushall')],
    [
      'it restarted',
      async () => {
        await redis.kill()
        await redis.start()
      },
    ],
  ] as [string, () => Promise<unknown>][]) {
    it(`is not sure after ${what}`, async () => {
      const { store } = await make()
      await age()
      expect(await store.claim('a', 'h', true)).to.deep.equal(FIRST)
      await harm()
      await answers(store)
      expect(await store.claim('b', 'h', true)).to.deep.equal(UNKNOWN)
    })
  }

  it('forgets a request when its time is over', async () => {
    const { store } = await make()
    await store.claim('a', 'h', false)
    await store.settle('a', 'answer')
    const left = Number(/\d+/.exec(await redis.command('pttl', `${prefix}retry:a`)))
    expect(left).to.be.within(100_000, 150_000)
  })

  it('knows the outcome no more when the instance that runs a request shows no sign of life', async () => {
    const [one, two] = [await make(), await make()]
    await one.store.claim('a', 'h', false)
    expect(await two.store.look('a')).to.deep.equal({ state: 'running', hash: 'h' })
    await redis.command('del', `${prefix}retry:alive:${one.id}`)
    expect(await two.store.claim('a', 'h', false)).to.deep.equal(UNKNOWN)
    await one.store.settle('a', 'answer')
    expect(await two.store.look('a')).to.deep.equal({ state: 'done', hash: 'h', answer: 'answer' })
  })

  it('removes a claim after its confirmation was lost', async () => {
    const { store } = await make()
    proxy.lag(300)
    const claim = Promise.resolve(store.claim('a', 'h', false)).catch(() => 'rejected')
    await eventually(() => true)
    const key = `${prefix}retry:a`
    for (let text = ''; !/R /.test(text); ) text = await redis.command('get', key)
    proxy.cut()
    expect(await claim).to.equal('rejected')
    proxy.lag(0)
    proxy.heal()
    await answers(store)
    expect(await redis.command('exists', key)).to.match(/0/)
    expect(await store.claim('a', 'h', false)).to.deep.equal(FIRST)
  })

  it('treats the data of other software as an unknown outcome', async () => {
    const { store } = await make()
    await redis.command('set', `${prefix}retry:a`, 'something')
    expect(await store.claim('a', 'h', false)).to.deep.equal(UNKNOWN)
  })

  it('is not offered for a Redis Cluster', () => {
    expect(redisAdapter({ client: library.cluster(proxy.port) }).retries).to.equal(undefined)
  })

  it('runs no request twice, and ends each, over breaks of clients, instances and Redis', async () => {
    const { store } = await make()
    await store.look('a')
    await age()
    const engine = {
      adapter: () => redisAdapter({ client: library.client(proxy.port), prefix, heartbeat: 100 }),
      harm(random: () => number) {
        if (random() > 0.005) return
        proxy.cut()
        setTimeout(() => proxy.heal(), 100)
      },
    }
    const size = { instances: 3, clients: 15, requests: 40, replaces: 0.1 }
    const report = await runRetryModel(7, engine, size)
    expect(report.wrong).to.deep.equal([])
    const { answered, unknown, refused } = report
    expect(answered + unknown + refused).to.equal(600)
    expect(answered).to.be.above(200)
  })
})

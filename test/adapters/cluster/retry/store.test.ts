import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { expect } from 'chai'
import { ClusterRetries } from '../../../../lib/adapters/cluster/retry/store.ts'
import { memoryAdapter } from '../../../../lib/index.ts'
import { KEPT, type Known } from '../../../../lib/retry/store.ts'
import { runRetryModel } from '../../../support/retry-model.ts'
import { closeMesh, meshFolder } from '../support/mesh.ts'

const FIRST = { state: 'first' }
const UNKNOWN = { state: 'unknown' }
const SEED = Number(process.env['SEED'] ?? Math.floor(Math.random() * 1e9))

describe('the record of requests with `retry` on one machine', () => {
  const opened: ClusterRetries[] = []
  let ids = 0

  afterEach(async () => {
    await Promise.all(opened.splice(0).map((store) => store.close()))
    await closeMesh()
  })

  function make(kept = KEPT): ClusterRetries {
    const folder = join(meshFolder(), 'app')
    const store = new ClusterRetries({ folder, interval: 100, most: 16 * 1024 * 1024, kept })
    opened.push(store)
    return store
  }

  async function open(count: number, kept?: number): Promise<ClusterRetries[]> {
    const all = Array.from({ length: count }, () => make(kept))
    for (const store of all) await answers(store)
    return all
  }

  /** Waits until a record answers. */
  async function answers(store: ClusterRetries): Promise<void> {
    while ((await store.look('nothing').catch(() => null)) === null) await turn()
  }

  async function becomes(store: ClusterRetries, id: string, state: Known['state']): Promise<void> {
    while ((await store.look(id)).state !== state) await turn()
  }

  /** Waits until a record is sure that a request without a record has none. */
  async function isSure(store: ClusterRetries): Promise<void> {
    while ((await store.claim(`sure ${ids++}`, 'h', true)).state !== 'first') await turn()
  }

  /** Opens another instance for each, before that one closes. */
  async function replace(all: readonly ClusterRetries[], kept?: number): Promise<void> {
    for (const store of all) {
      await answers(make(kept))
      await store.close()
    }
  }

  it('is sure of a request without a record when it has lost nothing for the window', async () => {
    const [one, two] = (await open(2, 500)) as [ClusterRetries, ClusterRetries]
    const [young] = (await open(1)) as [ClusterRetries]
    expect(await young.claim('a', 'h', true)).to.deep.equal(UNKNOWN)
    await isSure(one)
    expect(await two.claim('b', 'h', true)).to.deep.equal(FIRST)
    expect(await one.claim('b', 'h', true)).to.deep.equal({ state: 'running', hash: 'h' })
  })

  it('knows the same after all instances were replaced one by one', async () => {
    const all = await open(3)
    const [one, two] = all as [ClusterRetries, ClusterRetries]
    for (const [store, id] of [
      [one, 'a'],
      [two, 'b'],
      [one, 'runs'],
    ] as const) {
      expect(await store.claim(id, 'h', false)).to.deep.equal(FIRST)
      if (id !== 'runs') await store.settle(id, `answer ${id}`)
    }
    await replace(all)
    for (const store of opened.slice(3)) {
      for (const id of ['a', 'b']) {
        const done = { state: 'done', hash: 'h', answer: `answer ${id}` }
        expect(await store.look(id)).to.deep.equal(done)
        expect(await store.claim(id, 'h', true)).to.deep.equal(done)
      }
      expect(await store.claim('runs', 'h', false)).to.deep.equal(UNKNOWN)
    }
  })

  it('is as sure after all instances were replaced one by one', async () => {
    const all = await open(3, 2_000)
    await isSure(all[0] as ClusterRetries)
    await replace(all, 2_000)
    for (const store of opened.slice(3)) {
      expect(await store.claim(`sure ${ids++}`, 'h', true)).to.deep.equal(FIRST)
    }
  })

  it('is not sure after all instances were gone at the same time', async () => {
    const [one] = (await open(1, 1_000)) as [ClusterRetries]
    await isSure(one)
    await one.close()
    const [two] = (await open(1)) as [ClusterRetries]
    expect(await two.claim('a', 'h', true)).to.deep.equal(UNKNOWN)
    expect(await two.claim('b', 'h', false)).to.deep.equal(FIRST)
  })

  it('is not sure after the clock of the machine has jumped', async () => {
    const [one] = (await open(1, 300)) as [ClusterRetries]
    await isSure(one)
    const { now } = Date
    Date.now = () => now() + 60_000
    try {
      expect(await one.claim('a', 'h', true)).to.deep.equal(UNKNOWN)
      await isSure(one)
    } finally {
      Date.now = now
    }
  })

  it('forgets an answer when its time is over, and not a request that runs', async () => {
    const [one, two] = (await open(2, 1_500)) as [ClusterRetries, ClusterRetries]
    await one.claim('runs', 'h', false)
    for (let round = 0; round < 2; round++) {
      const id = `answered ${round}`
      await one.claim(id, 'h', false)
      await one.settle(id, 'answer')
      await becomes(two, id, 'unknown')
    }
    expect(await two.look('runs')).to.deep.equal({ state: 'running', hash: 'h' })
    await one.settle('runs', 'answer')
    expect(await two.look('runs')).to.deep.equal({ state: 'done', hash: 'h', answer: 'answer' })
  })

  it('claims nothing after close(), which settles also twice', async () => {
    const [one, two] = (await open(2)) as [ClusterRetries, ClusterRetries]
    await Promise.all([one.close(), one.close()])
    const claim = await one.claim('a', 'h', false).catch(({ code }) => code)
    expect(claim).to.equal('ERR_KOAWS_BACKPLANE')
    expect(await two.claim('a', 'h', false)).to.deep.equal(FIRST)
  })

  it(`runs no request twice, and ends each, while instances come and go, from seed ${SEED}`, async () => {
    const engine = { adapter: () => ({ ...memoryAdapter(), retries: () => make() }) }
    const size = { instances: 3, clients: 4, requests: 30, replaces: 0.01 }
    const report = await runRetryModel(SEED, engine, size)
    expect(report.wrong).to.deep.equal([])
    const { answered, unknown, refused } = report
    expect(answered + unknown + refused).to.equal(120)
    expect(answered).to.be.above(60)
  })

  it('knows each outcome when it is sure and no instance ends', async () => {
    await isSure(make(6_000))
    const engine = { adapter: () => ({ ...memoryAdapter(), retries: () => make(6_000) }) }
    const report = await runRetryModel(SEED, engine, { instances: 3, clients: 4, requests: 30 })
    expect(report.wrong).to.deep.equal([])
    expect(report).to.include({ answered: 120, unknown: 0 })
  })
})

import { expect } from 'chai'
import { memoryHistory } from '../../../../lib/adapters/memory-history.ts'
import type { HistoryStore, Place, Reading } from '../../../../lib/history/store.ts'
import { needs } from '../../../support/programs.ts'
import { startRedis, stopRedis } from '../../../support/redis.ts'
import { libraries } from '../clients.ts'
import { closeStores, LIMITS, openStore } from './stores.ts'

const STEPS = 2_000
const SEED = Number(process.env['SEED'] ?? 7)

/** A place in both engines. */
type Pair = readonly [Place, Place]

describe('the history in Redis, compared with the history in memory', function () {
  needs('redis-server')
  this.timeout(120_000)
  after(async () => {
    closeStores()
    await stopRedis()
  })

  it(`gives the same answers to random calls (seed ${SEED})`, async () => {
    const random = generator(SEED)
    const below = (count: number): number => Math.floor(random() * count)
    const limits = { ...LIMITS, messages: 40, bytes: 2_000 }
    const redis = await startRedis()
    const inRedis = (await openStore(libraries[0] as never, { port: redis.port, limits })).store
    const events = { recorded() {}, up() {}, down() {} }
    const inMemory = memoryHistory()('me', limits, events)
    const stores: readonly HistoryStore[] = [inRedis, inMemory]
    /** The epochs of Redis, and those of the memory. */
    const epochs = new Map<string, string>()

    async function both<T>(act: (store: HistoryStore, index: number) => T | Promise<T>) {
      const [one, other] = await Promise.all(stores.map(async (store, index) => act(store, index)))
      return [one as T, other as T] as const
    }
    const same = ([one, other]: Pair): void => {
      expect([one.offset, one.key]).to.deep.equal([other.offset, other.key])
      if (!epochs.has(one.epoch)) epochs.set(one.epoch, other.epoch)
      expect(epochs.get(one.epoch)).to.equal(other.epoch)
    }
    const answerOf = (reading: Reading): unknown =>
      'missing' in reading ? reading.missing : reading.entries

    const counts: Record<string, number> = {}
    for (const log of ['room:a', 'room:b']) {
      const places: Pair[] = []
      const pick = (): Pair => {
        const pair = places[Math.max(0, places.length - 1 - below(60))] as Pair
        const offset = below(4) === 0 ? below(60) - 20 : 0
        const key = below(8) === 0 ? 'other' : null
        return pair.map((place) => ({
          epoch: place.epoch,
          offset: Math.max(0, place.offset + offset),
          key: key ?? place.key,
        })) as unknown as Pair
      }
      for (let step = 0; step < STEPS; step++) {
        const what = below(10)
        if (places.length === 0 || what < 5) {
          const entry = {
            key: `${log.at(-1)}${step}`,
            count: below(4) === 0 ? 1 + below(50) : 1,
            payload: Buffer.alloc(below(20) === 0 ? 2_100 : below(120), step),
          }
          places.push(await both((store) => store.append(log, entry)))
          same(places.at(-1) as Pair)
        } else if (what < 9) {
          const since = below(10) === 0 ? null : pick()
          const readings = await both((store, index) =>
            store.read(log, since && (since[index] as Place)),
          )
          const [one, other] = readings.map(answerOf)
          const plain = Array.isArray(one) ? one.map(({ time: _, ...entry }) => entry) : one
          expect(plain, JSON.stringify([step, since])).to.deep.equal(other)
          same([readings[0].top, readings[1].top])
          const name = typeof other === 'string' ? other : 'whole'
          counts[name] = (counts[name] ?? 0) + 1
        } else {
          const seen = pick()
          await both((store, index) => store.renew(log, seen[index] as Place))
          const tops = await both((store) => store.top(log))
          same(tops)
          places.push(tops)
        }
      }
    }
    expect(Object.keys(counts).sort()).to.deep.equal(['ahead', 'epoch', 'trimmed', 'whole'])
    expect(epochs.size).to.be.above(10)
    await inMemory.close()
    await redis.kill()
  })
})

/** Returns pseudorandom numbers from 0 to 1: mulberry32. */
function generator(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

import { expect } from 'chai'
import { Ring } from '../../lib/history/ring.ts'
import type { Entry, Place } from '../../lib/history/store.ts'
import { randomOf } from '../support/recovery-model.ts'

const LIMITS = { messages: 40, bytes: 900, ttl: 3_600_000, maxTotal: 1_000_000 }

describe('the ring of a followed log', () => {
  const seed = Math.floor(Math.random() * 1e9)

  it(`answers as a list of all entries would, within its bounds (seed ${seed})`, () => {
    const random = randomOf(seed)
    const int = (below: number): number => Math.floor(random() * below)
    const ring = new Ring(LIMITS)
    const all: Entry[] = []
    const kept = (): Entry[] => {
      let [messages, bytes] = [0, 0]
      return all
        .slice()
        .reverse()
        .filter(({ count, payload }) => {
          messages += count
          bytes += payload.length
          return messages <= LIMITS.messages && bytes <= LIMITS.bytes
        })
        .reverse()
    }
    let found = 0
    for (let i = 0; i < 3_000; i++) {
      const last = all.at(-1)
      const count = 1 + int(4)
      const entry = {
        key: `k${i}`.padEnd(8, '-'),
        count,
        payload: Buffer.alloc(1 + int(120)),
        offset: (last?.offset ?? 0) + count,
        previous: last?.key ?? '',
      }
      all.push(entry)
      ring.add(entry)
      const entries = kept()
      const floor = (entries[0]?.offset ?? entry.offset) - (entries[0]?.count ?? 0)
      const offset = Math.max(0, entry.offset - int(60))
      const holder = all.find((one) => offset <= one.offset && offset > one.offset - one.count)
      const key = int(5) === 0 ? 'another-' : (holder?.key ?? '')
      const since: Place = { epoch: 'e', offset, key }
      const isThere = offset >= floor && key === (holder?.key ?? '')
      const expected = entries.filter((one) => one.offset > offset)
      const isWithin = holder !== undefined && holder.offset !== offset && offset > floor
      expect(ring.after(since)?.map((one) => one.key) ?? null, `step ${i}`).to.deep.equal(
        isThere && (entries.length > 0 || offset === entry.offset)
          ? (isWithin ? [holder, ...expected.filter((one) => one !== holder)] : expected).map(
              (one) => one.key,
            )
          : null,
      )
      if (isThere) found++
      expect(ring.bytes).to.be.at.most(LIMITS.bytes)
    }
    expect(found).to.be.above(500)
  })

  it('is empty after clear()', () => {
    const ring = new Ring(LIMITS)
    ring.add({ key: 'a', count: 1, payload: Buffer.alloc(1), offset: 1, previous: '' })
    ring.clear()
    expect(ring.bytes).to.equal(0)
    expect(ring.after({ epoch: 'e', offset: 0, key: '' })).to.equal(null)
  })

  const entryOf = (offset: number, bytes = 100): Entry => ({
    key: `k${offset}`,
    count: 1,
    payload: Buffer.alloc(bytes),
    offset,
    previous: offset === 1 ? '' : `k${offset - 1}`,
  })

  it('is within maxTotal together with all others of a hub', () => {
    const sizes = { total: 0 }
    const limits = { ...LIMITS, maxTotal: 5_000 }
    const rings = Array.from({ length: 4 }, () => new Ring(limits, sizes))
    for (let offset = 1; offset <= 30; offset++) {
      for (const ring of rings) ring.add(entryOf(offset))
      expect(sizes.total).to.be.at.most(limits.maxTotal)
    }
    expect(rings.reduce((sum, ring) => sum + ring.bytes, 0)).to.be.above(500)
    for (const ring of rings) ring.clear()
    expect(sizes.total).to.equal(0)
  })

  it('has nothing that is older than ttl', async () => {
    const sizes = { total: 0 }
    const ring = new Ring({ ...LIMITS, ttl: 1 }, sizes)
    ring.add(entryOf(1))
    await new Promise((resolve) => setTimeout(resolve, 5))
    expect(ring.after({ epoch: 'e', offset: 0, key: '' })).to.equal(null)
    expect(sizes.total).to.equal(0)
  })

  it('releases what is removed', () => {
    const ring = new Ring({ ...LIMITS, messages: 2 })
    for (let offset = 1; offset <= 10; offset++) ring.add(entryOf(offset))
    expect(ring.after({ epoch: 'e', offset: 8, key: 'k8' })).to.have.length(2)
    expect(ring.after({ epoch: 'e', offset: 7, key: 'k7' })).to.equal(null)
    expect(ring.after({ epoch: 'e', offset: 10, key: 'k10' })).to.deep.equal([])
  })
})

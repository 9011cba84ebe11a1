import { expect } from 'chai'
import type { Connection } from '../../lib/index.ts'
import { Scans, type Visitor } from '../../lib/inspector/scans.ts'

describe('scans', () => {
  const hubOf = (count: number) => ({
    localConnections: new Map(
      Array.from({ length: count }, (_, i) => [String(i), { id: String(i) } as Connection]),
    ),
  })

  let now = 0
  const scansOf = (hub: ReturnType<typeof hubOf>): Scans => new Scans(hub, () => now)

  /** Counts; `work` milliseconds for every 128 connections. */
  function counter(work = 0): Visitor<{ seen: number; isWhole: boolean }> {
    let seen = 0
    return {
      visit() {
        if (++seen % 128 === 0) now += work
      },
      result: (isWhole) => ({ seen, isWhole }),
    }
  }

  it('visit every connection, and let the event loop turn meanwhile', async () => {
    const scans = scansOf(hubOf(128 * 20))
    let turns = 0
    let isOver = false
    const turn = (): void => {
      turns++
      if (!isOver) setImmediate(turn)
    }
    setImmediate(turn)
    const { seen, isWhole } = await scans.run('a', () => counter(4))
    isOver = true
    expect({ seen, isWhole }).to.deep.equal({ seen: 128 * 20, isWhole: true })
    expect(turns).to.be.at.least(20)
  })

  it('end early after a second of work', async () => {
    const scans = scansOf(hubOf(128 * 100))
    const { seen, isWhole } = await scans.run('a', () => counter(50))
    expect(isWhole).to.equal(false)
    expect(seen).to.equal(128 * 21)
  })

  it('share the result of equal ones, and keep it', async () => {
    const hub = hubOf(10)
    const scans = scansOf(hub)
    let made = 0
    const make = (): Visitor<number> => {
      const mine = ++made
      return { visit() {}, result: () => mine }
    }
    expect(await Promise.all([scans.run('a', make), scans.run('a', make)])).to.deep.equal([1, 1])
    expect(await scans.run('a', make)).to.equal(1)
    expect(await scans.run('b', make)).to.equal(2)
    for (let i = 0; i < 16; i++) await scans.run(`other ${i}`, make)
    expect(await scans.run('a', make)).to.equal(19) // it was the oldest of more than 16
    now += 1_499
    expect(await scans.run('a', make)).to.equal(19)
    now += 1
    expect(await scans.run('a', make)).to.equal(20)
  })

  it('go on after a failed one, and refuse more than sixteen', async () => {
    const scans = scansOf(hubOf(10))
    const broken = scans.run('broken', () => ({
      visit() {
        throw new Error('broken')
      },
      result: () => 0,
    }))
    const rest = Array.from({ length: 16 }, (_, i) => scans.run(`n ${i}`, () => counter()))
    const results = await Promise.allSettled([broken, ...rest])
    expect(results.map(({ status }) => status)).to.deep.equal([
      'rejected',
      ...Array.from({ length: 15 }, () => 'fulfilled'),
      'rejected',
    ])
  })
})

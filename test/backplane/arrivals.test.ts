import { expect } from 'chai'
import { Arrivals } from '../../lib/backplane/arrivals.ts'
import type { Loss } from '../../lib/backplane/order.ts'
import { Tops } from '../../lib/backplane/tops.ts'

/** A receiver of `r` and `s`, since a time. */
function receiver(since = 0): { arrivals: Arrivals; losses: Loss[] } {
  const losses: Loss[] = []
  const arrivals = new Arrivals((loss) => losses.push(loss))
  for (const topic of ['room:r', 'room:s']) {
    arrivals.add(topic)
    arrivals.hold(topic, since)
  }
  return { arrivals, losses }
}

describe('what arrives from one instance', () => {
  it('counts once, however often it comes', () => {
    const tops = new Tops(0)
    const { arrivals, losses } = receiver()
    const [first, second] = [tops.take(['room:r'], 2, 0), tops.take(['room:r', 'room:s'], 1, 0)]
    expect(arrivals.arrived('o', first, 2, 0)).to.equal(true)
    expect(arrivals.arrived('o', first, 2, 0)).to.equal(false)
    expect(arrivals.arrived('o', second, 1, 0)).to.equal(true)
    expect(arrivals.arrived('o', second, 1, 0)).to.equal(false)
    expect(arrivals.arrived('o', first, 2, 0)).to.equal(false)
    expect(arrivals.arrived('another', first, 2, 0)).to.equal(true)
    expect(losses).to.deep.equal([])
  })

  it('for several topics counts once, whatever topic it had come by', () => {
    const tops = new Tops(0)
    const { arrivals, losses } = receiver()
    const both = tops.take(['room:r', 'room:s', 'room:elsewhere'], 1, 0)
    arrivals.delete('room:r')
    expect(arrivals.arrived('o', both, 1, 0)).to.equal(true)
    arrivals.add('room:r')
    expect(arrivals.arrived('o', both, 1, 0), 'members of s have it').to.equal(false)
    expect(arrivals.arrived('o', tops.take(['room:elsewhere'], 1, 0), 1, 0)).to.equal(false)
    arrivals.hold('room:r', 0)
    expect(arrivals.arrived('o', tops.take(['room:r'], 1, 0), 1, 0)).to.equal(true)
    expect(losses).to.deep.equal([])
  })

  it('shows what is missing between two', () => {
    const tops = new Tops(0)
    const { arrivals, losses } = receiver()
    arrivals.arrived('o', tops.take(['room:r'], 1, 0), 1, 0)
    tops.take(['room:r'], 3, 0)
    tops.take(['room:r'], 4, 0)
    expect(arrivals.arrived('o', tops.take(['room:r'], 1, 0), 1, 0)).to.equal(true)
    expect(losses).to.deep.equal([{ topic: 'room:r', from: 'o', count: 7 }])
  })

  it('begins where it begins', () => {
    const tops = new Tops(0)
    const { arrivals, losses } = receiver()
    tops.take(['room:r'], 5, 0)
    expect(arrivals.arrived('o', tops.take(['room:r'], 1, 0), 1, 0)).to.equal(true)
    expect(losses).to.deep.equal([])
  })

  it('is compared with what its instance says that it has published', () => {
    const tops = new Tops(0)
    const { arrivals, losses } = receiver()
    arrivals.arrived('o', tops.take(['room:r'], 1, 0), 1, 0)
    arrivals.compare('o', tops.all(0), 0)
    expect(losses).to.deep.equal([])
    const missed = tops.take(['room:r'], 2, 0)
    arrivals.compare('o', tops.all(0), 0)
    arrivals.compare('o', tops.all(0), 0)
    expect(losses).to.deep.equal([{ topic: 'room:r', from: 'o', count: 2 }])
    expect(arrivals.arrived('o', missed, 2, 0), 'late: it was told as missed').to.equal(false)
  })

  it('is known to be missed by whoever had subscribed before it was published', () => {
    const tops = new Tops(0)
    tops.take(['room:r'], 1, 10_000)
    const told = tops.all(11_500)
    const early = receiver(9_990)
    early.arrivals.compare('o', told, 11_500)
    early.arrivals.compare('o', told, 11_500)
    expect(early.losses).to.deep.equal([{ topic: 'room:r', from: 'o', count: 1 }])
    for (const since of [10_001, 11_000]) {
      const late = receiver(since)
      late.arrivals.compare('o', told, 11_500)
      expect(late.losses, `since ${since}`).to.deep.equal([])
    }
    const never = new Arrivals(() => expect.fail())
    never.add('room:r')
    never.compare('o', told, 11_500)
  })

  it('goes on under a new count when the old one was forgotten', () => {
    const tops = new Tops(0)
    const { arrivals, losses } = receiver()
    const old = tops.take(['room:r'], 1, 0)
    arrivals.arrived('o', old, 1, 0)
    tops.quiet(700_000)
    expect(tops.all(700_000)).to.deep.equal([])
    tops.take(['room:r'], 2, 700_000)
    expect(arrivals.arrived('o', tops.take(['room:r'], 1, 700_000), 1, 0)).to.equal(true)
    expect(losses).to.deep.equal([{ topic: 'room:r', from: 'o', count: 2 }])
    expect(arrivals.arrived('o', old, 1, 0)).to.equal(false)
  })

  it('is not called lost when it came so long ago that it was forgotten', () => {
    const tops = new Tops(0)
    const { arrivals, losses } = receiver()
    arrivals.arrived('emitter', tops.take(['room:r'], 1, 1_000), 1, 1_000)
    arrivals.forget('emitter')
    expect(arrivals.arrived('emitter', tops.take(['room:r'], 1, 900_000), 1, 900_000)).to.equal(
      true,
    )
    arrivals.forget('emitter')
    arrivals.compare('emitter', tops.all(1_800_000), 1_800_000)
    expect(losses).to.deep.equal([])
  })

  it('of an instance that is long gone is forgotten', () => {
    const tops = new Tops(0)
    const { arrivals } = receiver()
    const first = tops.take(['room:r'], 1, 0)
    arrivals.arrived('o', first, 1, 0)
    arrivals.forget('o')
    expect(arrivals.arrived('o', first, 1, 0)).to.equal(true)
  })
})

describe('what an instance knows of what it published', () => {
  it('stays bounded while nobody can be told', () => {
    const tops = new Tops(0)
    for (let i = 0; i < 100_010; i++) tops.take([`room:${i}`], 1, 0)
    tops.forget(1)
    expect(tops.all(1)).to.have.lengthOf(100_000)
    tops.quiet(2)
    expect(tops.quiet(3), 'what was given up is not told either').to.have.lengthOf(100_000)
  })

  it('is told once when a topic has gone quiet', () => {
    const tops = new Tops(0)
    tops.take(['room:r'], 1, 0)
    tops.take(['room:s'], 1, 0)
    expect(tops.quiet(2_000)).to.deep.equal([])
    tops.take(['room:s'], 1, 3_000)
    expect(tops.quiet(4_000)).to.deep.equal([{ topic: 'room:r', epoch: 1, next: 2, age: 4_000 }])
    expect(tops.quiet(6_000)).to.deep.equal([{ topic: 'room:s', epoch: 2, next: 3, age: 3_000 }])
    expect(tops.quiet(8_000)).to.deep.equal([])
  })

  it('is at most so much, and it says when it gave something up', () => {
    const tops = new Tops(0)
    for (let i = 0; i < 100_001; i++) tops.take([`room:${i}`], 1, 0)
    expect(tops.forgotten(1)).to.equal(undefined)
    tops.quiet(5)
    expect(tops.all(5)).to.have.lengthOf(100_000)
    expect(tops.all(5).some(({ topic }) => topic === 'room:0')).to.equal(false)
    expect(tops.forgotten(25)).to.equal(20)
  })
})

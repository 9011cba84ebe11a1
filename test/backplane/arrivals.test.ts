import { expect } from 'chai'
import { Arrivals } from '../../lib/backplane/arrivals.ts'
import type { Loss } from '../../lib/backplane/order.ts'
import { Tops } from '../../lib/backplane/tops.ts'
import type { Top } from '../../lib/backplane/wire.ts'

/** Makes a receiver of `room:r` and `room:s`, subscribed since this time. */
function receiver(since = 0): { arrivals: Arrivals; losses: Loss[] } {
  const losses: Loss[] = []
  const arrivals = new Arrivals((loss) => losses.push(loss))
  for (const topic of ['room:r', 'room:s']) {
    arrivals.add(topic, since)
    arrivals.hold(topic, since)
  }
  return { arrivals, losses }
}

/** Returns the positions of all topics. */
function allOf(tops: Tops, now: number): Top[] {
  return [...tops.topics].map((topic) => tops.get(topic, now) as Top)
}

describe('a payload of one instance', () => {
  it('counts once, even when it arrives several times', () => {
    const tops = new Tops(0)
    const { arrivals, losses } = receiver()
    const [first, second] = [tops.take(['room:r'], 2, 0), tops.take(['room:r', 'room:s'], 1, 0)]
    expect(arrivals.arrived('o', first, 2, 0)).to.equal('new')
    expect(arrivals.arrived('o', first, 2, 0)).to.equal('known')
    expect(arrivals.arrived('o', second, 1, 0)).to.equal('new')
    expect(arrivals.arrived('o', second, 1, 0)).to.equal('known')
    expect(arrivals.arrived('o', first, 2, 0)).to.equal('known')
    expect(arrivals.arrived('another', first, 2, 0)).to.equal('new')
    expect(losses).to.deep.equal([])
  })

  it('to several topics counts once, even when it arrives by different topics', () => {
    const tops = new Tops(0)
    const { arrivals, losses } = receiver()
    const both = tops.take(['room:r', 'room:s', 'room:elsewhere'], 1, 0)
    arrivals.delete('room:r', 0)
    expect(arrivals.arrived('o', both, 1, 0)).to.equal('new')
    arrivals.add('room:r', 0)
    expect(arrivals.arrived('o', both, 1, 0), 'members of s have it').to.equal('known')
    expect(arrivals.arrived('o', tops.take(['room:elsewhere'], 1, 0), 1, 0)).to.equal('known')
    arrivals.hold('room:r', 0)
    expect(arrivals.arrived('o', tops.take(['room:r'], 1, 0), 1, 0)).to.equal('new')
    expect(losses).to.deep.equal([])
  })

  it('shows the number of lost messages since the previous one', () => {
    const tops = new Tops(0)
    const { arrivals, losses } = receiver()
    arrivals.arrived('o', tops.take(['room:r'], 1, 0), 1, 0)
    tops.take(['room:r'], 3, 0)
    tops.take(['room:r'], 4, 0)
    expect(arrivals.arrived('o', tops.take(['room:r'], 1, 0), 1, 0)).to.equal('new')
    expect(losses).to.deep.equal([{ topic: 'room:r', from: 'o', count: 7 }])
  })

  it('as the first one in a topic shows no loss', () => {
    const tops = new Tops(0)
    const { arrivals, losses } = receiver()
    tops.take(['room:r'], 5, 0)
    expect(arrivals.arrived('o', tops.take(['room:r'], 1, 0), 1, 0)).to.equal('new')
    expect(losses).to.deep.equal([])
  })

  it('is compared with the positions of its instance, which shows a loss once', () => {
    const tops = new Tops(0)
    const { arrivals, losses } = receiver()
    arrivals.arrived('o', tops.take(['room:r'], 1, 0), 1, 0)
    arrivals.compare('o', allOf(tops, 0), 0)
    expect(losses).to.deep.equal([])
    const missed = tops.take(['room:r'], 2, 0)
    arrivals.compare('o', allOf(tops, 0), 0)
    arrivals.compare('o', allOf(tops, 0), 0)
    expect(losses).to.deep.equal([{ topic: 'room:r', from: 'o', count: 2 }])
    expect(arrivals.arrived('o', missed, 2, 0), 'late: it was told as missed').to.equal('known')
  })

  it('counts as lost only for topics that were subscribed before it was published', () => {
    const tops = new Tops(0)
    tops.take(['room:r'], 1, 10_000)
    const told = allOf(tops, 11_500)
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
    never.add('room:r', 0)
    never.compare('o', told, 11_500)
  })

  it('continues under a new count when the old count was forgotten', () => {
    const tops = new Tops(0)
    const { arrivals, losses } = receiver()
    const old = tops.take(['room:r'], 1, 0)
    arrivals.arrived('o', old, 1, 0)
    tops.quiet(700_000)
    expect(allOf(tops, 700_000)).to.deep.equal([])
    tops.take(['room:r'], 2, 700_000)
    expect(arrivals.arrived('o', tops.take(['room:r'], 1, 700_000), 1, 0)).to.equal('new')
    expect(losses).to.deep.equal([{ topic: 'room:r', from: 'o', count: 2 }])
    expect(arrivals.arrived('o', old, 1, 0)).to.equal('known')
  })

  it('shows no loss when the previous one is forgotten', () => {
    const tops = new Tops(0)
    const { arrivals, losses } = receiver()
    arrivals.arrived('emitter', tops.take(['room:r'], 1, 1_000), 1, 1_000)
    arrivals.forget('emitter')
    expect(arrivals.arrived('emitter', tops.take(['room:r'], 1, 900_000), 1, 900_000)).to.equal(
      'new',
    )
    arrivals.forget('emitter')
    arrivals.compare('emitter', allOf(tops, 1_800_000), 1_800_000)
    expect(losses).to.deep.equal([])
  })

  it('is new when its instance was forgotten', () => {
    const tops = new Tops(0)
    const { arrivals } = receiver()
    const first = tops.take(['room:r'], 1, 0)
    arrivals.arrived('o', first, 1, 0)
    arrivals.forget('o')
    expect(arrivals.arrived('o', first, 1, 0)).to.equal('new')
  })
})

describe('a payload for members that leave and return', () => {
  it('is recognized when it is published again', () => {
    const tops = new Tops(0)
    const { arrivals, losses } = receiver()
    const sent = [1, 2, 3].map((at) => tops.take(['room:r'], 1, at))
    for (const one of sent) expect(arrivals.arrived('o', one, 1, 3)).to.equal('new')
    arrivals.delete('room:r', 4)
    arrivals.add('room:r', 5)
    arrivals.hold('room:r', 5)
    for (const one of sent) {
      expect(arrivals.arrived('o', one, 1, 6), 'by its number').to.equal('known')
      expect(arrivals.arrived('o', one, 1, 6, 3), 'by its number').to.equal('known')
    }
    expect(arrivals.arrived('o', tops.take(['room:r'], 1, 7), 1, 7)).to.equal('new')
    expect(losses).to.deep.equal([])
  })

  it('shows no loss for messages published while no member was present', () => {
    const tops = new Tops(0)
    const { arrivals, losses } = receiver()
    arrivals.arrived('o', tops.take(['room:r'], 1, 1_000), 1, 1_000)
    arrivals.delete('room:r', 2_000)
    tops.take(['room:r'], 5, 3_000)
    arrivals.add('room:r', 4_000)
    arrivals.hold('room:r', 4_000)
    expect(arrivals.arrived('o', tops.take(['room:r'], 1, 5_000), 1, 5_000)).to.equal('new')
    expect(losses).to.deep.equal([])
    tops.take(['room:r'], 2, 6_000)
    arrivals.arrived('o', tops.take(['room:r'], 1, 7_000), 1, 7_000)
    expect(losses, 'the count goes on').to.deep.equal([{ topic: 'room:r', from: 'o', count: 2 }])
  })

  it('shows no loss for messages published without a member when positions are compared', () => {
    const tops = new Tops(0)
    const { arrivals, losses } = receiver()
    arrivals.arrived('o', tops.take(['room:r'], 1, 1_000), 1, 1_000)
    arrivals.delete('room:r', 2_000)
    tops.take(['room:r'], 5, 3_000)
    arrivals.add('room:r', 4_000)
    arrivals.hold('room:r', 4_000)
    arrivals.compare('o', allOf(tops, 5_000), 5_000)
    expect(losses).to.deep.equal([])
    tops.take(['room:r'], 1, 6_000)
    arrivals.compare('o', allOf(tops, 7_000), 7_000)
    expect(losses).to.deep.equal([{ topic: 'room:r', from: 'o', count: 1 }])
  })

  it('shows a loss for messages published after the return of a member', () => {
    for (const find of ['the next one', 'a position'] as const) {
      const tops = new Tops(0)
      const { arrivals, losses } = receiver()
      arrivals.arrived('o', tops.take(['room:r'], 1, 1_000), 1, 1_000)
      arrivals.delete('room:r', 2_000)
      arrivals.add('room:r', 4_000)
      arrivals.hold('room:r', 4_000)
      tops.take(['room:r'], 1, 5_000)
      if (find === 'a position') arrivals.compare('o', allOf(tops, 6_000), 6_000)
      else arrivals.arrived('o', tops.take(['room:r'], 1, 6_000), 1, 6_000)
      expect(losses, find).to.deep.equal([{ topic: 'room:r', from: 'o', count: 1 }])
    }
  })

  it('is past when it was published before the first member joined', () => {
    const tops = new Tops(0)
    const { arrivals, losses } = receiver(10_000)
    const waited = tops.take(['room:r'], 2, 9_000)
    expect(arrivals.arrived('o', waited, 2, 12_000, 3_000)).to.equal('past')
    expect(arrivals.arrived('o', waited, 2, 12_000, 3_000)).to.equal('known')
    expect(arrivals.arrived('o', tops.take(['room:r'], 1, 11_000), 1, 12_000, 1_000)).to.equal(
      'new',
    )
    expect(losses).to.deep.equal([])
  })

  it('shows the loss of an earlier payload, published with a member present', () => {
    const tops = new Tops(0)
    const { arrivals, losses } = receiver(10_000)
    tops.take(['room:r'], 1, 10_500)
    const waited = tops.take(['room:r'], 1, 11_000)
    expect(arrivals.arrived('o', waited, 1, 14_000, 3_000)).to.equal('new')
    expect(losses).to.deep.equal([{ topic: 'room:r', from: 'o', count: 1 }])
  })

  it('to several topics is recognized after its member moved to another of them', () => {
    const tops = new Tops(0)
    const { arrivals } = receiver()
    const both = tops.take(['room:r', 'room:t'], 1, 1)
    expect(arrivals.arrived('o', both, 1, 1)).to.equal('new')
    arrivals.delete('room:r', 2)
    arrivals.add('room:t', 0)
    expect(arrivals.arrived('o', both, 1, 3), 'a member moved from r to t').to.equal('known')
  })
})

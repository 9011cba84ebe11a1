import { expect } from 'chai'
import { Arrivals } from '../../lib/backplane/arrivals.ts'
import { LeftTopics } from '../../lib/backplane/left-topics.ts'
import type { Loss } from '../../lib/backplane/order.ts'
import { Tops } from '../../lib/backplane/tops.ts'

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

describe('a topic that was left', () => {
  it('is remembered for ten minutes, within bounds', () => {
    const tops = new Tops(0)
    const { arrivals } = receiver()
    const sent = tops.take(['room:r'], 1, 1)
    arrivals.arrived('o', sent, 1, 1)
    arrivals.delete('room:r', 2)
    arrivals.expire(600_000)
    arrivals.add('room:r', 600_000)
    expect(arrivals.arrived('o', sent, 1, 600_000)).to.equal('known')
    arrivals.delete('room:r', 600_001)
    arrivals.expire(1_200_002)
    arrivals.add('room:r', 1_200_002)
    expect(arrivals.arrived('o', sent, 1, 1_200_002), 'forgotten').to.equal('new')
    const left = new LeftTopics()
    const from = new Map([['o', { epoch: 1, next: 1, isOld: false }]])
    for (let i = 0; i < 200_000; i++) left.add(`room:${i}`, from, i)
    const kept = Array.from({ length: 200_000 }, (_, i) => left.placeOf(`room:${i}`, 'o'))
    const count = kept.filter((place) => place !== undefined).length
    expect(count).to.be.within(10_000, 30_000)
    expect(kept.at(-1), 'the last that were left').to.not.equal(undefined)
  })
})

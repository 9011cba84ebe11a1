import { expect } from 'chai'
import { Tops } from '../../lib/backplane/tops.ts'
import type { Top } from '../../lib/backplane/wire.ts'

/** Returns the positions of all topics. */
function allOf(tops: Tops, now: number): Top[] {
  return [...tops.topics].map((topic) => tops.get(topic, now) as Top)
}

describe('the positions of published topics', () => {
  it('stay bounded while peers are away', () => {
    const tops = new Tops(0)
    for (let i = 0; i < 100_010; i++) tops.take([`room:${i}`], 1, 0)
    tops.forget(1)
    expect(allOf(tops, 1)).to.have.lengthOf(100_000)
    tops.quiet(2)
    expect(tops.quiet(3), 'what was given up is not told either').to.have.lengthOf(100_000)
  })

  it('are sent once when a topic becomes quiet', () => {
    const tops = new Tops(0)
    tops.take(['room:r'], 1, 0)
    tops.take(['room:s'], 1, 0)
    expect(tops.quiet(2_000)).to.deep.equal([])
    tops.take(['room:s'], 1, 3_000)
    expect(tops.quiet(4_000)).to.deep.equal([{ topic: 'room:r', epoch: 1, next: 2, age: 4_000 }])
    expect(tops.quiet(6_000)).to.deep.equal([{ topic: 'room:s', epoch: 2, next: 3, age: 3_000 }])
    expect(tops.quiet(8_000)).to.deep.equal([])
  })

  it('are bounded in number, and record when one was dropped', () => {
    const tops = new Tops(0)
    for (let i = 0; i < 100_001; i++) tops.take([`room:${i}`], 1, 0)
    expect(tops.forgotten(1)).to.equal(undefined)
    tops.quiet(5)
    expect(allOf(tops, 5)).to.have.lengthOf(100_000)
    expect(allOf(tops, 5).some(({ topic }) => topic === 'room:0')).to.equal(false)
    expect(tops.forgotten(25)).to.equal(20)
  })
})

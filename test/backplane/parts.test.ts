import { expect } from 'chai'
import { inParts, PART, PART_BYTES } from '../../lib/backplane/parts.ts'

describe('a list in parts', () => {
  it('has one empty part, marked as last, when it is empty', () => {
    expect([...inParts([])]).to.deep.equal([{ part: [], last: true }])
  })

  it('has at most PART names per part, and keeps their order', () => {
    const names = Array.from({ length: 2 * PART + 1 }, (_, i) => `${i}`)
    const parts = [...inParts(names)]
    expect(parts.map(({ part }) => part.length)).to.deep.equal([PART, PART, 1])
    expect(parts.map(({ last }) => last)).to.deep.equal([false, false, true])
    expect(parts.flatMap(({ part }) => part)).to.deep.equal(names)
  })

  it('ends a part early when its names are long, with at least one name per part', () => {
    const long = 'x'.repeat(PART_BYTES)
    expect([...inParts([long, long, 'y'])].map(({ part }) => part.length)).to.deep.equal([1, 1, 1])
  })
})

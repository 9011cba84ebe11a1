import { expect } from 'chai'
import { Bounded } from '../../lib/metrics/bounded.ts'

describe('Bounded', () => {
  it('keeps the first values, and counts the others', () => {
    const types = new Bounded(2)
    expect(['a', 'b', 'c', 'a', 'd'].map((type) => types.of(type))).to.deep.equal([
      ...['a', 'b', '_OTHER', 'a', '_OTHER'],
    ])
    expect(types.overflow).to.equal(2)
    expect([types.knows('b'), types.knows('c')]).to.deep.equal([true, false])
  })
})

import { expect } from 'chai'
import { Ring } from '../../lib/adapters/ring.ts'
import { mulberry32 } from '../support/order.ts'

describe('a ring', () => {
  const seed = Math.floor(Math.random() * 2 ** 31)

  it(`holds the same items as an array (seed ${seed})`, () => {
    const random = mulberry32(seed)
    const ring = new Ring<number>()
    const model: number[] = []
    for (let i = 0; i < 5_000; i++) {
      const grows = Math.sin(i / 200) > 0 ? 0.7 : 0.3
      if (random() < grows) {
        ring.push(i)
        model.push(i)
      } else {
        expect(ring.shift(), `step ${i}`).to.equal(model.shift())
      }
      expect(ring.length).to.equal(model.length)
      const index = Math.floor(random() * (model.length + 2)) - 1
      expect(ring.at(index), `step ${i}, index ${index}`).to.equal(model[index])
    }
  })

  it('is empty at first, and after its last item', () => {
    const ring = new Ring<string>()
    expect(ring.shift()).to.equal(undefined)
    ring.push('a')
    expect(ring.shift()).to.equal('a')
    expect(ring.shift()).to.equal(undefined)
    expect(ring.at(0)).to.equal(undefined)
  })
})

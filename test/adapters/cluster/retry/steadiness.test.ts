import { expect } from 'chai'
import { Steadiness } from '../../../../lib/adapters/cluster/retry/steadiness.ts'

describe('Steadiness', () => {
  const { now } = Date
  let ahead = 0

  beforeEach(() => {
    ahead = 0
    Date.now = () => now() + ahead
  })

  afterEach(() => {
    Date.now = now
  })

  it('lasts until the clock jumps, in either direction', () => {
    for (const jump of [60_000, -60_000]) {
      const steadiness = new Steadiness()
      expect(steadiness.lasts(1e9)).to.equal(true)
      ahead += jump
      expect(steadiness.lasts(1e9)).to.equal(false)
      expect(steadiness.lasts(0)).to.equal(true)
    }
  })

  it('notices a jump when it looks, also if the jump is taken back later', () => {
    const steadiness = new Steadiness()
    ahead = 60_000
    steadiness.look()
    ahead = 0
    expect(steadiness.lasts(1e9)).to.equal(false)
  })

  it('takes no notice of a clock that is corrected slowly', () => {
    const steadiness = new Steadiness()
    for (let i = 0; i < 10; i++) {
      ahead += 5_000
      expect(steadiness.lasts(1e9)).to.equal(true)
    }
  })
})

import { expect } from 'chai'
import { findFlaw, runSchedules } from '../support/recovery/runs.ts'
import { FLAWS } from '../support/recovery/types.ts'

describe('the protocol of the recovery, simulated', () => {
  it('delivers every message once and in order, or tells the client', () => {
    const seed = Math.floor(Math.random() * 2 ** 31)
    const { failed, recovered, refused } = runSchedules(seed, 400)
    expect(failed, `seed ${seed}`).to.deep.equal([])
    expect(recovered).to.be.above(400)
    expect(refused).to.be.above(40)
  })

  it('lets messages come again to a client that joins again on an instance that is behind', () => {
    // The instance answers the join from before the room existed.
    const { failed, again } = runSchedules(1915679273, 1)
    expect(failed).to.deep.equal([])
    expect(again).to.equal(2)
  })

  for (const flaw of FLAWS) {
    it(`is found wrong with the flaw "${flaw}"`, () => {
      expect(findFlaw(flaw, 1, 1_000)).to.not.equal(null)
    })
  }
})

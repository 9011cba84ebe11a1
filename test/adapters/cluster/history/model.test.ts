import { expect } from 'chai'
import { FLAWS, runSchedule } from '../../../support/cluster-history-model.ts'

/** The most schedules until a wrong variant has to be found. */
const PATIENCE = 500

describe('the protocol of the history between processes', function () {
  this.timeout(120_000)

  it('loses, doubles and reorders nothing in 300 schedules of starts, ends and kills', () => {
    const wrong: string[] = []
    const sums: Record<string, number> = {}
    for (let seed = 1; seed <= 300; seed++) {
      const { faults, figures } = runSchedule(seed)
      wrong.push(...faults.map((fault) => `seed ${seed}: ${fault}`))
      for (const [name, value] of Object.entries(figures)) sums[name] = (sums[name] ?? 0) + value
    }
    expect(wrong).to.deep.equal([])
    for (const [figure, least] of [
      ['kills', 300],
      ['leaves', 300],
      ['acknowledged', 30_000],
      ['delivered', 60_000],
      ['told', 100],
      ['restarts', 20],
      ['renewals', 20],
    ] as const) {
      expect(sums[figure], figure).to.be.above(least)
    }
  })

  it('gives the same result for the same seed', () => {
    expect(runSchedule(7)).to.deep.equal(runSchedule(7))
  })

  for (const flaw of FLAWS) {
    it(`is checked by a model that finds the wrong variant "${flaw}"`, () => {
      let seed = 1
      while (seed <= PATIENCE && runSchedule(seed, flaw).faults.length === 0) seed++
      expect(seed).to.be.at.most(PATIENCE)
    })
  }
})

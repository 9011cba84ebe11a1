import { expect } from 'chai'
import { rank } from '../../../../lib/adapters/cluster/history/rendezvous.ts'

const IDS = ['i1', 'i2', 'i3', 'i4']
const LOGS = Array.from({ length: 4_000 }, (_, i) => `room:${i}`)

describe('rank()', () => {
  it('does not depend on the order of the ids', () => {
    for (const log of LOGS.slice(0, 100)) {
      expect(rank(log, IDS.toReversed())).to.deep.equal(rank(log, IDS))
    }
  })

  it('spreads owners and replicas evenly, for ids that differ in one character', () => {
    for (const at of [0, 1]) {
      for (const id of IDS) {
        const share = LOGS.filter((log) => rank(log, IDS)[at] === id).length / LOGS.length
        expect(share, `${id} at ${at}`).to.be.within(0.2, 0.3)
      }
    }
  })

  it('moves only the logs of an instance that comes or goes', () => {
    for (const log of LOGS) {
      const [first] = rank(log, [...IDS, 'i5'])
      if (first !== 'i5') expect(rank(log, IDS)[0]).to.equal(first)
    }
  })
})

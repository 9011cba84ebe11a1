import { expect } from 'chai'
import { Peers } from '../../lib/backplane/peers.ts'

describe('an instance that returns', () => {
  it('is measured from its last beat, even when this instance was paused in between', () => {
    const since: number[] = []
    const note = (_id: string, at: number): void => void since.push(at)
    const peers = new Peers({ joined() {}, left: note, missed: note })
    peers.heard('a', 1, 2_000, 1_000)
    peers.renew(700_000)
    expect(peers.beatAt('a')).to.equal(1_000)
    peers.heard('a', 5, 2_000, 701_000)
    peers.renew(900_000)
    peers.gone('a')
    expect(since).to.deep.equal([1_000, 701_000])
  })
})

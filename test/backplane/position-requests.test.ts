import { expect } from 'chai'
import { PositionRequests } from '../../lib/backplane/position-requests.ts'

describe('an instance that returns', () => {
  /** Asks an instance for positions, and returns the peers with an unknown loss. */
  function askedSince(since: number, now: number, forgotten?: number): string[] {
    const told: string[] = []
    const arrivals = {
      topics: ['room:r'].values(),
      unknown: (peer: string) => void told.push(peer),
    }
    const requests = new PositionRequests(
      arrivals,
      async () => true,
      () => now,
    )
    requests.ask('a', since)
    requests.told('a', 1, forgotten)
    return told
  }

  it('has an unknown loss when it forgot positions after it was last heard, with a margin for arrival', () => {
    expect(askedSince(100_000, 160_000)).to.deep.equal([])
    expect(askedSince(100_000, 160_000, 59_000)).to.deep.equal(['a'])
    expect(askedSince(100_000, 160_000, 65_000)).to.deep.equal(['a'])
    expect(askedSince(100_000, 160_000, 71_000)).to.deep.equal([])
  })

  it('has an unknown loss after more than ten minutes', () => {
    expect(askedSince(0, 599_000)).to.deep.equal([])
    expect(askedSince(0, 601_000)).to.deep.equal(['a'])
  })

  it('has no unknown loss the first time', () => {
    expect(askedSince(Infinity, 1_000_000, 0)).to.deep.equal([])
  })
})

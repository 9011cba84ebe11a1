import { expect } from 'chai'
import { Peers } from '../../lib/backplane/peers.ts'

describe('an instance that returns', () => {
  it('is measured from its last beat, even when this instance was paused in between', () => {
    const since: number[] = []
    const note = (_id: string, at: number): void => void since.push(at)
    const peers = new Peers({
      joined() {},
      left(id, at) {
        note(id, at)
        return false
      },
      missed: note,
      outlived() {},
    })
    peers.heard('a', 1, 2_000, 1_000)
    peers.renew(700_000)
    expect(peers.beatAt('a')).to.equal(1_000)
    peers.heard('a', 5, 2_000, 701_000)
    peers.renew(900_000)
    peers.gone('a', 900_000)
    expect(since).to.deep.equal([1_000, 701_000])
  })
})

describe('a peer that others heard for longer', () => {
  /** Peer `a` with a lease of 30 ms: its beat 1 was heard at 0, and others heard `number` at `at`. */
  function outlived(number: number, at: number, isReported = false): (now: number) => string[] {
    const seen: string[] = []
    const peers = new Peers({
      joined() {},
      left: () => isReported,
      missed() {},
      outlived: (id) => void seen.push(id),
    })
    peers.heard('a', 1, 10, 0)
    const heard = { by: 'b', number, at, since: 0 }
    return (now) => {
      peers.expire(now, () => heard)
      return seen.splice(0)
    }
  }

  it('is reported once, when it is gone for all', () => {
    const look = outlived(2, 50)
    expect(look(31), 'others still hear it').to.deep.equal([])
    expect(look(79)).to.deep.equal([])
    expect(look(81)).to.deep.equal(['a'])
    expect(look(120)).to.deep.equal([])
  })

  it('is not reported when others heard nothing later, or the loss is known', () => {
    for (const look of [outlived(1, 5), outlived(2, 5, true)]) {
      expect([...look(31), ...look(62), ...look(93)]).to.deep.equal([])
    }
  })

  it('is named for two leases, with its last number', () => {
    const peers = new Peers({ joined() {}, left: () => false, missed() {}, outlived() {} })
    peers.heard('a', 1, 10, 0)
    peers.heard('a', 2, 0, 5)
    expect(peers.named(8).left).to.deep.equal([{ id: 'a', number: 2, silent: 8 }])
    peers.expire(66, () => undefined)
    expect(peers.named(66).left).to.deep.equal([])
  })

  it('is not named when it returned', () => {
    const peers = new Peers({ joined() {}, left: () => false, missed() {}, outlived() {} })
    peers.heard('a', 1, 10, 0)
    peers.gone('a', 5)
    peers.heard('a', 2, 10, 6)
    expect(peers.named(8).left).to.deep.equal([])
  })

  it('asks for what was missed before a goodbye', () => {
    const missed: unknown[] = []
    const peers = new Peers({
      joined() {},
      left: () => false,
      missed: (id, since) => void missed.push([id, since]),
      outlived() {},
    })
    peers.heard('a', 1, 10, 0)
    peers.heard('a', 3, 0, 15)
    expect(missed).to.deep.equal([['a', 0]])
  })
})

describe('a peer that came and went while this instance was cut off', () => {
  function cutOff(): { peers: Peers; seen: string[] } {
    const seen: string[] = []
    const outlived = (id: string): void => void seen.push(id)
    const peers = new Peers({ joined() {}, left: () => false, missed() {}, outlived })
    peers.heard('witness', 1, 10, 900)
    peers.cut(1_000)
    peers.restored(2_000)
    return { peers, seen }
  }

  const named = (silent: number) => [{ id: 'a', number: 3, silent }]

  it('is reported once, when another instance names it', () => {
    const { peers, seen } = cutOff()
    peers.departed(named(500), 10, 2_010)
    peers.expire(2_011, () => undefined)
    peers.departed(named(501), 10, 2_011)
    expect(seen).to.deep.equal(['a'])
  })

  it('is not reported when it was heard last before or after that, when it is known, or without an outage', () => {
    const { peers, seen } = cutOff()
    peers.departed(named(1_200), 10, 2_010)
    peers.departed(named(2), 10, 2_300)
    peers.heard('a', 2, 10, 2_011)
    peers.departed(named(500), 10, 2_012)
    peers.gone('a', 2_013)
    peers.departed(named(500), 10, 2_014)
    const calm = new Peers({
      joined() {},
      left: () => false,
      missed() {},
      outlived: () => seen.push('calm'),
    })
    calm.departed(named(5), 10, 2_000)
    expect(seen).to.deep.equal([])
  })
})

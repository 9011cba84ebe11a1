import { expect } from 'chai'
import { Quota } from '../../lib/retry/quota.ts'
import { eventually } from '../support/server.ts'

const ann = { name: 'ann', isAnonymous: false }
const bob = { name: 'bob', isAnonymous: false }
const guest = { name: 'guest', isAnonymous: true }
const LIMITS = { keys: 2, answer: 1_000, total: 16_384 }

describe('the bounds of retried requests', () => {
  it('limit the keys of each client', () => {
    const quota = new Quota(LIMITS)
    expect(['a', 'b', 'c'].map((id) => quota.take(id, ann))).to.deep.equal([true, true, false])
    expect(quota.take('d', bob)).to.equal(true)
    quota.release('a')
    expect([quota.has('a'), quota.take('e', ann)]).to.deep.equal([false, true])
    quota.clear()
  })

  it('count an answered key until its time is over', async () => {
    const quota = new Quota(LIMITS, 20)
    for (const id of ['a', 'b']) {
      quota.take(id, ann)
      expect(quota.settle(id, 10)).to.equal(true)
    }
    expect([quota.has('a'), quota.take('c', ann)]).to.deep.equal([true, false])
    await eventually(() => !quota.has('b'))
    expect(quota.take('c', ann)).to.equal(true)
  })

  it('keep no answer above its bound, and no answer to a key that was not taken', () => {
    const quota = new Quota(LIMITS)
    quota.take('a', ann)
    expect([quota.settle('a', 1_001), quota.settle('a', 1), quota.settle('x', 1)]).to.deep.equal([
      false,
      false,
      false,
    ])
    quota.clear()
  })

  it('limit the bytes of all keys and answers, and leave three quarters to users', () => {
    const quota = new Quota({ ...LIMITS, keys: 100, answer: 100_000 })
    const guests = Array.from({ length: 5 }, (_, i) => quota.take(`guest ${i}`, guest))
    expect(guests).to.deep.equal([true, true, true, true, false])
    expect(quota.settle('guest 0', 100)).to.equal(false)
    expect(quota.take('a', ann)).to.equal(true)
    expect(quota.settle('a', 7_168)).to.equal(true) // with five keys: three quarters
    expect(quota.take('b', ann)).to.equal(true)
    expect(quota.settle('b', 1)).to.equal(false)
    const rest = Array.from({ length: 4 }, (_, i) => quota.take(`rest ${i}`, bob))
    expect(rest).to.deep.equal([true, true, true, false])
    quota.clear()
  })
})

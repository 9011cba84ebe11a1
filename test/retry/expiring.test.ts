import { expect } from 'chai'
import { Expiring } from '../../lib/retry/expiring.ts'
import { eventually } from '../support/server.ts'

describe('a map that expires', () => {
  it('forgets each entry after its lifetime, and tells which', async () => {
    const forgotten: number[] = []
    const map = new Expiring<number>(20, (value) => forgotten.push(value))
    map.set('a', 1)
    map.set('b', 2)
    expect([map.get('a'), map.get('b'), map.size]).to.deep.equal([1, 2, 2])
    await eventually(() => map.get('a') === undefined)
    expect(forgotten[0]).to.equal(1)
    await eventually(() => map.get('b') === undefined)
    expect([forgotten, map.size]).to.deep.equal([[1, 2], 0])
  })

  it('forgets by itself, without a question', async () => {
    const forgotten: number[] = []
    const map = new Expiring<number>(5, (value) => forgotten.push(value))
    map.set('a', 1)
    await eventually(() => forgotten.length === 1)
    map.set('b', 2)
    await eventually(() => forgotten.length === 2)
  })

  it('is empty after clear(), without a call', () => {
    const map = new Expiring<number>(5, () => expect.fail('called'))
    map.set('a', 1)
    map.clear()
    expect([map.get('a'), map.size]).to.deep.equal([undefined, 0])
  })
})

import { expect } from 'chai'
import { Origins } from '../../lib/backplane/origins.ts'

describe('an instance that returns', () => {
  it('is remembered for longer than its positions', () => {
    const origins = new Origins()
    origins.received('a', 1_000)
    origins.left('a', 1_000)
    expect([...origins.expire(900_000)]).to.deep.equal(['a'])
    expect(origins.back('a')).to.equal(1_000)
    expect(origins.back('a')).to.equal(Infinity)
  })
})

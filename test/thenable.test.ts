import { expect } from 'chai'
import { isThenable } from '../lib/thenable.ts'

describe('isThenable()', () => {
  const withThen = (target: object, then: unknown): object =>
    Object.defineProperty(target, 'then', { value: then })

  it('is true for each value with a function "then"', () => {
    const then = (): void => {}
    for (const value of [Promise.resolve(), withThen({}, then), withThen(() => {}, then)]) {
      expect(isThenable(value)).to.equal(true)
    }
  })

  it('is false for all else', () => {
    for (const value of [null, undefined, 0, '', {}, withThen({}, true), () => {}]) {
      expect(isThenable(value)).to.equal(false)
    }
  })
})

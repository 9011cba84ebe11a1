import { AsyncLocalStorage } from 'node:async_hooks'
import { expect } from 'chai'
import { captureAsyncContext } from '../../lib/upgrade/async-context.ts'

describe('captureAsyncContext()', () => {
  it('returns null outside of every store', () => {
    expect(captureAsyncContext()).to.equal(null)
  })

  it('returns a context in which all stores of the caller are set', () => {
    const [one, other] = [new AsyncLocalStorage<string>(), new AsyncLocalStorage<string>()]
    const context = one.run('a', () => other.run('b', captureAsyncContext))
    expect(one.getStore()).to.equal(undefined)
    const seen = context?.runInAsyncScope(() => [one.getStore(), other.getStore()])
    expect(seen).to.deep.equal(['a', 'b'])
  })
})

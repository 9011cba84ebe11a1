import { expect } from 'chai'
import { createStore } from '../../lib/client/store.ts'

describe('the state of a client', () => {
  const store = () => createStore((fn) => fn())

  it('is connecting at first, and frozen', () => {
    const { state } = store()
    expect(state).to.deep.equal({ status: 'connecting' })
    expect(Object.isFrozen(state)).to.equal(true)
  })

  it('is replaced, with a notification, only when it differs', () => {
    const one = store()
    const states: unknown[] = []
    one.subscribe(() => states.push(one.state))
    one.set({ status: 'connecting', code: undefined, reason: '' })
    expect(states).to.deep.equal([])
    one.set({ status: 'waiting', retryAt: 5, code: 1006, reason: '' })
    one.set({ status: 'waiting', retryAt: 5, code: 1006, reason: '' })
    expect(states).to.deep.equal([{ status: 'waiting', retryAt: 5, code: 1006 }])
  })

  it('notifies each subscription until it ends, even two of the same function', () => {
    const one = store()
    let calls = 0
    const count = (): void => void calls++
    const end = one.subscribe(count)
    one.subscribe(count)
    one.set({ status: 'open', connection: 'a' })
    expect(calls).to.equal(2)
    end()
    end()
    one.set({ status: 'stopped', code: 1000 })
    expect(calls).to.equal(3)
  })
})

import { expect } from 'chai'
import { memoryRetries } from '../../lib/retry/memory-store.ts'
import { eventually } from '../support/server.ts'

const FIRST = { state: 'first' }
const UNKNOWN = { state: 'unknown' }

describe('memoryRetries()', () => {
  it('is sure of a request without a record when it is older than the window', () => {
    const [young, old] = [memoryRetries()('1'), memoryRetries(Number.NEGATIVE_INFINITY)('1')]
    expect(young.claim('a', 'h', true)).to.deep.equal(UNKNOWN)
    expect(young.claim('a', 'h', false)).to.deep.equal(FIRST)
    expect(old.claim('a', 'h', true)).to.deep.equal(FIRST)
    for (const store of [young, old]) void store.close()
  })

  it('begins anew when all hubs have closed', () => {
    const open = memoryRetries(Number.NEGATIVE_INFINITY)
    const first = open('1')
    expect(first.claim('a', 'h', true)).to.deep.equal(FIRST)
    void first.settle('a', 'answer')
    void first.close()
    const second = open('2')
    expect(second.claim('a', 'h', true)).to.deep.equal(UNKNOWN)
    void second.close()
  })

  it('forgets an answer when its time is over, and not a request that runs', async () => {
    const store = memoryRetries(0, 10)('1')
    store.claim('a', 'h', false)
    store.claim('b', 'h', false)
    void store.settle('a', 'answer')
    expect(store.look('a')).to.deep.equal({ state: 'done', hash: 'h', answer: 'answer' })
    await eventually(() => (store.look('a') as { state: string }).state === 'unknown')
    expect(store.look('b')).to.deep.equal({ state: 'running', hash: 'h' })
    void store.close()
  })

  it('claims nothing after close()', () => {
    const open = memoryRetries()
    const [one, two] = [open('1'), open('2')]
    void one.close()
    expect(one.claim('a', 'h', false)).to.deep.equal(UNKNOWN)
    expect(two.claim('a', 'h', false)).to.deep.equal(FIRST)
    void two.close()
  })
})

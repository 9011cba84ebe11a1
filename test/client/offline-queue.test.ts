import { expect } from 'chai'
import { createOfflineQueue } from '../../lib/client/offline-queue.ts'
import type { Outgoing } from '../../lib/client/outgoing.ts'

describe('the queue of a client', () => {
  const item = (text: string): Outgoing => ({ type: 'x', text, sent: false, fail: () => {} })

  it('holds 100 messages and 64 KiB of UTF-8 by default', () => {
    const many = createOfflineQueue({})
    for (let i = 0; i < 100; i++) expect(many.add(item('x'))).to.equal(true)
    expect(many.add(item('x'))).to.equal(false)
    const large = createOfflineQueue({})
    expect(large.add(item('€'.repeat(21_845)))).to.equal(true)
    expect(large.add(item('x'))).to.equal(true)
    expect(large.add(item('x'))).to.equal(false)
  })

  it('rejects every message with false', () => {
    expect(createOfflineQueue(false).add(item(''))).to.equal(false)
  })

  it('has room again after a message is deleted or sent', () => {
    const queue = createOfflineQueue({ messages: 10, bytes: 3 })
    const first = item('abc')
    expect(queue.add(first)).to.equal(true)
    expect(queue.add(item('x'))).to.equal(false)
    queue.delete(first)
    queue.delete(first)
    expect(queue.add(item('xyz'))).to.equal(true)
    queue.drain(() => true)
    expect(queue.add(item('xyz'))).to.equal(true)
    expect(queue.add(item('x'))).to.equal(false)
  })

  it('drains in order, includes messages added meanwhile, and keeps the rest when sending stops', () => {
    const queue = createOfflineQueue({})
    for (const text of ['a', 'b', 'c']) queue.add(item(text))
    const taken: string[] = []
    queue.drain(({ text }) => {
      if (text === 'a') queue.add(item('d'))
      return text !== 'c' && taken.push(text) > 0
    })
    expect(taken).to.deep.equal(['a', 'b'])
    queue.drain(({ text }) => taken.push(text) > 0)
    expect(taken).to.deep.equal(['a', 'b', 'c', 'd'])
  })
})

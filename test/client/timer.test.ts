import { expect } from 'chai'
import { createTimer } from '../../lib/client/timer.ts'
import { pass, useFakeClock } from './support/client.ts'

describe('a timer of the client', () => {
  useFakeClock()

  it('calls once, after its delay', async () => {
    let calls = 0
    createTimer().set(() => calls++, 100)
    await pass(99)
    expect(calls).to.equal(0)
    await pass(1)
    await pass(1_000)
    expect(calls).to.equal(1)
  })

  it('cancels its call when it is set again or cleared', async () => {
    const calls: string[] = []
    const timer = createTimer()
    timer.set(() => calls.push('first'), 100)
    timer.set(() => calls.push('second'), 200)
    await pass(200)
    timer.set(() => calls.push('third'), 100)
    timer.clear()
    await pass(1_000)
    expect(calls).to.deep.equal(['second'])
  })

  it('supports delays above the limit of the host', async () => {
    let calls = 0
    createTimer().set(() => calls++, 2 ** 31 + 1_000)
    await pass(2 ** 31 - 1)
    await pass(1_000)
    expect(calls).to.equal(0)
    await pass(1)
    expect(calls).to.equal(1)
  })
})

import { expect } from 'chai'
import { backoffDelay } from '../../lib/client/backoff.ts'
import {
  delayOf,
  openClient,
  pass,
  scriptedClient,
  setRandom,
  settle,
  useFakeClock,
} from './support/client.ts'

describe('the backoff', () => {
  useFakeClock()

  it('follows the formula of the protocol', () => {
    expect([0, 1, 5, 2000].map((n) => backoffDelay(n, 500, 20_000))).to.deep.equal(
      Array(4).fill(500),
    )
    setRandom(1)
    expect([0, 1, 2, 3, 4, 5, 6, 2000].map((n) => backoffDelay(n, 500, 20_000))).to.deep.equal([
      1000, 2000, 4000, 8000, 16_000, 20_000, 20_000, 20_000,
    ])
    setRandom(0.5)
    expect(backoffDelay(1, 500, 20_000)).to.equal(1250)
  })

  it('grows while attempts fail', async () => {
    setRandom(1)
    const scripted = scriptedClient()
    scripted.client.open()
    await settle()
    const delays: number[] = []
    for (let i = 0; i < 7; i++) {
      scripted.last.end(1006)
      delays.push(delayOf(scripted.client))
      await pass(delays.at(-1) as number)
    }
    expect(delays).to.deep.equal([1000, 2000, 4000, 8000, 16_000, 20_000, 20_000])
    expect(scripted.sockets).to.have.length(8)
    scripted.client.close()
  })

  it('starts over after 5 s open, and not earlier', async () => {
    setRandom(1)
    const scripted = await openClient()
    scripted.last.end(1006)
    await pass(1000)
    scripted.last.welcome()
    await pass(4999)
    scripted.last.end(1006)
    expect(delayOf(scripted.client)).to.equal(2000)
    await pass(2000)
    scripted.last.welcome()
    await pass(5000)
    scripted.last.end(1006)
    expect(delayOf(scripted.client)).to.equal(1000)
    scripted.client.close()
  })

  it('starts over when open() follows close()', async () => {
    setRandom(1)
    const scripted = await openClient()
    scripted.last.end(1006)
    scripted.client.close()
    scripted.client.open()
    await settle()
    scripted.last.end(1006)
    expect(delayOf(scripted.client)).to.equal(1000)
    scripted.client.close()
  })

  it('respects minDelay and maxDelay', async () => {
    setRandom(1)
    const scripted = await openClient({ minDelay: 10, maxDelay: 30 })
    const delays: number[] = []
    for (let i = 0; i < 3; i++) {
      scripted.last.end(1006)
      delays.push(delayOf(scripted.client))
      await pass(30)
    }
    expect(delays).to.deep.equal([20, 30, 30])
    scripted.client.close()
  })

  it('is cut short by open(), once', async () => {
    const scripted = await openClient()
    scripted.last.end(1006)
    scripted.client.open()
    await settle()
    expect(scripted.sockets).to.have.length(2)
    await pass(14_999)
    expect(scripted.sockets).to.have.length(2)
    scripted.client.close()
  })

  it('is canceled by close()', async () => {
    const scripted = await openClient()
    scripted.last.end(1006)
    scripted.client.close()
    await pass(60_000)
    expect(scripted.sockets).to.have.length(1)
    expect(scripted.client.state).to.deep.equal({ status: 'stopped', code: 1000 })
  })
})

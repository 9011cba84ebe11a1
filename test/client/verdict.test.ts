import { expect } from 'chai'
import {
  delayOf,
  openClient,
  pass,
  scriptedClient,
  settle,
  useFakeClock,
} from './support/client.ts'

describe('after a close with', () => {
  useFakeClock()

  /** The table of docs/protocol.md, section 7, for a connection that was open. */
  const RETURNS: readonly [from: number, to: number][] = [
    [1001, 1001],
    [1004, 1004],
    [1006, 1006],
    [1011, 2999],
    [4400, 4400],
    [4408, 4408],
    [4425, 4425],
    [4429, 4429],
    [4500, 4599],
    [4610, 4611],
  ]
  const returns = (code: number): boolean =>
    RETURNS.some(([from, to]) => code >= from && code <= to)

  it('any code from 1000 to 4999, the client reconnects or stops by the table of the protocol', async () => {
    for (let code = 1000; code <= 4999; code++) {
      const { client, last } = await openClient()
      last.end(code, 'why')
      expect(client.state, `${code}`).to.deep.include({
        status: returns(code) ? 'waiting' : 'stopped',
        code,
        reason: 'why',
      })
      client.close()
    }
  })

  it('4400, the client reconnects if it was open, and stops if the handshake was rejected with 400', async () => {
    const open = await openClient()
    open.last.end(4400, 'too many bad messages')
    expect(delayOf(open.client)).to.equal(500)
    open.client.close()
    const rejected = scriptedClient()
    rejected.client.open()
    await settle()
    rejected.last.open().end(4400, 'Bad Request')
    expect(rejected.client.state).to.deep.equal({
      status: 'stopped',
      code: 4400,
      reason: 'Bad Request',
    })
  })

  const stop = [
    ...[1000, 1002, 1003, 1005, 1007, 1008, 1009, 1010, 3000, 3999, 4000, 4001, 4100, 4399],
    ...[4402, 4403, 4404, 4409, 4499, 4600, 4612, 4613, 4999],
  ]
  const backOff = [
    ...[1001, 1006, 1011, 1012, 1013, 1014, 1015],
    ...[4400, 4408, 4425, 4429, 4500, 4503, 4599, 4610],
  ]
  for (const code of stop) {
    it(`${code}, the client stops`, async () => {
      const { client, last, sockets } = await openClient()
      last.end(code, 'why')
      expect(client.state).to.deep.equal({ status: 'stopped', code, reason: 'why' })
      await pass(60_000)
      expect(sockets).to.have.length(1)
    })
  }
  for (const code of backOff) {
    it(`${code}, the client backs off`, async () => {
      const { client, last, sockets } = await openClient()
      last.end(code, 'why')
      expect(client.state).to.deep.equal({
        status: 'waiting',
        retryAt: Date.now() + 500,
        code,
        reason: 'why',
      })
      await pass(499)
      expect(sockets).to.have.length(1)
      await pass(1)
      expect(sockets).to.have.length(2)
      client.close()
    })
  }

  it('4611, the client reconnects at once, and backs off when 4611 repeats', async () => {
    const scripted = await openClient()
    scripted.last.end(4611)
    expect(delayOf(scripted.client)).to.equal(0)
    await pass(1)
    scripted.last.welcome().end(4611)
    expect(delayOf(scripted.client)).to.equal(500)
    scripted.client.close()
  })

  it('1012, the client waits for the time in the reason', async () => {
    const { client, last } = await openClient()
    last.end(1012, 'restart, retry in 3200 ms')
    expect(delayOf(client)).to.equal(3200)
    client.close()
  })

  it('1011, the client ignores a time in the reason', async () => {
    const { client, last } = await openClient()
    last.end(1011, 'restart, retry in 3200 ms')
    expect(delayOf(client)).to.equal(500)
    client.close()
  })

  it('1012 and a huge time in the reason, the client waits at most 10 minutes', async () => {
    const { client, last } = await openClient()
    last.end(1012, 'restart, retry in 999999999 ms')
    expect(delayOf(client)).to.equal(600_000)
    client.close()
  })
})

describe('the option retry', () => {
  useFakeClock()

  it('is called with code and reason, and overrides the table', async () => {
    const asked: unknown[] = []
    const answers = [true, undefined, false]
    const scripted = await openClient({
      retry: (close) => {
        asked.push(close)
        return answers.shift()
      },
    })
    scripted.last.end(4403, 'no')
    expect(delayOf(scripted.client)).to.equal(500)
    await pass(500)
    scripted.last.end(1006)
    expect(scripted.client.state.status).to.equal('waiting')
    await pass(500)
    scripted.last.end(4001)
    expect(scripted.client.state).to.deep.equal({ status: 'stopped', code: 4001 })
    expect(asked).to.deep.equal([
      { code: 4403, reason: 'no' },
      { code: 1006, reason: '' },
      { code: 4001, reason: '' },
    ])
  })

  it('is reported to onError when it throws, and the table applies', async () => {
    const { client, last, errors } = await openClient({
      retry: () => {
        throw new Error('mine')
      },
    })
    last.end(1011)
    expect(client.state.status).to.equal('waiting')
    expect(errors.map(String)).to.deep.equal(['Error: mine'])
    client.close()
  })

  it('may close or use the client: the client stops, and opens no second WebSocket', async () => {
    const scripted = await openClient({
      retry: () => {
        scripted.client.push('late')
        scripted.client.open()
        scripted.client.close(4000)
        return true
      },
    })
    scripted.last.end(1006)
    await pass(60_000)
    expect(scripted.client.state).to.deep.equal({ status: 'stopped', code: 4000 })
    expect(scripted.sockets).to.have.length(1)
  })
})

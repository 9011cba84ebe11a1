import { expect } from 'chai'
import { backoffDelay } from '../../lib/client/backoff.ts'
import {
  openClient,
  pass,
  scriptedClient,
  setRandom,
  settle,
  useFakeClock,
} from './support/client.ts'

/** Milliseconds until the next attempt. */
function delayOf(client: { state: { retryAt?: number } }): number {
  return (client.state.retryAt ?? Number.NaN) - Date.now()
}

describe('the back-off', () => {
  useFakeClock()

  it('is the formula of the protocol', () => {
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

  it('begins anew after 5 s open, and not sooner', async () => {
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

  it('begins anew when open() follows a stop', async () => {
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

  it('takes minDelay and maxDelay', async () => {
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

  it('is ended by close()', async () => {
    const scripted = await openClient()
    scripted.last.end(1006)
    scripted.client.close()
    await pass(60_000)
    expect(scripted.sockets).to.have.length(1)
    expect(scripted.client.state).to.deep.equal({ status: 'stopped', code: 1000 })
  })
})

describe('after a close with', () => {
  useFakeClock()

  const stop = [
    1000, 1002, 1003, 1005, 1007, 1008, 1009, 1010, 4400, 4402, 4403, 4404, 4409, 4499, 4612, 4613,
  ]
  const backOff = [
    1001, 1006, 1011, 1012, 1013, 1014, 1015, 3000, 3999, 4000, 4001, 4399, 4408, 4425, 4429, 4500,
    4503, 4599, 4600, 4610, 4999,
  ]
  for (const code of stop) {
    it(`${code} it stops`, async () => {
      const { client, last, sockets } = await openClient()
      last.end(code, 'why')
      expect(client.state).to.deep.equal({ status: 'stopped', code, reason: 'why' })
      await pass(60_000)
      expect(sockets).to.have.length(1)
    })
  }
  for (const code of backOff) {
    it(`${code} it backs off`, async () => {
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

  it('4611 it comes back at once, and backs off when that goes on', async () => {
    const scripted = await openClient()
    scripted.last.end(4611)
    expect(delayOf(scripted.client)).to.equal(0)
    await pass(1)
    scripted.last.welcome().end(4611)
    expect(delayOf(scripted.client)).to.equal(500)
    scripted.client.close()
  })

  it('1012 it obeys the number in the reason', async () => {
    const { client, last } = await openClient()
    last.end(1012, 'restart, retry in 3200 ms')
    expect(delayOf(client)).to.equal(3200)
    client.close()
  })

  it('another code it does not', async () => {
    const { client, last } = await openClient()
    last.end(1011, 'restart, retry in 3200 ms')
    expect(delayOf(client)).to.equal(500)
    client.close()
  })

  it('1012 and a number without end it waits 10 minutes at most', async () => {
    const { client, last } = await openClient()
    last.end(1012, 'restart, retry in 999999999 ms')
    expect(delayOf(client)).to.equal(600_000)
    client.close()
  })
})

describe('a bye', () => {
  useFakeClock()

  it('does not hold back from 4611, and is forgotten when the connection lives on', async () => {
    const first = await openClient()
    first.last.push('koaws:bye', { after: 60_000 }).end(4611)
    expect(delayOf(first.client)).to.equal(0)
    first.client.close()
    const second = await openClient()
    second.last.push('koaws:bye', { after: 100 })
    await pass(3_600_000)
    second.last.end(1006)
    expect(delayOf(second.client)).to.be.at.least(500)
    second.client.close()
  })

  it('is obeyed to the millisecond, counted from the bye', async () => {
    setRandom(0.7)
    const scripted = await openClient()
    scripted.last.push('koaws:bye', { code: 1012, reason: 'restart', after: 3200 })
    await pass(200)
    scripted.last.end(1012, 'restart, retry in 3200 ms')
    expect(delayOf(scripted.client)).to.equal(3000)
    await pass(2999)
    expect(scripted.sockets).to.have.length(1)
    await pass(1)
    expect(scripted.sockets).to.have.length(2)
    scripted.client.close()
  })

  it('whose time is over when the close comes is obeyed at once', async () => {
    const { client, last } = await openClient()
    last.push('koaws:bye', { after: 600 })
    await pass(1000)
    last.end(1012)
    expect(delayOf(client)).to.equal(0)
    client.close()
  })

  it('is obeyed when the connection breaks before the close comes', async () => {
    const { client, last } = await openClient()
    last.push('koaws:bye', { after: 3200 }).end(1006)
    expect(delayOf(client)).to.equal(3200)
    client.close()
  })

  it('does not bring back a client that is told to stop', async () => {
    const { client, last } = await openClient()
    last.push('koaws:bye', { after: 3200 }).end(4403)
    expect(client.state.status).to.equal('stopped')
  })

  it('without a delay leaves it to the close code', async () => {
    const { client, last } = await openClient()
    last.push('koaws:bye', { code: 1011, reason: 'x' }).end(1011)
    expect(delayOf(client)).to.equal(500)
    client.close()
  })

  for (const [after, delay] of [
    [-5, 0],
    [1e9, 600_000],
    ['1000', 500],
    [null, 500],
    [{}, 500],
  ] as const) {
    it(`with after ${JSON.stringify(after)} means ${delay} ms`, async () => {
      const { client, last } = await openClient()
      last.push('koaws:bye', { after }).end(1012)
      expect(delayOf(client)).to.equal(delay)
      client.close()
    })
  }

  it('with a number beyond all numbers means 10 minutes', async () => {
    const { client, last } = await openClient()
    last.receive('{"type":"koaws:bye","data":{"after":1e999}}').end(1012)
    expect(delayOf(client)).to.equal(600_000)
    client.close()
  })

  it('of no time at all is obeyed once, then backed off from', async () => {
    setRandom(1)
    const scripted = await openClient()
    const delays: number[] = []
    for (let i = 0; i < 3; i++) {
      scripted.last.push('koaws:bye', { after: 0 }).end(1012)
      delays.push(delayOf(scripted.client))
      await pass(5000)
      if (i < 2) scripted.last.welcome()
    }
    expect(delays).to.deep.equal([0, 2000, 4000])
    scripted.client.close()
  })

  it('leaves the row of back-offs as it is', async () => {
    setRandom(1)
    const scripted = await openClient()
    scripted.last.push('koaws:bye', { after: 3000 }).end(1012)
    await pass(3000)
    scripted.last.end(1006)
    expect(delayOf(scripted.client)).to.equal(1000)
    scripted.client.close()
  })
})

describe('the option retry', () => {
  useFakeClock()

  it('is asked with code and reason, and overrides the table', async () => {
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

  it('that throws is told to onError, and the table holds', async () => {
    const { client, last, errors } = await openClient({
      retry: () => {
        throw new Error('mine')
      },
    })
    last.end(4001)
    expect(client.state.status).to.equal('waiting')
    expect(errors.map(String)).to.deep.equal(['Error: mine'])
    client.close()
  })

  it('may close the client, or use it, and nothing comes twice', async () => {
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

describe('an attempt', () => {
  useFakeClock()

  it('that neither opens nor fails is dropped after 15 s', async () => {
    const scripted = scriptedClient()
    scripted.client.open()
    await settle()
    await pass(14_999)
    expect(scripted.client.state.status).to.equal('connecting')
    await pass(1)
    expect(scripted.client.state).to.deep.include({
      status: 'waiting',
      code: 1006,
      reason: 'no handshake within 15 s',
    })
    expect(scripted.last.closes).to.have.length(1)
    scripted.last.open() // too late
    expect(scripted.client.state.status).to.equal('waiting')
    scripted.client.close()
  })

  it('that opens and brings no welcome is dropped after 15 s', async () => {
    const scripted = scriptedClient()
    scripted.client.open()
    await pass(10_000)
    scripted.last.open()
    await pass(14_999)
    expect(scripted.client.state.status).to.equal('connecting')
    await pass(1)
    expect(scripted.client.state).to.deep.include({ code: 1006, reason: 'no welcome within 15 s' })
    scripted.client.close()
  })

  it('that gets no answer to its token is dropped after 15 s', async () => {
    const scripted = scriptedClient({ token: 'abc' })
    scripted.client.open()
    await settle()
    scripted.last.open()
    await pass(10_000)
    scripted.last.push('koaws:authenticate')
    await pass(14_999)
    expect(scripted.client.state.status).to.equal('connecting')
    await pass(1)
    expect(scripted.client.state).to.deep.include({ status: 'waiting', code: 1006 })
    scripted.client.close()
  })

  it('at a server of another protocol stops with 4613, and repeats no credential', async () => {
    for (const protocol of ['', 'graphql-ws', 'koaws.bearer.secret']) {
      const scripted = scriptedClient({ token: 'secret' })
      scripted.client.open()
      await settle()
      scripted.last.open(protocol)
      expect(scripted.client.state).to.deep.equal({
        status: 'stopped',
        code: 4613,
        reason: 'the server does not speak koaws.v1',
      })
      expect(scripted.last.closes).to.have.length(1)
    }
  })

  it('whose WebSocket cannot be made is told to onError, and backed off from', async () => {
    class Refusing {
      constructor() {
        throw new Error('mixed content')
      }
    }
    const { client, errors } = scriptedClient({ WebSocket: Refusing as never })
    client.open()
    await settle()
    expect(errors.map(String)).to.deep.equal(['Error: mixed content'])
    expect(client.state).to.deep.include({ status: 'waiting', reason: 'no WebSocket' })
    client.close()
  })

  it('that is dropped is terminated, where the WebSocket can do that', async () => {
    const scripted = scriptedClient()
    scripted.client.open()
    await settle()
    let terminated = 0
    Object.assign(scripted.last, { terminate: () => terminated++ })
    await pass(15_000)
    expect(terminated).to.equal(1)
    expect(scripted.last.closes).to.have.length(0)
    scripted.client.close()
  })
})

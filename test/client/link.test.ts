import { expect } from 'chai'
import {
  delayOf,
  openClient,
  pass,
  scriptedClient,
  setRandom,
  settle,
  useFakeClock,
} from './support/client.ts'

describe('koaws:bye', () => {
  useFakeClock()

  it('does not delay after 4611, and expires while the connection lives on', async () => {
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

  it('delays by exactly the time in after, counted from the bye', async () => {
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

  it('lets the client reconnect at once when its time has passed before the close', async () => {
    const { client, last } = await openClient()
    last.push('koaws:bye', { after: 600 })
    await pass(1000)
    last.end(1012)
    expect(delayOf(client)).to.equal(0)
    client.close()
  })

  it('delays when the connection breaks before the close frame', async () => {
    const { client, last } = await openClient()
    last.push('koaws:bye', { after: 3200 }).end(1006)
    expect(delayOf(client)).to.equal(3200)
    client.close()
  })

  it('does not reconnect a client that is closed with 4403', async () => {
    const { client, last } = await openClient()
    last.push('koaws:bye', { after: 3200 }).end(4403)
    expect(client.state.status).to.equal('stopped')
  })

  it('without after leaves the delay to the close code', async () => {
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
    it(`with after ${JSON.stringify(after)} delays by ${delay} ms`, async () => {
      const { client, last } = await openClient()
      last.push('koaws:bye', { after }).end(1012)
      expect(delayOf(client)).to.equal(delay)
      client.close()
    })
  }

  it('with an infinite after delays by 10 minutes', async () => {
    const { client, last } = await openClient()
    last.receive('{"type":"koaws:bye","data":{"after":1e999}}').end(1012)
    expect(delayOf(client)).to.equal(600_000)
    client.close()
  })

  it('with after 0 skips the delay once, then the client backs off', async () => {
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

  it('leaves the step of the backoff unchanged', async () => {
    setRandom(1)
    const scripted = await openClient()
    scripted.last.push('koaws:bye', { after: 3000 }).end(1012)
    await pass(3000)
    scripted.last.end(1006)
    expect(delayOf(scripted.client)).to.equal(1000)
    scripted.client.close()
  })
})

describe('an attempt', () => {
  useFakeClock()

  it('fails after 15 s without a handshake', async () => {
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

  it('fails after 15 s without a welcome', async () => {
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

  it('fails after 15 s without an answer to its token', async () => {
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

  it('at a server without koaws.v1 stops with 4613, and keeps credentials out of the reason', async () => {
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

  it('reports to onError and backs off when the WebSocket constructor throws', async () => {
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

  it('is ended with terminate() where the WebSocket has it', async () => {
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

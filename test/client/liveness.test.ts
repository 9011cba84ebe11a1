import { expect } from 'chai'
import { openClient, pass, type Scripted, settle, useFakeClock } from './support/client.ts'

describe('silence of the server', () => {
  useFakeClock()

  it('of 1.4 heartbeats makes the client ping, each time', async () => {
    const { client, last } = await openClient({}, { heartbeat: 10_000 })
    await pass(13_999)
    expect(last.sent).to.have.length(0)
    await pass(1)
    expect(last.sent).to.deep.equal([{ type: 'koaws:ping', id: 1 }])
    last.json({ type: 'koaws:reply', id: 1, data: null })
    await pass(14_000)
    expect(last.sent).to.have.length(2)
    expect(last.last.id).to.equal(2)
    await pass(5000)
    expect(client.state).to.deep.include({ status: 'waiting', code: 1006 })
    client.close()
  })

  it('ends with any message', async () => {
    const { client, last } = await openClient({}, { heartbeat: 10_000 })
    for (const message of ['{"type":"said"}', 'no JSON', '[]']) {
      await pass(10_000)
      last.receive(message)
    }
    expect(last.sent).to.have.length(0)
    client.close()
  })

  for (const heartbeat of [null, undefined, 0, -1, 'soon', {}, []]) {
    it(`is not measured when the heartbeat is ${JSON.stringify(heartbeat)}`, async () => {
      const { client, last } = await openClient({}, { heartbeat })
      await pass(1_000_000)
      expect(last.sent).to.have.length(0)
      client.close()
    })
  }

  it('is measured at most once a second', async () => {
    const { client, last } = await openClient({}, { heartbeat: 1e-9 })
    await pass(999)
    expect(last.sent).to.have.length(0)
    await pass(1)
    expect(last.sent).to.have.length(1)
    client.close()
  })

  it('is not measured when the heartbeat exceeds the longest timer', async () => {
    const { client, last } = await openClient({}, { heartbeat: 1e300 })
    await pass(1000)
    expect(last.sent).to.have.length(0)
    client.close()
  })
})

describe('the wait for the answer to a ping', () => {
  useFakeClock()

  /**
   * Returns how long the client waits for an answer to the ping that it sends after 14 s of
   * silence.
   */
  async function patienceOf(scripted: Scripted): Promise<number> {
    await pass(14_000)
    expect(scripted.last.last.type).to.equal('koaws:ping')
    let waited = 0
    for (; scripted.client.state.status === 'open'; waited += 500) await pass(500)
    return waited
  }

  it('is 5 s', async () => {
    const scripted = await openClient({}, { heartbeat: 10_000 })
    expect(await patienceOf(scripted)).to.equal(5000)
    scripted.client.close()
  })

  it('is longer while a message of the announced size would take that long at 64 kbit/s', async () => {
    const scripted = await openClient({}, { heartbeat: 10_000 })
    scripted.last.push('koaws:incoming', { bytes: 1_048_000 })
    expect(await patienceOf(scripted)).to.equal(1_048_000 / 8 - 14_000 + 5000)
    scripted.client.close()
  })

  it('is 5 s again when the announced message has arrived', async () => {
    const scripted = await openClient({}, { heartbeat: 10_000 })
    scripted.last.push('koaws:incoming', { bytes: 1_048_000 }).push('file', 'x')
    expect(await patienceOf(scripted)).to.equal(5000)
    scripted.client.close()
  })

  it('is at most 10 minutes longer, for any announced size', async () => {
    const scripted = await openClient({}, { heartbeat: 10_000 })
    scripted.last.push('koaws:incoming', { bytes: 1e300 })
    expect(await patienceOf(scripted)).to.equal(600_000 - 14_000 + 5000)
    scripted.client.close()
  })

  for (const bytes of [-1, 0, 'many', null, {}, undefined]) {
    it(`is 5 s when the announced size is ${JSON.stringify(bytes)}`, async () => {
      const scripted = await openClient({}, { heartbeat: 10_000 })
      scripted.last.push('koaws:incoming', { bytes })
      expect(await patienceOf(scripted)).to.equal(5000)
      scripted.client.close()
    })
  }

  it('is longer behind an upload, in bytes of UTF-8', async () => {
    for (const [text, bytes] of [
      ['x'.repeat(800_000), 800_000],
      ['€'.repeat(200_000), 600_000],
    ] as const) {
      const scripted = await openClient({}, { heartbeat: 10_000 })
      scripted.client.push('put', text)
      const patience = await patienceOf(scripted)
      expect(patience).to.be.within(bytes / 8 - 9000, bytes / 8 - 8000)
      scripted.client.close()
    }
  })

  it('is at most 2 minutes longer for many small messages', async () => {
    const scripted = await openClient({}, { heartbeat: 10_000 })
    for (let i = 0; i < 100; i++) scripted.client.push('put', 'x'.repeat(100_000))
    expect(await patienceOf(scripted)).to.be.within(110_000, 111_500)
    scripted.client.close()
  })

  it('doubles after each connection that ended without an answer, until one is answered', async () => {
    const scripted = await openClient({}, { heartbeat: 10_000 })
    for (const patience of [5000, 10_000, 20_000, 40_000, 60_000, 60_000]) {
      expect(await patienceOf(scripted)).to.equal(patience)
      scripted.client.open()
      await settle()
      scripted.last.welcome({ heartbeat: 10_000 })
    }
    await pass(14_000)
    scripted.last.json({ type: 'koaws:reply', id: scripted.last.last.id, data: null })
    expect(await patienceOf(scripted)).to.equal(5000)
    scripted.client.close()
  })
})

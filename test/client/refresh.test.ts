import { expect } from 'chai'
import { openClient, pass, setRandom, settle, useFakeClock } from './support/client.ts'

describe('a refresh', () => {
  useFakeClock()
  const HOUR = 3_600_000

  function authenticated(token: () => unknown, welcome: object = {}) {
    const fields = { refresh: true, expiresAt: Date.now() + HOUR, ...welcome }
    return openClient({ token: token as () => string }, fields)
  }

  it('sends a new token after 80 % of the lifetime at the earliest', async () => {
    let count = 0
    const { client, last } = await authenticated(() => `t${++count}`)
    await pass(0.8 * HOUR - 1)
    expect(last.sent).to.deep.equal([])
    await pass(1)
    expect(last.sent).to.deep.equal([{ type: 'koaws:auth', id: 1, data: { token: 't2' } }])
    client.close()
  })

  it('sends a new token after 90 % of the lifetime at the latest', async () => {
    setRandom(1)
    const { client, last } = await authenticated(() => 'abc')
    await pass(0.9 * HOUR - 1)
    expect(last.sent).to.deep.equal([])
    await pass(1)
    expect(last.sent).to.have.length(1)
    client.close()
  })

  it('is retried before the expiry when the token function fails', async () => {
    let fails = false
    const { client, last, errors } = await authenticated(() => {
      if (fails) throw new Error('no network')
      return 'abc'
    })
    fails = true
    await pass(0.8 * HOUR)
    expect(last.sent).to.deep.equal([])
    expect(errors.map((error) => (error as Error).message)).to.include('no network')
    fails = false
    await pass(0.2 * HOUR - 10_000)
    expect(last.sent).to.have.length(1)
    client.close()
  })

  it('slows down to once in 10 s when every token seems to expire soon', async () => {
    const { client, last } = await authenticated(() => 'abc', { expiresAt: Date.now() + 5_000 })
    for (let second = 0; second < 60; second++) {
      await pass(1_000)
      const { id, type } = (last.sent.at(-1) ?? {}) as { id?: number; type?: string }
      const data = { expiresAt: Date.now() + 5_000 }
      if (type) last.json({ type: 'koaws:reply', id, data })
    }
    expect(last.sent.length).to.be.within(5, 9)
    client.close()
  })

  it('starts 10 s before the end of a short lifetime', async () => {
    setRandom(1)
    const { client, last } = await authenticated(() => 'abc', { expiresAt: Date.now() + 30_000 })
    await pass(20_000)
    expect(last.sent).to.have.length(1)
    client.close()
  })

  it('is scheduled again by the reply', async () => {
    const { client, last } = await authenticated(() => 'abc')
    await pass(0.8 * HOUR)
    last.json({ type: 'koaws:reply', id: 1, data: { expiresAt: Date.now() + HOUR } })
    await settle()
    await pass(0.8 * HOUR - 1)
    expect(last.sent).to.have.length(1)
    await pass(1)
    expect(last.sent).to.have.length(2)
    last.json({ type: 'koaws:reply', id: 2, data: { expiresAt: null } })
    await settle()
    await pass(HOUR)
    expect(last.sent).to.have.length(2)
    client.close()
  })

  it('is reported to onError when the server rejects it, and the connection stays open', async () => {
    const { client, last, errors } = await authenticated(() => 'abc')
    await pass(0.8 * HOUR)
    last.json({ type: 'koaws:error', id: 1, error: { code: 'ERR_KOAWS_AUTH', status: 401 } })
    await settle()
    expect(errors).to.have.length(1)
    expect(errors[0]).to.include({ code: 'ERR_KOAWS_AUTH', status: 401, type: 'koaws:auth' })
    expect(client.state.status).to.equal('open')
    client.close()
  })

  it('is reported to onError when the token function rejects or returns undefined', async () => {
    for (const second of [() => undefined, () => Promise.reject(new Error('offline'))]) {
      let count = 0
      const token = (): unknown => (count++ === 0 ? 'abc' : second())
      const { client, last, errors } = await authenticated(token)
      await pass(0.8 * HOUR)
      expect(errors).to.have.length(1)
      expect(last.sent).to.have.length(0)
      client.close()
    }
  })

  it('ends with the connection, even while its token is pending', async () => {
    let give: (token: string) => void = () => {}
    let count = 0
    const token = (): unknown =>
      count++ === 0 ? 'abc' : new Promise<string>((resolve) => (give = resolve))
    const { client, last, errors } = await authenticated(token)
    await pass(0.8 * HOUR)
    expect(count).to.equal(2)
    client.close()
    give('late')
    await settle()
    expect(last.sent).to.have.length(0)
    expect(errors).to.deep.equal([])
  })

  it('reports no error when the client closes before the reply', async () => {
    const { client, errors } = await authenticated(() => 'abc')
    await pass(0.8 * HOUR)
    client.close()
    await pass(20_000)
    expect(errors).to.deep.equal([])
  })

  it('is on time when the lifetime exceeds the longest timer', async () => {
    const YEAR = 365 * 24 * HOUR
    const { client, last } = await authenticated(() => 'abc', { expiresAt: Date.now() + YEAR })
    const step = 2 ** 31 - 1 // The fake clock skips timers that are set while it advances.
    let left = 0.8 * YEAR - 1000
    for (; left > step; left -= step) await pass(step)
    await pass(left)
    expect(last.sent).to.have.length(0)
    await pass(2000)
    expect(last.sent).to.have.length(1)
    client.close()
  })

  for (const welcome of [
    { refresh: false },
    { refresh: 'yes' },
    { expiresAt: null },
    { expiresAt: 'tomorrow' },
    { expiresAt: -1 },
    { expiresAt: 1 },
    { expiresAt: [] },
  ]) {
    it(`is skipped when the welcome says ${JSON.stringify(welcome)}`, async () => {
      const { client, last } = await authenticated(() => 'abc', welcome)
      await pass(2 * HOUR)
      expect(last.sent).to.deep.equal([])
      client.close()
    })
  }

  it('is skipped when the token is a string', async () => {
    const welcome = { refresh: true, expiresAt: Date.now() + HOUR }
    const { client, last } = await openClient({ token: 'abc' }, welcome)
    await pass(HOUR)
    expect(last.sent).to.deep.equal([])
    client.close()
  })

  it('waits at least one second, even for an expiry in 1 ms', async () => {
    const { client, last } = await authenticated(() => 'abc', { expiresAt: Date.now() + 1 })
    await pass(999)
    expect(last.sent).to.have.length(0)
    await pass(1)
    expect(last.sent).to.have.length(1)
    client.close()
  })
})

import { expect } from 'chai'
import { bearerToken } from '../../lib/protocol/subprotocol.ts'
import {
  openClient,
  pass,
  rejection,
  scriptedClient,
  setRandom,
  settle,
  useFakeClock,
} from './support/client.ts'

async function offeredWith(token: unknown, tokenIn: 'handshake' | 'message' = 'handshake') {
  const scripted = scriptedClient({ token: token as string, tokenIn })
  scripted.client.open()
  await settle()
  scripted.client.close()
  expect(scripted.last.offered.at(-1)).to.equal('koaws.resume')
  return scripted.last.offered.slice(0, -1)
}

describe('the token in the handshake', () => {
  it('is offered beside koaws.v1', async () => {
    expect(await offeredWith('abc.def-1_~')).to.deep.equal(['koaws.v1', 'koaws.bearer.abc.def-1_~'])
    expect(await offeredWith(() => 'a')).to.deep.equal(['koaws.v1', 'koaws.bearer.a'])
    expect(await offeredWith(async () => 'b')).to.deep.equal(['koaws.v1', 'koaws.bearer.b'])
  })

  it('is encoded in base64url when it is not a token of RFC 9110, as the server decodes it', async () => {
    for (const token of ['a b/c=', 'a,b', '(~)??>>', 'x"y']) {
      const [, entry = ''] = await offeredWith(token)
      expect(entry).to.match(/^koaws\.bearer64\.[\w-]+$/)
      if (!token.includes(' ')) expect(bearerToken(entry)).to.equal(token)
    }
    const [, entry = ''] = await offeredWith('hé€')
    expect(Buffer.from(entry.slice(15), 'base64url').toString()).to.equal('hé€')
  })

  it('is omitted when it is empty or goes into a message', async () => {
    for (const none of [undefined, null, '', () => undefined, async () => null]) {
      expect(await offeredWith(none)).to.deep.equal(['koaws.v1'])
    }
    expect(await offeredWith('abc', 'message')).to.deep.equal(['koaws.v1'])
  })

  it('is requested for each attempt', async () => {
    let count = 0
    const scripted = await openClient({ token: () => `t${++count}`, minDelay: 1 })
    scripted.last.end(1011)
    scripted.client.open()
    await settle()
    expect(scripted.sockets.map(({ offered }) => offered[1])).to.deep.equal([
      'koaws.bearer.t1',
      'koaws.bearer.t2',
    ])
    scripted.client.close()
  })
})

describe('koaws:authenticate', () => {
  it('is answered with the token of the handshake', async () => {
    let count = 0
    const scripted = scriptedClient({ token: () => `t${++count}` })
    scripted.client.open()
    await settle()
    scripted.last.open().push('koaws:authenticate', { timeout: 10_000 })
    expect(scripted.last.sent).to.deep.equal([{ type: 'koaws:auth', id: 1, data: { token: 't1' } }])
    expect(scripted.client.state.status).to.equal('connecting')
    scripted.last.json({ type: 'koaws:reply', id: 1, data: { expiresAt: null } })
    scripted.last.push('koaws:welcome', {})
    expect(scripted.client.state.status).to.equal('open')
    scripted.client.close()
  })

  it("calls the token function first with tokenIn: 'message'", async () => {
    let asked = 0
    const token = async (): Promise<string> => `t${++asked}`
    const scripted = scriptedClient({ token, tokenIn: 'message' })
    scripted.client.open()
    await settle()
    scripted.last.open()
    expect(asked).to.equal(0)
    scripted.last.push('koaws:authenticate')
    await settle()
    expect(scripted.last.sent.map(({ data }) => data)).to.deep.equal([{ token: 't1' }])
    scripted.client.close()
  })

  it('is answered once, and ignored after the welcome', async () => {
    const scripted = await openClient({ token: 'a' })
    scripted.last.push('koaws:authenticate').push('koaws:authenticate')
    expect(scripted.last.sent).to.deep.equal([])
    scripted.client.close()
    scripted.client.open()
    await settle()
    scripted.last.open().push('koaws:authenticate').push('koaws:authenticate')
    expect(scripted.last.sent).to.have.length(1)
    scripted.client.close()
  })

  it('stops a client without a token', async () => {
    const scripted = scriptedClient()
    scripted.client.open()
    await settle()
    scripted.last.open().push('koaws:authenticate')
    expect(scripted.client.state).to.deep.equal({
      status: 'stopped',
      code: 4401,
      reason: 'no token',
    })
    expect(scripted.last.closes).to.have.length(1)
  })
})

describe('a token function', () => {
  useFakeClock()

  for (const [what, token] of Object.entries({
    throws: () => {
      throw new Error('offline')
    },
    rejects: () => Promise.reject(new Error('offline')),
  })) {
    it(`that ${what} is reported to onError, and called again after the backoff`, async () => {
      const { client, sockets, errors } = scriptedClient({ token })
      client.open()
      await settle()
      expect(errors.map(String)).to.deep.equal(['Error: offline'])
      expect(client.state).to.deep.include({ status: 'waiting', reason: 'no token' })
      await pass(500)
      expect(errors).to.have.length(2)
      expect(sockets).to.have.length(0)
      client.close()
    })
  }

  it('times out after 15 s, and its late result opens no WebSocket', async () => {
    const give: ((token: string) => void)[] = []
    const token = (): Promise<string> => new Promise((resolve) => give.push(resolve))
    const { client, sockets } = scriptedClient({ token })
    client.open()
    await pass(14_999)
    expect(client.state.status).to.equal('connecting')
    await pass(1)
    expect(client.state).to.deep.include({ status: 'waiting', reason: 'no token within 15 s' })
    give[0]?.('late')
    await settle()
    expect(sockets).to.have.length(0)
    await pass(500)
    give[1]?.('in time')
    await settle()
    expect(sockets).to.have.length(1)
    client.close()
  })

  it('that throws without onError leaves the client usable', async () => {
    const scripted = scriptedClient({
      onError: undefined,
      token: () => {
        throw new Error('offline')
      },
    })
    const answer = rejection(scripted.client.request('say', 1, { timeout: 100 }))
    await settle()
    await pass(100)
    expect((await answer)['code']).to.equal('ERR_KOAWS_TIMEOUT')
    scripted.client.close()
  })
})

describe('a close with 4401', () => {
  useFakeClock()

  it('fetches a new token, and reconnects after the backoff', async () => {
    let count = 0
    const scripted = await openClient({ token: () => `t${++count}` })
    scripted.last.end(4401, 'expired')
    expect(scripted.client.state).to.deep.equal({
      status: 'waiting',
      retryAt: Date.now() + 500,
      code: 4401,
      reason: 'expired',
    })
    await pass(500)
    expect(scripted.last.offered[1]).to.equal('koaws.bearer.t2')
    scripted.client.close()
  })

  it('stops a client without a token function', async () => {
    for (const token of ['abc', undefined]) {
      const { client, last } = await openClient({ token })
      last.end(4401)
      expect(client.state).to.deep.equal({ status: 'stopped', code: 4401 })
    }
  })

  it('stops the client when the new token is rejected too', async () => {
    const scripted = scriptedClient({ token: () => 'abc' })
    scripted.client.open()
    await settle()
    scripted.last.open().end(4401)
    expect(scripted.client.state.status).to.equal('waiting')
    await pass(500)
    scripted.last.open().end(4401)
    expect(scripted.client.state.status).to.equal('stopped')
    expect(scripted.sockets).to.have.length(2)
  })

  it('stops the client when the token after an expiry is rejected', async () => {
    const scripted = await openClient({ token: () => 'abc' })
    scripted.last.end(4401)
    await pass(500)
    scripted.last.open().end(4401)
    expect(scripted.client.state.status).to.equal('stopped')
  })

  it('reconnects after every expiry of an open connection, with growing delays', async () => {
    setRandom(1)
    const scripted = await openClient({ token: () => 'abc' })
    const delays: number[] = []
    for (let i = 0; i < 3; i++) {
      scripted.last.end(4401)
      delays.push((scripted.client.state.retryAt ?? 0) - Date.now())
      await pass(delays.at(-1) as number)
      scripted.last.welcome()
    }
    expect(scripted.client.state.status).to.equal('open')
    expect(delays).to.deep.equal([1000, 2000, 4000])
    scripted.client.close()
  })

  it('counts anew after open()', async () => {
    const scripted = scriptedClient({ token: () => 'abc' })
    scripted.client.open()
    await settle()
    scripted.last.open().end(4401)
    await pass(500)
    scripted.last.open().end(4401)
    scripted.client.open()
    await settle()
    scripted.last.open().end(4401)
    expect(scripted.client.state.status).to.equal('waiting')
    scripted.client.close()
  })
})

import { expect } from 'chai'
import { openClient, scriptedClient, settle } from './support/client.ts'

describe('a client', () => {
  it('is connecting, and opens no WebSocket before its first use', async () => {
    const { client, sockets } = scriptedClient()
    await settle()
    expect(client.state).to.deep.equal({ status: 'connecting' })
    expect(sockets).to.have.length(0)
  })

  const firsts: Record<string, (client: ReturnType<typeof scriptedClient>['client']) => unknown> = {
    on: (client) => client.on('said', () => {}),
    subscribe: (client) => client.subscribe(() => {}),
    push: (client) => client.push('typing'),
    request: (client) => client.request('say').catch(() => {}),
    open: (client) => client.open(),
  }
  for (const [name, first] of Object.entries(firsts)) {
    it(`opens one WebSocket for two calls of ${name}`, async () => {
      const { client, sockets } = scriptedClient()
      first(client)
      first(client)
      await settle()
      expect(sockets).to.have.length(1)
      client.close()
    })
  }

  it('opens one WebSocket when React subscribes, unsubscribes and subscribes again', async () => {
    const { client, sockets } = scriptedClient()
    client.subscribe(() => {})()
    client.subscribe(() => {})
    client.on('said', () => {})()
    client.on('said', () => {})
    await settle()
    expect(sockets).to.have.length(1)
    client.close()
  })

  it('has methods that can be destructured', async () => {
    const scripted = scriptedClient()
    const { subscribe, on, push, request, open, close } = scripted.client
    const heard: unknown[] = []
    subscribe(() => heard.push(scripted.client.state.status))
    on('said', (data) => heard.push(data))
    open()
    await settle()
    scripted.last.welcome().push('said', 'hi')
    expect(push('typing')).to.equal('sent')
    const answer = request('say')
    scripted.last.json({ type: 'koaws:reply', id: scripted.last.last.id, data: 1 })
    expect(await answer).to.equal(1)
    close()
    expect(heard).to.deep.equal(['open', 'hi', 'stopped'])
  })

  it('is open after the welcome, not after the handshake', async () => {
    const scripted = scriptedClient()
    scripted.client.open()
    await settle()
    scripted.last.open()
    expect(scripted.client.state.status).to.equal('connecting')
    scripted.last.push('koaws:welcome', { version: 1, connection: 'r3Fq', more: [] })
    expect(scripted.client.state).to.deep.equal({ status: 'open', connection: 'r3Fq' })
    scripted.client.close()
  })

  it('has a frozen state that is replaced on each change only', async () => {
    const scripted = scriptedClient()
    const { client } = scripted
    const seen: unknown[] = []
    client.subscribe(() => seen.push(client.state))
    await settle()
    expect(seen).to.deep.equal([])
    expect(client.state).to.equal(client.state)
    const before = client.state
    scripted.last.welcome()
    expect(client.state).to.not.equal(before)
    expect(Object.isFrozen(client.state)).to.equal(true)
    client.close()
    expect(seen).to.deep.equal([
      { status: 'open', connection: 'c1' },
      { status: 'stopped', code: 1000 },
    ])
  })

  it('notifies the other subscribers when one throws or has unsubscribed', async () => {
    const { client, errors } = scriptedClient()
    const heard: string[] = []
    client.subscribe(() => {
      throw new Error('mine')
    })
    const off = client.subscribe(() => heard.push('gone'))
    client.subscribe(() => heard.push('here'))
    off()
    off()
    client.close()
    expect(heard).to.deep.equal(['here'])
    expect(errors.map(String)).to.deep.equal(['Error: mine'])
  })
})

describe('close()', () => {
  it('stops the client with the code and reason; a second call has no effect', async () => {
    const { client, last, sockets } = await openClient()
    client.close(4000, 'bye')
    const { state } = client
    client.close(1000)
    expect(client.state).to.equal(state)
    expect(state).to.deep.equal({ status: 'stopped', code: 4000, reason: 'bye' })
    expect(last.closes).to.deep.equal([[4000, 'bye']])
    expect([last.onopen, last.onmessage, last.onclose]).to.deep.equal([null, null, null])
    last.end(4000)
    await settle()
    expect(sockets).to.have.length(1)
  })

  it('throws for a code or reason that WebSocket.close() rejects, and leaves the client open', async () => {
    const { client, last } = await openClient()
    for (const code of [999, 1001, 1006, 2999, 5000, Number.NaN]) {
      expect(() => client.close(code)).to.throw(RangeError)
    }
    expect(() => client.close(1000, 'é'.repeat(62))).to.throw(RangeError)
    expect(client.state.status).to.equal('open')
    client.close(1000, 'é'.repeat(61))
    expect(last.closes).to.have.length(1)
  })

  it('before the first connection stops the client for good', async () => {
    const { client, sockets } = scriptedClient()
    client.close()
    client.on('said', () => {})
    client.subscribe(() => {})
    expect(client.push('typing')).to.equal('dropped')
    await settle()
    expect(sockets).to.have.length(0)
    expect(client.state.status).to.equal('stopped')
  })

  it('while the token is pending keeps the client from connecting', async () => {
    let give: (token: string) => void = () => {}
    const token = (): Promise<string> => new Promise((resolve) => (give = resolve))
    const { client, sockets } = scriptedClient({ token })
    client.open()
    client.close()
    give('late')
    await settle()
    expect(sockets).to.have.length(0)
  })

  it('in a subscriber that is notified of connecting keeps the client from connecting', async () => {
    const { client, sockets } = await openClient()
    client.close()
    client.subscribe(() => {
      if (client.state.status === 'connecting') client.close()
    })
    client.open()
    await settle()
    expect(sockets).to.have.length(1)
    expect(client.state.status).to.equal('stopped')
  })

  it('is undone by open()', async () => {
    const scripted = await openClient()
    scripted.client.close()
    scripted.client.open()
    scripted.client.open()
    expect(scripted.client.state.status).to.equal('connecting')
    await settle()
    expect(scripted.sockets).to.have.length(2)
    scripted.last.welcome({ connection: 'c2' })
    expect(scripted.client.state).to.deep.equal({ status: 'open', connection: 'c2' })
    scripted.client.open()
    await settle()
    expect(scripted.sockets).to.have.length(2)
    scripted.client.close()
  })
})

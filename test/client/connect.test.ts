import { expect } from 'chai'
import { connect } from '../../lib/client/index.ts'
import { openClient, scriptedClient, settle } from './support/client.ts'
import { scriptedSockets } from './support/scripted-socket.ts'

/** Give the globals of a page for the time of a call. */
function onPage<T>(globals: object, run: () => T): T {
  const before = Object.getOwnPropertyDescriptors(globalThis)
  Object.assign(globalThis, globals)
  try {
    return run()
  } finally {
    for (const name of Object.keys(globals)) {
      const descriptor = before[name as keyof typeof before]
      if (descriptor) Object.defineProperty(globalThis, name, descriptor)
      else delete (globalThis as Record<string, unknown>)[name]
    }
  }
}

async function urlOf(url: string | URL, globals: object = {}): Promise<string> {
  const made = scriptedSockets()
  const client = onPage(globals, () => connect(url, { WebSocket: made.WebSocket }))
  client.open()
  await settle()
  client.close()
  return made.last.url
}

describe('connect(): the URL', () => {
  const page = { location: { href: 'https://example.com/app/index.html?a=1#top' } }

  it('is taken as it is, or with ws for http', async () => {
    expect(await urlOf('wss://example.com/chat?a=b')).to.equal('wss://example.com/chat?a=b')
    expect(await urlOf('http://example.com/chat')).to.equal('ws://example.com/chat')
    expect(await urlOf(new URL('https://example.com/chat'))).to.equal('wss://example.com/chat')
  })

  it('is relative to the page', async () => {
    expect(await urlOf('/chat/lobby', page)).to.equal('wss://example.com/chat/lobby')
    expect(await urlOf('chat', page)).to.equal('wss://example.com/app/chat')
  })

  it('that is relative where there is no page throws, and says what to do', () => {
    expect(() => connect('/chat', { WebSocket: scriptedSockets().WebSocket })).to.throw(
      TypeError,
      'wss://example.com/chat',
    )
  })

  for (const url of [
    'ws://example.com/#top',
    'ws://example.com/#',
    'ws://ann:secret@example.com/',
    'ws://ann@example.com/',
    'ftp://example.com/',
    'javascript:alert(1)',
    'ws://',
  ]) {
    it(`${url} throws, and is not repeated`, () => {
      const attempt = (): unknown => connect(url, { WebSocket: scriptedSockets().WebSocket })
      expect(attempt).to.throw(TypeError).with.property('message').that.does.not.include('secret')
    })
  }
})

describe('connect(): the options', () => {
  it('throws for one that there is not', () => {
    for (const wrong of [
      { minDelay: 0 },
      { timeout: -1 },
      { maxMessage: Number.NaN },
      { maxDelay: 'x' },
    ]) {
      const [name] = Object.keys(wrong)
      const text = `"${name}" must be a number above 0`
      expect(() => connect('ws://test/', wrong as object), name).to.throw(TypeError, text)
    }
    const tokenIn = 'mesage' as 'message'
    expect(() => connect('ws://test/', { tokenIn })).to.throw(TypeError, '"handshake" or "message"')
    const options = { tokens: 'x' } as object
    expect(() => connect('ws://test/', options)).to.throw(TypeError, 'no option "tokens"')
    expect(() => connect('ws://test/', { toString: 1 } as object)).to.throw(TypeError, 'toString')
  })

  it('takes undefined for the default', async () => {
    const { client, last } = await openClient({ queue: undefined, timeout: undefined })
    expect(last.url).to.equal('ws://test/chat')
    client.close()
  })

  it('says what to do where there is no WebSocket', () => {
    const attempt = (): unknown =>
      onPage({ WebSocket: undefined }, () => connect('ws://test/', { WebSocket: undefined }))
    expect(attempt)
      .to.throw(Error, "{ WebSocket } from 'ws'")
      .with.property('code', 'ERR_KOAWS_NO_WEBSOCKET')
  })

  it('uses the global WebSocket', async () => {
    const made = scriptedSockets()
    const client = onPage({ WebSocket: made.WebSocket }, () => connect('ws://test/'))
    client.open()
    await settle()
    expect(made.sockets).to.have.length(1)
    client.close()
  })
})

describe('a client', () => {
  it('says connecting, and opens nothing, before something is asked of it', async () => {
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
    it(`opens one WebSocket at the first ${name}, and no more at the second`, async () => {
      const { client, sockets } = scriptedClient()
      first(client)
      first(client)
      await settle()
      expect(sockets).to.have.length(1)
      client.close()
    })
  }

  it('stays with one WebSocket when React subscribes, unsubscribes and subscribes', async () => {
    const { client, sockets } = scriptedClient()
    client.subscribe(() => {})()
    client.subscribe(() => {})
    client.on('said', () => {})()
    client.on('said', () => {})
    await settle()
    expect(sockets).to.have.length(1)
    client.close()
  })

  it('has methods that work without it', async () => {
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

  it('is open from the welcome on, not from the handshake', async () => {
    const scripted = scriptedClient()
    scripted.client.open()
    await settle()
    scripted.last.open()
    expect(scripted.client.state.status).to.equal('connecting')
    scripted.last.push('koaws:welcome', { version: 1, connection: 'r3Fq', more: [] })
    expect(scripted.client.state).to.deep.equal({ status: 'open', connection: 'r3Fq' })
    scripted.client.close()
  })

  it('has a frozen state, another one after each change and the same one otherwise', async () => {
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

  it('tells other subscribers when one throws, and when one leaves', async () => {
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
  it('stops, hands on code and reason, and does nothing the second time', async () => {
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

  it('throws for what a page cannot close with, and changes nothing', async () => {
    const { client, last } = await openClient()
    for (const code of [999, 1001, 1006, 2999, 5000, Number.NaN]) {
      expect(() => client.close(code)).to.throw(RangeError)
    }
    expect(() => client.close(1000, 'é'.repeat(62))).to.throw(RangeError)
    expect(client.state.status).to.equal('open')
    client.close(1000, 'é'.repeat(61))
    expect(last.closes).to.have.length(1)
  })

  it('before anything was opened stops too: nothing is opened any more', async () => {
    const { client, sockets } = scriptedClient()
    client.close()
    client.on('said', () => {})
    client.subscribe(() => {})
    expect(client.push('typing')).to.equal('dropped')
    await settle()
    expect(sockets).to.have.length(0)
    expect(client.state.status).to.equal('stopped')
  })

  it('while the token is on its way opens nothing', async () => {
    let give: (token: string) => void = () => {}
    const token = (): Promise<string> => new Promise((resolve) => (give = resolve))
    const { client, sockets } = scriptedClient({ token })
    client.open()
    client.close()
    give('late')
    await settle()
    expect(sockets).to.have.length(0)
  })

  it('by a subscriber that hears connecting opens nothing', async () => {
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

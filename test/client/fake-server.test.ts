import { expect } from 'chai'
import { z } from 'zod'
import { type ClientState, type ConnectOptions, connect } from '../../lib/client/index.ts'
import { protocol } from '../../lib/protocol/definition.ts'
import { fakeServer } from '../../lib/testing/index.ts'
import { rejection, settle } from './support/client.ts'

const chat = protocol({
  say: { data: z.object({ text: z.string() }), reply: z.object({ ok: z.boolean() }) },
  typing: {},
  said: { push: z.object({ text: z.string() }) },
  confirm: { push: z.string(), reply: z.boolean() },
})

describe('fakeServer()', () => {
  const ends: (() => void)[] = []
  afterEach(() => {
    for (const end of ends.splice(0)) end()
  })

  function start(
    options: Parameters<typeof fakeServer>[1] = {},
    clientOptions: ConnectOptions = {},
  ) {
    const server = fakeServer(chat, options)
    const client = connect<typeof chat>('ws://test/chat', {
      WebSocket: server.WebSocket,
      minDelay: 1,
      ...clientOptions,
    })
    ends.push(client.close)
    client.open()
    return { server, client }
  }

  it('answers requests with its handlers', async () => {
    const { server, client } = start()
    const off = server.on('say', ({ text }) => ({ ok: text === 'hi' }))
    expect(await client.request('say', { text: 'hi' })).to.deep.equal({ ok: true })
    off()
    expect(await rejection(client.request('say', { text: 'hi' }))).to.include({
      code: 'ERR_KOAWS_UNKNOWN_TYPE',
      status: 404,
    })
  })

  it('answers with the errors that handlers throw', async () => {
    const { server, client } = start()
    const error = { code: 'forbidden', status: 403, data: [1] }
    const thrown = [Object.assign(new Error('Members only'), error), new Error('secret')]
    server.on('say', () => {
      throw thrown.shift()
    })
    expect(await rejection(client.request('say', { text: '' }))).to.deep.include({
      ...error,
      message: 'Members only',
    })
    const internal = await rejection(client.request('say', { text: '' }))
    expect(internal).to.include({ code: 'internal', status: 500 })
    expect(internal['message']).to.not.include('secret')
  })

  it('pushes, and asks', async () => {
    const { server, client } = start()
    const heard: unknown[] = []
    client.on('said', (data) => heard.push(data))
    expect(() => server.push('said', { text: 'too early' })).to.throw(Error, 'connected()')
    await server.connected()
    server.push('said', { text: 'hi' })
    client.on('confirm', (question) => question === 'Sure?')
    expect(await server.request('confirm', 'Sure?')).to.equal(true)
    expect(heard).to.deep.equal([{ text: 'hi' }])
  })

  it('rejects what it asks with the error of the client, or when the connection ends', async () => {
    const { server, client } = start()
    expect((await rejection(server.request('confirm', '')))['message']).to.include('connected()')
    await server.connected()
    expect(await rejection(server.request('confirm', ''))).to.include({
      code: 'ERR_KOAWS_UNKNOWN_TYPE',
    })
    client.on('confirm', () => new Promise<boolean>(() => {}))
    const open = rejection(server.request('confirm', ''))
    server.close(1011)
    expect((await open)['message']).to.include('ended')
  })

  it('keeps what it received, and hands it out', async () => {
    const { server, client } = start()
    const typing = server.next('typing')
    client.push('typing')
    void client.request('say', { text: 'hi' }).catch(() => {})
    expect(await typing).to.deep.equal({ type: 'typing' })
    expect(await server.next()).to.deep.equal({ type: 'say', id: 1, data: { text: 'hi' } })
    expect(server.received.map(({ type }) => type)).to.deep.equal(['typing', 'say'])
  })

  it('counts connections and attempts, and closes', async () => {
    const { server, client } = start()
    expect([server.connections, server.attempts]).to.deep.equal([0, 0])
    await server.connected()
    expect([server.connections, server.attempts]).to.deep.equal([1, 1])
    server.close(4403, 'Members only')
    await settle()
    expect(server.connections).to.equal(0)
    expect(client.state).to.deep.equal({ status: 'stopped', code: 4403, reason: 'Members only' })
  })

  it('rejects attempts until it accepts again', async () => {
    const { server, client } = start()
    server.reject(4503, 'busy')
    const states: ClientState[] = []
    client.subscribe(() => states.push(client.state))
    await settle()
    expect(states[0]).to.include({ status: 'waiting', code: 4503, reason: 'busy' })
    server.reject(1006)
    client.open()
    await settle()
    expect(client.state).to.include({ status: 'waiting', code: 1006 })
    server.accept()
    await server.connected()
    expect(server.attempts).to.be.at.least(3)
  })

  it('says bye, and is come back to', async () => {
    const { server, client } = start()
    await server.connected()
    const before = Date.now()
    server.bye(20)
    await settle()
    expect(client.state).to.include({ status: 'waiting', code: 1012 })
    await server.connected()
    expect(Date.now() - before).to.be.within(15, 2000)
  })

  it('shows the tokens of the handshake', async () => {
    const { server } = start({}, { token: 'abc' })
    await server.connected()
    expect(server.tokens).to.deep.equal(['abc'])
  })

  it('asks for the token in a message', async () => {
    const { server, client } = start({ authenticate: true }, { token: 'abc', tokenIn: 'message' })
    await server.connected()
    await settle()
    expect(server.tokens).to.deep.equal(['abc'])
    expect(client.state.status).to.equal('open')
  })

  it('welcomes with what the test says', async () => {
    const { server, client } = start({ welcome: { connection: 'mine', maxMessage: 20 } })
    await server.connected()
    await settle()
    expect(client.state.connection).to.equal('mine')
    expect(() => client.push('typing')).to.not.throw()
    expect(() => client.push('say', { text: 'hello' })).to.throw(Error, '20 bytes')
  })

  it('serves several clients at once', async () => {
    const { server, client } = start()
    const other = connect<typeof chat>('ws://test/chat', { WebSocket: server.WebSocket })
    ends.push(other.close)
    const heard: string[] = []
    client.on('said', () => heard.push('one'))
    other.on('said', () => heard.push('other'))
    await settle()
    expect(server.connections).to.equal(2)
    server.push('said', { text: 'hi' })
    await settle()
    expect(heard).to.deep.equal(['one', 'other'])
    other.close()
    await settle()
    expect(server.connections).to.equal(1)
  })

  it('has WebSockets that behave as those of a page', async () => {
    const { WebSocket } = fakeServer()
    const socket = new WebSocket('ws://test/', ['koaws.v1']) as InstanceType<typeof WebSocket> &
      EventTarget
    const events: string[] = []
    for (const type of ['open', 'message', 'close', 'error']) {
      socket.addEventListener(type, () => events.push(type))
    }
    expect(socket.readyState).to.equal(0)
    expect(() => socket.send('early')).to.throw(DOMException)
    expect(() => socket.close(1001)).to.throw(DOMException)
    expect(() => socket.close(1000, 'x'.repeat(124))).to.throw(DOMException)
    await settle()
    expect([socket.readyState, socket.protocol]).to.deep.equal([1, 'koaws.v1'])
    socket.close()
    expect(socket.readyState).to.equal(2)
    await settle()
    expect(socket.readyState).to.equal(3)
    expect(events).to.deep.equal(['open', 'message', 'close'])
  })

  it('fails the handshake of a client that does not offer koaws.v1', async () => {
    const { WebSocket } = fakeServer()
    const socket = new WebSocket('ws://test/', ['other'])
    const codes: unknown[] = []
    socket.onclose = ({ code }: { code: number }) => codes.push(code)
    await settle()
    expect(codes).to.deep.equal([1006])
  })
})

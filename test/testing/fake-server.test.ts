import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { z } from 'zod'
import { type ClientState, type ConnectOptions, connect } from '../../lib/client/index.ts'
import { protocol } from '../../lib/protocol/definition.ts'
import * as testing from '../../lib/testing/index.ts'
import { rejection, settle } from '../client/support/client.ts'

const { fakeServer } = testing

const chat = protocol({
  say: { data: z.object({ text: z.string() }), reply: z.object({ ok: z.boolean() }) },
  typing: {},
  said: { push: z.object({ text: z.string() }) },
  confirm: { push: z.string(), reply: z.boolean() },
})

describe('koaws/testing for pages', () => {
  it('has fakeServer() without ws, and functions that need Node say so', () => {
    const program = `
      import * as testing from 'koaws/testing'
      import { connect } from 'koaws/client'
      void globalThis.WebSocket // Node's own needs TextEncoder while it is loaded
      delete globalThis.TextEncoder
      const server = testing.fakeServer()
      const client = connect('ws://test/', { WebSocket: server.WebSocket })
      server.on('say', (data) => data)
      const reply = await client.request('say', 'hi')
      client.close(4000, 'é')
      let told = ''
      try { testing.testApp() } catch (error) { told = error.message }
      console.log(JSON.stringify([Object.keys(testing).sort(), reply, told]))`
    const { NODE_OPTIONS: _, ...env } = process.env
    const { stdout, stderr } = spawnSync(
      process.execPath,
      ['--conditions=browser', '--input-type=module', '-e', program],
      { cwd: fileURLToPath(new URL('../..', import.meta.url)), env, encoding: 'utf8' },
    )
    expect(stderr).to.equal('')
    const [names, reply, told] = JSON.parse(stdout)
    expect(names).to.deep.equal(Object.keys(testing).sort())
    expect(reply).to.equal('hi')
    expect(told).to.include('needs Node')
  })
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

  it('pushes messages, and sends requests', async () => {
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

  it('records what a client presents, and plays a recovery', async () => {
    const heard: unknown[] = []
    const { server, client } = start({}, { positions: { a: 'e1.1.k1' } })
    client.on('said', ({ text }) => heard.push(text))
    client.on('koaws:recovered', ({ missed }) => heard.push(missed))
    expect(() => server.tell('koaws:left', { room: 'a' })).to.throw(Error, 'connected()')
    await server.connected()
    expect(server.resumes).to.deep.equal([{ previous: [], positions: { a: 'e1.1.k1' } }])
    server.tell('koaws:recovered', { room: 'a', recovered: true, missed: 1, position: 'e1.2.k2' })
    server.push('said', { text: 'two' }, { room: 'a', position: 'e1.2.k2', once: 'x' })
    server.push('said', { text: 'two' }, { room: 'b', position: 'e1.1.k1', once: 'x' })
    await settle()
    expect(heard).to.deep.equal([1, 'two'])
    server.close(1006)
    await settle()
    client.open()
    await server.connected()
    expect(server.resumes.slice(1)).to.deep.equal([
      { previous: ['fake-1'], positions: { a: 'e1.2.k2', b: 'e1.1.k1' } },
    ])
    expect(server.received).to.deep.equal([])
  })

  it('rejects a request with the error of the client, or when the connection ends', async () => {
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

  it('records received messages, and returns them in order', async () => {
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

  it('sends koaws:bye, and the client reconnects after the delay', async () => {
    const { server, client } = start()
    await server.connected()
    const before = Date.now()
    server.bye(20)
    await settle()
    expect(client.state).to.include({ status: 'waiting', code: 1012 })
    expect(client.state.retryAt).to.be.within(before + 20, Date.now() + 20)
    await server.connected()
    expect(Date.now() - before).to.be.at.least(15)
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

  it('sends the welcome of the test', async () => {
    const { server, client } = start({ welcome: { connection: 'mine', maxMessage: 20 } })
    await server.connected()
    await settle()
    expect(client.state.connection).to.equal('mine')
    expect(() => client.push('typing')).to.not.throw()
    expect(() => client.push('say', { text: 'hello' })).to.throw(Error, '20 bytes')
  })

  it('handles a request with `retry` once, and repeats its answer after a reconnect', async () => {
    const { server, client } = start()
    let runs = 0
    server.on('say', async () => {
      runs++
      server.close(1006)
      return { ok: true }
    })
    expect(await client.request('say', { text: 'hi' }, { retry: true })).to.deep.equal({ ok: true })
    expect(runs).to.equal(1)
    const [first, second] = server.received
    expect(second).to.deep.equal({ ...first, again: true })
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
})

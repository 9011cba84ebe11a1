import { spawn, spawnSync } from 'node:child_process'
import { on, once } from 'node:events'
import { readFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { WebSocket, WebSocketServer } from 'ws'
import {
  type Client,
  type ClientState,
  type ConnectOptions,
  connect,
} from '../../lib/client/index.ts'
import { eventually } from '../support/server.ts'
import { rejection } from './support/client.ts'

type AnyClient = Client<Record<string, object>>

/** Resolves when the client has a status. */
function reached(client: AnyClient, status: ClientState['status']): Promise<ClientState> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (client.state.status === status) resolve(client.state)
    }
    client.subscribe(look)
    look()
  })
}

describe('the client over a WebSocket of ws', () => {
  let server: WebSocketServer
  let select: string | false = 'koaws.v1'
  const clients: AnyClient[] = []
  const offered: string[][] = []
  /** The first message on each connection. */
  const resumes: unknown[] = []
  const messages = new WeakMap<WebSocket, AsyncIterator<unknown[]>>()

  beforeEach(async () => {
    select = 'koaws.v1'
    offered.length = 0
    resumes.length = 0
    server = new WebSocketServer({
      port: 0,
      host: '127.0.0.1',
      handleProtocols: (names) => {
        offered.push([...names])
        return select
      },
    })
    await once(server, 'listening')
  })
  afterEach(async () => {
    for (const client of clients.splice(0)) client.close()
    for (const socket of server.clients) socket.terminate()
    server.close()
    await once(server, 'close')
  })

  function open(options: ConnectOptions = {}): AnyClient {
    const { port } = server.address() as AddressInfo
    const client = connect(`ws://127.0.0.1:${port}/chat`, { WebSocket, minDelay: 1, ...options })
    clients.push(client)
    client.open()
    return client
  }

  /** Resolves with the server's end of the next connection. */
  async function accepted(): Promise<WebSocket> {
    const [socket] = await once(server, 'connection')
    messages.set(socket, on(socket, 'message')[Symbol.asyncIterator]())
    resumes.push(await next(socket))
    return socket
  }

  function send(socket: WebSocket, message: object): void {
    socket.send(JSON.stringify(message))
  }

  async function next(socket: WebSocket): Promise<unknown> {
    const message = await messages.get(socket)?.next()
    return JSON.parse(String(message?.value[0]))
  }

  async function welcomed(client: AnyClient): Promise<WebSocket> {
    const socket = await accepted()
    send(socket, { type: 'koaws:welcome', data: { version: 1, connection: 'r3Fq' } })
    await reached(client, 'open')
    return socket
  }

  it('exchanges messages in both directions', async () => {
    const client = open({ token: 'a b' })
    const socket = await welcomed(client)
    expect(offered).to.deep.equal([['koaws.v1', 'koaws.bearer64.YSBi', 'koaws.resume']])
    const answer = client.request('say', { text: 'hé' })
    expect(await next(socket)).to.deep.equal({ type: 'say', id: 1, data: { text: 'hé' } })
    client.on('confirm', (data) => data === 'Sure?')
    send(socket, { type: 'koaws:reply', id: 1, data: { ok: true } })
    send(socket, { type: 'confirm', id: 1, data: 'Sure?' })
    expect(await next(socket)).to.deep.equal({ type: 'koaws:reply', id: 1, data: true })
    expect(await answer).to.deep.equal({ ok: true })
  })

  it('authenticates in its first message', async () => {
    const client = open({ token: () => 'abc', tokenIn: 'message' })
    const socket = await accepted()
    send(socket, { type: 'koaws:authenticate', data: { timeout: 10_000 } })
    expect(await next(socket)).to.deep.equal({ type: 'koaws:auth', id: 1, data: { token: 'abc' } })
    send(socket, { type: 'koaws:reply', id: 1, data: { expiresAt: null } })
    send(socket, { type: 'koaws:welcome', data: {} })
    await reached(client, 'open')
  })

  it('reads code and reason of a close, and reconnects', async () => {
    const client = open({ minDelay: 5 })
    const first = await welcomed(client)
    const waiting = reached(client, 'waiting')
    first.close(1011, 'failed')
    expect(await waiting).to.include({ code: 1011, reason: 'failed' })
    await welcomed(client)
    expect(offered).to.have.length(2)
  })

  it('stops when the handshake is rejected with 4403', async () => {
    const client = open()
    const socket = await accepted()
    socket.close(4403, 'Members only')
    expect(await reached(client, 'stopped')).to.deep.equal({
      status: 'stopped',
      code: 4403,
      reason: 'Members only',
    })
  })

  it('reconnects after the delay of a bye', async () => {
    const client = open()
    const first = await welcomed(client)
    const before = Date.now()
    send(first, { type: 'koaws:bye', data: { code: 1012, reason: 'restart', after: 60 } })
    first.close(1012)
    const { retryAt } = await reached(client, 'waiting')
    expect(retryAt).to.be.within(before + 60, Date.now() + 60)
    await welcomed(client)
    expect(Date.now() - before).to.be.at.least(55)
  })

  it('presents its positions after a break, and delivers what was missed', async () => {
    const client = open({ positions: { '': 'e1.4.k4' } })
    const heard: unknown[] = []
    client.on('said', (data) => heard.push(data))
    client.on('koaws:recovered', (data) => heard.push(data.missed))
    const first = await welcomed(client)
    send(first, { type: 'koaws:position', data: { room: 'a', position: 'e1.1.k1' } })
    send(first, { type: 'said', data: 'two', room: 'a', position: 'e1.2.k2', once: 'x' })
    await eventually(() => heard.length === 1, 'the push')
    first.terminate()
    const second = await welcomed(client)
    expect(resumes).to.deep.equal([
      { type: 'koaws:resume', data: { previous: [], positions: { '': 'e1.4.k4' } } },
      {
        type: 'koaws:resume',
        data: { previous: ['r3Fq'], positions: { '': 'e1.4.k4', a: 'e1.2.k2' } },
      },
    ])
    const data = { room: 'a', recovered: true, missed: 1, position: 'e1.3.k3' }
    send(second, { type: 'koaws:recovered', data })
    send(second, { type: 'said', data: 'three', room: 'a', position: 'e1.3.k3' })
    send(second, { type: 'said', data: 'two', room: '', position: 'e1.5.k5', once: 'x' })
    await eventually(() => client.positions[''] === 'e1.5.k5', 'the last push')
    expect(heard).to.deep.equal(['two', 1, 'three'])
  })

  it('reconnects after a break without a close frame', async () => {
    const client = open()
    const first = await welcomed(client)
    const answer = rejection(client.request('say'))
    await next(first)
    const waiting = reached(client, 'waiting')
    first.terminate()
    expect(await waiting).to.include({ code: 1006 })
    expect(await answer).to.include({ code: 'ERR_KOAWS_CLOSED', sent: true })
    await welcomed(client)
  })

  it('backs off when the server refuses the TCP connection', async () => {
    const client = open({ WebSocket })
    await welcomed(client)
    const gone = connect('ws://127.0.0.1:1/', { WebSocket })
    clients.push(gone)
    gone.open()
    expect(await reached(gone, 'waiting')).to.include({ code: 1006 })
  })

  it('stops when the server selects another subprotocol', async () => {
    select = 'koaws.bearer.abc'
    const client = open({ token: 'abc' })
    expect(await reached(client, 'stopped')).to.include({ code: 4613 })
  })

  it('backs off when the server selects no subprotocol, which ws rejects', async () => {
    select = false
    const client = open({ minDelay: 10_000 })
    expect(await reached(client, 'waiting')).to.include({ code: 1006 })
  })

  it('sends the code and reason of close() to the server', async () => {
    const client = open()
    const socket = await welcomed(client)
    client.close(4000, 'done')
    const [code, reason] = await once(socket, 'close')
    expect([code, String(reason)]).to.deep.equal([4000, 'done'])
  })

  it('survives close() during the handshake', async () => {
    const client = open()
    await new Promise((resolve) => setImmediate(resolve))
    client.close()
    expect(client.state).to.deep.equal({ status: 'stopped', code: 1000 })
  })

  it('lets the process end without close() while no socket is open', async () => {
    const source = new URL('../../lib/', import.meta.url).href
    const program = `
      import { WebSocket } from 'ws'
      import { connect } from '${source}client/index.ts'
      import { fakeServer } from '${source}testing/index.ts'
      const welcome = { heartbeat: 60_000, refresh: true, expiresAt: Date.now() + 3_600_000 }
      const server = fakeServer(undefined, { welcome })
      const options = { WebSocket: server.WebSocket, token: () => 'abc' }
      const open = connect('ws://test/', options)
      await open.request('nothing').catch((error) => console.log(error.code, open.state.status))
      connect('ws://test/', { ...options, token: () => new Promise(() => {}) }).open()
      const gone = connect('ws://127.0.0.1:1/', { WebSocket, minDelay: 60_000, maxDelay: 60_000 })
      gone.subscribe(() => console.log(gone.state.status))
      gone.push('later')`
    const { stdout, status } = spawnSync(
      process.execPath,
      ['--import=tsx', '--input-type=module', '-e', program],
      { cwd: fileURLToPath(new URL('../..', import.meta.url)), encoding: 'utf8', timeout: 55_000 },
    )
    expect(stdout.trim().split('\n')).to.deep.equal(['ERR_KOAWS_UNKNOWN_TYPE open', 'waiting'])
    expect(status).to.equal(0)
  }).timeout(60_000)

  it('lets the process end after close()', async () => {
    const { port } = server.address() as AddressInfo
    const data = { heartbeat: 25_000, refresh: true, expiresAt: Date.now() + 3_600_000 }
    server.on('connection', (socket) => send(socket, { type: 'koaws:welcome', data }))
    const source = new URL('../../lib/client/index.ts', import.meta.url).href
    const program = `
      import { WebSocket } from 'ws'
      import { connect } from ${JSON.stringify(source)}
      const client = connect('ws://127.0.0.1:${port}/', { WebSocket, token: () => 'abc' })
      client.request('say', 1, { timeout: 60_000 }).catch(() => {})
      const late = connect('ws://127.0.0.1:1/', { WebSocket, minDelay: 60_000, maxDelay: 60_000 })
      late.subscribe(() => late.state.status === 'waiting' && late.close())
      client.subscribe(() => client.state.status === 'open' && client.close())`
    const child = spawn(process.execPath, ['--import=tsx', '--input-type=module', '-e', program], {
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      stdio: 'inherit',
    })
    const [code] = await once(child, 'exit')
    expect(code).to.equal(0)
  })
})

describe('the bundle of the client', () => {
  const root = fileURLToPath(new URL('../..', import.meta.url))

  it('exports connect, protocol and RequestError for pages', async () => {
    const bundle = await import(new URL('../../dist/koaws-client.js', import.meta.url).href)
    expect(Object.keys(bundle).sort()).to.deep.equal(['RequestError', 'connect', 'protocol'])
    expect(bundle.protocol({ typing: {} })).to.deep.equal({ types: { typing: {} } })
    const client = bundle.connect('ws://127.0.0.1:1/', { WebSocket })
    expect(client.state).to.deep.equal({ status: 'connecting' })
  })

  it('stays within its size limit', () => {
    const { status, stdout } = spawnSync(process.execPath, ['scripts/client-size.mjs'], {
      cwd: root,
      encoding: 'utf8',
    })
    expect(stdout).to.match(/^koaws-client\.js: \d+ bytes gzipped/)
    expect(stdout).to.match(/^koaws-client-streams\.js: \d+ bytes gzipped/m)
    expect(status).to.equal(0)
  })

  for (const [name, names] of [
    ['index', ['RequestError', 'connect', 'protocol']],
    ['streams', ['streams']],
  ] as const) {
    it(`is one readable file without imports for Node: ${name}.js`, async () => {
      const url = new URL(`../../dist/client/${name}.js`, import.meta.url)
      const text = await readFile(url, 'utf8')
      expect(Math.max(...text.split('\n').map((line) => line.length))).to.be.below(300)
      expect(text).to.not.match(/^import /m)
      expect(Object.keys(await import(url.href)).sort()).to.deep.equal(names)
    })
  }

  it('is the target of each condition in the exports of the package', () => {
    const resolve = (name: string, ...conditions: string[]): string => {
      const args = conditions.map((condition) => `--conditions=${condition}`)
      const program = `console.log(import.meta.resolve('${name}'))`
      const { stdout } = spawnSync(
        process.execPath,
        [...args, '--input-type=module', '-e', program],
        { cwd: root, encoding: 'utf8' },
      )
      return stdout.trim().replace(/.*\/dist\//, '')
    }
    expect(resolve('koaws/client')).to.equal('client/index.js')
    expect(resolve('koaws/client', 'browser')).to.equal('koaws-client.js')
    expect(resolve('koaws/client/streams')).to.equal('client/streams.js')
    expect(resolve('koaws/client/streams', 'browser')).to.equal('koaws-client-streams.js')
  })

  for (const [name, imports] of [
    ['koaws-client.js', ['import("./koaws-client-streams.js")']],
    ['koaws-client-streams.js', []],
  ] as const) {
    it(`of pages uses no require, Buffer, process or other import: ${name}`, async () => {
      const text = await readFile(new URL(`../../dist/${name}`, import.meta.url), 'utf8')
      expect(text.match(/\bimport\b\W*[^)]*\)?/g) ?? []).to.deep.equal(imports)
      expect(text).to.not.match(/\brequire\b|\bBuffer\b|\bprocess\b/)
    })
  }
})

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
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

  beforeEach(async () => {
    select = 'koaws.v1'
    offered.length = 0
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

  /** The server's end of the next connection. */
  async function accepted(): Promise<WebSocket> {
    const [socket] = await once(server, 'connection')
    return socket
  }

  function send(socket: WebSocket, message: object): void {
    socket.send(JSON.stringify(message))
  }

  async function next(socket: WebSocket): Promise<unknown> {
    const [data] = await once(socket, 'message')
    return JSON.parse(String(data))
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
    expect(offered).to.deep.equal([['koaws.v1', 'koaws.bearer64.YSBi']])
    const answer = client.request('say', { text: 'hé' })
    expect(await next(socket)).to.deep.equal({ type: 'say', id: 1, data: { text: 'hé' } })
    client.on('confirm', (data) => data === 'Sure?')
    send(socket, { type: 'koaws:reply', id: 1, data: { ok: true } })
    send(socket, { type: 'confirm', id: 1, data: 'Sure?' })
    expect(await next(socket)).to.deep.equal({ type: 'koaws:reply', id: 1, data: true })
    expect(await answer).to.deep.equal({ ok: true })
  })

  it('authenticates in a message', async () => {
    const client = open({ token: () => 'abc', tokenIn: 'message' })
    const socket = await accepted()
    send(socket, { type: 'koaws:authenticate', data: { timeout: 10_000 } })
    expect(await next(socket)).to.deep.equal({ type: 'koaws:auth', id: 1, data: { token: 'abc' } })
    send(socket, { type: 'koaws:reply', id: 1, data: { expiresAt: null } })
    send(socket, { type: 'koaws:welcome', data: {} })
    await reached(client, 'open')
  })

  it('learns code and reason of a close, and comes back', async () => {
    const client = open({ minDelay: 5 })
    const first = await welcomed(client)
    const waiting = reached(client, 'waiting')
    first.close(1011, 'failed')
    expect(await waiting).to.include({ code: 1011, reason: 'failed' })
    await welcomed(client)
    expect(offered).to.have.length(2)
  })

  it('stops after a rejected handshake', async () => {
    const client = open()
    const socket = await accepted()
    socket.close(4403, 'Members only')
    expect(await reached(client, 'stopped')).to.deep.equal({
      status: 'stopped',
      code: 4403,
      reason: 'Members only',
    })
  })

  it('obeys a bye', async () => {
    const client = open()
    const first = await welcomed(client)
    const before = Date.now()
    send(first, { type: 'koaws:bye', data: { code: 1012, reason: 'restart', after: 60 } })
    first.close(1012)
    await welcomed(client)
    expect(Date.now() - before).to.be.within(55, 1000)
  })

  it('comes back after a break without a close frame', async () => {
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

  it('backs off from a server that is not there, or answers over HTTP', async () => {
    const client = open({ WebSocket })
    await welcomed(client)
    const gone = connect('ws://127.0.0.1:1/', { WebSocket })
    clients.push(gone)
    gone.open()
    expect(await reached(gone, 'waiting')).to.include({ code: 1006 })
  })

  it('stops at a server that selects another subprotocol', async () => {
    select = 'koaws.bearer.abc'
    const client = open({ token: 'abc' })
    expect(await reached(client, 'stopped')).to.include({ code: 4613 })
  })

  it('backs off from a server that selects none: ws does not open then', async () => {
    select = false
    const client = open({ minDelay: 10_000 })
    expect(await reached(client, 'waiting')).to.include({ code: 1006 })
  })

  it('tells the server code and reason of its close()', async () => {
    const client = open()
    const socket = await welcomed(client)
    client.close(4000, 'done')
    const [code, reason] = await once(socket, 'close')
    expect([code, String(reason)]).to.deep.equal([4000, 'done'])
  })

  it('survives close() in the middle of a handshake', async () => {
    const client = open()
    await new Promise((resolve) => setImmediate(resolve))
    client.close()
    expect(client.state).to.deep.equal({ status: 'stopped', code: 1000 })
  })

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

  it('is a module of its own, for pages', async () => {
    const bundle = await import(new URL('../../dist/koaws-client.js', import.meta.url).href)
    expect(Object.keys(bundle).sort()).to.deep.equal(['RequestError', 'connect', 'protocol'])
    expect(bundle.protocol({ typing: {} })).to.deep.equal({ types: { typing: {} } })
    const client = bundle.connect('ws://127.0.0.1:1/', { WebSocket })
    expect(client.state).to.deep.equal({ status: 'connecting' })
  })

  it('is no larger than it may be', () => {
    const { status, stdout } = spawnSync(process.execPath, ['scripts/client-size.mjs'], {
      cwd: root,
      encoding: 'utf8',
    })
    expect(stdout).to.match(/^koaws\/client: \d+ bytes gzipped/)
    expect(status).to.equal(0)
  })

  it('imports nothing', async () => {
    const text = await readFile(new URL('../../dist/koaws-client.js', import.meta.url), 'utf8')
    expect(text).to.not.match(/\bimport\b|\brequire\b|\bBuffer\b|\bprocess\b/)
  })
})

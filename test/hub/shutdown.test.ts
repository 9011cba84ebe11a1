import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { expect } from 'chai'
import { accept, type KoaWsError } from '../../lib/index.ts'
import { handshake, rawClient } from '../support/raw.ts'
import { cleanUp, deferred, eventually, openSocket, rejected, serve } from '../support/server.ts'

describe('hub.close()', () => {
  afterEach(cleanUp)

  it('closes every connection with 1012 and lets server.close() complete', async () => {
    const { port, hub, server } = await serve((app) => app.use(accept(() => {})))
    const sockets = await Promise.all([openSocket(port), openSocket(port), openSocket(port)])
    const closed = new Promise((resolve) => server.close(resolve))
    await hub.close()
    for (const socket of sockets) expect((await socket.closed).code).to.equal(1012)
    await closed
    expect(hub.status()).to.deep.include({
      ready: false,
      reasons: ['draining'],
      draining: true,
      connections: 0,
    })
  })

  it('answers new and pending upgrades with 503 and Retry-After', async () => {
    const late = deferred<KoaWsError>()
    const release = deferred()
    const { port, hub } = await serve((app) =>
      app.use(async (ctx) => {
        if (ctx.path === '/open') return ctx.ws?.(() => {})
        await release.promise
        await ctx.ws?.().catch(late.resolve)
      }),
    )
    const open = await rawClient(port) // does not answer the close frame, and keeps the hub closing
    open.write(handshake('/open'))
    await open.answer()
    const waiting = rejected(openSocket(port, '/slow'))
    await eventually(() => hub.status().pending === 1)
    const closing = hub.close({ timeout: 500 })
    const answers = [await waiting, await rejected(openSocket(port))]
    for (const { status, headers } of answers)
      expect([status, headers['retry-after']]).to.deep.equal([503, '5'])
    release.resolve()
    expect((await late.promise).code).to.be.oneOf(['ERR_KOAWS_DRAINING'])
    expect(hub.status().drops['draining']).to.equal(2)
    await closing
  })

  it('terminates clients that have not answered the close by the deadline', async () => {
    const { port, hub } = await serve((app) => app.use(accept(() => {})), { closeTimeout: 60_000 })
    const client = await rawClient(port)
    client.write(handshake('/'))
    await client.answer()
    const started = Date.now()
    await hub.close({ timeout: 150, code: 1001 })
    expect(Date.now() - started).to.be.at.least(140)
    expect(await client.closeCode()).to.equal(1001)
    await client.end()
    expect(hub.localConnections.size).to.equal(0)
  })

  it('waits for onDisconnect, but not beyond its deadline', async () => {
    const order: string[] = []
    const release = deferred()
    const { port, hub } = await serve((app) => app.use(accept(() => {})), {
      onDisconnect: async (_connection, { code, clean }) => {
        order.push(`${code} ${clean}`)
        await release.promise
        order.push('done')
      },
    })
    await openSocket(port)
    const closing = hub.close().then(() => order.push('closed'))
    await eventually(() => order.length === 1)
    release.resolve()
    await closing
    expect(order).to.deep.equal(['1012 true', 'done', 'closed'])
    const never = await serve((app) => app.use(accept(() => {})), {
      onDisconnect: () => new Promise(() => {}),
    })
    await openSocket(never.port)
    await never.hub.close({ timeout: 100 })
  })

  it('sets ready to false at once, and refuses upgrades after readyDelay', async () => {
    const { port, hub } = await serve((app) => app.use(accept(() => {})))
    const closing = hub.close({ readyDelay: 3_000, timeout: 500 })
    expect(hub.status().ready).to.equal(false)
    const socket = await openSocket(port)
    expect((await socket.closed).code).to.equal(1012)
    await closing
    expect((await rejected(openSocket(port))).status).to.equal(503)
  })

  it('returns the same promise when called twice, and ends loops over messages', async () => {
    const over = deferred<string[]>()
    const { port, hub } = await serve((app) =>
      app.use(
        accept(async (connection) => {
          const seen: string[] = []
          for await (const message of connection) seen.push(String(message))
          over.resolve(seen)
        }),
      ),
    )
    const socket = await openSocket(port)
    socket.send('a')
    socket.send('b')
    await eventually(() => hub.localConnections.size === 1)
    const [connection] = hub.localConnections.values()
    await once(connection as never, 'message')
    expect(hub.close()).to.equal(hub.close())
    await hub.close()
    expect(await over.promise).to.include('a')
    await hub[Symbol.asyncDispose]()
  })

  it('with server: true ends remaining HTTP connections at the deadline @http1', async () => {
    const { port, hub, server } = await serve((app) => app.use(accept(() => {})))
    await openSocket(port)
    const idle = connect(port, '127.0.0.1')
    await once(idle, 'connect')
    idle.on('error', () => {})
    await eventually(() => server.listening)
    const ended = once(idle, 'close')
    idle.resume()
    await hub.close({ server: true, timeout: 200 })
    expect(server.listening).to.equal(false)
    await ended
  })

  it('throws for unknown and wrong options', async () => {
    const { hub } = await serve(() => {})
    expect(() => hub.close({ timout: 5 } as never)).to.throw('Did you mean "timeout"?')
    expect(() => hub.close({ timeout: 5 })).to.throw('seconds')
    expect(() => hub.close({ code: 1006 })).to.throw('"code"')
  })

  it('lets the process end by itself', async () => {
    const program = `
      import Koa from 'koa'
      import { WebSocket } from 'ws'
      import koaWs, { accept } from './lib/index.ts'
      const app = new Koa()
      const hub = koaWs()
      app.use(hub)
      app.use(accept(() => {}, { expiresAt: Date.now() + 1e12 }))
      const server = app.listen(0, '127.0.0.1', () => {
        const socket = new WebSocket('ws://127.0.0.1:' + server.address().port)
        socket.on('open', async () => { await hub.close(); server.close(() => console.log('closed')) })
      })`
    const child = spawn(process.execPath, ['--import=tsx', '--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let output = ''
    child.stdout.on('data', (data) => (output += data))
    const [code] = await once(child, 'exit')
    expect([code, output.trim()]).to.deep.equal([0, 'closed'])
  })
})

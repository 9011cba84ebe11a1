import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer as createHttp } from 'node:http'
import http2 from 'node:http2'
import type { Socket } from 'node:net'
import { createServer as createTls } from 'node:tls'
import { expect } from 'chai'
import { WebSocketServer } from 'ws'
import { accept, bearer, type KoaWsOptions, messages } from '../../../lib/index.ts'
import { selfSigned } from '../../support/certificate.ts'
import { cleanUp, listen, makeApp, makeHub, openSocket, serve } from '../../support/server.ts'
import { type RawServer, rawServer, switching } from '../support/hostile.ts'
import { type DoctorJson, diagnose, rowOf, run } from '../support/run.ts'

const INSECURE = ['--insecure', '--ignore=tls-untrusted', '--ignore=tls-expiring']

describe('koaws doctor', () => {
  let raw: RawServer | null = null

  afterEach(async () => {
    await raw?.close()
    raw = null
    await cleanUp()
  })

  const start = async (
    build: Parameters<typeof serve>[0],
    options?: KoaWsOptions,
  ): Promise<string> => `ws://127.0.0.1:${(await serve(build, options)).port}/`

  /** Starts a server that gives each request the same answer. */
  async function answering(answer: string): Promise<string> {
    await raw?.close()
    raw = await rawServer((socket) => socket.end(answer))
    return raw.url
  }

  it('names the rejections of koaws, by status and by close code', async () => {
    const cases: [string, number][] = [
      ['unauthorized', 401],
      ['forbidden', 403],
      ['too-many', 429],
      ['server-error', 500],
    ]
    for (const [id, status] of cases) {
      for (const reject of ['http', 'close'] as const) {
        const url = await start((app) => app.use((ctx) => ctx.throw(status, 'Not now')), { reject })
        const result = await diagnose(url)
        expect(result.ids, `${status} ${reject}`).to.deep.equal([id])
        const { data } = rowOf(result, 'Upgrade')
        expect(data['status']).to.equal(status)
        expect(data['closeCode']).to.equal(reject === 'close' ? 4_000 + status : null)
      }
    }
  })

  it('names a limit, a shutdown, a host and an origin of koaws with its code', async () => {
    const build: Parameters<typeof serve>[0] = (app) => app.use(accept(() => {}))
    const small = await start(build, { maxConnections: 1 })
    await openSocket(small)
    const full = await diagnose(small)
    expect(full.ids).to.deep.equal(['too-many'])
    expect(rowOf(full, 'Upgrade').data['status']).to.equal(503)
    const host = await diagnose(await start(build, { hosts: ['example.com'] }))
    expect(host.ids).to.deep.equal(['host-not-allowed'])
    const other = await start(build)
    const origin = await diagnose(other, '--origin', 'https://app.example.com')
    expect(origin.ids).to.deep.equal(['origin-rejected'])
    expect(rowOf(origin, 'Upgrade').data['code']).to.equal('ERR_KOAWS_ORIGIN')
    expect(rowOf(origin, 'Ping').state).to.equal('ok')
    const draining = await answering(
      'HTTP/1.1 503 Service Unavailable\r\n\r\nThis server is shutting down.',
    )
    expect((await diagnose(draining)).ids).to.deep.equal(['draining'])
  })

  it('names a rejection of another server by its status', async () => {
    const answers: [string, string][] = [
      ['bad-request', 'HTTP/1.1 400 Bad Request\r\n\r\n'],
      ['upgrade-dropped', 'HTTP/1.1 400 Bad Request\r\n\r\nTransport unknown'],
      ['upgrade-dropped', 'HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n'],
      ['answered-200', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n'],
      ['backend-unreachable', 'HTTP/1.1 504 Gateway Timeout\r\n\r\n'],
      ['rejected', 'HTTP/1.1 418 I am a teapot\r\n\r\n'],
      ['redirected', 'HTTP/1.1 308 Permanent Redirect\r\nLocation: /other/\r\n\r\n'],
      ['redirected', 'HTTP/1.1 302 Found\r\n\r\n'],
    ]
    for (const [id, answer] of answers)
      expect((await diagnose(await answering(answer))).ids, answer).to.deep.equal([id])
    const url = await answering('HTTP/1.1 400 No\r\n\r\nERR_KOAWS_BEARER ERR_KOAWS_SECRET')
    expect(rowOf(await diagnose(url), 'Upgrade').data['code']).to.equal('ERR_KOAWS_BEARER')
  })

  it('offers koaws.v1 first, and then no subprotocol', async () => {
    const v1 = await diagnose(await start((app) => app.use(accept(messages()))))
    expect(rowOf(v1, 'Subprotocol').data).to.deep.equal({
      offered: ['koaws.v1'],
      chosen: 'koaws.v1',
    })
    const plain = await start((app) => app.use(accept(() => {})))
    expect(rowOf(await diagnose(plain), 'Subprotocol').data['chosen']).to.equal(null)
    const strict = await start((app) => app.use(accept(() => {}, { subprotocol: 'chat' })))
    const without = await diagnose(strict)
    expect(without.ids).to.deep.equal(['subprotocol-rejected'])
    expect(without.findings[0]?.fix).to.include('--protocol chat')
    const asked = await diagnose(strict, '--protocol', 'chat')
    expect(asked.ids).to.deep.equal([])
    expect(rowOf(asked, 'Subprotocol').data['chosen']).to.equal('chat')
  })

  it('passes a token as a bearer entry', async () => {
    const url = await start((app) => {
      app.use(bearer())
      app.use((ctx, next) => {
        if (ctx.get('authorization') !== 'Bearer right-token') ctx.throw(401)
        return next()
      })
      app.use(accept(messages()))
    })
    expect((await diagnose(url)).ids).to.deep.equal(['unauthorized'])
    expect((await diagnose(url, '--token', 'right-token')).ids).to.deep.equal([])
  })

  it('examines a server of ws', async () => {
    const http = createHttp()
    const port = await listen(http)
    const server = new WebSocketServer({ server: http, perMessageDeflate: true })
    try {
      const url = `ws://127.0.0.1:${port}/`
      const result = await diagnose(url)
      expect(result.ids).to.deep.equal(['origin-any'])
      expect(rowOf(result, 'Compression').data['permessageDeflate']).to.equal(true)
      expect(rowOf(result, 'Message size').data['accepted']).to.equal(1_048_576)
    } finally {
      for (const socket of server.clients) socket.terminate()
      server.close()
    }
  })

  it('sends no message to the application', async () => {
    let seen = 0
    const url = await start((app) =>
      app.use(accept((connection) => connection.on('message', () => seen++))),
    )
    expect((await diagnose(url, '--size', '1M')).ids).to.deep.equal([])
    expect(seen).to.equal(0)
  })

  describe('with --restart', () => {
    /** Runs the check, and calls a function when the doctor waits for the restart. */
    async function restart(
      url: string,
      restarting: () => void,
    ): Promise<{ ids: string[]; row: unknown }> {
      const { out } = await run(['doctor', '--json', url, '--size=0', '--restart=60'], {
        progress: true,
        err: (text) => text.includes('Restart the server') && restarting(),
      })
      const result: DoctorJson = JSON.parse(out)
      const ids = result.findings.map(({ id }) => id)
      return { ids, row: rowOf(result, 'Restart').data['code'] }
    }

    it('tells 1012 from a cut, and from a restart that does not come', async () => {
      const { hub, port, server } = await serve((app) => app.use(accept(() => {})))
      const sockets = new Set<Socket>()
      server.on('connection', (socket) => sockets.add(socket))
      const url = `ws://127.0.0.1:${port}/`
      const cut = await restart(url, () => {
        for (const socket of sockets) socket.resetAndDestroy()
      })
      expect(cut).to.deep.equal({ ids: ['restart-cut'], row: 1006 })
      expect((await diagnose(url, '--restart=0.1')).ids).to.deep.equal(['restart-unseen'])
      const closed = await restart(url, () => void hub.close())
      expect(closed).to.deep.equal({ ids: [], row: 1012 })
    })
  })

  it('warns of pongs that come late', async () => {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1', autoPong: false })
    server.on('connection', (socket) => {
      let pings = 0
      socket.on('ping', (data) => setTimeout(() => socket.pong(data), ++pings === 3 ? 1_100 : 0))
    })
    try {
      await once(server, 'listening')
      const address = server.address()
      const port = typeof address === 'object' && address ? address.port : 0
      const { ids } = await diagnose(`ws://127.0.0.1:${port}/`, '--size=0')
      expect(ids).to.have.members(['buffered', 'origin-any'])
    } finally {
      for (const socket of server.clients) socket.terminate()
      server.close()
    }
  })

  it('warns of ws:// to another machine, and names a host that does not exist', async () => {
    const url = await start((app) => app.use(accept(() => {})))
    const plain = await diagnose(url.replace('127.0.0.1', '0.0.0.0'))
    expect(plain.ids).to.deep.equal(['plain-ws'])
    const result = await diagnose('wss://no-such-name.invalid/', '--timeout', '5')
    expect(result.ids).to.deep.equal(['dns-failed'])
    const down = await diagnose('ws://127.0.0.1:1/')
    expect(down.ids).to.deep.equal(['connect-failed'])
  })

  describe('over TLS', () => {
    const files = (): { key: Buffer; cert: Buffer } => {
      const { key, cert } = selfSigned()
      return { key: readFileSync(key), cert: readFileSync(cert) }
    }

    it('tries WebSockets over HTTP/2 where RFC 8441 is enabled', async () => {
      for (const works of [true, false]) {
        const { app } = makeApp()
        const hub = makeHub()
        app.use((ctx, next) => {
          if (!works && ctx.req.httpVersionMajor === 2) ctx.throw(501)
          return next()
        })
        app.use(hub)
        app.use(accept(() => {}))
        const server = http2.createSecureServer(
          { ...files(), allowHTTP1: true, settings: { enableConnectProtocol: true } },
          app.callback(),
        )
        hub.attach(server)
        const port = await listen(server as never)
        const result = await diagnose(`wss://localhost:${port}/`, ...INSECURE)
        expect(result.ids).to.deep.equal(works ? [] : ['h2-websocket-failed'])
        expect(rowOf(result, 'HTTP/2').data).to.deep.equal({
          offered: true,
          connectProtocol: true,
          status: works ? 200 : 501,
        })
      }
    })

    it('names a server that offers only HTTP/2', async () => {
      const server = http2.createSecureServer(files())
      const port = await listen(server as never)
      const result = await diagnose(`wss://localhost:${port}/`, ...INSECURE)
      expect(result.ids).to.deep.equal(['alpn-h2-only'])
    })

    it('sends nothing when a later connection has another certificate', async () => {
      const requests: string[] = []
      const server = createTls(files(), (socket) => {
        socket.on('error', () => {})
        socket.on('data', (chunk) => {
          requests.push(chunk.toString())
          const head = switching(chunk.toString())
          socket.write(head)
        })
      })
      const port = await listen(server as never)
      const result = await diagnose(`wss://localhost:${port}/?token=abcdefgh`)
      expect(result.ids).to.include('tls-untrusted')
      expect(requests).to.deep.equal([])
      server.close()
    })
  })
})

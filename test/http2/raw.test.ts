import { once } from 'node:events'
import type { ServerHttp2Session } from 'node:http2'
import { connect as connectTls } from 'node:tls'
import { expect } from 'chai'
import type { Context, Next } from 'koa'
import { accept, type Connection, type KoaWsOptions } from '../../lib/index.ts'
import { checkConnect } from '../../lib/upgrade/http2/handshake.ts'
import { handshake } from '../support/raw.ts'
import { deferred, eventually, makeHub, turn } from '../support/server.ts'
import {
  Code,
  closeFrame,
  closeRawHttp2,
  connectFields,
  data,
  type Field,
  Flag,
  frame,
  goaway,
  headerBlock,
  headers,
  inner,
  over,
  RawHttp2,
  type RawStream,
  rstStream,
  Setting,
  settings,
  Type,
  textFrame,
  textsOf,
  windowUpdate,
} from './support/raw-http2.ts'
import { cleanUpHttp2, type Http2Site, serveHttp2 } from './support/site.ts'

/** A site that records which parts of it are reached. */
interface RawSite extends Http2Site {
  /** The requests that reached the application. */
  readonly requests: string[]
  readonly connections: Connection[]
  readonly messages: string[]
  /** The codes of ended connections. */
  readonly closes: number[]
  /** Lets waiting chains continue. */
  readonly gate: ReturnType<typeof deferred<void>>
  client(options?: Parameters<typeof RawHttp2.open>[1]): Promise<RawHttp2>
}

const sessions: ServerHttp2Session[] = []

async function rawSite(options: KoaWsOptions & { secure?: boolean } = {}): Promise<RawSite> {
  const { secure = false, ...hubOptions } = options
  const requests: string[] = []
  const connections: Connection[] = []
  const messages: string[] = []
  const closes: number[] = []
  const gate = deferred()
  const paths: Record<string, (ctx: Context) => unknown> = {
    '/slow': () => gate.promise,
    '/resumes': async (ctx) => {
      ctx.req.resume()
      await gate.promise
    },
    '/reads': async (ctx) => {
      for await (const _ of ctx.req);
      await gate.promise
    },
    '/pauses': (ctx) => void ctx.req.pause(),
    '/listens': async (ctx) => {
      ctx.req.on('data', () => {})
      await gate.promise
    },
  }
  const serve = accept((connection) => {
    connections.push(connection)
    connection.join('room')
    connection.on('message', (message) => {
      messages.push(String(message))
      connection.send(String(message))
    })
  })
  const site = await serveHttp2(
    (app) => {
      app.use(async (ctx, next) => {
        await paths[ctx.path]?.(ctx)
        await next()
      })
      app.use((ctx, next) => {
        if (ctx.path === '/inside') return void ctx.ws?.()
        return ctx.path === '/none' ? next() : serve(ctx as never, next)
      })
    },
    {
      ...hubOptions,
      plain: !secure,
      before: (app) =>
        app.use((ctx: Context, next: Next) => {
          requests.push(`${ctx.method} ${ctx.url}`)
          return next()
        }),
      onDisconnect: (_connection, { code }) => void closes.push(code),
    },
  )
  const client: RawSite['client'] = (clientOptions) =>
    RawHttp2.open(site.port, { secure, ...clientOptions })
  site.server.on('session', (session) => sessions.push(session))
  return { ...site, requests, connections, messages, closes, gate, client }
}

/** Returns the status of a stream; undefined when it ended without one. */
async function answer(client: RawHttp2, stream: RawStream): Promise<number | undefined> {
  const known = (): boolean => stream.status !== undefined || over(stream)
  await client.until(() => known() || client.goaway !== undefined, 'an answer')
  return stream.status
}

/** Errors that Koa itself reports for any request with a client that leaves, over HTTP/1.1 too. */
const OF_KOA = new Set([
  'ERR_HTTP2_STREAM_ERROR',
  'ERR_HTTP2_SESSION_ERROR',
  'ECONNRESET',
  'ERR_KOAWS_CLIENT_GONE',
])

/** Expects that no attacked connection is left, and that the application saw no error. */
async function expectNothingLeft(site: RawSite, connections = 0): Promise<void> {
  const { hub, errors } = site
  await eventually(
    () => hub.status().connections === connections && hub.status().pending === 0,
    'the end of all that was attacked',
  )
  for (let i = 0; i < 3; i++) await turn() // chains that were released have ended
  const others = errors.filter(({ error }) => !OF_KOA.has(String(error['code'])))
  expect(others.map(({ error }) => error.message)).to.deep.equal([])
}

/** Expects an echo from a WebSocket. */
async function expectEcho(client: RawHttp2, stream: RawStream, text = 'still here'): Promise<void> {
  client.send(data(stream.id, textFrame(text)))
  await client.until(() => textsOf(stream).includes(text), 'the echo')
}

const CODES = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 0x7fffffff, 0xffffffff]

describe('raw HTTP/2 frames', () => {
  afterEach(async () => {
    closeRawHttp2()
    for (const session of sessions.splice(0)) session.destroy()
    await cleanUpHttp2()
  })

  describe('a malformed handshake', () => {
    /** 400: rejected by koaws. null: rejected by koaws, or by nghttp2, which resets the stream. */
    const bad: Record<string, [status: number | null, Record<string, string | null>, Field[]?]> = {
      'a :path with two slashes': [400, { ':path': '//example.com/x' }],
      'an empty :path': [null, { ':path': '' }],
      'no :path': [null, { ':path': null }],
      'the :path *': [null, { ':path': '*' }],
      'the :path * with another scheme': [400, { ':path': '*', ':scheme': 'ftp' }],
      'an absolute :path': [null, { ':path': 'http://example.com/' }],
      'a :path without a slash, with another scheme': [400, { ':path': 'x', ':scheme': 'ws' }],
      'a :path with a space': [null, { ':path': '/x HTTP/1.1' }],
      'a :path with a line break': [null, { ':path': '/x\r\nhost: example.com' }],
      'two :path': [null, {}, [[':path', '/other']]],
      'no :scheme': [null, { ':scheme': null }],
      'an empty :scheme': [null, { ':scheme': '' }],
      'the :scheme wss': [400, { ':scheme': 'wss' }],
      'the :scheme ftp': [400, { ':scheme': 'ftp' }],
      'no :authority': [null, { ':authority': null }],
      'a Host in place of an :authority': [null, { ':authority': null, host: '127.0.0.1' }],
      'an empty :authority': [null, { ':authority': '' }],
      'a user in :authority': [null, { ':authority': 'user@127.0.0.1' }],
      'a user and a password in :authority': [null, { ':authority': 'user:word@127.0.0.1' }],
      'a list as :authority': [400, { ':authority': '127.0.0.1,example.com' }],
      'a path in :authority': [null, { ':authority': '127.0.0.1/x' }],
      'two :authority': [null, {}, [[':authority', '127.0.0.1']]],
      'a Host that contradicts :authority': [400, { host: 'example.com' }],
      'a Host with another port than :authority': [400, { host: '127.0.0.1:80' }],
      'two Host': [null, { host: '127.0.0.1' }, [['host', '127.0.0.1']]],
      'a :protocol of a GET': [null, { ':method': 'GET' }],
      'two :protocol': [null, {}, [[':protocol', 'websocket']]],
      'an unknown pseudo-header': [null, { ':upgrade': 'websocket' }],
      'a pseudo-header behind others': [null, { ':path': null }, [[':path', '/']]],
      Connection: [null, { connection: 'Upgrade' }],
      Upgrade: [null, { upgrade: 'websocket' }],
      'Transfer-Encoding': [null, { 'transfer-encoding': 'chunked' }],
      'a Content-Length of nothing': [400, { 'content-length': '0' }],
      'a Content-Length': [400, { 'content-length': '5' }],
      'a Content-Length that is no number': [null, { 'content-length': 'x' }],
      'a name in upper case': [null, { 'X-Y': '1' }],
      'no version': [400, { 'sec-websocket-version': null }],
      'another version': [400, { 'sec-websocket-version': '8' }],
      'two versions': [400, {}, [['sec-websocket-version', '13']]],
      'a list of subprotocols that is none': [400, { 'sec-websocket-protocol': 'a b' }],
    }

    it('never reaches the application', async () => {
      const site = await rawSite()
      const client = await site.client()
      const bystander = await client.websocket()
      site.requests.length = 0
      for (const [name, [wanted, changed, more = []]] of Object.entries(bad)) {
        const stream = client.stream(client.next())
        client.send(headers(stream.id, [...connectFields(changed), ...more]))
        const status = await answer(client, stream)
        if (wanted === null && status === undefined) {
          expect(stream.reset, name).to.equal(Code.protocolError)
        } else expect(status, name).to.equal(wanted ?? 400)
      }
      await client.settled()
      expect(site.requests).to.deep.equal([])
      await expectEcho(client, bystander)
      await expectNothingLeft(site, 1)
    })

    it('is rejected by checkConnect() itself, not only by nghttp2', () => {
      const good = Object.fromEntries(connectFields())
      const check = (changed: Record<string, string | undefined>, rawHeaders: string[] = []) =>
        checkConnect({ headers: { ...good, ...changed }, rawHeaders } as never)?.status
      expect(check({})).to.equal(undefined)
      for (const path of [undefined, '', '*', '//x', 'x', 'http://x/']) {
        expect(check({ ':path': path }), path).to.equal(400)
      }
      for (const scheme of [undefined, '', 'ws', 'https, http']) {
        expect(check({ ':scheme': scheme }), scheme).to.equal(400)
      }
      for (const authority of [undefined, '', 'a@b', 'a, b', 'a/b', 'a b']) {
        expect(check({ ':authority': authority }), authority).to.equal(400)
      }
      const host = ['host', '127.0.0.1']
      expect(check({ host: '127.0.0.1' }, host)).to.equal(undefined)
      expect(check({ host: '127.0.0.1' }, [...host, ...host])).to.equal(400)
    })

    it('is answered with 501 for another protocol, and with 405 for a plain CONNECT', async () => {
      const site = await rawSite()
      const client = await site.client()
      for (const protocol of ['connect-udp', 'WebSocket', 'websocket2']) {
        const stream = client.connect({ ':protocol': protocol })
        expect(await answer(client, stream), protocol).to.equal(501)
      }
      const plain = { ':protocol': null, ':scheme': null, ':path': null }
      expect(await answer(client, client.connect(plain))).to.equal(405)
      expect(site.requests).to.deep.equal([])
      expect(client.goaway).to.equal(undefined)
    })

    it('with END_STREAM in its headers is rejected with 400', async () => {
      const site = await rawSite()
      const client = await site.client()
      const stream = client.stream(client.next())
      client.send(headers(stream.id, connectFields(), Flag.endHeaders | Flag.endStream))
      expect(await answer(client, stream)).to.equal(400)
      expect(site.requests).to.deep.equal([])
      await expectNothingLeft(site)
    })
  })

  describe('DATA before the accept', () => {
    for (const path of ['/', '/slow', '/resumes', '/reads', '/listens', '/pauses']) {
      it(`is delivered in order after it: ${path}`, async () => {
        const site = await rawSite()
        const client = await site.client()
        const texts = Array.from({ length: 20 }, (_, i) => `${i} ${'x'.repeat(2_000)}`)
        const stream = client.stream(client.next())
        const early = texts.map((text) => data(stream.id, textFrame(text)))
        client.send(headers(stream.id, connectFields({ ':path': path })), ...early.slice(0, 10))
        await client.settled()
        client.send(...early.slice(10))
        await client.settled()
        site.gate.resolve()
        expect(await answer(client, stream)).to.equal(200)
        await client.until(() => textsOf(stream).length >= texts.length, 'all that was sent')
        expect(textsOf(stream)).to.deep.equal(texts)
        await expectEcho(client, stream)
        await expectNothingLeft(site, 1)
      })
    }

    it('may contain messages and a close frame', async () => {
      const site = await rawSite()
      const client = await site.client()
      const stream = client.stream(client.next())
      client.send(
        headers(stream.id, connectFields({ ':path': '/slow' })),
        data(stream.id, Buffer.concat([textFrame('one'), textFrame('two'), closeFrame(4001)])),
      )
      await client.settled()
      site.gate.resolve()
      await client.until(() => stream.inner.some(({ opcode }) => opcode === 8), 'a close frame')
      expect(site.messages).to.deep.equal(['one', 'two'])
      client.send(data(stream.id, '', Flag.endStream))
      await expectNothingLeft(site)
      expect(site.closes).to.deep.equal([4001])
    })

    it('with END_STREAM leaves no connection', async () => {
      const site = await rawSite()
      const client = await site.client()
      const stream = client.stream(client.next())
      client.send(
        headers(stream.id, connectFields({ ':path': '/slow' })),
        data(stream.id, textFrame('one'), Flag.endStream),
      )
      await client.settled()
      site.gate.resolve()
      await expectNothingLeft(site)
      expect(site.closes.filter((code) => code !== 1006)).to.deep.equal([])
    })

    it('stops at the flow-control window, and continues after the accept', async () => {
      const site = await rawSite()
      const client = await site.client()
      const stream = client.connect({ ':path': '/slow' })
      const whole = inner(2, Buffer.alloc(100_000, 'y'))
      const window = 65_535
      for (let at = 0; at < window; at += 16_000) {
        client.send(data(stream.id, whole.subarray(at, Math.min(at + 16_000, window))))
      }
      await client.settled()
      const opened = (): boolean =>
        client.frames.some(({ type, stream: id }) => type === Type.windowUpdate && id === stream.id)
      expect(opened()).to.equal(false)
      site.gate.resolve()
      await client.until(opened, 'a larger window')
      for (let at = window; at < whole.length; at += 16_000) {
        client.send(data(stream.id, whole.subarray(at, at + 16_000)))
      }
      await client.until(() => stream.inner.length === 1, 'the echo')
      expect(site.messages[0]?.length).to.equal(100_000)
    })
  })

  describe('HEADERS on an open WebSocket', () => {
    it('end it as trailers', async () => {
      const site = await rawSite()
      const client = await site.client()
      const [stream, bystander] = [await client.websocket(), await client.websocket()]
      client.send(headers(stream.id, [['x-later', '1']], Flag.endHeaders | Flag.endStream))
      await client.until(() => over(stream), 'its end')
      await expectNothingLeft(site, 1)
      expect(site.closes).to.deep.equal([1006])
      await expectEcho(client, bystander)
    })

    it('end it without END_STREAM, and its neighbors keep working', async () => {
      const site = await rawSite()
      const client = await site.client()
      const [stream, other, bystander] = [
        await client.websocket(),
        await client.websocket(),
        await client.websocket(),
      ]
      client.send(headers(stream.id, [['x-later', '1']]), headers(other.id, connectFields()))
      await client.until(() => over(stream) && over(other), 'their end')
      await expectNothingLeft(site, 1)
      expect(site.closes).to.deep.equal([1006, 1006])
      await expectEcho(client, bystander)
    })
  })

  describe('RST_STREAM', () => {
    for (const path of ['/slow', '/inside', '/none', '/']) {
      it(`in the segment of the handshake leaves no connection, with every code: ${path}`, async () => {
        const site = await rawSite()
        const client = await site.client()
        const bystander = await client.websocket()
        for (const code of CODES) {
          const id = client.next()
          client.send(headers(id, connectFields({ ':path': path })), rstStream(id, code))
        }
        await client.settled()
        site.gate.resolve()
        await expectNothingLeft(site, 1)
        expect(site.closes.filter((code) => code !== 1006)).to.deep.equal([])
        await expectEcho(client, bystander)
      })

      it(`before the accept leaves no connection, with every code: ${path}`, async () => {
        const site = await rawSite()
        const client = await site.client()
        const bystander = await client.websocket()
        for (const code of CODES) {
          const { id } = client.connect({ ':path': path }, data(client.next() - 2, textFrame('x')))
          await client.settled()
          client.send(rstStream(id, code))
        }
        await client.settled()
        site.gate.resolve()
        await expectNothingLeft(site, 1)
        expect(site.closes.filter((code) => code !== 1006)).to.deep.equal([])
        await expectEcho(client, bystander)
      })
    }

    it('before the plugin runs keeps the rest of the chain from running', async () => {
      const outcomes: unknown[] = []
      const gate = deferred()
      const site = await serveHttp2(
        (app) => {
          app.use(async (ctx, next) => {
            if (ctx.path === '/accept') return next()
            outcomes.push(ctx.path)
          })
          app.use(accept(() => {}))
        },
        { plain: true, before: (app) => app.use((_ctx, next) => gate.promise.then(next)) },
      )
      const client = await RawHttp2.open(site.port)
      for (const path of ['/accept', '/inside']) {
        const early = client.connect({ ':path': path }).id
        await client.settled()
        client.send(rstStream(early, Code.cancel))
        const id = client.next()
        client.send(headers(id, connectFields({ ':path': path })), rstStream(id, Code.cancel))
      }
      await client.settled()
      gate.resolve()
      for (let i = 0; i < 3; i++) await turn()
      expect(outcomes).to.deep.equal([])
      expect(new Set(site.errors.map(({ error }) => error['code']))).to.deep.equal(
        new Set(['ERR_KOAWS_CLIENT_GONE']),
      )
      expect(site.hub.status()).to.include({ connections: 0, pending: 0 })
    })

    for (const carrier of ['HTTP/1.1', 'HTTP/2']) {
      it(`before the plugin runs leaves no upgrade pending in either of two hubs: ${carrier}`, async () => {
        const gate = deferred()
        const waiting: unknown[] = []
        const other = makeHub({ property: 'ws2', maxConnections: 3 })
        const site = await serveHttp2(
          (app) => {
            app.use(other)
            app.use(accept(() => {}))
          },
          {
            maxConnections: 3,
            before: (app) => app.use((_ctx, next) => (waiting.push(1), gate.promise.then(next))),
          },
        )
        other.attach(site.server)
        const fields = connectFields({ ':scheme': 'https' })
        for (let i = 1; i <= 5; i++) {
          if (carrier === 'HTTP/2') {
            const client = await RawHttp2.open(site.port, { secure: true })
            client.send(headers(client.next(), fields))
            await eventually(() => waiting.length === i, 'the chain')
            client.destroy()
          } else {
            const socket = connectTls({ port: site.port, rejectUnauthorized: false })
            socket.write(handshake('/'))
            await eventually(() => waiting.length === i, 'the chain')
            socket.destroy()
            await once(socket, 'close')
          }
        }
        await eventually(() => site.errors.length > 0 || site.hub.status().pending === 0, 'the end')
        gate.resolve()
        for (let i = 0; i < 3; i++) await turn()
        expect([site.hub.status().pending, other.status().pending]).to.deep.equal([0, 0])
        const client = await RawHttp2.open(site.port, { secure: true })
        const stream = client.stream(client.next())
        client.send(headers(stream.id, fields))
        expect(await answer(client, stream)).to.equal(200)
      })
    }

    it('during onConnect leaves no connection, with every code', async () => {
      const entered: unknown[] = []
      const letIn = deferred()
      const site = await rawSite({
        async onConnect(connection) {
          entered.push(connection)
          if (connection.path === '/waits') await letIn.promise
        },
      })
      const client = await site.client()
      const bystander = await client.websocket()
      for (const code of CODES) {
        const { id } = await client.websocket('/waits')
        client.send(rstStream(id, code))
      }
      await client.settled()
      letIn.resolve()
      await expectNothingLeft(site, 1)
      expect(site.closes).to.deep.equal(CODES.map(() => 1006))
      await expectEcho(client, bystander)
    })

    it('ends a connection with 1006, with every code', async () => {
      const site = await rawSite()
      const client = await site.client()
      const bystander = await client.websocket()
      for (const code of CODES) client.send(rstStream((await client.websocket()).id, code))
      await expectNothingLeft(site, 1)
      expect(site.closes).to.deep.equal(CODES.map(() => 1006))
      await expectEcho(client, bystander)
    })

    it('ends a connection that reads nothing, with every code', async () => {
      const site = await rawSite()
      const client = await site.client({ settings: { [Setting.initialWindowSize]: 10 } })
      for (const code of CODES) {
        const stream = await client.websocket()
        client.starved.add(stream.id)
        site.connections.at(-1)?.send('x'.repeat(100_000))
        await client.until(() => stream.dataFrames > 0, 'the first of it')
        client.send(rstStream(stream.id, code))
      }
      await expectNothingLeft(site)
      expect(site.closes).to.deep.equal(CODES.map(() => 1006))
    })

    it('ends a connection with a paused handler, with every code', async () => {
      const site = await rawSite()
      const client = await site.client()
      for (const code of CODES) {
        const stream = await client.websocket()
        site.connections.at(-1)?.pause()
        client.send(data(stream.id, textFrame('unread')))
        await client.settled()
        client.send(rstStream(stream.id, code))
      }
      await expectNothingLeft(site)
      expect(site.closes).to.deep.equal(CODES.map(() => 1006))
    })

    it('ends a connection during a message, and during a closing handshake', async () => {
      const site = await rawSite()
      const client = await site.client()
      for (const code of CODES) {
        const half = await client.websocket()
        client.send(data(half.id, textFrame('0123456789').subarray(0, 9)), rstStream(half.id, code))
        const closing = await client.websocket()
        client.send(data(closing.id, closeFrame(4002)), rstStream(closing.id, code))
      }
      await expectNothingLeft(site)
      expect(new Set(site.closes)).to.deep.equal(new Set([1006, 4002]))
      expect(site.closes.filter((code) => code === 1006)).to.have.lengthOf.at.least(CODES.length)
    })
  })

  describe('the end of a session', () => {
    it('by GOAWAY without an error keeps open WebSockets, and accepts no new one', async () => {
      const site = await rawSite()
      const client = await site.client()
      const stream = await client.websocket()
      client.send(goaway(Code.noError))
      await client.settled()
      await expectEcho(client, stream)
      const late = client.connect()
      await client.settled()
      expect(late.status).to.equal(undefined)
      expect(site.requests).to.have.lengthOf(1)
      client.send(data(stream.id, closeFrame(4003)))
      await client.until(() => stream.inner.some(({ opcode }) => opcode === 8), 'a close frame')
      client.send(data(stream.id, '', Flag.endStream))
      await client.ended()
      await expectNothingLeft(site)
      expect(site.closes).to.deep.equal([4003])
    })

    it('by GOAWAY with an error ends its WebSockets', async () => {
      const site = await rawSite()
      for (const code of CODES.slice(1)) {
        const client = await site.client()
        await client.websocket()
        client.connect({ ':path': '/slow' })
        await client.settled()
        client.send(goaway(code))
        await client.ended()
      }
      await expectNothingLeft(site)
      site.gate.resolve()
      await expectNothingLeft(site)
      expect(site.closes).to.deep.equal(CODES.slice(1).map(() => 1006))
    })

    for (const secure of [false, true]) {
      it(`by a TCP reset${secure ? ' below TLS' : ''} ends its WebSockets`, async () => {
        const site = await rawSite({ secure })
        const client = await site.client()
        const slow = client.connect({ ':path': '/slow', ':scheme': secure ? 'https' : 'http' })
        const streams = [await client.websocket(), await client.websocket()]
        client.send(data(streams[0]?.id as number, textFrame('cut').subarray(0, 4)))
        await client.settled()
        expect(slow.status).to.equal(undefined)
        client.cut()
        await expectNothingLeft(site)
        site.gate.resolve()
        await turn()
        await expectNothingLeft(site)
        expect(site.closes).to.deep.equal([1006, 1006])
      })
    }

    it('by invalid frames ends its WebSockets, and other sessions keep working', async function () {
      // nghttp2 sends GOAWAY and Node 20 keeps the session forever, for any HTTP/2 server.
      if (process.versions.node.startsWith('20.')) this.skip()
      const site = await rawSite()
      const others = await site.client()
      const bystander = await others.websocket()
      const breaks: Record<string, (id: number) => Buffer> = {
        'DATA on stream 0': () => data(0, 'x'),
        'a HEADERS on an even stream': () => headers(2, connectFields()),
        'a HEADERS on stream 0': () => headers(0, connectFields()),
        'a broken header block': () =>
          frame(Type.headers, Flag.endHeaders, 1_001, Buffer.from('ffffffffffff', 'hex')),
        'a PING of another size': () => frame(Type.ping, 0, 0, Buffer.alloc(7)),
        'a SETTINGS of another size': () => frame(Type.settings, 0, 0, Buffer.alloc(5)),
        'a window above the maximum size': () => settings({ [Setting.initialWindowSize]: 2 ** 31 }),
        'a frame above the maximum size': (id) => data(id, Buffer.alloc(20_000)),
        'more padding than payload': (id) => frame(Type.data, Flag.padded, id, Buffer.from([200])),
        'RST_STREAM on an idle stream': () => rstStream(1_001, 8),
        'DATA on an idle stream': () => data(1_001, 'x'),
        'an interrupted header block': (id) =>
          Buffer.concat([headers(1_001, connectFields(), 0), data(id, textFrame('x'))]),
        'a request of HTTP/1.1': () => Buffer.from('GET / HTTP/1.1\r\n\r\n'.repeat(4)),
      }
      for (const [name, what] of Object.entries(breaks)) {
        const client = await site.client()
        const { id } = await client.websocket()
        client.send(what(id))
        await client.until(() => client.closed || client.goaway !== undefined, name)
      }
      await expectNothingLeft(site, 1)
      expect(site.closes).to.deep.equal(Object.keys(breaks).map(() => 1006))
      await expectEcho(others, bystander)
    })
  })

  describe('flow control', () => {
    it('stalls only the stream with a closed window', async () => {
      const site = await rawSite({ maxBufferedAmount: 64 * 1024 * 1024 })
      const client = await site.client()
      const streams: RawStream[] = []
      for (let i = 0; i < 4; i++) streams.push(await client.websocket())
      const [starved, ...others] = streams as [RawStream, ...RawStream[]]
      client.starved.add(starved.id)
      const message = 'm'.repeat(10_000)
      for (let i = 0; i < 100; i++) {
        site.hub.room('room').send(`${i} ${message}`)
        await client.until(() => others.every(({ inner }) => inner.length > i), `message ${i}`)
      }
      for (const stream of others) {
        expect(textsOf(stream)).to.deep.equal(
          Array.from({ length: 100 }, (_, i) => `${i} ${message}`),
        )
      }
      expect(starved.inner.length).to.be.within(1, 7)
      expect(over(starved)).to.equal(false)
      client.starved.delete(starved.id)
      client.send(windowUpdate(starved.id, 2 ** 24))
      await client.until(() => starved.inner.length === 100, 'what it has missed')
      expect(textsOf(starved)).to.deep.equal(textsOf(others[0] as RawStream))
      await expectNothingLeft(site, 4)
    })

    it('stalls only the session with a closed window, and loses no message', async () => {
      const site = await rawSite()
      const client = await site.client({ updates: false })
      const starving = await site.client({
        updates: false,
        settings: { [Setting.initialWindowSize]: 0 },
      })
      const stream = await client.websocket()
      const starved = await starving.websocket()
      client.send(windowUpdate(stream.id, 2 ** 24))
      for (let i = 0; i < 20; i++) {
        site.hub.room('room').send(`${i}`)
        await client.until(() => stream.inner.length > i, `message ${i}`)
      }
      await starving.settled()
      expect(starved.dataFrames).to.equal(0)
      starving.send(settings({ [Setting.initialWindowSize]: 3 }))
      await starving.until(
        () => starved.body.length === 3 || starved.inner.length > 0,
        'three bytes',
      )
      starving.send(windowUpdate(starved.id, 1_000))
      await starving.until(() => starved.inner.length === 20, 'the rest')
      expect(textsOf(starved)).to.deep.equal(textsOf(stream))
    })

    it('ends a client that exceeds its window, and no other session', async () => {
      const site = await rawSite()
      const others = await site.client()
      const bystander = await others.websocket()
      const client = await site.client()
      const stream = await client.websocket()
      site.connections[1]?.pause()
      // The window of the session is opened again, so the window of the stream is exceeded. Its
      // size, and whether the stream ends alone or with its session, depends on Node.
      const part = inner(2, Buffer.alloc(16_000))
      const gone = (): boolean => over(stream) || client.closed
      for (let i = 0; i < 100 && !gone(); i++) {
        client.send(data(stream.id, part))
        await client.settled().catch(() => {})
      }
      expect(gone()).to.equal(true)
      if (over(stream) && stream.reset !== undefined) {
        expect(stream.reset).to.equal(Code.flowControlError)
      }
      await expectEcho(others, bystander)
      site.connections[1]?.resume()
      await expectNothingLeft(site, 1)
      expect(site.closes).to.deep.equal([1006])
    })

    it('ends only the session of an invalid WINDOW_UPDATE', async function () {
      if (process.version === 'v20.19.0') this.skip() // this version leaves such a session open
      const site = await rawSite()
      const others = await site.client()
      const bystander = await others.websocket()
      const most = 2 ** 31 - 1
      for (const [ofStream, increment] of [
        [true, 0],
        [false, 0],
        [true, most],
        [false, most],
      ] as const) {
        const client = await site.client()
        const { id } = await client.websocket()
        client.send(windowUpdate(ofStream ? id : 0, increment))
        await client.ended()
      }
      await expectNothingLeft(site, 1)
      expect(site.closes).to.deep.equal([1006, 1006, 1006, 1006])
      await expectEcho(others, bystander)
    })

    it('accepts padding, empty DATA and single bytes', async () => {
      const site = await rawSite()
      const client = await site.client()
      const stream = await client.websocket()
      const sent = Buffer.concat([textFrame('one'), textFrame('two')])
      for (const byte of sent) {
        const padded = Buffer.concat([Buffer.from([9, byte]), Buffer.alloc(9)])
        client.send(data(stream.id, ''), frame(Type.data, Flag.padded, stream.id, padded))
      }
      await client.until(() => stream.inner.length === 2, 'the echoes')
      expect(site.messages).to.deep.equal(['one', 'two'])
    })
  })

  describe('many streams', () => {
    it('are limited by maxPerSession, and every kind of end frees a place', async () => {
      const site = await rawSite({ maxPerSession: 10 })
      const client = await site.client()
      const ends: ((stream: RawStream) => void)[] = [
        ({ id }) => client.send(rstStream(id, Code.cancel)),
        ({ id }) => client.send(rstStream(id, Code.noError)),
        ({ id }) => client.send(data(id, closeFrame()), data(id, '', Flag.endStream)),
        ({ id }) => client.send(data(id, '', Flag.endStream)),
        ({ id }) => client.send(headers(id, [['x', 'y']], Flag.endHeaders | Flag.endStream)),
      ]
      for (const end of ends) {
        const streams = Array.from({ length: 30 }, () => client.connect())
        for (const stream of streams) await answer(client, stream)
        const accepted = streams.filter(({ status }) => status === 200)
        expect(accepted).to.have.lengthOf(10)
        expect(new Set(streams.map(({ status }) => status))).to.deep.equal(new Set([200, 429]))
        for (const stream of accepted) end(stream)
        await expectNothingLeft(site)
      }
      const other = await site.client()
      await other.websocket()
      expect(site.hub.status().drops).to.include({ maxPerSession: 100 })
    })

    it('in one write start in batches, a bounded number per turn of the event loop, and all are accepted', async () => {
      const site = await rawSite()
      const client = await site.client()
      const perTurn: number[] = []
      let seen = 0
      let counting = true
      const count = (): void => {
        perTurn.push(site.requests.length - seen)
        seen = site.requests.length
        if (counting) setImmediate(count)
      }
      const streams = Array.from({ length: 400 }, () => client.connect())
      setImmediate(count)
      for (const stream of streams) expect(await answer(client, stream)).to.equal(200)
      counting = false
      // 32 when the streams arrive, and 32 when the turn ends.
      expect(Math.max(...perTurn)).to.be.within(1, 64)
      expect(site.connections).to.have.lengthOf(400)
    })

    it('in one write are accepted, unless the client resets them at once', async () => {
      const site = await rawSite()
      const client = await site.client()
      const streams = Array.from({ length: 200 }, () => client.connect())
      const reset = streams.filter((_, i) => i % 2 === 1)
      client.send(...reset.map(({ id }) => rstStream(id, Code.cancel)))
      for (const [i, stream] of streams.entries()) {
        if (i % 2 === 0) expect(await answer(client, stream)).to.equal(200)
      }
      await eventually(() => site.hub.status().connections === 100)
      expect(site.hub.status().pending).to.equal(0)
    })

    it('on one session, 10,000 of them, end the session with at most 1,000 open, and other sessions keep working', async () => {
      const site = await rawSite()
      const client = await site.client()
      const other = await site.client()
      const stream = await other.websocket()
      let most = 0
      const watch = setInterval(() => {
        most = Math.max(most, site.hub.status().connections + site.hub.status().pending)
      }, 1)
      for (let i = 0; i < 10_000 && !client.closed; i++) client.connect()
      await client.ended()
      clearInterval(watch)
      expect(most).to.be.at.most(1_001)
      await expectNothingLeft(site, 1)
      other.send(data(stream.id, textFrame('still here')))
      await other.until(() => textsOf(stream).includes('still here'), 'the echo')
    })

    it('that are reset before the accept free their places', async () => {
      const site = await rawSite({ maxPerSession: 10, maxConnections: 15, maxPerAddress: 12 })
      const client = await site.client()
      for (let round = 0; round < 20; round++) {
        const ids = Array.from({ length: 10 }, () => client.connect({ ':path': '/slow' }).id)
        if (round % 2 === 0) await client.settled()
        for (const id of ids) client.send(rstStream(id, CODES[round % CODES.length] as number))
        await client.settled()
      }
      // A handshake and its reset in one segment.
      for (let i = 0; i < 100; i++) {
        const id = client.next()
        client.send(headers(id, connectFields()), rstStream(id, Code.cancel))
      }
      await client.settled()
      await expectNothingLeft(site)
      for (let i = 0; i < 10; i++) await client.websocket()
      expect(await answer(client, client.connect())).to.equal(429)
      await expectNothingLeft(site, 10)
    })

    it('free all their places when their session ends', async () => {
      const site = await rawSite({ maxConnections: 10 })
      for (let round = 0; round < 3; round++) {
        const client = await site.client()
        for (let i = 0; i < 5; i++) await client.websocket()
        for (let i = 0; i < 5; i++) client.connect({ ':path': '/slow' })
        await client.settled()
        expect(await answer(client, client.connect())).to.equal(503)
        client.cut()
        await expectNothingLeft(site)
      }
    })
  })

  describe('the frames of the server', () => {
    it('are one DATA frame per connection and turn', async () => {
      const site = await rawSite()
      const client = await site.client()
      const streams: RawStream[] = []
      for (let i = 0; i < 5; i++) streams.push(await client.websocket())
      const counts = (): number[] => streams.map(({ dataFrames }) => dataFrames)
      site.hub.room('room').send('one')
      await client.until(() => streams.every(({ inner }) => inner.length === 1), 'one')
      expect(counts()).to.deep.equal([1, 1, 1, 1, 1])
      for (let i = 0; i < 10; i++) site.hub.room('room').send(`more ${i}`)
      await client.until(() => streams.every(({ inner }) => inner.length === 11), 'ten more')
      expect(counts()).to.deep.equal([2, 2, 2, 2, 2])
      for (const connection of site.connections) connection.send('own 1')
      site.hub.room('room').send('of all')
      for (const connection of site.connections) connection.send('own 2')
      await client.until(() => streams.every(({ inner }) => inner.length === 14), 'three more')
      expect(counts()).to.deep.equal([3, 3, 3, 3, 3])
      expect(textsOf(streams[2] as RawStream).slice(-3)).to.deep.equal(['own 1', 'of all', 'own 2'])
    })

    it('end with a closing handshake and END_STREAM, without RST_STREAM', async () => {
      const site = await rawSite()
      const client = await site.client()
      const stream = await client.websocket()
      site.connections[0]?.close(4004, 'bye')
      await client.until(() => stream.inner.length === 1, 'a close frame')
      client.send(data(stream.id, closeFrame(4004)))
      await client.until(() => stream.ended, 'the end of the stream')
      client.send(data(stream.id, '', Flag.endStream))
      await client.settled()
      expect(stream.reset).to.equal(undefined)
      expect(site.closes).to.deep.equal([4004])
    })

    it('after terminate() are RST_STREAM with CANCEL (RFC 8441, section 5)', async () => {
      const site = await rawSite()
      const client = await site.client()
      const stream = await client.websocket()
      site.connections[0]?.terminate()
      await client.until(() => over(stream), 'its end')
      await client.until(() => stream.reset !== undefined, 'RST_STREAM')
      expect(stream.reset).to.equal(Code.cancel)
    })
  })

  it('may carry the header block of a handshake in many frames', async () => {
    const site = await rawSite()
    const client = await site.client()
    const block = headerBlock(connectFields({ 'x-long': 'y'.repeat(3_000) }))
    const stream = client.stream(client.next())
    const parts: Buffer[] = [frame(Type.headers, 0, stream.id, block.subarray(0, 1))]
    for (let at = 1; at < block.length; at += 500) {
      const last = at + 500 >= block.length
      const flags = last ? Flag.endHeaders : 0
      parts.push(frame(Type.continuation, flags, stream.id, block.subarray(at, at + 500)))
    }
    client.send(...parts)
    expect(await answer(client, stream)).to.equal(200)
    await expectEcho(client, stream)
  })
})

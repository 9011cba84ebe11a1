/// <reference lib="dom" />
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { expect } from 'chai'
import type { Browser } from 'playwright-core'
import type { TestSocket } from '../../lib/testing/index.ts'
import { cleanUpHttp2, connectHttp2 } from '../http2/support/site.ts'
import { selfSigned } from '../support/certificate.ts'
import { launchChromium } from '../support/chromium.ts'
import { freePort } from '../support/free-port.ts'
import { needs } from '../support/programs.ts'
import { eventually, rejected, soon } from '../support/server.ts'
import { blockOf, readerFolder, removeFolders, replaceOnce } from './support/guide.ts'
import {
  type Backend,
  type Greeting,
  type Open,
  openerHttp1,
  openerHttp2,
  startBackend,
  type Version,
} from './support/over-http2.ts'
import {
  ADMIN_SOCKET,
  haproxyServersUp,
  QUICK_CHECKS,
  startProxy,
  stopProxies,
} from './support/proxy.ts'

type Pair = readonly [Backend, Backend]
type Start = (pair: Pair, version: Version, changes?: [string, string][]) => Promise<number>

/**
 * Starts HAProxy with the HTTP/2 configuration of its guide; a backend over HTTP/1.1 needs no
 * `proto h2`.
 */
const startHaproxy: Start = async ([one, two], version, changes = []) => {
  const port = await freePort()
  const folder = readerFolder()
  const { key, cert } = selfSigned()
  writeFileSync(join(folder, 'site.pem'), readFileSync(cert, 'utf8') + readFileSync(key, 'utf8'))
  const guide = blockOf('guides/haproxy.md', 'http2.cfg')
  const config = version === '2.0' ? guide : replaceAll(guide, / proto h2$/gm, '')
  const all: [string, string][] = [
    ['global\n', ADMIN_SOCKET],
    ['bind :443', `bind 127.0.0.1:${port}`],
    ['/etc/haproxy/site.pem', join(folder, 'site.pem')],
    ['127.0.0.1:3001', `127.0.0.1:${one.port}`],
    ['127.0.0.1:3002', `127.0.0.1:${two.port}`],
    [
      '  default_backend koa\n',
      '  http-request set-header X-Client-Version %[req.ver]\n  default_backend koa\n',
    ],
    ...changes,
  ]
  writeFileSync(join(folder, 'http2.cfg'), replaceEach(config, all))
  await startProxy('haproxy', ['-W', '-f', 'http2.cfg'], folder, port)
  await haproxyServersUp(folder, 2)
  return port
}

/** Starts nginx with the configuration of its guide for several instances and HTTP/2. */
const startNginx: Start = async ([one, two], _version, changes = []) => {
  const port = await freePort()
  const folder = readerFolder()
  const { key, cert } = selfSigned()
  const kept = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${name};`)
    .join('\n')
  const all: [string, string][] = [
    ['listen 80;', blockOf('guides/behind-nginx.md', 'http2.conf')],
    ['listen 443', `listen 127.0.0.1:${port}`],
    ['/etc/nginx/site.crt', cert],
    ['/etc/nginx/site.key', key],
    ['127.0.0.1:3001', `127.0.0.1:${one.port}`],
    ['127.0.0.1:3002', `127.0.0.1:${two.port}`],
    ['http {', `http {\naccess_log off;\n${kept}`],
    ['proxy_pass', 'proxy_set_header X-Client-Version $server_protocol;\nproxy_pass'],
    ...changes,
  ]
  const config = blockOf('guides/behind-nginx.md', 'several.conf')
  writeFileSync(join(folder, 'http2.conf'), replaceEach(config, all))
  const main = `daemon off; worker_processes 2; pid ${folder}/pid; error_log stderr notice;`
  const args = ['-p', folder, '-e', 'stderr', '-c', 'http2.conf', '-g', main]
  await startProxy('nginx', args, folder, port)
  return port
}

const pair = (version: Version): Promise<[Backend, Backend]> =>
  Promise.all([startBackend(version), startBackend(version)])

const greetingOf = async (socket: TestSocket): Promise<Greeting> =>
  (await socket.nextJson()) as Greeting

async function clientOf(version: Version, port: number): Promise<Open> {
  if (version === '1.1') return openerHttp1(port)
  return openerHttp2(await connectHttp2({ port, secure: true }), port)
}

function replaceEach(text: string, changes: [string, string][]): string {
  return changes.reduce((changed, [from, to]) => replaceOnce(changed, from, to), text)
}

function replaceAll(text: string, what: RegExp, by: string): string {
  if (!what.test(text)) throw new Error(`${what} is not there`)
  return text.replaceAll(what, by)
}

const ways: [name: string, start: Start, client: Version, backend: Version][] = [
  ['HAProxy', startHaproxy, '2.0', '1.1'],
  ['HAProxy', startHaproxy, '1.1', '1.1'],
  ['HAProxy', startHaproxy, '1.1', '2.0'],
  ['HAProxy', startHaproxy, '2.0', '2.0'],
  ['nginx', startNginx, '1.1', '1.1'],
]

for (const [name, start, client, backend] of ways) {
  describe(`${name} between a client over HTTP/${client} and a backend over HTTP/${backend}`, () => {
    let backends: [Backend, Backend]
    let port: number
    let open: Open

    beforeEach(async () => {
      backends = await pair(backend)
      port = await start(backends, backend)
      open = await clientOf(client, port)
    })

    afterEach(async () => {
      await stopProxies()
      await cleanUpHttp2()
      removeFolders()
    })

    it('forwards a handshake with address, host, origin, subprotocol and cookies', async () => {
      const origin = `https://127.0.0.1:${port}`
      const forged = { 'x-forwarded-for': '192.0.2.1', 'x-forwarded-host': 'a.example' }
      const socket = await open('/a?b=c', {
        protocols: ['one', 'two'],
        headers: { ...forged, origin, cookie: 'a=b; c=d' },
      })
      expect(await greetingOf(socket)).to.deep.equal({
        ip: '127.0.0.1',
        url: `${origin}/a?b=c`,
        version: backend,
        client,
      })
      expect(socket.protocol).to.equal('one')
      expect(socket.handshake['set-cookie']).to.deep.equal(['seen=yes; path=/; secure; httponly'])
      const [{ headers }] = backends.filter((one) => one.connections.size > 0) as [Backend]
      expect(headers).to.include({ cookie: 'a=b; c=d', 'sec-websocket-version': '13' })
    })

    it('forwards rejections: 401 with its body, 403 for a foreign origin', async () => {
      const answer = await rejected(open('/private'))
      expect([answer.status, answer.body]).to.deep.equal([401, 'Log in first'])
      const strange = open('/', { headers: { origin: 'https://a.example' } })
      expect((await rejected(strange)).status).to.equal(403)
      expect(await greetingOf(await open('/'))).to.include({ version: backend, client })
    })

    it('carries text and binary messages on several sockets at once', async () => {
      const sockets = await Promise.all(Array.from({ length: 30 }, (_, i) => open(`/${i}`)))
      expect(backends.map(({ connections }) => connections.size)).to.deep.equal([15, 15])
      const echoes = sockets.map(async (socket, i) => {
        await socket.next()
        for (const message of [`text ${i}`, randomBytes(200_000), 'x'.repeat(150_000)]) {
          socket.send(message)
          expect(await socket.next()).to.deep.equal(message)
        }
      })
      await Promise.all(echoes)
    })

    it('carries close codes in both directions, and 1006 without a close frame', async () => {
      const [mine, its, gone] = await Promise.all([open('/mine'), open('/its'), open('/gone')])
      const connections = new Map(backends.flatMap((one) => [...one.connections]))
      const ended = (path: string): number | undefined =>
        backends.map((one) => one.ended.get(path)).find((code) => code !== undefined)
      mine.close(4001, 'bye')
      connections.get('/its')?.close(4001, 'bye')
      gone.terminate()
      expect(await mine.closed).to.deep.equal({ code: 4001, reason: 'bye' })
      expect(await its.closed).to.deep.equal({ code: 4001, reason: 'bye' })
      await soon(() => {
        expect(['/mine', '/its', '/gone'].map(ended)).to.deep.equal([4001, 4001, 1006])
      })
    })

    it('moves clients to the other backend when one shuts down', async () => {
      const [one, two] = backends
      const sockets = await Promise.all(Array.from({ length: 10 }, (_, i) => open(`/${i}`)))
      const closing = one.hub.close({ server: true, timeout: 600_000 })
      await closing
      const theirs = sockets.filter((_, i) => one.connections.has(`/${i}`))
      expect(theirs).to.have.lengthOf(5)
      for (const socket of theirs) expect((await socket.closed).code).to.equal(1012)
      const later = await Promise.all(Array.from({ length: 10 }, (_, i) => open(`/later-${i}`)))
      for (const socket of later) expect(await greetingOf(socket)).to.include({ version: backend })
      expect(two.connections.size).to.equal(15)
    })
  })
}

describe('HTTP/2 behind proxies', () => {
  needs('chromium', 'haproxy', 'nginx')
  let browser: Browser

  before(async () => {
    browser = await launchChromium()
  })

  after(() => browser?.close())

  afterEach(async () => {
    await stopProxies()
    await cleanUpHttp2()
    removeFolders()
  })

  /** Opens a page in Chromium, and returns its greeting and the protocol of the page itself. */
  async function inChromium(port: number): Promise<{ page: string; greeting: Greeting }> {
    const context = await browser.newContext({ ignoreHTTPSErrors: true })
    const page = await context.newPage()
    await page.goto(`https://127.0.0.1:${port}/page`)
    const seen = await page.evaluate(async () => {
      const [navigation] = performance.getEntriesByType('navigation')
      const socket = new WebSocket(new URL('/from-page', location.href.replace('http', 'ws')))
      const text = await new Promise<string>((resolve, reject) => {
        socket.onmessage = ({ data }) => resolve(data)
        socket.onclose = ({ code }) => reject(new Error(`closed with ${code}`))
      })
      const page = (navigation as PerformanceNavigationTiming).nextHopProtocol
      return { page, greeting: JSON.parse(text) }
    })
    await context.close()
    return seen
  }

  it('lets Chromium connect over HTTP/2 through HAProxy', async () => {
    for (const version of ['1.1', '2.0'] as const) {
      const port = await startHaproxy(await pair(version), version)
      const { page, greeting } = await inChromium(port)
      expect([page, greeting.client, greeting.version]).to.deep.equal(['h2', '2.0', version])
      expect(greeting.url).to.equal(`https://127.0.0.1:${port}/from-page`)
    }
  })

  it('makes Chromium use HTTP/1.1 with h2-workaround-bogus-websocket-clients', async () => {
    const port = await startHaproxy(await pair('2.0'), '2.0', [
      ['global\n', 'global\n  h2-workaround-bogus-websocket-clients\n'],
    ])
    const { page, greeting } = await inChromium(port)
    expect([page, greeting.client, greeting.version]).to.deep.equal(['h2', '1.1', '2.0'])
    const session = await connectHttp2({ port, secure: true })
    expect(session.remoteSettings.enableConnectProtocol).to.not.equal(true)
  })

  it('makes Chromium use HTTP/1.1 through nginx, which lacks extended CONNECT', async () => {
    const port = await startNginx(await pair('1.1'), '1.1')
    const { page, greeting } = await inChromium(port)
    expect([page, greeting.client, greeting.version]).to.deep.equal(['h2', '1.1', '1.1'])
    const session = await connectHttp2({ port, secure: true })
    expect(session.remoteSettings.enableConnectProtocol).to.not.equal(true)
    const stream = session.request(
      {
        ':method': 'CONNECT',
        ':protocol': 'websocket',
        ':scheme': 'https',
        ':authority': `127.0.0.1:${port}`,
        ':path': '/',
        'sec-websocket-version': '13',
      },
      { endStream: false },
    )
    const [headers] = await once(stream, 'response')
    expect(headers[':status']).to.equal(400)
  })

  it('fails between nginx and an HTTP/2 backend', async () => {
    const backends = await pair('2.0')
    const port = await startNginx(backends, '1.1')
    // The client may receive bytes of HTTP/2, or no answer.
    const opening = openerHttp1(port)('/', { handshakeTimeout: 3_000 })
    const error = await opening.catch((reason: Error) => reason)
    expect(error).to.be.an('error')
    expect(backends.map(({ connections }) => connections.size)).to.deep.equal([0, 0])
  })

  it('turns handshakes of both versions into an extended CONNECT at HAProxy', async () => {
    const backends = await pair('2.0')
    const port = await startHaproxy(backends, '2.0')
    const [one, two] = backends
    await openerHttp1(port)('/one')
    await (await clientOf('2.0', port))('/two')
    expect([one.connections.size, two.connections.size]).to.deep.equal([1, 1])
    for (const { headers } of backends) {
      expect(headers).to.include({
        ':protocol': 'websocket',
        ':scheme': 'https',
        ':authority': `127.0.0.1:${port}`,
        'sec-websocket-version': '13',
        'x-forwarded-for': '127.0.0.1',
        'x-forwarded-proto': 'https',
      })
      expect(headers).to.not.have.any.keys('host', 'connection', 'upgrade')
    }
    const keys = backends.map(({ headers }) => headers['sec-websocket-key'] !== undefined)
    expect(keys.toSorted()).to.deep.equal([false, true]) // HAProxy forwards the key of HTTP/1.1
  })

  for (const version of ['1.1', '2.0'] as const) {
    const [holds, what] = version === '1.1' ? [false, 'does not block'] : [true, 'blocks']
    it(`${what} other sockets of a session when one is unread, over HTTP/${version} to the backend`, async () => {
      const backends = await pair(version)
      const port = await startHaproxy(backends, version)
      const open = await clientOf('2.0', port)
      const sockets = new Map<string, TestSocket>()
      for (const path of ['/0', '/1', '/2', '/3']) {
        const socket = await open(path)
        await socket.next()
        sockets.set(path, socket)
      }
      const [first] = backends
      const [mute, other] = [...first.connections.keys()].map((path) => sockets.get(path))
      if (!mute || !other) throw new Error('two sockets are on one backend')
      mute.pause()
      const [slow] = first.connections.values()
      for (let i = 0; i < 64; i++) slow?.send(Buffer.alloc(65_536))
      const strangers = await clientOf('2.0', port)
      expect(await greetingOf(await strangers('/stranger'))).to.include({ version })
      // By now the data has arrived: echoes stall at once, or after a few of them.
      let echoed = 0
      const echo = async (): Promise<void> => {
        for (; echoed < 10; echoed++) {
          other.send('hello')
          await other.next()
        }
      }
      const all = echo()
      if (holds) {
        // That nothing comes any more has no event.
        await Promise.race([all, wait(1_000)])
        expect(echoed).to.be.below(9)
      } else await all
      mute.terminate()
      await all
    })
  }

  it('sends no new client to a draining instance through HAProxy', async () => {
    const [one, two] = await pair('2.0')
    const port = await startHaproxy([one, two], '2.0', QUICK_CHECKS)
    const open = openerHttp1(port)
    await Promise.all([open('/0'), open('/1')])
    const closing = one.hub.close({ readyDelay: 10_000, server: true })
    await eventually(() => one.unready > 2, 'HAProxy has seen two answers')
    await Promise.all(Array.from({ length: 10 }, (_, i) => open(`/later-${i}`)))
    expect([one.connections.size, two.connections.size]).to.deep.equal([1, 11])
    await closing
    expect(one.ended.size).to.equal(1)
  })

  it('needs other lines `bind` and `server` than HTTP/1.1 in the guide of HAProxy, and no more', () => {
    const [plain, http2] = ['haproxy.cfg', 'http2.cfg'].map((name) =>
      blockOf('guides/haproxy.md', name).split('\n').slice(1),
    ) as [string[], string[]]
    const changed = http2.filter((line, i) => line !== plain[i])
    expect(http2).to.have.lengthOf(plain.length)
    expect(changed.map((line) => line.trim().split(' ')[0])).to.deep.equal([
      'bind',
      'server',
      'server',
    ])
  })
})

/// <reference lib="dom" />
// Every code block of the README and the docs is written to a folder, as a reader would, and run.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer, request as httpRequest } from 'node:http'
import { createRequire } from 'node:module'
import { type AddressInfo, connect } from 'node:net'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { build as bundle } from 'esbuild'
import type { Browser, Page } from 'playwright-core'
import { WebSocketServer } from 'ws'
import type { RejectedError, TestSocket } from '../../lib/testing/index.ts'
import { connectHttp2, openOver } from '../http2/support/site.ts'
import { selfSigned } from '../support/certificate.ts'
import { launchChromium } from '../support/chromium.ts'
import { freePort } from '../support/free-port.ts'
import { needs, pathOf } from '../support/programs.ts'
import { startRedis, stopRedis } from '../support/redis.ts'
import { cleanUp, openSocket, rejected } from '../support/server.ts'
import { ask, hear, talk, type Wire } from '../support/talk.ts'
import { installed, typeErrorsIn } from './support/reader.ts'

// jsonwebtoken ships no types.
const jsonwebtoken: { sign(claims: object, secret: string, options: object): string } =
  createRequire(import.meta.url)('jsonwebtoken')

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const SECRET = 'the secret of this test'

/** The languages that this test can run. */
const RUNNABLE = ['js', 'mjs', 'javascript', 'ts', 'typescript', 'nginx', 'html']
/** The first line of a block: a comment with the file name. */
const NAME = /^(?:\/\/|#|<!--) ([\w./-]+\.\w+)(?: -->)?$/

/** Opens a new page with its own browser context. */
let openPage: () => Promise<Page>

/** A code block of a page. */
interface Block {
  page: string
  line: number
  /** The first word of the info string. */
  language: string
  /** The file name in its first line; null for a fragment. */
  file: string | null
  fragment: boolean
  code: string
}

/** A running sample. */
interface Run {
  port: number
  /** The folder with the files of the page. */
  folder: string
  child: ChildProcess
  output: Output
  /** Opens a WebSocket to the sample. */
  open(path: string, options?: OpenOptions): Promise<TestSocket>
  /** Opens a WebSocket that the sample should reject. */
  refused(path: string, options?: OpenOptions): Promise<RejectedError>
  fetch(path: string, init?: RequestInit): Promise<Response>
}

type OpenOptions = { headers?: Record<string, string>; protocols?: string[] }

interface Step {
  /** The file to run, if not that of the block itself. */
  run?: string
  env?: Record<string, string>
  /** Files that the page tells the reader to make first. */
  files?: () => Record<string, string>
  check(run: Run): Promise<void>
}

/** `part`: another block of the page runs it. `script`: must exit with 0, see `Script`. */
type Entry = 'part' | Step | Script

/** A block that runs to its end. */
interface Script {
  /** Arguments of node before the file. */
  node?: string[]
  /** A server of the same page that runs meanwhile. */
  beside?: string
  /** The file to run, if not that of the block itself. */
  run?: string
  /** The expected output. */
  prints: RegExp
}

// ---- The expectations for each sample

const token = (claims: object, expiresIn = 600): string =>
  jsonwebtoken.sign(claims, SECRET, { subject: 'ann', expiresIn })

const first = async (opening: Promise<TestSocket>): Promise<string | Buffer> =>
  (await opening).next()

/** Returns the data of the reply to a request. */
const reply = async (socket: TestSocket, type: string, data?: unknown): Promise<unknown> => {
  const answer = await ask(socket, type, data)
  expect(answer, type).to.have.property('type', 'koaws:reply')
  return answer.data
}

/** Returns the error that answers a request. */
const fault = async (
  socket: TestSocket,
  type: string,
  data?: unknown,
): Promise<NonNullable<Wire['error']>> => {
  const { error } = await ask(socket, type, data)
  if (!error) throw new Error(`${type} was not answered with an error`)
  return error
}

/**
 * One entry per block, in the order of the page; several blocks with the same name have several
 * entries.
 */
const table: Record<string, Entry[]> = {
  'README.md server.mjs': [
    {
      check: async ({ open, refused }) => {
        const ann = await open('/lobby?name=ann')
        const bob = await open('/lobby?name=bob')
        const eve = await open('/other?name=eve')
        ann.send('hi')
        expect(await ann.next()).to.equal('ann: hi')
        expect(await bob.next()).to.equal('ann: hi')
        eve.send('alone')
        expect(await eve.next()).to.equal('eve: alone')
        const answer = await refused('/lobby')
        expect([answer.status, answer.body]).to.deep.equal([401, 'Tell your name'])
      },
    },
  ],

  'README.md chat.mjs': ['part'], // reads index.html, a later block
  'README.md index.html': [
    {
      run: 'chat.mjs',
      check: async ({ port }) => {
        const [ann, bob] = [await talk(port), await talk(port)]
        ann.json({ type: 'say', id: 1, data: { text: 'hi' } })
        for (const socket of [ann, bob])
          expect(await hear(socket)).to.deep.equal({ type: 'said', data: { text: 'hi' } })
        expect((await hear(ann)).data).to.deep.equal({ heard: 2 })
        expect(await fault(ann, 'say', { text: '' })).to.include({ code: 'ERR_KOAWS_INVALID' })

        const [one, two] = [await openPage(), await openPage()]
        for (const page of [one, two]) await page.goto(`http://127.0.0.1:${port}/`)
        for (const [page, line] of [
          [two, 'from the second'],
          [one, 'from the first'],
        ] as const) {
          await page.fill('#text', line)
          await page.press('#text', 'Enter')
          await page.getByText('heard by').waitFor() // so it has joined
        }
        await two.getByText('from the first').waitFor()
        await one.press('#text', 'Enter') // an empty text
        await one.getByText('Too small').waitFor()
      },
    },
  ],
  'README.md client.mjs': [{ beside: 'chat.mjs', prints: /^said: hi\n\{ heard: 1 \}\n$/ }],

  'docs/getting-started.md index.html': ['part'],
  'docs/getting-started.md server.mjs': [
    {
      check: async ({ open, refused, child }) => {
        const socket = await open('/echo')
        socket.send('hi')
        expect(await socket.next()).to.equal('you said: hi')
        expect((await refused('/elsewhere')).status).to.equal(404)
        child.kill('SIGINT')
        expect((await socket.closed).code).to.equal(1012)
        expect(await exitOf(child)).to.equal(0)
      },
    },
  ],
  'docs/getting-started.md app.mjs': [
    'part', // run by server.mjs, a later block
    {
      run: 'server.mjs',
      check: async ({ port }) => {
        const [one, two] = [await openPage(), await openPage()]
        for (const page of [one, two]) {
          await page.goto(`http://127.0.0.1:${port}/rooms/lobby`)
          await page.getByText('connected').waitFor()
        }
        await one.fill('#text', 'hello from one')
        await one.press('#text', 'Enter')
        await two.getByText('hello from one').waitFor()
        await one.getByText('hello from one').waitFor()
      },
    },
    {
      run: 'server.mjs',
      check: async ({ port, refused }) => {
        const answer = await refused('/rooms/lobby/socket')
        expect([answer.status, answer.body]).to.deep.equal([401, 'Log in first'])
        const page = await openPage()
        await page.goto(`http://127.0.0.1:${port}/login`)
        await page.fill('[name=name]', 'Zoë')
        await page.getByRole('button').click()
        await page.getByText('connected').waitFor()
        await page.fill('#text', 'hi')
        await page.press('#text', 'Enter')
        await page.getByText('Zoë: hi').waitFor()
        const origin = 'https://elsewhere.example'
        expect((await refused('/rooms/lobby/socket', { headers: { origin } })).status).to.equal(403)
      },
    },
  ],
  'docs/getting-started.md test/chat.test.mjs': [{ node: ['--test'], prints: /pass 2\b/ }],

  'docs/guides/accepting-and-rejecting.md both.mjs': [
    {
      check: async ({ open, fetch }) => {
        expect(await first(open('/after'))).to.equal('hello')
        expect(await first(open('/inside'))).to.equal('hello')
        const plain = await fetch('/after')
        expect([plain.status, plain.headers.get('upgrade')]).to.deep.equal([426, 'websocket'])
        expect(await (await fetch('/inside')).text()).to.equal('plain HTTP')
      },
    },
  ],
  'docs/guides/accepting-and-rejecting.md reject.mjs': [
    {
      check: async ({ open, refused }) => {
        const thrown = await refused('/thrown')
        expect([thrown.status, thrown.body]).to.deep.equal([401, 'Log in first'])
        expect(thrown.headers['www-authenticate']).to.equal('Bearer')
        const answered = await refused('/answered')
        expect([answered.status, answered.body]).to.deep.equal([403, '{"error":"not yours"}'])
        const moved = await refused('/moved')
        expect([moved.status, moved.headers.location]).to.deep.equal([302, '/new'])
        expect(await first(open('/late'))).to.equal('in')
        expect((await refused('/late?full=1')).status).to.equal(503)
        expect((await refused('/nobody')).status).to.equal(404)
      },
    },
  ],
  'docs/guides/accepting-and-rejecting.md session.mjs': [
    {
      check: async ({ open }) => {
        const one = await open('/count')
        expect(one.handshake['x-visits']).to.equal('1')
        expect(await one.nextJson()).to.deep.equal({ visits: 1 })
        const two = await open('/count', {
          headers: { cookie: cookiesOf(one.handshake['set-cookie']) },
        })
        expect(await two.nextJson()).to.deep.equal({ visits: 2 })
        const three = await open('/inside', {
          headers: { cookie: cookiesOf(two.handshake['set-cookie']) },
        })
        expect(await three.nextJson()).to.deep.equal({ visits: 3 })
        expect(cookiesOf(three.handshake['set-cookie'])).to.match(/koa\.sess=/)
      },
    },
  ],
  'docs/guides/accepting-and-rejecting.md subprotocol.mjs': [
    {
      check: async ({ open, refused }) => {
        const both = { protocols: ['chat.v1', 'chat.v2'] }
        expect(await first(open('/one', both))).to.equal('chat.v2')
        expect((await refused('/one', { protocols: ['chat.v1'] })).status).to.equal(400)
        expect((await refused('/one')).status).to.equal(400)
        expect(await first(open('/list', both))).to.equal('chat.v2')
        expect(await first(open('/list', { protocols: ['chat.v1'] }))).to.equal('chat.v1')
        expect(await first(open('/chosen?kind=chat', both))).to.equal('chat.v1')
        expect((await refused('/chosen?kind=mail', both)).status).to.equal(400)
        expect(await first(open('/any', both))).to.equal('chat.v1')
        expect(await first(open('/any'))).to.equal('none')
      },
    },
  ],
  'docs/guides/close-codes.md reject-close.mjs': [
    {
      check: async ({ open, refused }) => {
        const socket = await open('/?token=bad')
        expect(await socket.closed).to.deep.equal({ code: 4401, reason: 'Log in first' })
        expect(await first(open('/?token=good'))).to.equal('in')
        const headers = { origin: 'https://elsewhere.example' }
        expect((await refused('/?token=good', { headers })).status).to.equal(403)
      },
    },
  ],
  'docs/guides/accepting-and-rejecting.md deadline.mjs': [
    {
      check: async ({ open, refused, output }) => {
        expect(await first(open('/'))).to.equal('in time')
        const late = await refused('/?ms=60000')
        expect([late.status, late.headers['retry-after']]).to.deep.equal([503, '5'])
        await output.seen(/abort/)
      },
    },
  ],

  'docs/guides/authentication.md jwt.mjs': [
    {
      env: { SECRET },
      check: async ({ open, refused }) => {
        const good = token({})
        const ways: [string, OpenOptions][] = [
          ['/live', { headers: { authorization: `Bearer ${good}` } }],
          ['/live', { protocols: ['app.v1', `koaws.bearer.${good}`] }],
          [
            '/live',
            { protocols: ['app.v1', `koaws.bearer64.${Buffer.from(good).toString('base64url')}`] },
          ],
          ['/live', { headers: { cookie: `token=${good}` } }],
          [`/live?token=${good}&page=2`, {}],
        ]
        for (const [path, options] of ways) {
          const socket = await open(path, options)
          expect(await socket.nextJson()).to.deep.equal({
            user: 'ann',
            path: '/live',
            query: path.includes('page') ? { page: '2' } : {}, // the token is removed
          })
          expect(socket.protocol).to.equal(options.protocols ? 'app.v1' : '')
        }
        expect((await refused('/live')).status).to.equal(401)
        expect((await refused('/live', { headers: { cookie: 'token=forged' } })).status).to.equal(
          401,
        )
        expect((await refused('/live', { protocols: [`koaws.bearer.${good}`] })).status).to.equal(
          400,
        )
        const two = await refused(`/live?token=${good}`, { headers: { cookie: 'token=other' } })
        expect(two.status).to.equal(400)
      },
    },
  ],
  'docs/guides/authentication.md refresh.mjs': [
    {
      env: { SECRET },
      check: async ({ open, output }) => {
        const protocols = ['app.v1', `koaws.bearer.${token({}, 15)}`]
        const short = await open('/live', { protocols })
        const kept = await open('/live', { protocols })
        const before = (await kept.nextJson()) as { expiresAt: number }
        kept.send(JSON.stringify({ token: token({}, 600) }))
        const after = (await kept.nextJson()) as { expiresAt: number }
        expect(after.expiresAt - before.expiresAt).to.be.greaterThan(500_000)
        expect(await short.closed).to.deep.equal({ code: 4401, reason: 'expired' })
        expect(kept.readyState).to.equal(kept.OPEN)
        const other = await open('/live', {
          protocols: ['app.v1', `koaws.bearer.${token({}, 600)}`],
        })
        other.send(
          JSON.stringify({
            token: jsonwebtoken.sign({}, SECRET, { subject: 'bob', expiresIn: 600 }),
          }),
        )
        expect((await other.closed).code).to.equal(4403)
        kept.send(JSON.stringify({ token: 'forged' }))
        expect((await kept.closed).code).to.equal(1011)
        await output.seen(/jwt malformed/)
      },
    },
  ],
  'docs/guides/authentication.md session-login.mjs': [
    {
      check: async ({ open, refused, fetch }) => {
        expect((await refused('/live')).status).to.equal(401)
        const login = await fetch('/login/ann', { method: 'POST' })
        const cookie = cookiesOf(login.headers.getSetCookie())
        const socket = await open('/live', { headers: { cookie } })
        expect(await socket.next()).to.equal('hello ann')
        expect(
          await (await fetch('/logout', { method: 'POST', headers: { cookie } })).text(),
        ).to.equal('bye')
        expect(await socket.closed).to.deep.equal({ code: 4401, reason: 'logged out' })
      },
    },
  ],
  'docs/guides/authentication.md passport.mjs': [
    {
      check: async ({ open, refused }) => {
        expect(await first(open('/live', { headers: { cookie: 'token=a-token' } }))).to.equal(
          'hello Ada',
        )
        expect((await refused('/live', { headers: { cookie: 'token=another' } })).status).to.equal(
          401,
        )
        expect((await refused('/live')).status).to.equal(401)
      },
    },
  ],
  'docs/guides/authentication.md basic.mjs': [
    {
      check: async ({ open, refused }) => {
        const authorization = `Basic ${Buffer.from('ada:pass').toString('base64')}`
        expect(await first(open('/', { headers: { authorization } }))).to.equal('in')
        const answer = await refused('/')
        expect(answer.status).to.equal(401)
        expect(answer.headers['www-authenticate']).to.match(/^Basic/)
      },
    },
  ],
  'docs/guides/authentication.md tickets.mjs': [
    {
      env: { SECRET },
      check: async ({ open, refused, fetch }) => {
        const headers = { authorization: `Bearer ${token({})}` }
        const response = await fetch('/tickets', { method: 'POST', headers })
        const { ticket } = (await response.json()) as { ticket: string }
        expect(await first(open(`/live?ticket=${ticket}`))).to.equal('hello ann')
        expect((await refused(`/live?ticket=${ticket}`)).status).to.equal(401)
        expect((await fetch('/tickets', { method: 'POST' })).status).to.equal(401)
      },
    },
  ],

  'docs/guides/origins.md origins.mjs': [
    {
      check: async ({ open, refused, port }) => {
        const from = (origin: string): OpenOptions => ({ headers: { origin } })
        expect(await first(open('/', from(`http://127.0.0.1:${port}`)))).to.equal('in')
        expect(await first(open('/', from('https://app.example.com')))).to.equal('in')
        expect(await first(open('/', from('https://pr-7.preview.example.com')))).to.equal('in')
        expect(await first(open('/'))).to.equal('in')
        for (const origin of ['https://elsewhere.example', 'http://app.example.com', 'null']) {
          const answer = await refused('/', from(origin))
          expect(answer.status).to.equal(403)
          expect(answer.body).to.equal(
            `Origin "${origin}" is not allowed for host "127.0.0.1:${port}": see the option "origin" of koaWs().`,
          )
        }
      },
    },
  ],
  'docs/guides/origins.md hosts.mjs': [
    {
      check: async ({ open, refused, port }) => {
        expect(await first(open('/'))).to.equal('in')
        expect(await first(open('/', { headers: { host: `localhost:${port}` } }))).to.equal('in')
        expect((await refused('/', { headers: { host: 'rebound.example' } })).status).to.equal(403)
      },
    },
  ],
  'docs/guides/origins.md proxy.mjs': [
    {
      check: async ({ open, refused }) => {
        const forwarded = { 'x-forwarded-host': 'example.com', 'x-forwarded-for': '192.0.2.7' }
        const headers = { ...forwarded, origin: 'https://example.com' }
        expect(await first(open('/', { headers }))).to.equal('192.0.2.7')
        const other = { ...forwarded, origin: 'https://elsewhere.example' }
        expect((await refused('/', { headers: other })).status).to.equal(403)
      },
    },
  ],

  'docs/guides/neighbours.md noserver.mjs': [
    {
      check: async ({ open, refused }) => {
        expect(await first(open('/theirs'))).to.equal('from ws')
        expect(await first(open('/koa'))).to.equal('from Koa')
        expect((await refused('/nobody')).status).to.equal(404)
      },
    },
  ],
  'docs/guides/neighbours.md socketio.mjs': [
    {
      check: async ({ open, refused }) => {
        const io = await open('/socket.io/?EIO=4&transport=websocket')
        expect(await io.next()).to.match(/^0\{"sid"/)
        io.send('40')
        expect(await io.next()).to.match(/^40/)
        expect(await io.next()).to.equal('42["greeting","from Socket.IO"]')
        expect(await first(open('/koa'))).to.equal('from Koa')
        expect((await refused('/nobody')).status).to.equal(404)
      },
    },
  ],
  'docs/guides/neighbours.md vite.mjs': [
    {
      check: async ({ open, fetch }) => {
        expect((await open('/', { protocols: ['vite-ping'] })).protocol).to.equal('vite-ping')
        expect(await first(open('/koa'))).to.equal('from Koa')
        expect(await (await fetch('/@vite/client')).text()).to.include('vite-hmr')
      },
    },
  ],
  'docs/guides/neighbours.md http-proxy.mjs': [
    {
      env: { TARGET: 'target' }, // replaced by the address of a server of this test
      check: async ({ open }) => {
        expect(await first(open('/api/x'))).to.equal('from the target, /api/x')
        expect(await first(open('/koa'))).to.equal('from Koa')
      },
    },
  ],
  'docs/guides/neighbours.md gate.mjs': [
    {
      check: async ({ open, refused }) => {
        expect(await first(open('/koa'))).to.equal('from Koa')
        expect(await first(open('/theirs'))).to.equal('from ws')
        expect((await refused('/nobody')).status).to.equal(400)
      },
    },
  ],
  'docs/guides/neighbours.md abandon.mjs': [
    {
      check: async ({ open, refused }) => {
        const answer = await refused('/guarded')
        expect([answer.status, answer.body]).to.deep.equal([401, 'Log in first'])
        expect(await first(open('/guarded?token=good'))).to.equal('guarded by Koa')
        expect((await refused('/nobody')).status).to.equal(404)
      },
    },
  ],

  'docs/guides/behind-nginx.md nginx.conf': ['part'], // run in front of server.mjs
  'docs/guides/behind-nginx.md server.mjs': [
    {
      check: async ({ folder, port }) => {
        const conf = readFileSync(join(folder, 'nginx.conf'), 'utf8')
        const front = await startNginx(conf, port)
        const headers = { origin: `http://127.0.0.1:${front}` }
        const socket = await openSocket(front, '/echo', { headers })
        for (const message of ['text', Buffer.from([0, 1, 2])]) {
          socket.send(message)
          expect(await socket.next()).to.deep.equal(message)
        }
        expect(await first(openSocket(front, '/ip', { headers }))).to.equal('127.0.0.1 http')
        const forged = { headers: { 'x-forwarded-for': '192.0.2.1' } }
        expect(await first(openSocket(front, '/ip', forged))).to.equal('127.0.0.1 http')
        const answer = await rejected(openSocket(front, '/private'))
        expect([answer.status, answer.body]).to.deep.equal([401, 'Log in first'])
        expect(
          (await rejected(openSocket(front, '/echo', { headers: { origin: 'https://a.example' } })))
            .status,
        ).to.equal(403)
        expect((await fetch(`http://127.0.0.1:${front}/echo`)).status).to.equal(426)
        // The page's statement about idle connections, with a timeout that a test can wait for.
        const hasty = await startNginx(
          conf.replace('proxy_read_timeout 1h', 'proxy_read_timeout 1s'),
          port,
        )
        expect((await (await openSocket(hasty, '/echo')).closed).code).to.equal(1006)
      },
    },
  ],

  'docs/guides/http2.md http2.mjs': [
    {
      files: () => {
        const { key, cert } = selfSigned()
        return { 'key.pem': key, 'cert.pem': cert }
      },
      check: async ({ port }) => {
        const insecure = { rejectUnauthorized: false }
        const url = `wss://127.0.0.1:${port}/`
        expect(await first(openSocket(url, '/', insecure))).to.equal('over 1.1')
        const session = await connectHttp2({ port, secure: true })
        expect(session.remoteSettings.enableConnectProtocol).to.equal(true)
        expect(await first(openOver(session))).to.equal('over 2.0')
        const page = session.request({ ':path': '/' })
        expect(await text(page)).to.equal('over 2.0')
        session.destroy()
      },
    },
  ],

  'docs/guides/rooms.md rooms.mjs': [
    {
      check: async ({ open, fetch }) => {
        const one = await open('/rooms/lobby')
        const two = await open('/rooms/lobby')
        const other = await open('/rooms/other')
        const joined = (await one.nextJson()) as { type: string; id: string }
        expect(joined.type).to.equal('joined')
        expect(await (await fetch('/rooms/lobby/count')).json()).to.deep.equal({ count: 2 })
        one.send('hi')
        const said = { type: 'said', said: 'hi' }
        expect(await one.nextJson()).to.deep.equal(said)
        expect(await two.nextJson()).to.deep.equal(said)
        const notice = await fetch('/rooms/lobby/notices', { method: 'POST' })
        expect(await notice.json()).to.deep.equal({ local: 2, dropped: 0 })
        two.close()
        expect(await one.nextJson()).to.deep.equal({ type: 'notice' })
        expect(await one.nextJson()).to.deep.equal({ type: 'left', id: joined.id })
        other.send('alone')
        expect(await other.nextJson()).to.deep.equal({ type: 'said', said: 'alone' })
      },
    },
  ],

  // test/deploys runs these.
  'docs/guides/pm2.md server.mjs': ['part'],
  'docs/guides/behind-nginx.md several.conf': ['part'],

  'docs/guides/redis.md server.mjs': [
    {
      check: async ({ open, output }) => {
        await output.seen(/^backplane ready/)
        const [one, two] = [await open('/'), await open('/')]
        one.send('hi')
        for (const socket of [one, two]) expect(await socket.next()).to.equal('hi')
      },
    },
  ],

  'docs/guides/replay.md server.mjs': [
    {
      check: async ({ port }) => {
        const [ann, bob] = [await talk(port), await talk(port)]
        const join = (socket: TestSocket, epoch: unknown, seq: number) =>
          reply(socket, 'join', { room: 'lobby', seen: { epoch, seq } })
        const say = (text: string) => reply(ann, 'say', { room: 'lobby', text })
        expect(await say('one')).to.equal(1)
        expect(await say('two')).to.equal(2)
        const first = (await join(bob, null, 0)) as { epoch: string; missed: unknown[] }
        const missed = [1, 2].map((seq) => ({ seq, text: seq === 1 ? 'one' : 'two' }))
        expect(first).to.deep.include({ complete: true, missed })
        const { epoch } = first
        expect(await join(bob, epoch, 1)).to.deep.include({ complete: true, missed: [missed[1]] })
        expect(await join(bob, 'another', 9)).to.deep.include({ complete: false, missed })
        for (let seq = 3; seq <= 102; seq++) await say('more')
        const late = await talk(port)
        const answer = (await join(late, epoch, 1)) as { complete: boolean; missed: unknown[] }
        expect([answer.complete, answer.missed.length]).to.deep.equal([false, 100])
        expect(await join(late, epoch, 2)).to.deep.include({ complete: true })
      },
    },
  ],
  'docs/guides/replay.md client.mjs': [{ beside: 'server.mjs', prints: /^one\ntwo\nthree\n$/ }],

  'docs/guides/recovery.md server.mjs': [
    {
      check: async ({ port, fetch }) => {
        const ann = await talk(port, '/live')
        ann.json({ type: 'say', id: 1, data: { text: 'one' } })
        expect(await hear(ann)).to.deep.equal({ type: 'said', data: { text: 'one' } })
        const { messages, position, complete } = (await (await fetch('/chats/lobby')).json()) as {
          messages: object[]
          position: string
          complete: boolean
        }
        expect(messages).to.deep.equal([{ position, type: 'said', data: { text: 'one' } }])
        expect(complete).to.equal(true)
      },
    },
  ],
  'docs/guides/recovery.md client.mjs': [
    {
      beside: 'server.mjs',
      prints: lines(...['loaded: one', 'missed: 1', 'two', 'three', 'missed: 1', 'four', 'five']),
    },
  ],
  'docs/guides/recovery.md raw.mjs': [
    {
      check: async ({ open, fetch }) => {
        const tell = (text: string) => fetch(`/news?text=${text}`, { method: 'POST' })
        const away = await open('/live')
        await tell('one')
        const one = (await away.nextJson()) as { id: string; text: string; since: string }
        expect(one).to.include({ text: 'one' })
        away.terminate()
        await tell('two')
        const back = await open(`/live?since=${one.since}`)
        expect(await back.nextJson()).to.deep.equal(one)
        expect(await back.nextJson()).to.include({ text: 'two' })
        const stranger = await open('/live?since=0.7.key')
        expect(await stranger.nextJson()).to.deep.equal({ reload: 'epoch' })
        await tell('three')
        for (const socket of [back, stranger])
          expect(await socket.nextJson()).to.include({ text: 'three' })
        const wrong = await open('/live?since=yesterday')
        expect(await wrong.closed).to.deep.equal({ code: 4400, reason: 'not a position' })
      },
    },
  ],
  'docs/guides/retry.md client.mjs': [{ prints: /^\{ number: 1 \}\n1\n$/ }],

  'docs/guides/redis.md remind.mjs': [{ prints: /^not online: send a mail\n$/ }],

  'docs/guides/presence.md server.mjs': [
    {
      check: async ({ open }) => {
        const socket = await open('/', { protocols: ['koaws.v1'] })
        let { type, data } = await hear(socket)
        while (type !== 'koaws:presence') ({ type, data } = await hear(socket))
        const [ann] = (data as { members: { info: unknown }[] }).members
        expect(ann?.info).to.deep.equal({ name: 'guest' })
      },
    },
  ],

  'docs/guides/targeted-push.md push.mjs': [
    {
      check: async ({ open, refused, fetch }) => {
        const as = (name: string) => ({ headers: { authorization: `Bearer token-of-${name}` } })
        const post = async (path: string, name: string) =>
          (await fetch(path, { method: 'POST', ...as(name) })).text()
        const [ann, tab, bob] = [
          await open('/live', as('ann')),
          await open('/live', { protocols: ['app.v1', 'koaws.bearer.token-of-ann'] }),
          await open('/live', as('bob')),
        ]
        for (const socket of [ann, tab]) expect(await socket.next()).to.equal('hello ann')
        expect(await bob.next()).to.equal('hello bob')
        expect(await post('/messages/ann', 'bob')).to.equal('{"local":2}')
        for (const socket of [ann, tab]) {
          expect(await socket.nextJson()).to.deep.equal({ from: 'bob' })
        }
        expect(await post('/messages/eve', 'bob')).to.equal('{"local":0}')
        expect(await post('/everybody', 'ann')).to.equal('{"local":1}')
        expect(await bob.nextJson()).to.deep.equal({ from: 'ann' })
        expect(await post('/logout-everywhere', 'ann')).to.equal('bye')
        for (const socket of [ann, tab]) {
          expect(await socket.closed).to.deep.equal({ code: 4401, reason: 'logged out' })
        }
        expect((await refused('/live', as('ann'))).status).to.equal(401)
        expect(bob.readyState).to.equal(bob.OPEN)
      },
    },
  ],

  'docs/guides/heartbeat.md heartbeat.mjs': [
    {
      env: { INTERVAL: '1000', TIMEOUT: '500' },
      check: async ({ port, open, output }) => {
        const conf = blocks.find(({ file }) => file === 'nginx.conf')?.code as string
        // The page's statement about proxies, with timeouts that a test can wait for.
        const front = await startNginx(
          conf.replace('proxy_read_timeout 1h', 'proxy_read_timeout 2s'),
          port,
        )
        const socket = await openSocket(front, '/')
        for (let pongs = 0; pongs < 4; pongs++) {
          expect(((await socket.nextJson()) as { rtt: number }).rtt).to.be.within(0, 1000)
        }
        const mute = await open('/')
        mute.pong = () => {}
        expect((await mute.closed).code).to.equal(1006)
        await output.seen(/gone 4408/)
        expect(socket.readyState).to.equal(socket.OPEN)
      },
    },
  ],

  'docs/guides/slow-consumers.md slow.mjs': [
    {
      check: async ({ open, output }) => {
        const taking = await open('/all')
        const some = await open('/some')
        some.pause()
        await output.seen(/dropping/)
        const all = await open('/all')
        all.pause()
        await output.seen(/closed 4610 false/)
        expect(some.readyState).to.equal(some.OPEN)
        expect(taking.readyState).to.equal(taking.OPEN)
        expect(output.text.match(/closed/g)).to.have.lengthOf(1)
        all.terminate()
      },
    },
  ],

  'docs/guides/rate-limiting.md flood.mjs': [
    {
      check: async ({ open }) => {
        const calm = await open('/')
        for (let i = 0; i < 200; i++) calm.send(`${i}`) // throttled, without loss
        for (let i = 0; i < 200; i++) expect(await calm.next()).to.equal(`${i}`)
        const mad = await open('/')
        const timer = setInterval(() => {
          for (let i = 0; i < 50; i++) mad.send('more')
        }, 20)
        const { code, reason } = await mad.closed
        clearInterval(timer)
        expect([code, reason]).to.deep.equal([1008, 'too many messages'])
        calm.send('x'.repeat(4097))
        expect((await calm.closed).code).to.equal(1009)
      },
    },
  ],

  'docs/guides/rate-limiting.md per-user.mjs': [
    {
      check: async ({ open }) => {
        const all = [await open('/?user=ann'), await open('/?user=ann'), await open('/?user=ann')]
        expect(await all[0]?.next()).to.equal('hello ann')
        expect((await all[0]?.closed)?.code).to.equal(4612)
        expect(await all[2]?.next()).to.equal('hello ann')
      },
    },
  ],

  'docs/guides/limits.md production.mjs': [
    {
      check: async ({ open }) => {
        expect(await (await open('/')).next()).to.equal('in')
      },
    },
  ],

  'docs/guides/file-descriptors.md probes.mjs': [
    {
      env: { MOST: '1', PROBES_PORT: '0' },
      check: async ({ open, refused, output }) => {
        await output.seen(/probes on \d+$/)
        const [, port] = /probes on (\d+)/.exec(output.text) ?? []
        const ready = () => fetch(`http://127.0.0.1:${port}/ready`)
        expect((await ready()).status).to.equal(200)
        const socket = await open('/')
        await refused('/')
        const full = await ready()
        expect(full.status).to.equal(503)
        expect(await full.json()).to.deep.equal({
          reasons: ['maxConnections: all 1 places are taken'],
          connections: 1,
          drops: { maxConnections: 1 },
        })
        expect((await fetch(`http://127.0.0.1:${port}/metrics`)).status).to.equal(200)
        socket.close()
        await socket.closed
        while ((await ready()).status !== 200) await wait(10)
      },
    },
  ],

  'docs/guides/observability.md prometheus.mjs': [
    {
      check: async ({ open, refused, fetch }) => {
        const socket = await open('/live')
        await socket.next()
        const other = await open('/live')
        other.close(4999)
        await other.closed
        await refused('/live', { headers: { origin: 'https://elsewhere.example' } })
        const text = async () => (await fetch('/metrics')).text()
        while (!(await text()).includes('koaws_connections_closed_total{')) await wait(10)
        const lines = (await text()).split('\n')
        expect(lines).to.include.members([
          'koaws_connections_active{koaws_hub="default",koaws_connection_state="open"} 1',
          'koaws_connections_closed_total{koaws_hub="default",koaws_close_code="other",koaws_close_clean="true"} 1',
          'koaws_upgrades_limited_total{koaws_hub="default",koaws_drop_reason="origin"} 1',
        ])
      },
    },
  ],

  'docs/guides/observability.md app.mjs': [
    {
      check: async ({ open }) => {
        const socket = await open('/', { protocols: ['koaws.v1'] })
        await hear(socket)
        expect(await reply(socket, 'add', { a: 1, b: 2 })).to.equal(3)
      },
    },
  ],

  'docs/guides/inspector.md server.mjs': [
    {
      check: async ({ open, refused, fetch }) => {
        await open('/live?name=ann')
        await refused('/nobody')
        expect(await (await fetch('/inspector')).text()).to.include('koaws inspector')
        const page = await open('/inspector/socket', { protocols: ['koaws.v1'] })
        await page.next()
        page.send('{"type":"groups","id":1,"data":{"kind":"user"}}')
        expect(await page.nextJson()).to.have.nested.property('data.names[0][0]', 'ann')
        page.send('{"type":"refusals","id":2}')
        const { data } = (await page.nextJson()) as { data: { all: { timeline: unknown }[] } }
        expect(data.all[0]).to.include({ path: '/nobody', status: 404 })
        expect(data.all[0]?.timeline).to.not.equal(null)
      },
    },
  ],

  'docs/guides/shutdown.md server.mjs': [
    {
      check: async ({ open, refused, fetch, child, output }) => {
        const socket = await open('/live')
        expect((await fetch('/ready')).status).to.equal(200)
        child.kill('SIGTERM')
        while ((await fetch('/ready')).status === 200) await wait(10)
        const late = await open('/live') // accepted during readyDelay
        for (const { code, reason } of [await socket.closed, await late.closed]) {
          expect(code).to.equal(1012)
          const [, ms] = /^restart, retry in (\d+) ms$/.exec(reason) ?? []
          expect(Number(ms)).to.be.within(500, 1_500)
        }
        await refused('/live').then(unexpected, () => {}) // no process listens
        expect(await exitOf(child)).to.equal(0)
        await output.seen(/left 1012 true/)
        await output.seen(/^closed$/)
      },
    },
  ],

  'docs/guides/contract.md protocol.mjs': ['part'],
  'docs/guides/contract.md contract.mjs': [
    { prints: lines('receive say', 'receive typing', 'send said') },
  ],
  'docs/guides/messages.md protocol.mjs': ['part'],
  'docs/guides/messages.md app.mjs': ['part'],
  'docs/guides/messages.md server.mjs': [
    {
      check: async ({ port, open, refused }) => {
        const socket = await talk(port, '/rooms/lobby/socket')
        const [other, elsewhere] = [
          await talk(port, '/rooms/lobby/socket'),
          await talk(port, '/rooms/other/socket'),
        ]
        socket.json({ type: 'say', id: 1, data: { text: 'hi' } })
        const said = { type: 'said', data: { text: 'hi' } }
        expect(await hear(socket)).to.deep.equal(said)
        const answer = { type: 'koaws:reply', id: 1, data: { heard: 2 } }
        expect(await hear(socket)).to.deep.equal(answer)
        expect(await hear(other)).to.deep.equal(said)
        expect(await fault(socket, 'say', { text: '' })).to.include({ code: 'ERR_KOAWS_INVALID' })
        other.json({ type: 'typing' })
        expect(await hear(socket)).to.deep.equal({ type: 'writes' })
        socket.json({ type: 'say', data: { text: 'no answer' } })
        expect((await hear(socket)).type).to.equal('said')
        expect((await ask(socket, 'koaws:ping')).type).to.equal('koaws:reply') // the push gets no reply
        expect((await ask(elsewhere, 'koaws:ping')).type).to.equal('koaws:reply')
        expect((await refused('/rooms/lobby/socket')).status).to.equal(400)
        const wrong = open('/rooms/lobby/socket', { protocols: ['chat'] })
        expect((await rejected(wrong)).body).to.equal('This route speaks koaws.v1.')
      },
    },
  ],
  'docs/guides/messages.md index.html': [
    {
      run: 'server.mjs',
      check: async ({ port, folder, child }) => {
        const [one, two] = [await openPage(), await openPage()]
        for (const page of [one, two]) {
          await page.goto(`http://127.0.0.1:${port}/rooms/lobby`)
          await page.getByText('open', { exact: true }).waitFor()
        }
        await one.fill('#text', 'hello from one')
        await two.waitForFunction(() => document.title === 'Somebody is typing')
        await one.press('#text', 'Enter')
        await two.getByText('hello from one').waitFor()
        await one.getByText('hello from one').waitFor()
        await one.getByText('heard by 2').waitFor()
        expect(await two.title()).to.equal('Chat')
        await one.getByRole('button').click()
        await one.getByText(/^text: ./).waitFor()
        child.kill('SIGTERM')
        await one.getByText('waiting', { exact: true }).waitFor()
        await exitOf(child)
        await startSample(folder, 'server.mjs', {}, port)
        await one.getByText('open', { exact: true }).waitFor()
      },
    },
  ],

  'docs/guides/streams.md server.mjs': [
    {
      check: async ({ port }) => {
        const socket = await talk(port, '/')
        socket.json({ type: 'ask', id: 1, credit: 1_000, data: { prompt: 'hi' } })
        for (const token of ['You', ' asked:', ' hi'])
          expect(await hear(socket)).to.deep.equal({ type: 'koaws:item', id: 1, data: { token } })
        expect(await hear(socket)).to.include({ type: 'koaws:reply', id: 1 })
      },
    },
  ],
  'docs/guides/streams.md client.mjs': [
    {
      beside: 'server.mjs',
      prints: lines(
        'You asked: What is a stream? (6 tokens)',
        'You',
        'You asked: Are you still there?',
        '{ characters: 18 }',
      ),
    },
  ],
  'docs/guides/streams.md test/streams.test.ts': [mocha(/1 passing/)],

  'docs/guides/validation.md schemas.mjs': [
    {
      check: async ({ port }) => {
        const socket = await talk(port)
        const at = '2026-03-01T15:00:00Z'
        const tea = { title: 'Tea', at, colour: 'red' }
        expect(await reply(socket, 'add', tea)).to.deep.equal({ ends: '2026-03-01T16:00:00.000Z' })
        expect(await reply(socket, 'rate', { stars: 5 })).to.equal(5)
        expect(await reply(socket, 'tag', { name: 'home' })).to.deep.equal(['name'])
        expect(await reply(socket, 'ping', 'sneaked in')).to.equal('undefined')
        const { message, data } = await fault(socket, 'rate', { stars: 9 })
        expect(message).to.match(/^stars: Invalid value: ./)
        expect(data).to.have.nested.property('issues[0].path').that.deep.equals(['stars'])
        for (const type of ['add', 'tag']) // no offenses
          expect((await fault(socket, type, {})).code).to.equal('ERR_KOAWS_INVALID')
        for (let offence = 1; offence <= 4; offence++)
          expect((await fault(socket, 'nope')).code).to.equal('ERR_KOAWS_UNKNOWN_TYPE')
        socket.send(Buffer.from('{}')) // the fifth offense
        expect((await hear(socket)).error?.code).to.equal('ERR_KOAWS_BINARY')
        expect((await socket.closed).code).to.equal(4400)
        const other = await talk(port)
        const tries: [unknown, string][] = [
          ['x'.repeat(65_536), 'ERR_KOAWS_TOO_LARGE'],
          [JSON.parse('['.repeat(32) + ']'.repeat(32)), 'ERR_KOAWS_TOO_DEEP'],
          [JSON.parse('{"__proto__":1}'), 'ERR_KOAWS_PROTOTYPE_KEY'],
        ]
        for (const [value, code] of tries)
          expect((await ask(other, 'tag', value)).error?.code).to.equal(code)
        other.send('{')
        expect((await hear(other)).error?.code).to.equal('ERR_KOAWS_MALFORMED')
      },
    },
  ],

  'docs/guides/message-errors.md errors.mjs': [
    {
      check: async ({ port, output }) => {
        const socket = await talk(port)
        expect(await fault(socket, 'buy', { seat: 'B7' })).to.deep.equal({
          code: 'taken',
          message: 'This seat is taken',
          status: 409,
          retryable: false,
          data: { free: ['A1', 'A2'] },
        })
        const internal = { code: 'internal', message: 'Internal Server Error', status: 500 }
        const bug = await fault(socket, 'buy', { seat: 'Z8' })
        expect(bug).to.deep.equal({ ...internal, retryable: false })
        await output.seen(/^app error: a bug of ours in buy of \/$/)
        expect(await fault(socket, 'buy', { seat: 'Z9' })).to.deep.equal({
          code: 'down',
          message: 'Try again in a minute',
          status: 503,
          retryable: true,
        })
        socket.json({ type: 'seen', data: 'x' })
        const { error, ...rest } = await hear(socket)
        expect(rest).to.deep.equal({ type: 'koaws:error', about: 'seen' })
        expect(error).to.include({ code: 'gone', status: 410, message: 'Nobody asked' })
        expect(output.text).not.to.match(/10\.0\.0\.7/)
      },
    },
  ],
  'docs/guides/message-errors.md errors-client.mjs': [
    {
      beside: 'errors.mjs',
      prints: lines(
        'bought, 1 left',
        'taken, but free are A2',
        'Try again in a minute: again later',
        'internal: look before you try again',
        'push failed: seen gone',
        'bought, 0 left',
        'ERR_KOAWS_CLOSED: never sent',
      ),
    },
  ],

  'docs/guides/replies-and-timeouts.md confirm.mjs': ['part'],
  'docs/guides/replies-and-timeouts.md confirm-client.mjs': [
    { beside: 'confirm.mjs', prints: lines('removed', 'kept', 'no answer') },
  ],
  'docs/guides/replies-and-timeouts.md order.mjs': [
    {
      check: async ({ port }) => {
        const times = [300, 200, 100]
        for (const [path, order] of [
          ['/in-order', times],
          ['/at-once', times.toReversed()],
        ] as const) {
          const socket = await talk(port, path)
          const start = performance.now()
          for (const ms of times) socket.json({ type: 'work', id: ms, data: { ms } })
          for (const ms of order) expect((await hear(socket)).data, path).to.equal(ms)
          const took = performance.now() - start
          expect(took, path).to.be.at.least(path === '/in-order' ? 590 : 290)
        }
      },
    },
  ],

  'docs/guides/message-authentication.md auth.mjs': [
    {
      env: { SECRET },
      check: async ({ port, open, fetch }) => {
        const tokenOf = async (name: string, seconds: number): Promise<string> =>
          (await fetch(`/tokens/${name}?seconds=${seconds}`, { method: 'POST' })).text()
        const ann = await tokenOf('ann', 600)
        const asked = async (): Promise<TestSocket> => {
          const socket = await open('/first-message', { protocols: ['koaws.v1'] })
          expect(await hear(socket)).to.deep.equal({
            type: 'koaws:authenticate',
            data: { timeout: 2_000 },
          })
          return socket
        }
        const socket = await asked()
        expect(await fault(socket, 'team')).to.include({ code: 'ERR_KOAWS_UNAUTHENTICATED' })
        await reply(socket, 'koaws:auth', { token: ann })
        expect((await hear(socket)).data).to.include({ user: 'ann', refresh: true })
        expect((await hear(socket)).data).to.deep.equal({ user: 'ann', rooms: ['team:red'] })
        expect(await reply(socket, 'team')).to.equal('red')
        const before = (await reply(socket, 'expiry')) as number
        const blue = jsonwebtoken.sign({ team: 'blue' }, SECRET, { subject: 'ann', expiresIn: 900 })
        await reply(socket, 'koaws:auth', { token: blue })
        expect(((await reply(socket, 'expiry')) as number) - before).to.be.above(200_000)
        expect(await reply(socket, 'team')).to.equal('blue')
        expect(await fault(socket, 'koaws:auth', { token: 'forged' })).to.include({
          code: 'ERR_KOAWS_AUTH',
        })
        expect(await reply(socket, 'team')).to.equal('blue')
        socket.json({ type: 'koaws:auth', id: 1, data: { token: await tokenOf('bob', 600) } })
        expect((await socket.closed).code).to.equal(4403)

        const late = await asked()
        const wrong = await asked()
        expect(await fault(wrong, 'koaws:auth', { token: 'forged' })).to.include({ status: 401 })
        expect((await wrong.closed).code).to.equal(4401)
        expect((await late.closed).code).to.equal(4408)

        const rejected = await open('/handshake', { protocols: ['koaws.v1'] })
        expect((await rejected.closed).code).to.equal(4401)
        const short = await tokenOf('ann', 2)
        const ending = await open('/handshake', {
          protocols: ['koaws.v1', `koaws.bearer.${short}`],
        })
        expect((await ending.closed).code).to.equal(4401)
        expect((await hear(ending)).data).to.include({ user: 'ann', refresh: true })
        expect(port).to.be.above(0)
      },
    },
  ],
  'docs/guides/message-authentication.md auth-client.mjs': [
    {
      beside: 'auth.mjs',
      prints:
        /^(?=[\s\S]*^\/handshake ann team:red\n)(?=[\s\S]*^\/first-message ann team:red\n)(?=[\s\S]*^\/handshake open with a new token$)(?=[\s\S]*^\/first-message open with a new token$)(?:.*\n){4}$/m,
    },
  ],

  'docs/guides/client.md use-client.mjs': [
    {
      run: fileURLToPath(new URL('support/react-check.mjs', import.meta.url)),
      prints: /^all hooks do what they say$/m,
    },
  ],

  'docs/guides/testing.md test/echo.test.ts': [mocha(/3 passing/)],
  'docs/guides/testing.md test/auth.test.ts': [mocha(/4 passing/)],
  'docs/guides/testing.md test/messages.test.ts': [mocha(/4 passing/)],
  'docs/guides/testing.md test/composer.test.ts': [mocha(/4 passing/)],
  'docs/guides/testing.md test/both.test.ts': [mocha(/1 passing/)],
  'docs/guides/testing.md test/instances.test.ts': [mocha(/1 passing/)],
  'docs/guides/testing.md test/port.test.ts': [mocha(/2 passing/)],

  'docs/guides/commonjs.md server.cjs': [
    {
      check: async ({ open }) => {
        const socket = await open('/')
        socket.send('hi')
        expect(await socket.next()).to.equal('you said: hi')
      },
    },
  ],
  'docs/guides/commonjs.md typed.cts': ['part'], // for the type check
  'docs/guides/commonjs.md test/echo.test.cjs': [mocha(/1 passing/)],
  'docs/guides/docker.md server.mjs': [
    {
      check: async ({ open, fetch }) => {
        expect((await fetch('/alive')).status).to.equal(204)
        expect((await fetch('/ready')).status).to.equal(200)
        const socket = await open('/live')
        socket.send('hi')
        expect(await socket.next()).to.equal('hi')
      },
    },
  ],
  'docs/guides/load-testing.md server.mjs': [
    {
      check: async ({ folder, port }) => {
        const script = join(ROOT, 'examples/load-test.mjs')
        const url = `ws://127.0.0.1:${port}/`
        const few = ['--connections', '20', '--seconds', '1', '--rate', '20']
        const { code, output } = await runToEnd([script, url, ...few], folder, {})
        expect(output).to.match(/^answered 20: .*\nreceived 20 messages\n.*\nfailed 0\n$/m)
        expect(code).to.equal(0)
      },
    },
  ],
  'docs/guides/typescript.md protocol.ts': ['part'],
  'docs/guides/typescript.md server.ts': ['part'], // run beside client.ts, a later block
  'docs/guides/typescript.md client.ts': [
    {
      run: 'server.ts',
      env: { NODE_OPTIONS: '--import=tsx' },
      check: async ({ folder, port, open }) => {
        expect(await first(open('/raw'))).to.equal('ann')
        const env = { PORT: String(port) }
        const { code, output } = await runToEnd(['--import=tsx', 'client.ts'], folder, env)
        expect([code, output]).to.deep.equal([0, 'ann: hi\nheard by 1\n'])
        const { outputFiles } = await bundle({
          entryPoints: [join(folder, 'client.ts')],
          bundle: true,
          write: false,
          format: 'esm',
          platform: 'browser',
        })
        expect(outputFiles[0]?.text)
          .to.include('koaws.v1')
          .and.not.to.match(/\bzod\b|ZodError/i)
      },
    },
  ],

  'docs/guides/migrating.md from-koa-easy-ws.mjs': [
    {
      check: async ({ open, fetch, port }) => {
        const socket = await open('/')
        expect(await socket.next()).to.equal('hello there')
        socket.send('hi')
        expect(await socket.next()).to.equal('echo: hi')
        expect(await (await fetch('/')).text()).to.equal('general kenobi')
        socket.send('x'.repeat(1024 * 1024 + 1))
        expect((await socket.closed).code).to.equal(1009)
        // The page's statement about requests that are rejected now.
        const ask = (headers: Record<string, string | undefined>) => handshake(port, headers)
        expect(await ask({})).to.equal(101)
        expect(await ask({ Origin: 'https://elsewhere.example' })).to.equal(403)
        expect(await ask({ Connection: 'keep-alive' })).to.equal(200)
        expect(await ask({ 'Sec-WebSocket-Version': '12' })).to.equal(426)
        expect(await ask({ 'Sec-WebSocket-Key': 'short' })).to.equal(400)
        expect(await ask({ 'Content-Length': '3' })).to.equal(400)
      },
    },
  ],
  'docs/guides/migrating.md from-koa-websocket.mjs': [
    {
      check: async ({ open, refused, fetch }) => {
        expect(await first(open('/test/7'))).to.equal('hello 7')
        expect(await (await fetch('/test/7')).text()).to.equal('plain HTTP')
        expect((await refused('/elsewhere')).status).to.equal(200)
      },
    },
  ],
  'docs/guides/migrating.md from-socketio.mjs': [
    {
      check: async ({ open, refused }) => {
        const options = { protocols: ['koaws.v1'], headers: { cookie: 'name=ann' } }
        const [one, two] = [await open('/chat', options), await open('/chat', options)]
        for (const socket of [one, two])
          expect((await hear(socket)).data).to.include({ user: 'ann' })
        one.json({ type: 'say', id: 1, data: 'hi' })
        for (const socket of [one, two])
          expect(await hear(socket)).to.deep.equal({ type: 'said', data: 'hi' })
        expect(await hear(one)).to.deep.equal({ type: 'koaws:reply', id: 1, data: { ok: true } })
        const nameless = await open('/chat', { protocols: ['koaws.v1'] })
        expect(await nameless.closed).to.deep.equal({ code: 4401, reason: 'Log in first' })
        expect((await refused('/chat')).status).to.equal(401)
      },
    },
  ],

  // test/interop/by-hand.test.ts and from-ws.test.ts run these blocks, both the old and the new
  // code.
  'docs/guides/from-ws.md old/connections.mjs': ['part'],
  'docs/guides/from-ws.md new/hub.mjs': ['part'],
  'docs/guides/from-ws.md old/rooms.mjs': ['part'],
  'docs/guides/from-ws.md old/heartbeat.mjs': ['part'],
  'docs/guides/from-ws.md old/auth.mjs': ['part'],
  'docs/guides/from-ws.md new/app.mjs': ['part'],
  'docs/guides/from-ws.md old/messages.mjs': ['part'],
  'docs/guides/from-ws.md new/messages.mjs': ['part'],
  'docs/guides/from-ws.md old/server.mjs': ['part'],
  'docs/guides/from-ws.md old/redis.mjs': ['part'],
  'docs/guides/from-ws.md new/redis.mjs': ['part'],
  'docs/guides/from-ws.md old/nginx.conf': ['part'],
  'docs/guides/from-ws.md new/workers.mjs': ['part'],
  'docs/guides/from-ws.md new/server.mjs': [
    {
      run: 'new/server.mjs',
      env: { SECRET },
      check: async ({ open, refused, fetch }) => {
        const ann = await open(`/chat?token=${token({})}`)
        const tab = await open('/chat', { headers: { cookie: `token=${token({})}` } })
        for (const socket of [ann, tab]) {
          socket.json({ type: 'join', room: 'lobby' })
          expect(await socket.nextJson()).to.deep.equal({ type: 'joined', room: 'lobby' })
        }
        ann.json({ type: 'chat', room: 'lobby', text: 'hi' })
        ann.json({ type: 'tell', to: 'ann', text: 'note' })
        for (const socket of [ann, tab]) {
          expect(await socket.nextJson()).to.deep.equal({
            type: 'chat',
            room: 'lobby',
            from: 'ann',
            text: 'hi',
          })
          expect(await socket.nextJson()).to.deep.equal({ type: 'told', from: 'ann', text: 'note' })
        }
        const headers = { authorization: `Bearer ${token({})}` }
        const stats = await (await fetch('/stats', { headers })).json()
        expect(stats).to.deep.equal({ connections: 2, rooms: 1, users: 1 })
        expect((await refused('/chat')).status).to.equal(401)
      },
    },
  ],

  'docs/guides/graphql-ws-and-yjs.md graphql.mjs': ['part'],
  'docs/guides/graphql-ws-and-yjs.md graphql-client.mjs': [
    { beside: 'graphql.mjs', prints: /^hello ann\none\ntwo\nthree$/m },
  ],
  'docs/guides/graphql-ws-and-yjs.md make-server.mjs': [
    {
      check: async ({ open, refused }) => {
        const socket = await open('/graphql/lobby', { protocols: ['graphql-transport-ws'] })
        socket.json({ type: 'connection_init' })
        expect(await socket.nextJson()).to.deep.equal({ type: 'connection_ack' })
        socket.json({ id: '1', type: 'subscribe', payload: { query: '{ hello }' } })
        expect(await socket.nextJson()).to.deep.equal({
          id: '1',
          type: 'next',
          payload: { data: { hello: 'hello from lobby' } },
        })
        socket.send('no json')
        expect((await socket.closed).code).to.equal(4400)
        expect((await refused('/graphql/lobby', { protocols: ['graphql-ws'] })).status).to.equal(
          400,
        )
      },
    },
  ],
  'docs/guides/graphql-ws-and-yjs.md both.mjs': [
    {
      check: async ({ port, open, refused }) => {
        const [ann, bob] = [await talk(port, '/live/lobby'), await talk(port, '/live/lobby')]
        expect(await reply(ann, 'say', 'hi')).to.equal(1)
        expect(await hear(bob)).to.deep.equal({ type: 'said', data: 'hi' })
        const graphql = await open('/live/lobby', { protocols: ['graphql-transport-ws'] })
        graphql.json({ type: 'connection_init' })
        expect(await graphql.nextJson()).to.deep.equal({ type: 'connection_ack' })
        graphql.json({ id: '1', type: 'subscribe', payload: { query: '{ hello }' } })
        expect(await graphql.nextJson()).to.have.nested.property(
          'payload.data.hello',
          'hello from lobby',
        )
        expect((await refused('/live/lobby')).status).to.equal(400)
      },
    },
  ],
  'docs/guides/graphql-ws-and-yjs.md yjs.mjs': ['part'],
  'docs/guides/graphql-ws-and-yjs.md yjs-client.mjs': [
    { beside: 'yjs.mjs', prints: /^hello bob$/m },
  ],
}

/** Matches exactly these lines. */
function lines(...all: string[]): RegExp {
  const escaped = all.map((line) => line.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'))
  return new RegExp(`^${escaped.join('\n')}\n$`)
}

function mocha(prints: RegExp): Script {
  return {
    node: ['--import=tsx', join(ROOT, 'node_modules/mocha/bin/mocha.js'), '--no-config'],
    prints,
  }
}

// ---- The tests

const blocks = pages().flatMap(blocksOf)
const files = blocks.filter(({ fragment }) => !fragment)

describe('samples of the docs', () => {
  let home: string
  let browser: Browser | null = null

  needs('chromium', 'nginx', 'redis-server')

  before(async () => {
    home = installed()
    const { port } = await startRedis()
    process.env['REDIS_URL'] = `redis://127.0.0.1:${port}`
  })

  after(async () => {
    await browser?.close()
    await stopRedis()
    delete process.env['REDIS_URL']
    rmSync(home, { recursive: true, force: true })
  })

  afterEach(async () => {
    for (const context of browser?.contexts() ?? []) await context.close()
    await cleanUp()
    for (const child of children) await end(child)
    children.clear()
    for (const stop of stops.splice(0)) await stop()
  })

  openPage = async () => {
    browser ??= await launchChromium()
    return (await browser.newContext()).newPage()
  }

  it('have one entry each, and each entry has a sample', () => {
    const counts = new Map<string, number>()
    for (const block of files) counts.set(keyOf(block), (counts.get(keyOf(block)) ?? 0) + 1)
    const expected = Object.entries(table).map(([key, entries]) => [key, entries.length])
    expect(Object.fromEntries(counts)).to.deep.equal(Object.fromEntries(expected))
  })

  it('in TypeScript pass the type check, including fragments', async () => {
    const typed = blocks.filter(({ language, page }) => language === 'ts' && isChecked(page))
    expect(await typeErrors(join(home, 'types'), typed, {})).to.equal('')
  })

  it('that show mistakes are valid TypeScript syntax', async () => {
    const parsed = blocks.filter(({ language, page }) => language === 'ts' && !isChecked(page))
    if (parsed.length > 0)
      expect(await typeErrors(join(home, 'syntax'), parsed, { noCheck: true })).to.equal('')
  })

  it('with a part of an nginx.conf pass the check of nginx', async () => {
    const parts = blocks.filter(({ language, fragment }) => language === 'nginx' && fragment)
    for (const [index, { code, page, line }] of parts.entries()) {
      const file = join(home, `part-${index}.conf`)
      const map = "map $http_upgrade $connection_upgrade { default upgrade; '' close; }"
      writeFileSync(
        file,
        `events {}\nhttp {\n${map}\nserver {\nlisten 127.0.0.1:1;\n${code}\n}\n}\n`,
      )
      const main = `pid ${home}/nginx.pid; error_log stderr;`
      const child = start(
        pathOf('nginx'),
        ['-t', '-p', home, '-e', 'stderr', '-c', file, '-g', main],
        home,
        {},
      )
      const output = new Output(child)
      expect((await once(child, 'close'))[0], `${page}:${line}\n${output.text}`).to.equal(0)
    }
  })

  const seen = new Map<string, number>()
  for (const block of files) {
    const key = keyOf(block)
    const index = seen.get(key) ?? 0
    seen.set(key, index + 1)
    const entry = table[key]?.[index]
    const title = `${key}${index > 0 ? ` (${index + 1})` : ''}, line ${block.line}`
    if (entry === 'part' || entry === undefined) {
      it(`${title}: is written`, () => void write(home, block))
      continue
    }
    it(title, async () => {
      const folder = write(home, block)
      if ('prints' in entry) await runScript(folder, block.file as string, entry)
      else await runServer(folder, entry.run ?? (block.file as string), entry)
    })
  }
})

async function runServer(
  folder: string,
  file: string,
  { env = {}, files, check }: Step,
): Promise<void> {
  for (const [name, source] of Object.entries(files?.() ?? {})) {
    cpSync(source, join(folder, name))
  }
  const target = env['TARGET'] && (await startTarget())
  const { port, child, output } = await startSample(
    folder,
    file,
    target ? { ...env, TARGET: target } : env,
  )
  const run: Run = {
    port,
    folder,
    child,
    output,
    open: (path, options) => openSocket(port, path, options),
    refused: (path, options) => rejected(openSocket(port, path, options)),
    fetch: (path, init) => fetch(`http://127.0.0.1:${port}${path}`, init),
  }
  try {
    await check(run)
  } catch (error) {
    const state = `exit code ${child.exitCode}, signal ${child.signalCode}`
    throw new Error(`${(error as Error).message}\nThe sample (${state}) printed:\n${output.text}`, {
      cause: error,
    })
  }
  expect(output.text, 'errors of the sample').not.to.match(/^\s+at .*file:/m)
}

async function runScript(
  folder: string,
  file: string,
  { node = [], beside, run = file, prints }: Script,
): Promise<void> {
  const port = beside ? (await startSample(folder, beside, {})).port : 0
  const { code, output } = await runToEnd([...node, run], folder, { PORT: String(port) })
  expect(output).to.match(prints)
  expect(code, output).to.equal(0)
}

// ---- Blocks

function pages(): string[] {
  const below = readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
  const docs = below
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name.replaceAll('\\', '/')}`)
  // translations.test.ts compares the blocks of the Chinese pages with the ones that run here, and
  // reference.test.ts runs the samples of the API.
  const elsewhere = /^docs\/(?:zh-CN|reference\/api)\//
  return ['README.md', ...docs.filter((name) => !elsewhere.test(name)).sort()]
}

function blocksOf(page: string): Block[] {
  const text = readFileSync(join(ROOT, page), 'utf8')
  const found: Block[] = []
  for (const match of text.matchAll(/^```([^\n]+)\n(.*?)^```$/gms)) {
    const [language = '', ...rest] = (match[1] as string).trim().split(/\s+/)
    if (!RUNNABLE.includes(language)) continue
    const code = match[2] as string
    const line = text.slice(0, match.index).split('\n').length
    const file = NAME.exec(code.split('\n', 1)[0] as string)?.[1] ?? null
    const fragment = rest.includes('fragment') || (language === 'nginx' && !file)
    if (!file && !fragment)
      throw new Error(`${page}:${line}: the first line of a block names its file`)
    if (fragment && !['ts', 'nginx'].includes(language))
      throw new Error(`${page}:${line}: a fragment is TypeScript`)
    found.push({ page, line, language, file, fragment, code })
  }
  return found
}

function keyOf({ page, file }: Block): string {
  return `${page} ${file}`
}

/**
 * Whether the fragments of a page are complete enough for types; other pages may show mistakes on
 * purpose.
 */
function isChecked(page: string): boolean {
  return /^(?:README|docs\/index|docs\/getting-started|docs\/choosing|docs\/guides\/.*)\.md$/.test(
    page,
  )
}

/** Returns the errors of the TypeScript compiler for these blocks. */
function typeErrors(folder: string, some: Block[], options: object): Promise<string> {
  mkdirSync(folder)
  for (const block of some) {
    const slug = block.page.replaceAll(/[/.]/g, '-')
    const path = join(
      folder,
      block.file ? `${slug}/${block.file}` : `${slug}-line-${block.line}.ts`,
    )
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, block.fragment ? wrapped(block) : block.code)
  }
  return typeErrorsIn(folder, options)
}

/** Wraps a fragment with the declarations that its page has made before it. */
function wrapped({ code }: Block): string {
  return `import { subscribe } from 'node:diagnostics_channel'
import type { Server } from 'node:http'
import Router from '@koa/router'
import type { GraphQLSchema } from 'graphql'
import { useServer } from 'graphql-ws/use/ws'
import type Koa from 'koa'
import type { Middleware } from 'koa'
import koaWs, {
  accept,
  type Audience,
  bearer,
  bySubprotocol,
  type Connection,
  type DefinitionOf,
  forward,
  type Hub,
  type Messages,
  messages,
  protocol,
  type StandardSchema,
} from 'koaws'
import { type Client, connect } from 'koaws/client'
import { asyncapi } from 'koaws/asyncapi'
import { inspector } from 'koaws/inspector'
import { instrument } from 'koaws/otel'
import * as v from 'valibot'
import type { WebSocketServer } from 'ws'
import { z } from 'zod'

const chatProtocol = protocol({
  say: { data: z.object({ text: z.string() }), reply: z.object({ heard: z.number() }) },
  typing: {},
  join: { data: z.object({ room: z.string() }) },
  said: { push: z.object({ text: z.string().min(1) }) },
})
type ChatProtocol = DefinitionOf<typeof chatProtocol>
declare const chat: Messages<ChatProtocol>
declare const client: Client<ChatProtocol>

declare const app: Koa
declare const log: { info(...values: unknown[]): void }
declare const hub: Hub
declare const router: Router
declare const connection: Connection
declare const ctx: Koa.Context
declare const room: string
declare const schema: GraphQLSchema
declare const server: Server
declare const socket: WebSocket
declare const text: string
declare const token: string
declare const wss: WebSocketServer
declare const setupWSConnection: (ws: object, req: object) => void

export async function fragment(): Promise<void> {
${code}}
`
}

/** Writes a block to the folder of its page. */
function write(home: string, { page, file, code }: Block): string {
  const folder = join(home, page.replace(/\.md$/, '').replaceAll('/', '-'))
  const path = join(folder, file as string)
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, code)
  return folder
}

// ---- Processes

const children = new Set<ChildProcess>()
const stops: (() => Promise<void>)[] = []

/** The output of a process, with waiting for a line of it. */
class Output {
  text = ''
  readonly #waiting = new Set<() => void>()

  constructor(child: ChildProcess) {
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (chunk: string) => this.#add(chunk))
    }
  }

  async seen(pattern: RegExp): Promise<void> {
    const multiline = new RegExp(pattern.source, 'm')
    while (!multiline.test(this.text))
      await new Promise<void>((resolve) => this.#waiting.add(resolve))
  }

  #add(chunk: string): void {
    this.text += chunk
    for (const resolve of this.#waiting) resolve()
    this.#waiting.clear()
  }
}

function start(
  command: string,
  args: string[],
  cwd: string,
  env: Record<string, string>,
): ChildProcess {
  const child = spawn(command, args, {
    cwd,
    env: { ...process.env, NODE_OPTIONS: '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  children.add(child)
  return child
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGKILL')
  await once(child, 'exit')
}

async function exitOf(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  return child.exitCode
}

async function runToEnd(
  args: string[],
  cwd: string,
  env: Record<string, string>,
): Promise<{ code: number | null; output: string }> {
  const child = start(process.execPath, args, cwd, env)
  const output = new Output(child)
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, output: output.text }
}

async function startSample(
  folder: string,
  file: string,
  env: Record<string, string>,
  at?: number,
): Promise<{ port: number; child: ChildProcess; output: Output }> {
  const port = at ?? (await freePort())
  const child = start(process.execPath, [file], folder, { ...env, PORT: String(port) })
  const output = new Output(child)
  await listening(port, child, output)
  return { port, child, output }
}

/** Resolves when a process accepts connections. */
async function listening(port: number, child: ChildProcess, output: Output): Promise<void> {
  const deadline = Date.now() + 60_000
  while (!(await takesConnections(port))) {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}:\n${output.text}`)
    if (Date.now() > deadline) throw new Error(`it does not listen:\n${output.text}`)
    await wait(20)
  }
}

function takesConnections(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.on('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}

/** Returns the status of a handshake with headers that a client would not send. */
function handshake(port: number, headers: Record<string, string | undefined>): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      port,
      host: '127.0.0.1',
      agent: false,
      headers: {
        Connection: 'Upgrade',
        Upgrade: 'websocket',
        'Sec-WebSocket-Version': '13',
        'Sec-WebSocket-Key': 'AAAAAAAAAAAAAAAAAAAAAA==',
        ...headers,
      },
    })
    request.on('error', reject)
    request.on('response', (response) => {
      response.resume()
      resolve(response.statusCode as number)
    })
    request.on('upgrade', (_response, socket) => {
      socket.destroy()
      resolve(101)
    })
    request.flushHeaders()
    request.end(headers['Content-Length'] ? 'abc' : undefined)
  })
}

/** Starts the target of a proxy. */
async function startTarget(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1')
  const wss = new WebSocketServer({ server })
  wss.on('connection', (ws, req) => ws.send(`from the target, ${req.url}`))
  await once(server, 'listening')
  stops.push(async () => {
    for (const ws of wss.clients) ws.terminate()
    await new Promise((resolve) => server.close(resolve))
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/**
 * Starts Debian's nginx with a configuration of the docs, in its own folder, in front of a server.
 */
async function startNginx(conf: string, upstream: number): Promise<number> {
  const prefix = mkdtempSync(join(ROOT, 'test/.samples-nginx-'))
  const port = await freePort()
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${name};`,
  )
  const here = replaceOnce(conf, 'listen 80;', `listen 127.0.0.1:${port};`)
  const leading = replaceOnce(here, 'server 127.0.0.1:3000;', `server 127.0.0.1:${upstream};`)
  const file = join(prefix, 'nginx.conf')
  writeFileSync(
    file,
    replaceOnce(leading, 'http {', `http {\naccess_log off;\n${temporary.join('\n')}\n`),
  )
  const main = `daemon off; worker_processes 1; pid ${prefix}/pid; error_log stderr;`
  const child = start(
    pathOf('nginx'),
    ['-p', prefix, '-e', 'stderr', '-c', file, '-g', main],
    prefix,
    {},
  )
  stops.push(async () => rmSync(prefix, { recursive: true, force: true }))
  stops.unshift(async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM')
      await once(child, 'exit')
    }
  })
  children.delete(child) // a SIGKILL would leave its workers
  await listening(port, child, new Output(child))
  return port
}

function replaceOnce(text: string, from: string, to: string): string {
  expect(text.split(from), from).to.have.lengthOf(2)
  return text.replace(from, () => to)
}

function cookiesOf(lines: string[] | undefined): string {
  return (lines ?? []).map((line) => line.split(';', 1)[0]).join('; ')
}

function unexpected(): never {
  throw new Error('it was answered')
}

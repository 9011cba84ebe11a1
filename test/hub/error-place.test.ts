import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import Koa from 'koa'
import { accept, type ErrorPlace, type KoaWsOptions } from '../../lib/index.ts'
import { handshake, rawClient } from '../support/raw.ts'
import {
  cleanUp,
  eventually,
  listen,
  makeHub,
  openSocket,
  rejected,
  serve,
} from '../support/server.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

const mistake = (): never => {
  throw new Error('a mistake')
}

describe('the place of an error', () => {
  afterEach(cleanUp)

  const places: Record<string, [Koa.Middleware, KoaWsOptions?]> = {
    'a handler': [accept(mistake)],
    'an async handler': [accept(async () => mistake())],
    'a listener': [accept((connection) => void connection.on('message', mistake))],
    onConnect: [accept(() => {}), { onConnect: mistake }],
    'onConnect, with an accept inside of the chain': [
      async (ctx) => void (await ctx.ws?.()),
      { onConnect: mistake },
    ],
    onDisconnect: [accept((connection) => connection.close()), { onDisconnect: mistake }],
    'the chain, after an accept inside of it': [
      async (ctx) => {
        await ctx.ws?.()
        mistake()
      },
    ],
  }
  for (const [name, [middleware, options]] of Object.entries(places)) {
    it(`in ${name} names the connection, its path and its address`, async () => {
      const { port, errors } = await serve((app) => app.use(middleware), options)
      const socket = await openSocket(port, '/room?token=secret')
      socket.send('x')
      await eventually(() => errors.length > 0, 'a report')
      expect(errors.map(({ error }) => error.message)).to.deep.equal(['a mistake'])
      const where = errors[0]?.where as ErrorPlace
      expect(where.connection.id).to.be.a('string').with.lengthOf(20)
      expect(where.id).to.equal(where.connection.id)
      expect([where.path, where.ip]).to.deep.equal(['/room', '127.0.0.1'])
    })
  }

  it('keeps a ctx.id that the application has set', async () => {
    const { port, errors } = await serve((app) => {
      app.use((ctx, next) => {
        ctx['id'] = 'request 7'
        return next()
      })
      app.use(accept(mistake))
    })
    await openSocket(port)
    await eventually(() => errors.length > 0, 'a report')
    const where = errors[0]?.where as ErrorPlace & Koa.Context
    expect([where.id, where.method]).to.deep.equal(['request 7', 'GET'])
    expect(where.connection.id).to.have.lengthOf(20)
  })

  it('leaves the error unchanged for an app with its own onerror or listener', async () => {
    const thrown = new Error('shared')
    for (const own of [true, false]) {
      const heard: unknown[] = []
      const keep = (error: unknown): void => void heard.push(error)
      class Other extends Koa<Koa.DefaultState, Koa.DefaultContext> {
        override onerror = keep
      }
      const app = own ? new Other() : new Koa<Koa.DefaultState, Koa.DefaultContext>()
      if (!own) app.on('error', keep)
      app.use(makeHub())
      app.use(
        accept(() => {
          throw thrown
        }),
      )
      await openSocket(await listen(createServer(app.callback())))
      await eventually(() => heard.length > 0, 'a report')
      expect(heard[0]).to.equal(thrown)
    }
    expect(thrown.stack).not.to.include('on connection')
  })
})

describe('stderr of an app without an error listener', () => {
  let child: ChildProcess
  let port = 0
  let stderr = ''

  before(async () => {
    const program = `
      import Koa from 'koa'
      import { accept, koaWs } from './lib/index.ts'
      const app = new Koa({ proxy: true })
      const hub = koaWs({ maxPerAddress: 1, maxConnections: 5, hosts: ['127.0.0.1'] })
      app.use(hub)
      const shared = Object.freeze(new Error('frozen and shared'))
      app.use(async (ctx, next) => {
        if (ctx.path === '/private') ctx.throw(401)
        if (ctx.path !== '/inside') return next()
        await ctx.ws()
        throw new Error('inside')
      })
      app.use(accept((connection, ctx) => {
        if (ctx.path === '/listener') return connection.on('message', () => { throw new Error('listener') })
        if (ctx.path === '/quiet') throw Object.assign(new Error('quiet'), { expose: true, status: 400 })
        if (ctx.path !== '/stay') throw shared
      }))
      const server = app.listen(0, '127.0.0.1', () => process.send(server.address().port))
      hub.attach(server)
    `
    const args = ['--import=tsx', '--input-type=module', '--eval', program]
    child = spawn(process.execPath, args, {
      cwd: ROOT,
      env: { ...process.env, NODE_DEBUG: 'koaws:upgrade', NODE_NO_WARNINGS: '1' },
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
    })
    port = ((await once(child, 'message')) as [number])[0]
  })
  after(async () => {
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  })
  afterEach(cleanUp)

  let address = 0
  /** Headers of a client with an address of its own. */
  const client = (headers = {}): { headers: Record<string, string>; ip: string } => {
    const ip = `203.0.113.${++address}`
    return { headers: { 'X-Forwarded-For': ip, ...headers }, ip }
  }
  const printed = (pattern: RegExp): Promise<void> =>
    eventually(() => pattern.test(stderr), `${pattern} in\n${stderr}`)

  for (const [path, message] of [
    ['/handler', 'frozen and shared'],
    ['/again', 'frozen and shared'],
    ['/listener', 'listener'],
    ['/inside', 'inside'],
  ]) {
    it(`has the stack and one line that names the connection after a 1011 at ${path}`, async () => {
      const { headers, ip } = client()
      const from = stderr.length
      const socket = await openSocket(port, `${path}?token=secret`, { headers })
      if (path === '/listener') socket.send('x')
      expect((await socket.closed).code).to.equal(1011)
      const line = ` on connection [\\w-]{20}, path "${path}", ip "${ip}"`
      await printed(new RegExp(line))
      const text = stderr.slice(from)
      expect(text).to.match(new RegExp(`Error: ${message}\\n( +at .*\\n)+ +${line.trim()}\\n`))
      expect(text.match(/on connection/g)).to.have.lengthOf(1)
      expect(text).not.to.include('secret')
    })
  }

  it('has nothing for an error with expose: true', async () => {
    const { headers } = client()
    const socket = await openSocket(port, '/quiet', { headers })
    expect((await socket.closed).code).to.equal(4400)
    await printed(/\/quiet 101/)
    expect(stderr).not.to.include('Error: quiet')
  })

  it('has one line with the fields of the channel for a 401 of the chain, with NODE_DEBUG', async () => {
    const { headers, ip } = client({ 'X-Request-Id': 'r1', 'User-Agent': 'tests\u0009(x)' })
    await rejected(openSocket(port, '/private?token=secret', { headers }))
    await printed(
      new RegExp(`GET /private 401 \\d+ms ip="${ip}" userAgent=".*" requestId="r1" reason="Unauth`),
    )
    expect(stderr.match(/\/private /g)).to.have.lengthOf(1)
    expect(stderr).not.to.include('secret')
  })

  it('has one line with the forwarded address for each 403, 429 and 426 of koaws, with NODE_DEBUG', async () => {
    const foreign = client({ Origin: 'https://elsewhere.example' })
    await rejected(openSocket(port, '/foreign', { headers: foreign.headers }))
    await printed(
      new RegExp(
        `GET /foreign 403 \\d+ms code="ERR_KOAWS_ORIGIN" ip="${foreign.ip}" origin="https://elsewhere.example" reason=`,
      ),
    )
    const one = client()
    await openSocket(port, '/stay', { headers: one.headers })
    await rejected(openSocket(port, '/many', { headers: one.headers }))
    await printed(new RegExp(`GET /many 429 \\d+ms code="ERR_KOAWS_TOO_MANY" ip="${one.ip}"`))
    const bad = client({ 'Sec-WebSocket-Version': '12' })
    const raw = await rawClient(port)
    raw.write(handshake('/old', bad.headers))
    await raw.answer()
    await raw.end()
    await printed(new RegExp(`GET /old 426 \\d+ms code="\\w+" ip="${bad.ip}"`))
  })

  it('has one line for a 503 of koaws, with NODE_DEBUG', async () => {
    let full = ''
    while (full === '') {
      const { headers, ip } = client()
      await openSocket(port, '/stay', { headers }).catch(() => {
        full = ip
      })
    }
    await printed(new RegExp(`GET /stay 503 \\d+ms code="ERR_KOAWS_TOO_MANY" ip="${full}"`))
  })
})

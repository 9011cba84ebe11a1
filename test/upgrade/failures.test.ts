import { once } from 'node:events'
import { expect } from 'chai'
import type { Connection, KoaWsError } from '../../lib/index.ts'
import { closeFrame, handshake, rawClient, textFrame } from '../support/raw.ts'
import { cleanUp, deferred, eventually, openSocket, rejected, serve } from '../support/server.ts'

const httpError = (status: number, message: string): Error =>
  Object.assign(new Error(message), { status, expose: true })

describe('failures', () => {
  afterEach(cleanUp)

  for (const attach of [true, false]) {
    const which = attach ? 'a later upgrade' : 'the first upgrade of a server'
    for (const how of ['RST', 'FIN'] as const) {
      it(`${which} rejects with ERR_KOAWS_CLIENT_GONE after a ${how} of the client while middleware awaits`, async () => {
        const reached = deferred()
        const gone = deferred<KoaWsError>()
        const aborted = deferred<unknown>()
        const { port, hub } = await serve(
          (app) =>
            app.use(async (ctx) => {
              const ws = ctx.ws as NonNullable<typeof ctx.ws>
              reached.resolve()
              await new Promise((resolve) => ws.signal.addEventListener('abort', resolve))
              aborted.resolve(ws.signal.reason)
              await ws().catch(gone.resolve)
            }),
          { attach },
        )
        const client = await rawClient(port)
        client.write(handshake('/'))
        await reached.promise
        expect(hub.status().pending).to.equal(1)
        if (how === 'RST') client.reset()
        else client.socket.end()
        expect(((await aborted.promise) as KoaWsError).code).to.equal('ERR_KOAWS_CLIENT_GONE')
        const error = await gone.promise
        expect([error.code, error.expose]).to.deep.equal(['ERR_KOAWS_CLIENT_GONE', true])
        await eventually(() => hub.status().pending === 0)
      })
    }
  }

  it('after a failed accept the departure of the client is still noticed', async () => {
    const failed = deferred<KoaWsError>()
    const aborted = deferred<unknown>()
    const { port, hub } = await serve(
      (app) =>
        app.use(async (ctx) => {
          const ws = ctx.ws as NonNullable<typeof ctx.ws>
          const { headers } = ctx.req
          headers['sec-websocket-extensions'] = 'permessage-deflate; malformed=,'
          await ws().catch(failed.resolve)
          delete headers['sec-websocket-extensions']
          await new Promise((resolve) => ws.signal.addEventListener('abort', resolve))
          aborted.resolve(ws.signal.reason)
        }),
      { perMessageDeflate: true },
    )
    const client = await rawClient(port)
    client.write(handshake('/'))
    expect((await failed.promise).code).to.equal('ERR_KOAWS_BAD_HANDSHAKE')
    client.socket.end()
    expect(((await aborted.promise) as KoaWsError).code).to.equal('ERR_KOAWS_CLIENT_GONE')
    await eventually(() => hub.status().pending === 0)
  })

  it('a reset after the accept closes with 1006, without an app error', async () => {
    const closed = deferred<number>()
    const { port, errors } = await serve((app) =>
      app.use((ctx) => ctx.ws?.((connection) => connection.on('close', closed.resolve))),
    )
    const client = await rawClient(port)
    client.write(handshake('/'))
    await client.answer()
    client.reset()
    expect(await closed.promise).to.equal(1006)
    expect(errors).to.deep.equal([])
  })

  it('a bad frame without a listener of the user closes with 1002, and TCP ends although the client keeps sending', async () => {
    const { port, errors } = await serve((app) => app.use(async (ctx) => void (await ctx.ws?.())), {
      closeTimeout: 3_600_000,
    })
    const client = await rawClient(port)
    client.write(handshake('/'))
    await client.answer()
    client.socket.write(Buffer.from([0xff, 0xff, 0, 0, 0, 0, 0, 0]))
    expect(await client.closeCode()).to.equal(1002)
    while (!client.ended) {
      client.socket.write(textFrame('more')) // keeps sending, and never answers the close
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    expect(errors).to.deep.equal([])
  })

  const throws: [what: string, thrown: unknown, code: number, reason: string][] = [
    ['an error', new Error('secret'), 1011, 'Internal Server Error'],
    ['an http-error of the 400s', httpError(403, 'not yours'), 4403, 'not yours'],
    ['an http-error of the 500s', httpError(503, 'down'), 1011, 'Internal Server Error'],
    ['a string', 'text', 1011, 'Internal Server Error'],
    ['null', null, 1011, 'Internal Server Error'],
    ['undefined', undefined, 1011, 'Internal Server Error'],
  ]
  for (const [what, thrown, code, reason] of throws) {
    for (const form of ['inside', 'after'] as const) {
      for (const asynchronous of [false, true]) {
        it(`a handler ${form} the chain that throws ${what} ${asynchronous ? 'later' : 'at once'} closes with ${code}, and is reported at most once`, async () => {
          const { port, errors } = await serve((app) =>
            app.use(async (ctx) => {
              const ws = ctx.ws as NonNullable<typeof ctx.ws>
              const work = (): never => {
                throw thrown
              }
              if (form === 'inside') {
                await ws()
                if (asynchronous) await new Promise((resolve) => setImmediate(resolve))
                work()
              } else if (asynchronous) {
                ws(async () => {
                  await new Promise((resolve) => setImmediate(resolve))
                  work()
                })
              } else ws(work)
            }),
          )
          const client = await rawClient(port)
          client.write(handshake('/'))
          expect((await client.answer()).status).to.equal(101)
          const { opcode, payload } = await client.frame()
          expect([opcode, payload.readUInt16BE(0), payload.toString('utf8', 2)]).to.deep.equal([
            8,
            code,
            reason,
          ])
          client.socket.write(closeFrame(code))
          await client.end()
          expect(client.received.length).to.equal(0)
          // Koa ignores null and undefined (ctx.onerror).
          if (form === 'inside' && (thrown === null || thrown === undefined)) return
          expect(errors).to.have.length(1)
          expect(errors[0]?.error).to.be.an.instanceOf(Error)
          expect(errors[0]?.where).to.have.property('req')
        })
      }
    }
  }

  const listeners: [
    what: string,
    add: (connection: Connection, listener: () => unknown) => void,
  ][] = [
    ['on("message")', (connection, listener) => connection.on('message', listener)],
    ['once("message")', (connection, listener) => connection.once('message', listener)],
    [
      'addEventListener("message")',
      (connection, listener) => connection.addEventListener('message', listener),
    ],
    ['onmessage', (connection, listener) => (connection.onmessage = listener as never)],
    ['on("ping")', (connection, listener) => connection.on('ping', listener)],
    ['on("pong")', (connection, listener) => connection.on('pong', listener)],
    ['on("close")', (connection, listener) => connection.on('close', listener)],
    ['on("error")', (connection, listener) => connection.on('error', listener)],
    ['onclose', (connection, listener) => (connection.onclose = listener as never)],
  ]
  for (const [what, add] of listeners) {
    for (const asynchronous of [false, true]) {
      it(`a listener by ${what} that ${asynchronous ? 'rejects' : 'throws'} is reported once, and other connections stay open`, async () => {
        const { port, errors } = await serve((app) =>
          app.use((ctx) =>
            ctx.ws?.((connection) => {
              if (ctx.path === '/other')
                connection.on('message', (data) => connection.send(data as Buffer))
              else
                add(connection, () => {
                  if (!asynchronous) throw new Error('listener')
                  return Promise.reject(new Error('listener'))
                })
            }),
          ),
        )
        const other = await openSocket(port, '/other')
        const client = await rawClient(port)
        client.write(handshake('/bad'))
        await client.answer()
        client.socket.write(Buffer.from('8980010203048a80010203048181010203046f', 'hex')) // ping, pong, "n"
        if (what.includes('error')) client.socket.write(Buffer.from([0xff, 0xff]))
        else if (what.includes('close')) client.socket.write(closeFrame(1000))
        await client.frame()
        client.socket.end()
        await eventually(() => errors.length > 0, 'a report')
        await client.end()
        expect(errors.map(({ error }) => error.message)).to.deep.equal(['listener'])
        expect(errors[0]?.where).to.include.keys('path', 'ip', 'state', 'connection')
        other.send('alive')
        expect(String(await other.next())).to.equal('alive')
      })
    }
  }

  it('onmessage returns the assigned listener, and removeEventListener() removes an added one', async () => {
    const checked = deferred<boolean[]>()
    const { port } = await serve((app) =>
      app.use((ctx) =>
        ctx.ws?.((connection) => {
          const one = (): void => {}
          connection.onmessage = one
          const results = [connection.onmessage === one]
          connection.onmessage = null
          results.push(connection.onmessage === null, connection.listenerCount('message') === 0)
          connection.addEventListener('message', one)
          connection.addEventListener('message', one)
          results.push(connection.listenerCount('message') === 1)
          connection.removeEventListener('message', one)
          results.push(connection.listenerCount('message') === 0)
          checked.resolve(results)
        }),
      ),
    )
    await openSocket(port)
    expect(await checked.promise).to.deep.equal([true, true, true, true, true])
  })

  it('a throwing error listener of the app does not change the close with 1011', async () => {
    const { port, app } = await serve((app) =>
      app.use((ctx) =>
        ctx.ws?.((connection) => {
          connection.on('message', () => {
            throw new Error('listener')
          })
        }),
      ),
    )
    app.on('error', () => {
      throw new Error('handler')
    })
    const socket = await openSocket(port)
    socket.send('x')
    expect((await socket.closed).code).to.equal(1011)
  })

  it('a throw after the accept closes with 1011 although an error middleware sets a body', async () => {
    const { port } = await serve(
      (app) =>
        app.use(async (ctx) => {
          await ctx.ws?.()
          throw new Error('late')
        }),
      {
        before: (app) =>
          app.use(async (ctx, next) => {
            try {
              await next()
            } catch {
              ctx.status = 500
              ctx.body = { error: 'late' }
            }
          }),
      },
    )
    const client = await rawClient(port)
    client.write(handshake('/'))
    await client.answer()
    expect(await client.closeCode()).to.equal(1011)
    client.socket.write(closeFrame(1011))
    await client.end()
    expect(client.received.length).to.equal(0)
  })

  it('the deadline answers 503 and aborts the signal, and a later accept rejects', async () => {
    const late = deferred<KoaWsError>()
    const release = deferred()
    const { port, hub } = await serve(
      (app) =>
        app.use(async (ctx) => {
          const ws = ctx.ws as NonNullable<typeof ctx.ws>
          await release.promise
          await ws().catch(late.resolve)
          ctx.body = 'too late'
        }),
      { handshakeTimeout: 100, attach: true },
    )
    const client = await rawClient(port)
    client.write(handshake('/'))
    const { status, headers } = await client.answer()
    expect(status).to.equal(503)
    expect(headers.get('retry-after')).to.deep.equal(['5'])
    await client.end()
    release.resolve()
    expect((await late.promise).code).to.equal('ERR_KOAWS_DEADLINE')
    expect(hub.status().drops).to.deep.equal({ deadline: 1 })
    expect(hub.status().pending).to.equal(0)
  })

  it('the deadline does not affect a chain that has finished', async () => {
    const never = new Promise(() => {})
    const { port } = await serve(
      (app) => app.use((ctx) => (ctx.path === '/never' ? never : ctx.ws?.(() => {}))),
      { handshakeTimeout: 100, attach: true },
    )
    const socket = await openSocket(port)
    // The deadline of a later upgrade passes after the deadline of the first.
    expect((await rejected(openSocket(port, '/never'))).status).to.equal(503)
    socket.ping()
    await once(socket, 'pong')
    expect(socket.readyState).to.equal(1)
  })

  it('an option function that throws is an error of the chain, answered with 500', async () => {
    const fail = (): never => {
      throw new Error('option')
    }
    for (const options of [
      { user: fail },
      { expiresAt: fail },
      { rooms: fail },
      { subprotocol: fail },
    ]) {
      for (const inside of [true, false]) {
        const { port, errors } = await serve((app) =>
          app.use(async (ctx) => {
            if (inside) await ctx.ws?.(options)
            else ctx.ws?.(() => {}, options)
          }),
        )
        const client = await rawClient(port)
        client.write(handshake('/', { 'Sec-WebSocket-Protocol': 'a' }))
        expect((await client.answer()).status).to.equal(500)
        expect(errors.map(({ error }) => error.message)).to.deep.equal(['option'])
        await cleanUp()
      }
    }
  })
})

import { once } from 'node:events'
import { createRequire } from 'node:module'
import { expect } from 'chai'
import type { Context, Next } from 'koa'
import jwt from 'koa-jwt'
import {
  type AcceptOptions,
  accept,
  bearer,
  bySubprotocol,
  type Connection,
  type KoaWsOptions,
  messages,
} from '../../lib/index.ts'
import type { TestSocket } from '../../lib/testing/index.ts'
import {
  cleanUp,
  deferred,
  eventually,
  openSocket,
  rejected,
  type Site,
  serve,
} from '../support/server.ts'
import { ask, hear, speak, type Wire } from '../support/talk.ts'

// The package has no types.
const { sign } = createRequire(import.meta.url)('jsonwebtoken') as {
  sign: (claims: object, secret: string, options?: object) => string
}

const SECRET = 'a secret'
const token = (sub: string, seconds = 600): string =>
  sign({ sub, exp: Math.floor(Date.now() / 1000) + seconds }, SECRET)
const byUser: KoaWsOptions = { user: (ctx) => ctx.state['user']?.sub }
const chat = () =>
  messages()
    .onOpen((connection, ctx) => {
      connection.push('opened', [connection.userId, ctx.state['user'].sub, [...connection.rooms]])
    })
    .on('who', ({ connection, state }) => [connection.userId, state['user'].sub])

function serveAuth(
  options: AcceptOptions = { authenticate: jwt({ secret: SECRET }) },
  hubOptions: KoaWsOptions = byUser,
  handler = chat(),
): Promise<Site> {
  return serve((app, hub) => {
    app.use(hub.route('/:room', accept(handler as never, options as never)))
  }, hubOptions)
}

const authenticate = (socket: TestSocket, value: unknown): Promise<Wire> =>
  ask(socket, 'koaws:auth', { token: value })

/** Opens a connection that has received koaws:authenticate. */
async function asked(port: number): Promise<TestSocket> {
  const socket = await speak(port, '/lobby')
  const { type } = await hear(socket)
  expect(type).to.equal('koaws:authenticate')
  return socket
}

describe('authenticate', () => {
  afterEach(cleanUp)

  it('verifies the token of the first message with unmodified koa-jwt, on a ctx like that of the handshake', async () => {
    const seen: unknown[] = []
    const spy = (ctx: Context, next: Next): Promise<unknown> => {
      seen.push([
        ctx.method,
        ctx.path,
        ctx.query['x'],
        ctx['params'].room,
        ctx.get('x-own'),
        ctx.ip,
        ctx.hub,
        ctx.ws,
      ])
      ctx.set('X-Ignored', '1')
      ctx.status = 500
      return next()
    }
    const { port, hub } = await serveAuth({ authenticate: [spy as never, jwt({ secret: SECRET })] })
    const socket = await openSocket(port, '/lobby?x=1', {
      protocols: ['koaws.v1'],
      headers: { 'x-own': 'kept' },
    })
    expect((await hear(socket)).data).to.deep.equal({ timeout: 10_000 })
    const before = Date.now()
    const reply = await authenticate(socket, token('ann'))
    expect(reply.type).to.equal('koaws:reply')
    // A token counts in whole seconds.
    expect((reply.data as { expiresAt: number }).expiresAt).to.be.within(
      before + 600_000 - 1_000,
      Date.now() + 600_000,
    )
    const welcome = await hear(socket)
    expect(welcome).to.have.property('type', 'koaws:welcome')
    expect(welcome.data).to.include({
      user: 'ann',
      refresh: true,
      expiresAt: (reply.data as never)['expiresAt'],
    })
    expect((await hear(socket)).data).to.deep.equal(['ann', 'ann', []])
    expect((await ask(socket, 'who')).data).to.deep.equal(['ann', 'ann'])
    expect(seen).to.deep.equal([
      ['GET', '/lobby', '1', 'lobby', 'kept', '127.0.0.1', hub, undefined],
    ])
  })

  it('keeps the connection out of all audiences and handlers until the token is verified', async () => {
    const { port, hub } = await serveAuth({
      authenticate: jwt({ secret: SECRET }),
      rooms: (ctx) => [ctx['params'].room, `user-${ctx.state['user'].sub}`],
    })
    const socket = await asked(port)
    expect([
      await hub.all().count(),
      await hub.room('lobby').count(),
      hub.status().users,
    ]).to.deep.equal([0, 0, 0])
    expect(hub.all().send('secret').local).to.equal(0)
    const [connection] = [...hub.localConnections.values()] as [Connection]
    expect(hub.connection(connection.id).send('secret').local).to.equal(0)
    expect(connection.userId).to.equal(undefined)
    expect((await ask(socket, 'who')).error).to.include({
      code: 'ERR_KOAWS_UNAUTHENTICATED',
      status: 401,
    })
    await authenticate(socket, token('ann'))
    expect((await hear(socket)).type).to.equal('koaws:welcome')
    expect((await hear(socket)).data).to.deep.equal(['ann', 'ann', ['lobby', 'user-ann']])
    expect([
      await hub.all().count(),
      await hub.user('ann').count(),
      await hub.room('lobby').count(),
    ]).to.deep.equal([1, 1, 1])
    socket.terminate()
    await eventually(() => hub.status().connections === 0)
    expect(hub.status()).to.include({ users: 0, rooms: 0 })
  })

  it('closes with 4408 when no token arrives in time, and counts a drop', async () => {
    let opened = 0
    let ended = 0
    const handler = messages()
      .onOpen(() => opened++)
      .onClose(() => ended++)
    const { port, hub } = await serveAuth(
      { authenticate: jwt({ secret: SECRET }), authenticateTimeout: 100 },
      byUser,
      handler as never,
    )
    const socket = await asked(port)
    expect(await socket.closed).to.deep.equal({ code: 4408, reason: 'not authenticated in time' })
    await eventually(() => hub.status().connections === 0)
    expect([opened, ended]).to.deep.equal([0, 0])
    expect(hub.status().drops).to.deep.equal({ neverAuthenticated: 1 })
  })

  it('closes with 4408 when verification outlasts the deadline', async () => {
    const { promise, resolve } = deferred()
    const { port, hub, errors } = await serveAuth({
      authenticate: async (_ctx, next) => {
        await promise
        return next()
      },
      authenticateTimeout: 100,
    })
    const socket = await asked(port)
    socket.json({ type: 'koaws:auth', id: 1, data: { token: 'x' } })
    expect((await socket.closed).code).to.equal(4408)
    resolve()
    await eventually(() => hub.status().connections === 0)
    expect(errors).to.deep.equal([])
  })

  it('closes with 4000 plus the HTTP status when the token is rejected', async () => {
    const { port, hub, errors } = await serveAuth()
    for (const wrong of ['x', token('ann', -10), sign({ sub: 'ann' }, 'another secret')]) {
      const socket = await asked(port)
      expect((await authenticate(socket, wrong)).error).to.include({
        code: 'ERR_KOAWS_AUTH',
        status: 401,
      })
      expect(await socket.closed).to.deep.equal({ code: 4401, reason: 'Authentication Error' })
    }
    expect(hub.status().drops).to.deep.equal({ badToken: 3 })
    expect(errors).to.deep.equal([])
  })

  it('closes the connection when the middleware answers without next(), or fails', async () => {
    const cases: [(ctx: Context) => unknown, number, string][] = [
      [
        (ctx) => {
          ctx.status = 200
        },
        4401,
        'Not authenticated',
      ],
      [(ctx) => ctx.throw(403, 'Not you'), 4403, 'Not you'],
      [
        () => {
          throw new Error('no database')
        },
        1011,
        '',
      ],
    ]
    for (const [middleware, code, reason] of cases) {
      const { port, errors } = await serveAuth({ authenticate: middleware as never })
      const socket = await asked(port)
      await authenticate(socket, 'x')
      expect(await socket.closed).to.deep.equal({ code, reason })
      expect(
        errors.map(({ error, where }) => [
          error.message,
          (where as { messageType: string }).messageType,
        ]),
      ).to.deep.equal(code === 1011 ? [['no database', 'koaws:auth']] : [])
    }
  })

  it('counts koaws:auth without a token as an offense', async () => {
    const { port } = await serveAuth()
    const socket = await asked(port)
    for (const data of [undefined, null, 'x', { token: 7 }, { token: '' }]) {
      expect((await ask(socket, 'koaws:auth', data)).error).to.include({
        code: 'ERR_KOAWS_MALFORMED',
      })
    }
    expect((await socket.closed).code).to.equal(4400)
    const other = await asked(port)
    expect((await authenticate(other, 'a\r\nX-Evil: 1')).error).to.include({
      code: 'ERR_KOAWS_AUTH',
      status: 400,
    })
    expect((await other.closed).code).to.equal(4400)
  })

  it('verifies one token at a time', async () => {
    const { promise, resolve } = deferred()
    const { port } = await serveAuth({
      authenticate: async (ctx, next) => {
        await promise
        ctx.state['user'] = { sub: 'ann' }
        return next()
      },
    })
    const socket = await asked(port)
    socket.json({ type: 'koaws:auth', id: 1, data: { token: 'x' } })
    expect((await ask(socket, 'koaws:auth', { token: 'y' }, 2)).error).to.include({
      code: 'ERR_KOAWS_BUSY',
      retryable: true,
    })
    resolve()
    expect(await hear(socket)).to.include({ id: 1, type: 'koaws:reply' })
    expect((await hear(socket)).type).to.equal('koaws:welcome')
  })

  it('counts each further token during verification as an offense, after three', async () => {
    const goOn = deferred()
    const { port, hub } = await serveAuth({
      authenticate: async (_ctx: Context, next: Next) => {
        await goOn.promise
        return next()
      },
    })
    const socket = await asked(port)
    const codes: unknown[] = []
    socket.on('message', (data) => codes.push(JSON.parse(String(data)).error?.code))
    for (let id = 1; id <= 10; id++) {
      socket.json({ type: 'koaws:auth', id, data: { token: token('ann') } })
    }
    const [code] = (await once(socket, 'close')) as [number]
    expect(code).to.equal(4400)
    expect(codes).to.deep.equal(Array.from({ length: 8 }, () => 'ERR_KOAWS_BUSY'))
    expect(hub.status().drops['offender']).to.equal(1)
    goOn.resolve()
  })

  it('closes with 4401 when the token expires', async () => {
    const { port } = await serveAuth({
      authenticate: jwt({ secret: SECRET }),
      expiresAt: () => Date.now() + 150,
    })
    const socket = await asked(port)
    await authenticate(socket, token('ann'))
    expect(await socket.closed).to.deep.equal({ code: 4401, reason: 'expired' })
  })

  it('runs onConnect after verification, with the state of the token', async () => {
    const seen: unknown[] = []
    const { port, hub } = await serveAuth(undefined, {
      ...byUser,
      onConnect: async (connection, ctx) => {
        seen.push([connection.userId, ctx.state['user'].sub, await hub.all().count()])
        if (connection.userId === 'eve') connection.close(4000, 'not here')
      },
    })
    const ann = await asked(port)
    expect(seen).to.deep.equal([])
    await authenticate(ann, token('ann'))
    const eve = await asked(port)
    eve.json({ type: 'koaws:auth', id: 1, data: { token: token('eve') } })
    expect(await eve.closed).to.deep.equal({ code: 4000, reason: 'not here' })
    expect(seen).to.deep.equal([
      ['ann', 'ann', 0],
      ['eve', 'eve', 1],
    ])
    expect(await hub.all().count()).to.equal(1)
  })

  it('leaves nothing behind when the client leaves during verification', async () => {
    const { promise, resolve } = deferred()
    const { port, hub, errors } = await serveAuth({
      authenticate: async (ctx, next) => {
        await promise
        ctx.state['user'] = { sub: 'ann' }
        return next()
      },
    })
    const socket = await asked(port)
    const [connection] = [...hub.localConnections.values()] as [Connection]
    socket.json({ type: 'koaws:auth', id: 1, data: { token: 'x' } })
    socket.terminate()
    await once(connection, 'close')
    resolve()
    await new Promise((done) => setImmediate(done))
    expect(hub.status()).to.include({ connections: 0, users: 0, rooms: 0 })
    expect(await hub.all().count()).to.equal(0)
    expect(errors).to.deep.equal([])
  })

  it('answers 500 when its options are reused for a handler other than messages()', async () => {
    const options = { authenticate: jwt({ secret: SECRET }) }
    const { port, errors } = await serve((app) => {
      const forMessages = accept(chat() as never, options)
      app.use(async (ctx, next) => {
        if (ctx.path === '/chat') return forMessages(ctx, next)
        if (ctx.path === '/after')
          return ctx.ws?.((connection) => connection.send('secret'), options)
        return (await ctx.ws?.(options))?.send('secret')
      })
    }, byUser)
    for (const path of ['/after', '/inside']) {
      expect((await rejected(openSocket(port, path))).status, path).to.equal(500)
    }
    expect(errors.map(({ error }) => error['code'])).to.deep.equal(
      Array(2).fill('ERR_KOAWS_OPTIONS'),
    )
  })

  it('counts no offense for a verification that hangs, or throws an error with a status', async () => {
    const hanging = await serveAuth(
      { authenticate: () => new Promise(() => {}) },
      { ...byUser, handshakeTimeout: 100 },
      messages({ maxOffences: 1 }) as never,
    )
    const socket = await asked(hanging.port)
    expect((await authenticate(socket, 'x')).error).to.include({ code: 'internal', status: 500 })
    expect((await socket.closed).code).to.equal(1011)
    expect(hanging.errors.map(({ error }) => error.message)).to.deep.equal([
      'The authentication took longer than 100 ms ("handshakeTimeout")',
    ])
    const bare = await serveAuth({
      authenticate: async () => {
        throw Object.assign(new Error('row 7 of users'), { status: 401 })
      },
    })
    const other = await asked(bare.port)
    expect((await authenticate(other, 'x')).error).to.include({
      status: 401,
      message: 'Unauthorized',
    })
    expect(await other.closed).to.deep.equal({ code: 4401, reason: 'Unauthorized' })
    expect(bare.errors).to.deep.equal([])
  })

  it('closes with the status of the rejected token when it is also the last offense', async () => {
    const { port } = await serveAuth(undefined, byUser, messages({ maxOffences: 1 }) as never)
    const socket = await asked(port)
    await authenticate(socket, 'x')
    expect((await socket.closed).code).to.equal(4401)
  })

  it('keeps the state of the chain, such as the secret of a tenant', async () => {
    const { port } = await serve((app, hub) => {
      app.use((ctx, next) => {
        ctx.state['secret'] = SECRET
        return next()
      })
      app.use(hub.route('/:room', accept(chat() as never, { authenticate: jwt({} as never) })))
    }, byUser)
    const socket = await asked(port)
    expect((await authenticate(socket, token('ann'))).type).to.equal('koaws:reply')
  })

  it('accepts bearer() in front of koa-jwt', async () => {
    const { port } = await serveAuth({ authenticate: [bearer(), jwt({ secret: SECRET })] as never })
    const socket = await asked(port)
    expect((await authenticate(socket, token('ann'))).type).to.equal('koaws:reply')
  })

  it('throws for handlers other than messages(), and for wrong options', () => {
    const wrong: [() => unknown, RegExp][] = [
      [() => accept(() => {}, { authenticate: jwt({ secret: SECRET }) }), /only with messages\(\)/],
      [() => accept(() => {}, { refresh: jwt({ secret: SECRET }) }), /only with messages\(\)/],
      [
        () =>
          accept(bySubprotocol({ 'koaws.v1': chat(), x: () => {} }) as never, {
            authenticate: jwt({ secret: SECRET }),
          }),
        /only with messages\(\)/,
      ],
      [
        () =>
          accept(bySubprotocol({ 'koaws.v1': chat() }, () => {}) as never, {
            authenticate: jwt({ secret: SECRET }),
          }),
        /only with messages\(\)/,
      ],
      [
        () => accept(chat() as never, { authenticate: 'x' as never }),
        /Koa middleware, or an array of it, not "x"/,
      ],
      [() => accept(chat() as never, { authenticateTimeout: 1000 }), /has no effect/],
      [
        () =>
          accept(chat() as never, {
            authenticate: jwt({ secret: SECRET }),
            authenticateTimeout: 10,
          }),
        /seconds/,
      ],
    ]
    for (const [build, message] of wrong) expect(build, String(message)).to.throw(message)
    accept(bySubprotocol({ 'koaws.v1': chat() }) as never, {
      authenticate: jwt({ secret: SECRET }),
    })
  })
})

describe('refresh', () => {
  afterEach(cleanUp)

  /** Opens a connection of ann, authenticated by its handshake. */
  async function opened(
    refresh = jwt({ secret: SECRET }),
  ): Promise<{ socket: TestSocket; connection: Connection; site: Site }> {
    const site = await serve((app, hub) => {
      app.use((ctx, next) => {
        ctx.state['user'] = { sub: 'ann', exp: Math.floor(Date.now() / 1000) + 5 }
        ctx.state['tenant'] = 'kept'
        return next()
      })
      app.use(hub.route('/:room', accept(chat(), { refresh })))
    }, byUser)
    const socket = await speak(site.port, '/lobby')
    expect((await hear(socket)).data).to.include({ refresh: true, user: 'ann' })
    await hear(socket)
    const [connection] = [...site.hub.localConnections.values()] as [Connection]
    return { socket, connection, site }
  }

  it('moves the expiry, and replaces the user in the state', async () => {
    const { socket, connection } = await opened()
    const before = connection.expiresAt as number
    const { data } = await authenticate(socket, token('ann', 900))
    expect((data as { expiresAt: number }).expiresAt).to.equal(connection.expiresAt)
    expect((connection.expiresAt as number) - before).to.be.above(800_000)
    expect(connection.state).to.include({ tenant: 'kept' })
    expect((await ask(socket, 'who')).data).to.deep.equal(['ann', 'ann'])
  })

  it('closes with 4403 for the token of another user', async () => {
    const { socket } = await opened()
    socket.json({ type: 'koaws:auth', id: 1, data: { token: token('bob') } })
    expect(await socket.closed).to.deep.equal({ code: 4403, reason: 'another user' })
  })

  it('changes nothing for a rejected token', async () => {
    const { socket, connection } = await opened()
    const { expiresAt, state } = connection
    expect((await authenticate(socket, 'x')).error).to.include({
      code: 'ERR_KOAWS_AUTH',
      status: 401,
    })
    expect(connection.expiresAt).to.equal(expiresAt)
    expect(connection.state).to.equal(state)
    expect((await ask(socket, 'who')).data).to.deep.equal(['ann', 'ann'])
  })

  it('rejects a token that names no user, although the middleware let it pass', async () => {
    const { socket, connection } = await opened(jwt({ secret: SECRET, passthrough: true }))
    const { expiresAt } = connection
    expect((await authenticate(socket, 'x')).error).to.include({
      code: 'ERR_KOAWS_AUTH',
      status: 401,
    })
    expect(connection.expiresAt).to.equal(expiresAt)
  })

  it('removes the state that the new token does not grant, and keeps the state of the application', async () => {
    const grants = async (ctx: Context, next: Next): Promise<void> => {
      const [sub, role] = ctx.get('authorization').slice(7).split('-')
      ctx.state['user'] = { sub }
      if (role === 'admin') ctx.state['admin'] = true
      await next()
    }
    const handler = messages<Record<string, unknown>>()
      .onOpen(({ state }) => {
        state['own'] = 'kept'
      })
      .on('state', ({ connection }) => connection.state)
    const { port } = await serve((app) => {
      app.use(accept(handler as never, { authenticate: grants as never }))
    }, byUser)
    const socket = await speak(port)
    await hear(socket)
    await authenticate(socket, 'ann-admin')
    await hear(socket)
    expect((await ask(socket, 'state')).data).to.deep.equal({
      user: { sub: 'ann' },
      admin: true,
      own: 'kept',
    })
    await authenticate(socket, 'ann-plain')
    expect((await ask(socket, 'state')).data).to.deep.equal({ user: { sub: 'ann' }, own: 'kept' })
  })

  it('closes with 4403 for another user of koa-jwt, without the option "user"', async () => {
    const { port } = await serve((app) => {
      app.use(accept(chat() as never, { authenticate: jwt({ secret: SECRET }) }))
    })
    const socket = await speak(port)
    await hear(socket)
    await authenticate(socket, token('ann'))
    for (let i = 0; i < 2; i++) await hear(socket)
    expect((await authenticate(socket, token('ann'))).type).to.equal('koaws:reply')
    socket.json({ type: 'koaws:auth', id: 1, data: { token: token('eve') } })
    expect((await socket.closed).code).to.equal(4403)
  })

  describe('without the option "user"', () => {
    /**
     * Authenticates as the first user, refreshes as the second, and returns the answer or the
     * close code.
     */
    async function swap(
      first: unknown,
      second: unknown,
    ): Promise<{ code: unknown; room: boolean }> {
      const users = new Map([
        ['first', first],
        ['second', second],
      ])
      const look = (ctx: Context, next: Next): Promise<unknown> => {
        ctx.state['user'] = users.get(ctx.get('authorization').slice('Bearer '.length))
        return next()
      }
      const { port, hub } = await serve((app) => {
        app.use(
          accept(messages() as never, { authenticate: look, rooms: ['of-the-first'] } as never),
        )
      })
      const socket = await speak(port)
      await hear(socket)
      await authenticate(socket, 'first')
      await hear(socket)
      const [connection] = [...hub.localConnections.values()] as [Connection]
      const { state } = connection
      socket.json({ type: 'koaws:auth', id: 9, data: { token: 'second' } })
      const answer = await hear(socket).catch(() => null)
      const code = answer ? (answer.error?.status ?? answer.type) : (await socket.closed).code
      if (code !== 'koaws:reply') expect((state as { user: unknown }).user).to.equal(first)
      return { code, room: connection.rooms.has('of-the-first') }
    }

    const nameless: [string, unknown, unknown][] = [
      ['claims without a name', { email: 'ann@example.com' }, { email: 'bob@example.com' }],
      ['users of another shape', { _id: 'ann' }, { _id: 'bob' }],
      ['text', 'ann', 'bob'],
      ['null', null, null],
      ['undefined', undefined, undefined],
      ['names that are null', { sub: null, id: null }, { sub: null, id: null }],
      ['empty names', { sub: '' }, { sub: '' }],
      ['names of a wrong type', { id: true }, { id: true }],
      ['names that are NaN', { id: Number.NaN }, { id: Number.NaN }],
      ['without and then with a name', { email: 'ann@example.com' }, { sub: 'bob' }],
      ['with and then without a name', { sub: 'ann' }, { email: 'bob@example.com' }],
    ]
    for (const [what, first, second] of nameless) {
      it(`rejects a token when the users are ${what}`, async () => {
        expect(await swap(first, second)).to.deep.equal({ code: 401, room: true })
      })
    }

    const others: [string, unknown, unknown][] = [
      ['another sub', { sub: 'ann' }, { sub: 'bob' }],
      ['a sub that equals the id of the first', { id: 'ann' }, { sub: 'ann' }],
      ['the same sub of another issuer', { iss: 'a', sub: '1' }, { iss: 'b', sub: '1' }],
      ['the same id with another sub', { sub: 'ann', id: 1 }, { sub: 'bob', id: 1 }],
      ['a number in place of a text', { id: '1' }, { id: 1 }],
    ]
    for (const [what, first, second] of others) {
      it(`closes with 4403 for ${what}`, async () => {
        expect((await swap(first, second)).code).to.equal(4403)
      })
    }

    const same: [string, unknown, unknown][] = [
      ['sub', { sub: 'ann', role: 'user' }, { sub: 'ann', role: 'admin' }],
      ['id', { id: 7 }, { id: 7 }],
      ['issuer and sub', { iss: 'a', sub: '1', id: 1 }, { iss: 'a', sub: '1', id: 2 }],
    ]
    for (const [what, first, second] of same) {
      it(`accepts a token with the same ${what}`, async () => {
        expect(await swap(first, second)).to.deep.equal({ code: 'koaws:reply', room: true })
      })
    }
  })

  it('does not wait for handlers', async () => {
    const { promise, resolve } = deferred()
    const { port } = await serve((app) => {
      app.use((ctx, next) => {
        ctx.state['user'] = { sub: 'ann' }
        return next()
      })
      app.use(
        accept(
          messages().on('slow', () => promise),
          {
            refresh: (ctx, next) => {
              ctx.state['user'] = { sub: 'ann' }
              return next()
            },
          },
        ),
      )
    })
    const socket = await speak(port)
    await hear(socket)
    socket.json({ type: 'slow', id: 1 })
    expect(await ask(socket, 'koaws:auth', { token: 'x' }, 2)).to.deep.include({
      id: 2,
      data: { expiresAt: null },
    })
    resolve()
    expect(await hear(socket)).to.have.property('id', 1)
  })

  it('answers ERR_KOAWS_UNKNOWN_TYPE on a route without it', async () => {
    const { port } = await serve((app) => {
      app.use(accept(messages()))
    })
    const socket = await speak(port)
    expect((await hear(socket)).data).to.include({ refresh: false })
    expect((await authenticate(socket, 'x')).error).to.include({ code: 'ERR_KOAWS_UNKNOWN_TYPE' })
  })
})

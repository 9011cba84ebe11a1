import { createServer, type Server } from 'node:http'
import http2 from 'node:http2'
import Router from '@koa/router'
import { expect } from 'chai'
import { expectTypeOf } from 'expect-type'
import Koa from 'koa'
import koaWs, {
  type Audience,
  accept,
  type Connection,
  type ContextWs,
  type Delivery,
  type Handler,
  type Hub,
  type Members,
  type RouteParams,
} from '../../lib/index.ts'

interface State {
  user: { id: string }
}
interface Custom {
  db: { name: string }
}

describe('types', () => {
  it('accept() with ctx.params compiles under Router()', () => {
    const router = new Router()
    router.get(
      '/chat/:room',
      accept((connection, ctx) => connection.join(ctx.params.room)),
    )
    router.get(
      '/chat/:room',
      accept(async (connection, ctx) => {
        expectTypeOf(connection).toExtend<Connection>()
        expectTypeOf(ctx.params).toBeAny()
        for await (const message of connection)
          expectTypeOf(message).toEqualTypeOf<string | Buffer>()
      }),
    )
    expect(router.stack).to.have.length(2)
  })

  it('accept() with ctx.params compiles under Router<State, Custom>, and a wrong state does not', () => {
    const router = new Router<State, Custom>()
    router.get(
      '/chat/:room',
      accept((connection, ctx) => connection.join(ctx.params.room)),
    )
    router.get(
      '/chat/:room',
      accept<State, Custom>((connection, ctx) => {
        expectTypeOf(ctx.state.user.id).toEqualTypeOf<string>()
        expectTypeOf(ctx.db.name).toEqualTypeOf<string>()
        expectTypeOf(connection.state.user.id).toEqualTypeOf<string>()
      }),
    )
    // @ts-expect-error middleware for another state
    const wrong: Koa.Middleware<State, Custom> = accept<{ wrong: number }, Custom>(
      (_connection, ctx) => ctx.state.wrong,
    )
    expect(wrong).to.be.a('function')
    router.get(
      '/chat/:room',
      accept<State, Custom>((_connection, ctx) => {
        // @ts-expect-error nor has it in the handler
        return ctx.state.nobody
      }),
    )
  })

  it('accept() compiles in app.use(), with and without a typed state', () => {
    new Koa().use(accept((connection) => connection.send('x')))
    new Koa<State, Custom>().use(
      accept<State, Custom>((connection, ctx) => connection.send(ctx.state.user.id)),
    )
  })

  it('ctx.ws and ctx.hub are declared on every ctx', () => {
    new Koa().use(async (ctx) => {
      expectTypeOf(ctx.ws).toEqualTypeOf<ContextWs | undefined>()
      expectTypeOf(ctx.hub).toEqualTypeOf<Hub>()
      // @ts-expect-error ctx.ws is undefined on plain HTTP
      ctx.ws()
      if (!ctx.ws) return
      expectTypeOf(await ctx.ws()).toEqualTypeOf<Connection>()
      expectTypeOf(ctx.ws((connection) => connection.close())).toEqualTypeOf<void>()
      // @ts-expect-error options have names
      await ctx.ws({ subprotokol: 'x' })
    })
    new Koa<State, Custom>().use((ctx) => {
      expectTypeOf(ctx.ws).toEqualTypeOf<ContextWs | undefined>()
    })
    new Router<State, Custom>().get('/', (ctx) => {
      expectTypeOf(ctx.ws).toEqualTypeOf<ContextWs | undefined>()
      expectTypeOf(ctx.hub).toEqualTypeOf<Hub>()
    })
  })

  it('hub.route types its parameters from the path literal', () => {
    const hub = koaWs()
    hub.route('/chat/:room/seat/:seat', (ctx) => {
      expectTypeOf(ctx.params).toEqualTypeOf<{ room: string; seat: string }>()
      // @ts-expect-error there is no such parameter
      return ctx.params.floor
    })
    hub.route(
      '/chat/:room',
      accept((connection, ctx) => connection.join(ctx.params.room)),
    )
    expectTypeOf<RouteParams<'/a'>>().toEqualTypeOf<Record<never, string>>()
    expectTypeOf<RouteParams<'/a/:b{/:c}'>>().toEqualTypeOf<{ b: string; c?: string }>()
    expectTypeOf<RouteParams<'/files/*path'>>().toEqualTypeOf<{ path: string[] }>()
    expectTypeOf<RouteParams<'/:a-:b.html'>>().toEqualTypeOf<{ a: string; b: string }>()
    new Koa().use(hub).use(hub.route('/x/:y', async (_ctx, next) => next()))
  })

  it('options with an unknown name or a wrong value fail to compile', () => {
    koaWs({ origin: ['https://example.com', /^https:\/\/x$/], user: (ctx) => ctx.state['id'] })
    // @ts-expect-error no such option
    expect(() => koaWs({ orgin: 'any' })).to.throw()
    // @ts-expect-error not a policy
    expect(() => koaWs({ origin: 'all' })).to.throw()
    const handler: Handler = (connection) => connection.close(1000, 'bye')
    accept(handler, {
      subprotocol: ['a', 'b'],
      rooms: ['x'],
      user: (ctx) => ctx.state['id'],
      expiresAt: null,
    })
    accept(handler, {
      subprotocol: (offered, ctx) => (ctx.path === '/' ? (offered[0] ?? false) : false),
    })
  })

  it('methods of an audience have their types', () => {
    const hub = koaWs()
    const audience = hub.room('a', 'b').except('id').exceptUser(7, 'u').local().volatile()
    expectTypeOf(audience).toEqualTypeOf<Audience>()
    const delivery = hub.user('u', 7).send('hi')
    expectTypeOf(delivery).toEqualTypeOf<Delivery>()
    expectTypeOf(delivery.local).toEqualTypeOf<number>()
    expectTypeOf(delivery.backplane).resolves.toEqualTypeOf<'sent' | 'queued' | 'failed' | 'none'>()
    expectTypeOf(hub.all().count()).resolves.toEqualTypeOf<number>()
    expectTypeOf(hub.connection('id').members()).resolves.toEqualTypeOf<Members>()
    const check = (connection: Connection): void => {
      expectTypeOf(connection.to('a')).toEqualTypeOf<Audience>()
      hub.all().except(connection)
      // @ts-expect-error not a message
      hub.all().send({ a: 1 })
      // @ts-expect-error a room is named by a string
      hub.room(7)
    }
    expect(check).to.be.a('function')
    // @ts-expect-error a number of seconds
    expect(() => koaWs({ heartbeat: 25 })).to.throw('milliseconds')
    expect(() => koaWs({ heartbeat: { interval: 25 } })).to.throw('seconds')
  })

  it('hub.attach() takes servers of every kind, and returns their type', () => {
    const callback = new Koa().callback()
    const hub = koaWs()
    const check = (): void => {
      expectTypeOf(hub.attach(createServer(callback))).toEqualTypeOf<Server>()
      expectTypeOf(hub.attach(http2.createServer(callback))).toEqualTypeOf<http2.Http2Server>()
      const secure = hub.attach(http2.createSecureServer({ allowHTTP1: true }, callback))
      expectTypeOf(secure).toEqualTypeOf<http2.Http2SecureServer>()
      hub.detach(secure)
      // @ts-expect-error no server
      hub.attach({})
    }
    expect(check).to.be.a('function')
  })

  it("a connection has ws's typed listeners", () => {
    const check = (connection: Connection): void => {
      connection.on('message', (data, isBinary) => {
        expectTypeOf(isBinary).toEqualTypeOf<boolean>()
        connection.send(data.toString(), { binary: true }, () => {})
      })
      connection.addEventListener('message', (event) =>
        expectTypeOf(event.type).toEqualTypeOf<string>(),
      )
      connection.onclose = (event) => expectTypeOf(event.code).toEqualTypeOf<number>()
      // @ts-expect-error not a message
      connection.send({ a: 1 })
      expectTypeOf(connection.closed).resolves.toEqualTypeOf<{
        readonly code: number
        readonly reason: string
        readonly clean: boolean
      }>()
    }
    expect(check).to.be.a('function')
  })
})

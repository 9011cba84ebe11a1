import Router from '@koa/router'
import { type } from 'arktype'
import { expect } from 'chai'
import { expectTypeOf } from 'expect-type'
import jwt from 'koa-jwt'
import * as v from 'valibot'
import { WebSocketServer } from 'ws'
import { z } from 'zod'
import koaWs, {
  type Audience,
  accept,
  bySubprotocol,
  type Connection,
  type DefinitionOf,
  forward,
  type Message,
  messages,
  protocol,
} from '../../lib/index.ts'

interface State {
  user: { id: string }
}

const chatProtocol = protocol({
  say: {
    data: z.object({ text: z.string(), at: z.coerce.date().optional() }),
    reply: z.object({ ok: z.boolean() }),
  },
  rate: { data: v.object({ stars: v.number() }) },
  tag: { data: type({ name: 'string' }), reply: type('string[]') },
  typing: {},
  said: { push: z.object({ text: z.string() }) },
  tick: { push: true },
  confirm: { push: z.string(), reply: z.boolean() },
  count: { push: true, reply: z.string().transform(Number) },
})
type Chat = DefinitionOf<typeof chatProtocol>

describe('types of messages', () => {
  it('handlers have the data and replies of the protocol', () => {
    const chat = messages(chatProtocol)
      .on('say', (message) => {
        expectTypeOf(message.data).toEqualTypeOf<{ text: string; at?: Date | undefined }>()
        expectTypeOf(message.id).toEqualTypeOf<number | undefined>()
        message.reply({ ok: true })
        // @ts-expect-error a wrong reply
        expect(() => message.reply({ ok: 1 })).to.be.a('function')
        return { ok: true }
      })
      .on('rate', ({ data }) => {
        expectTypeOf(data).toEqualTypeOf<{ stars: number }>()
      })
      .on('tag', async ({ data }) => {
        expectTypeOf(data).toEqualTypeOf<{ name: string }>()
        return [data.name]
      })
      .on('typing', ({ data }) => {
        expectTypeOf(data).toEqualTypeOf<undefined>()
      })
    expect(chat.types).to.equal(chatProtocol.types)
  })

  it('wrong replies, and types that a client does not send, fail to compile', () => {
    const build = (): void => {
      // @ts-expect-error a wrong reply
      messages(chatProtocol).on('say', () => ({ ok: 'yes' }))
      // @ts-expect-error a wrong reply, later
      messages(chatProtocol).on('tag', async () => [1])
      // @ts-expect-error no such type
      messages(chatProtocol).on('sya', () => {})
      // @ts-expect-error the server sends it
      messages(chatProtocol).on('said', () => {})
      // @ts-expect-error no such option
      messages(chatProtocol, { concurency: 2 })
      // @ts-expect-error no schema
      protocol({ x: { data: { type: 'string' } } })
      // @ts-expect-error no such part
      protocol({ x: { date: z.string() } })
    }
    expect(build).to.be.a('function')
  })

  it('a connection has the pushes and requests of the protocol', () => {
    const use = (connection: Connection<State, Chat>): void => {
      connection.push('said', { text: 'hi' })
      connection.push('tick')
      expectTypeOf(connection.request('confirm', 'Sure?')).resolves.toEqualTypeOf<boolean>()
      expectTypeOf(connection.request('count')).resolves.toEqualTypeOf<number>()
      connection.to('room').except('x').volatile().push('said', { text: 'hi' })
      expectTypeOf(connection).toExtend<Connection>()
      expectTypeOf(connection).toExtend<Connection<State>>()
      // @ts-expect-error a wrong payload
      connection.push('said', { text: 7 })
      // @ts-expect-error no payload
      connection.push('said')
      // @ts-expect-error a client sends it
      connection.push('say', { text: 'hi' })
      // @ts-expect-error no such type
      connection.push('nope')
      // @ts-expect-error no payload
      connection.request('confirm')
      // @ts-expect-error it has no answer
      connection.request('said', { text: 'hi' })
      // @ts-expect-error a wrong payload
      connection.request('confirm', 7)
      // @ts-expect-error a wrong payload
      connection.to('room').local().push('said', { text: 7 })
    }
    messages<Chat, State>(chatProtocol)
      .onOpen((connection, ctx) => {
        expectTypeOf(ctx.params).toBeAny()
        expectTypeOf(ctx.state).toEqualTypeOf<State>()
        use(connection)
      })
      .onClose((connection, { code }) => {
        expectTypeOf(code).toEqualTypeOf<number>()
        expectTypeOf(connection.state).toEqualTypeOf<State>()
      })
      .use((message, next) => {
        expectTypeOf(message.state).toEqualTypeOf<State>()
        expectTypeOf(message.data).toEqualTypeOf<unknown>()
        return next()
      })
      .on('typing', ({ connection }) => use(connection))
  })

  it('audiences of a protocol take its pushes', () => {
    const hub = koaWs()
    const chat = messages(chatProtocol)
    const check = (): void => {
      expectTypeOf(chat.room(hub, 'lobby')).toEqualTypeOf<Audience<Chat>>()
      chat.room(hub, 'a', 'b').push('said', { text: 'hi' })
      chat.audience(hub.user(7)).push('tick')
      // @ts-expect-error a wrong payload
      chat.room(hub, 'lobby').push('said', { text: 7 })
      // @ts-expect-error no such push
      chat.audience(hub.all()).push('say', { text: 'hi' })
      hub.room('lobby').push('anything', [1])
    }
    expect(check).to.be.a('function')
  })

  it('messages() without a protocol take their types from each on()', () => {
    const chat = messages<State>()
      .use((message, next) => {
        expectTypeOf(message.state).toEqualTypeOf<State>()
        return next()
      })
      .on('say', z.object({ text: z.string() }), ({ data, state }) => {
        expectTypeOf(data).toEqualTypeOf<{ text: string }>()
        expectTypeOf(state.user.id).toEqualTypeOf<string>()
        return { ok: true }
      })
      .on('plain', async ({ data }) => {
        expectTypeOf(data).toEqualTypeOf<unknown>()
        return 7
      })
    expectTypeOf<keyof DefinitionOf<typeof chat>>().toEqualTypeOf<'say' | 'plain'>()
    const handler = (message: Message): unknown => message.data
    messages().on('x', handler)
  })

  it('accept() takes messages() with their options', () => {
    const router = new Router()
    router.get('/chat/:room', accept(messages(chatProtocol)))
    router.get('/open', accept(messages().on('x', () => 1)))
    router.get(
      '/late',
      accept(messages(chatProtocol), {
        authenticate: jwt({ secret: 'x' }),
        refresh: [jwt({ secret: 'x' })],
      }),
    )
    const typed = new Router<State>()
    typed.get('/chat', accept<State>(messages<Chat, State>(chatProtocol)))
    router.get(
      '/many',
      accept(
        bySubprotocol(
          {
            'koaws.v1': messages(chatProtocol),
            other: forward(new WebSocketServer({ noServer: true })),
          },
          (connection) => connection.send('raw'),
        ),
      ),
    )
    expect(router.stack).to.have.length(4)
  })
})

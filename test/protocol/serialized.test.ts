// The types follow JSON on both sides, with three schema libraries.
import { type } from 'arktype'
import { expect } from 'chai'
import { expectTypeOf } from 'expect-type'
import Koa from 'koa'
import * as v from 'valibot'
import { z } from 'zod'
import { type Client, connect, type PushData } from '../../lib/client/index.ts'
import koaWs, {
  type Audience,
  type Connection,
  type Hub,
  messages,
  protocol,
} from '../../lib/index.ts'
import type { Serialized } from '../../lib/protocol/serialized.ts'
import type { FakeServer } from '../../lib/testing/index.ts'

const dates = protocol({
  zod: { push: z.object({ at: z.date(), until: z.date().optional(), list: z.array(z.date()) }) },
  valibot: {
    push: v.object({ at: v.date(), until: v.optional(v.date()), list: v.array(v.date()) }),
  },
  arktype: { push: type({ at: 'Date', 'until?': 'Date', list: 'Date[]' }) },
})
type Sent = { at: Date; until?: Date | undefined; list: Date[] }
type Arrived = { at: string; until?: string; list: string[] }

const opaque = protocol({
  map: { push: z.object({ m: z.map(z.string(), z.number()) }) },
  set: { push: v.object({ m: v.set(v.string()) }) },
  bytes: { push: type({ m: 'TypedArray.Uint8' }) },
  big: { push: z.object({ m: z.bigint() }) },
})

const transforms = protocol({
  zod: { data: z.object({ at: z.iso.datetime().transform((text) => new Date(text)) }) },
  valibot: { data: v.object({ n: v.pipe(v.string(), v.transform(Number)) }) },
  arktype: { data: type({ n: 'string.numeric.parse' }) },
  codec: {
    data: z.object({
      at: z.codec(z.iso.datetime(), z.date(), {
        decode: (s) => new Date(s),
        encode: (d) => d.toISOString(),
      }),
    }),
  },
  coerced: { data: z.object({ at: z.coerce.date() }) },
  fallback: { data: z.object({ n: z.number().default(1) }) },
  both: { data: z.object({ at: z.union([z.string(), z.date()]) }) },
  never: { data: z.object({ at: z.date() }) },
  gaps: { data: z.array(z.string().optional()) },
})

const answers = protocol({
  when: { data: z.string(), reply: z.object({ at: z.date(), note: z.string().or(z.undefined()) }) },
  maybe: { reply: z.date().optional() },
  room: { reply: z.object({ n: z.number() }) },
  nothing: { reply: z.undefined() },
  nil: { reply: z.null() },
  nullable: { reply: z.object({ n: z.number() }).nullable() },
  free: {},
  ask: { push: true, reply: z.iso.datetime().transform((text) => new Date(text)) },
  askDate: { push: true, reply: z.date() },
})

class Money {
  readonly cents: number = 1
  toJSON(): { amount: string; at: Date } {
    return { amount: String(this.cents), at: new Date(0) }
  }
}

/** Takes code that is compiled and never run. */
const compiles = (check: () => unknown): void => {
  expect(check).to.be.a('function')
}

describe('types of data after JSON', () => {
  it('follow JSON at the receiver of a push, and the input of the schema at the sender', () => {
    compiles(() => {
      const chat = messages(dates)
      const audience = chat.room(null as never, 'x')
      const client = connect<typeof dates>('')
      const sent = {} as Sent
      for (const name of ['zod', 'valibot', 'arktype'] as const) {
        audience.push(name, sent)
        client.on(name, (data) => {
          expectTypeOf(data.at).toEqualTypeOf<string>()
          expectTypeOf(data.list).toEqualTypeOf<string[]>()
        })
      }
      expectTypeOf<PushData<typeof dates, 'zod'>>().toEqualTypeOf<Arrived>()
      expectTypeOf<PushData<typeof dates, 'valibot'>>().toEqualTypeOf<Arrived>()
      expectTypeOf<PushData<typeof dates, 'arktype'>>().toEqualTypeOf<Arrived>()
      // @ts-expect-error the schema takes a Date
      audience.push('zod', { at: '2026-01-01', list: [] })
    })
  })

  it('reject values without a JSON form: Map, Set, typed arrays, bigint', () => {
    compiles(() => {
      const audience = messages(opaque).room(null as never, 'x')
      // @ts-expect-error a Map
      audience.push('map', { m: new Map([['a', 1]]) })
      // @ts-expect-error a Set
      audience.push('set', { m: new Set(['a']) })
      // @ts-expect-error a typed array
      audience.push('bytes', { m: new Uint8Array(1) })
      // @ts-expect-error a bigint
      audience.push('big', { m: 1n })
      connect<typeof opaque>('').on('map', ({ m }) => {
        // @ts-expect-error it does not arrive as a Map
        return m.get('a')
      })
    })
  })

  it('are right for every kind of value', () => {
    expectTypeOf<Serialized<Money>>().toEqualTypeOf<{ amount: string; at: string }>()
    expectTypeOf<Serialized<URL>>().toEqualTypeOf<string>()
    expectTypeOf<
      Serialized<{ m: Money; f: () => void; s: symbol; [Symbol.iterator]: 1 }>
    >().toEqualTypeOf<{
      m: { amount: string; at: string }
    }>()
    expectTypeOf<
      Serialized<{ a: string | undefined; b: undefined; c: string | (() => void) }>
    >().toEqualTypeOf<{
      a?: string
      c?: string
    }>()
    expectTypeOf<Serialized<{ readonly a: 'x' | 1 | null; b?: boolean }>>().toEqualTypeOf<{
      readonly a: 'x' | 1 | null
      b?: boolean
    }>()
    expectTypeOf<Serialized<[Date, undefined, () => void]>>().toEqualTypeOf<[string, null, null]>()
    expectTypeOf<Serialized<Record<string, Date | undefined>>>().toEqualTypeOf<
      Record<string, string>
    >()
    expectTypeOf<Serialized<{ a: unknown }>>().toEqualTypeOf<{ a: unknown }>()
    expectTypeOf<Serialized<unknown>>().toEqualTypeOf<unknown>()
    expectTypeOf<Serialized<Buffer>>().toEqualTypeOf<{ type: 'Buffer'; data: number[] }>()
    type Tree = { value: Date; children: Tree[] }
    compiles(() => {
      const tree = {} as Serialized<Tree>
      expectTypeOf(tree.children[0]?.children[0]?.value).toEqualTypeOf<string | undefined>()
    })
  })

  it('of a recursive schema compile on both sides', () => {
    type Tree = { at: Date; children: Tree[] }
    const tree: z.ZodType<Tree, Tree> = z.lazy(() =>
      z.object({ at: z.date(), children: z.array(tree) }),
    )
    const trees = protocol({ tree: { push: tree }, json: { push: z.json(), data: undefined } })
    compiles(() => {
      const audience = messages(trees).room(null as never, 'x')
      audience.push('tree', { at: new Date(), children: [] })
      audience.push('json', { a: [1, 'x', null] })
      connect<typeof trees>('').on('tree', ({ children }) => children[0]?.at.toUpperCase())
    })
  })

  it('follow a transform: the client gives its input, and the handler gets its output', () => {
    compiles(() => {
      const client = connect<typeof transforms>('')
      client.push('zod', { at: '2026-01-01T00:00:00Z' })
      client.push('codec', { at: '2026-01-01T00:00:00Z' })
      client.push('valibot', { n: '1' })
      client.push('arktype', { n: '1' })
      client.push('coerced', { at: new Date() })
      client.push('fallback', {})
      client.push('both', { at: new Date() })
      // @ts-expect-error the output
      client.push('valibot', { n: 1 })
      // @ts-expect-error a Date arrives as a string, and this schema takes none
      client.push('never', { at: new Date() })
      // @ts-expect-error undefined arrives as null, and this schema takes none
      client.push('gaps', [undefined])
      messages(transforms)
        .on('zod', ({ data }) => expectTypeOf(data).toEqualTypeOf<{ at: Date }>())
        .on('codec', ({ data }) => expectTypeOf(data).toEqualTypeOf<{ at: Date }>())
        .on('valibot', ({ data }) => expectTypeOf(data).toEqualTypeOf<{ n: number }>())
        .on('arktype', ({ data }) => expectTypeOf(data).toEqualTypeOf<{ n: number }>())
        .on('coerced', ({ data }) => expectTypeOf(data).toEqualTypeOf<{ at: Date }>())
        .on('fallback', ({ data }) => expectTypeOf(data).toEqualTypeOf<{ n: number }>())
    })
  })

  it('of a reply follow JSON at the side that asked', () => {
    compiles(async () => {
      const client = connect<typeof answers>('')
      expectTypeOf(await client.request('when', 'x')).toEqualTypeOf<{ at: string; note?: string }>()
      expectTypeOf(await client.request('maybe')).toEqualTypeOf<string | null>()
      expectTypeOf(await client.request('free')).toEqualTypeOf<unknown>()
      messages(answers).on('when', () => ({ at: new Date(), note: undefined }))
      client.on('ask', () => '2026-01-01T00:00:00Z')
      // @ts-expect-error the schema runs on a string
      client.on('askDate', () => new Date())
      const connection = {} as Connection<unknown, typeof answers>
      expectTypeOf(await connection.request('ask')).toEqualTypeOf<Date>()
      const open = messages()
        .on('now', () => new Date())
        .on('early', (message) => message.reply(1))
      expectTypeOf(await connect<typeof open>('').request('now')).toEqualTypeOf<string>()
      expectTypeOf(await connect<typeof open>('').request('early')).toEqualTypeOf<unknown>()
    })
  })

  it('of a fake server are those on the wire', () => {
    compiles(() => {
      const server = {} as FakeServer<typeof transforms>
      server.on('coerced', (data) => expectTypeOf(data).toEqualTypeOf<{ at: unknown }>())
      server.on('both', (data) => expectTypeOf(data).toEqualTypeOf<{ at: string }>())
      ;({}) as FakeServer<typeof dates> satisfies FakeServer<(typeof dates)['types']>
    })
  })
})

describe('types of handlers with a reply', () => {
  it('a forgotten return does not compile', () => {
    compiles(() => {
      const make = () => messages(answers)
      // @ts-expect-error no return
      make().on('room', () => {})
      // @ts-expect-error no return, later
      make().on('room', async () => {})
      // @ts-expect-error returns in one of two cases
      make().on('room', ({ id }) => {
        if (id === 1) return { n: 1 }
      })
      // @ts-expect-error nothing is not null
      make().on('nullable', () => {})
    })
  })

  it('no return value compiles when the reply can be undefined or null', () => {
    compiles(() => {
      messages(answers)
        .on('nothing', () => {})
        .on('nil', () => {})
        .on('nullable', () => null)
        .on('maybe', async () => {})
        .on('free', () => {})
    })
  })

  it('the result of message.reply() compiles as the return value', () => {
    compiles(() => {
      messages(answers)
        .on('room', (message) => message.reply({ n: 1 }))
        .on('when', async (message) => {
          const replied = message.reply({ at: new Date(), note: 'x' })
          await Promise.resolve()
          return replied
        })
        .on('nullable', (message) => message.throw(404))
      // @ts-expect-error a reply without its value
      messages(answers).on('room', (message) => message.reply())
    })
  })
})

describe('types that take a protocol', () => {
  interface State {
    user: { id: string }
  }
  it('accept typeof protocol, its definition, and typeof messages()', () => {
    const chat = messages<typeof dates, State>(dates)
    compiles(() => {
      const use = (
        client: Client<typeof dates>,
        connection: Connection<State, typeof dates>,
        audience: Audience<typeof dates>,
      ): void => {
        client.on('zod', ({ at }) => expectTypeOf(at).toEqualTypeOf<string>())
        connection.push('zod', {} as Sent)
        audience.push('zod', {} as Sent)
        // @ts-expect-error no such push
        audience.push('nope')
        // @ts-expect-error no such type
        client.on('nope', () => {})
      }
      chat.onOpen((connection) => use(connect<typeof dates>(''), connection, connection.to('x')))
      use(connect<(typeof dates)['types']>(''), {} as never, chat.room(null as never, 'x'))
      use(connect<typeof chat>(''), {} as never, chat.audience(null as never))
      expectTypeOf<Client<typeof dates>>().toEqualTypeOf<Client<(typeof dates)['types']>>()
    })
  })
})

describe('types of a hub with a protocol', () => {
  const bound = protocol({
    said: { push: z.object({ text: z.string() }) },
    tick: { push: true },
    say: { data: z.object({ text: z.string() }) },
  })

  it('are those of the pushes of its protocol', () => {
    compiles(() => {
      const hub = koaWs({ protocol: bound, user: () => 'ann' })
      hub.room('x').push('said', { text: 'hi' })
      hub.user('ann').except('id').push('tick')
      hub.all().volatile().push('said', { text: 'hi' })
      hub.connection('id').local().push('tick')
      for (const [, connection] of hub.localConnections) connection.push('said', { text: 'hi' })
      // @ts-expect-error a wrong payload
      hub.room('x').push('said', { text: 7 })
      // @ts-expect-error a client sends it
      hub.user('ann').push('say', { text: 'hi' })
      // @ts-expect-error no such push
      hub.all().push('sayd', { text: 'hi' })
      // @ts-expect-error no protocol
      koaWs({ protocol: {} })
      const named: Hub<typeof bound> = hub
      messages(bound).room(named, 'x').push('tick')
      messages(dates)
        .room(hub, 'x')
        .push('zod', {} as Sent)
      messages(dates)
        .audience(hub.all())
        .push('zod', {} as Sent)
      new Koa().use(hub).use(hub.route('/x', (_ctx, next) => next()))
      koaWs().all().push('anything', 1)
      koaWs({ maxPayload: 1 }).all().push('anything', 1)
    })
  })
})

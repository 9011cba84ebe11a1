/// <reference lib="dom" />
import { expect } from 'chai'
import { expectTypeOf } from 'expect-type'
import { WebSocket } from 'ws'
import { z } from 'zod'
import {
  type Client,
  type ClientStream,
  connect,
  type Unrecovered,
  type WebSocketClass,
} from '../../lib/client/index.ts'
import { streams } from '../../lib/client/streams.ts'
import { type DefinitionOf, protocol } from '../../lib/protocol/definition.ts'
import { fakeServer } from '../../lib/testing/index.ts'

const chat = protocol({
  say: { data: z.object({ text: z.string() }), reply: z.object({ ok: z.boolean() }) },
  typing: {},
  note: { data: z.string().optional() },
  said: { push: z.object({ text: z.string() }) },
  tick: { push: true },
  confirm: { push: z.string(), reply: z.boolean() },
  ask: {
    data: z.object({ prompt: z.string() }),
    stream: z.object({ token: z.string(), at: z.date() }),
    reply: z.object({ tokens: z.number() }),
  },
  feed: { stream: z.number() },
  save: { data: z.string(), upload: z.object({ part: z.string() }), reply: z.number() },
  translate: { stream: z.string(), upload: z.string() },
})

type Chat = Client<DefinitionOf<typeof chat>>

/** The compiler checks this; it is never called. */
function compiled(client: Chat): void {
  expectTypeOf(client.request('say', { text: 'hi' })).toEqualTypeOf<Promise<{ ok: boolean }>>()
  expectTypeOf(client.request('typing')).toEqualTypeOf<Promise<unknown>>()
  expectTypeOf(client.push('typing')).toEqualTypeOf<'sent' | 'queued' | 'dropped'>()
  client.push('typing', undefined, { queue: false })
  client.push('note')
  client.push('note', 'text')
  client.request('say', { text: 'hi' }, { timeout: 5, signal: AbortSignal.abort() })
  client.on('said', (data) => expectTypeOf(data).toEqualTypeOf<{ text: string }>())
  client.on('tick', (data) => expectTypeOf(data).toEqualTypeOf<undefined>())
  client.on('confirm', (data) => data === 'yes')
  client.on('confirm', async () => true)

  client.on('koaws:recovered', ({ room, recovered, missed, reason }) => {
    expectTypeOf(room).toEqualTypeOf<string>()
    if (recovered) expectTypeOf(missed).toEqualTypeOf<number>()
    else expectTypeOf(reason).toEqualTypeOf<Unrecovered>()
    expectTypeOf(missed).toEqualTypeOf<number | null>()
  })
  expectTypeOf(client.stream('ask', { prompt: 'hi' }, { resume: true })).toEqualTypeOf<
    ClientStream<{ token: string; at: string }, { tokens: number }>
  >()
  expectTypeOf(client.stream('feed').reply).toEqualTypeOf<Promise<unknown>>()
  expectTypeOf(client.stream('feed')).toExtend<AsyncIterable<number>>()
  const items: AsyncIterableIterator<number, undefined, unknown> = client.stream('feed')
  client.stream('translate', undefined, { upload: ['Hund'], credit: 1_024, timeout: 5 })
  expectTypeOf(client.upload('save', 'a.txt', [{ part: 'x' }])).toEqualTypeOf<Promise<number>>()
  client.upload('translate', undefined, items as never, { signal: AbortSignal.abort() })
  expectTypeOf(connect('/chat').stream('any')).toEqualTypeOf<ClientStream<unknown, unknown>>()
  connect('/chat', { streams }).upload('any', 1, new Set([2]))

  // @ts-expect-error not a stream
  client.stream('say', { text: 'hi' })
  // @ts-expect-error not a stream of the server
  client.stream('save', 'a.txt')
  // @ts-expect-error wrong data
  client.stream('ask', { prompt: 7 })
  // @ts-expect-error no such option
  client.stream('feed', undefined, { retry: true })
  // @ts-expect-error wrong item
  client.stream('translate', undefined, { upload: [7] })
  // @ts-expect-error not an upload
  client.upload('ask', { prompt: 'hi' }, [])
  // @ts-expect-error wrong item
  client.upload('save', 'a.txt', [{ part: 7 }])
  // @ts-expect-error not resumed
  client.upload('save', 'a.txt', [], { resume: true })
  expectTypeOf(client.positions).toEqualTypeOf<Record<string, string>>()
  connect('/chat', { positions: client.positions, reload: async () => undefined })
  connect('/chat', { reload: async (room) => room, positions: undefined })
  connect('/chat', { reload: () => 'e1.7.k7' })

  // @ts-expect-error not a position
  connect('/chat', { positions: { a: 7 } })
  // @ts-expect-error not a position
  connect('/chat', { reload: async () => 7 })
  // @ts-expect-error immutable
  client.positions = {}
  // @ts-expect-error no such message for applications
  client.on('koaws:position', () => {})
  // @ts-expect-error wrong data
  client.request('say', { text: 7 })
  // @ts-expect-error no data
  client.request('say')
  // @ts-expect-error data where there are none
  client.push('typing', { text: 'hi' })
  // @ts-expect-error unknown type
  client.push('shout', {})
  // @ts-expect-error unknown type
  client.request('shout', {})
  // @ts-expect-error the server's type
  client.push('said', { text: 'hi' })
  // @ts-expect-error unknown type
  client.on('shout', () => {})
  // @ts-expect-error the client's type
  client.on('say', () => {})
  // @ts-expect-error other data
  client.on('said', (data: { text: number }) => data)
  // @ts-expect-error wrong answer
  client.on('confirm', () => 'yes')
  // @ts-expect-error wrong answer
  client.on('confirm', async () => 1)
  // @ts-expect-error no answer
  client.on('confirm', () => {})
  // @ts-expect-error unknown option
  client.push('typing', undefined, { timeout: 1 })
  // @ts-expect-error unknown option
  client.request('typing', undefined, { queue: true })
  // @ts-expect-error a wrong option
  connect('/chat', { tokenIn: 'header' })
  // @ts-expect-error an unknown option
  connect('/chat', { tokens: 'abc' })
  // @ts-expect-error immutable
  client.state.status = 'open'
}

function compiledWithoutProtocol(): void {
  const client = connect('/chat')
  client.on('anything', (data) => expectTypeOf(data).toEqualTypeOf<unknown>())
  client.push('anything', { at: 'all' })
  expectTypeOf(client.request('anything')).toEqualTypeOf<Promise<unknown>>()
  // @ts-expect-error no string
  client.push(7)
}

function compiledClasses(): WebSocketClass[] {
  return [globalThis.WebSocket, WebSocket]
}

function compiledFakeServer(): void {
  const server = fakeServer(chat)
  server.on('say', ({ text }) => ({ ok: text === 'hi' }))
  server.push('said', { text: 'hi' })
  server.push('tick')
  server.push('said', { text: 'hi' }, { room: 'a', position: 'e1.7.k7' })
  server.push('tick', undefined, { room: 'a', position: 'e1.7.k7', once: 'x' })
  server.tell('koaws:at', { room: 'a', position: 'e1.7.k7' })
  server.tell('koaws:left', { room: 'a' })
  server.tell('koaws:recovered', { room: 'a', recovered: true, missed: 3, position: 'e1.7.k7' })
  expectTypeOf(server.resumes[0]?.positions['a']).toEqualTypeOf<string | undefined>()
  // @ts-expect-error a refusal has a reason
  server.tell('koaws:recovered', { room: 'a', recovered: false, missed: null, position: 'x' })
  // @ts-expect-error not about history
  server.tell('koaws:bye', { room: 'a' })
  // @ts-expect-error a place has a position
  server.push('tick', undefined, { room: 'a' })
  expectTypeOf(server.request('confirm', 'Sure?')).toEqualTypeOf<Promise<boolean>>()
  // @ts-expect-error wrong answer
  server.on('say', () => ({ ok: 1 }))
  // @ts-expect-error the server's type
  server.on('said', () => {})
  // @ts-expect-error wrong data
  server.push('said', { text: 1 })
  // @ts-expect-error the client's type
  server.push('say', { text: 'hi' })
  // @ts-expect-error a push without a reply
  server.request('said', { text: 'hi' })
}

describe('the types of the client', () => {
  it('accept correct calls, and reject wrong ones', () => {
    const checked = [compiled, compiledWithoutProtocol, compiledClasses, compiledFakeServer]
    expect(checked).to.have.length(4) // checked by npm run typecheck
  })
})

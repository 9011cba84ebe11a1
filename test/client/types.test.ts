/// <reference lib="dom" />
import { expect } from 'chai'
import { expectTypeOf } from 'expect-type'
import { WebSocket } from 'ws'
import { z } from 'zod'
import { type Client, connect, type WebSocketClass } from '../../lib/client/index.ts'
import { type DefinitionOf, protocol } from '../../lib/protocol/definition.ts'
import { fakeServer } from '../../lib/testing/index.ts'

const chat = protocol({
  say: { data: z.object({ text: z.string() }), reply: z.object({ ok: z.boolean() }) },
  typing: {},
  note: { data: z.string().optional() },
  said: { push: z.object({ text: z.string() }) },
  tick: { push: true },
  confirm: { push: z.string(), reply: z.boolean() },
})

type Chat = Client<DefinitionOf<typeof chat>>

/** Compiled, never called. */
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
  expectTypeOf(server.request('confirm', 'Sure?')).toEqualTypeOf<Promise<boolean>>()
  // @ts-expect-error wrong answer
  server.on('say', () => ({ ok: 1 }))
  // @ts-expect-error the server's type
  server.on('said', () => {})
  // @ts-expect-error wrong data
  server.push('said', { text: 1 })
  // @ts-expect-error the client's type
  server.push('say', { text: 'hi' })
  // @ts-expect-error it is not answered
  server.request('said', { text: 'hi' })
}

describe('the types of the client', () => {
  it('let the right things compile, and not the wrong ones', () => {
    const checked = [compiled, compiledWithoutProtocol, compiledClasses, compiledFakeServer]
    expect(checked).to.have.length(4) // the compiler has the say: npm run typecheck
  })
})

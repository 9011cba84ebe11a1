import vm from 'node:vm'
import { expect } from 'chai'
import { z } from 'zod'
import { messages, protocol } from '../../lib/index.ts'
import { cleanUp, serve } from '../support/server.ts'
import { ask, hear, serveMessages, talk } from '../support/talk.ts'

class Hidden {
  readonly #secret = 1
  get secret(): number {
    return this.#secret
  }
}

class Point {
  x = 1
}

const cycle: Record<string, unknown> = {}
cycle['list'] = [{ self: cycle }]
const crossRealm = vm.runInNewContext('({ empty: {}, map: new Map([[1, 2]]) })')

/** Values that JSON would turn into `{}` or reject without a path, with the expected error. */
const LOST: [value: unknown, problem: RegExp][] = [
  [
    { items: [0, 1, 2, { at: new Map([['a', 1]]) }] },
    /: data\.items\[3\]\.at is a Map, which JSON cannot represent/,
  ],
  [new Set([1]), /: data is a Set, /],
  [[new WeakMap()], /: data\[0\] is a WeakMap, /],
  [{ bytes: new Uint8Array(2) }, /: data\.bytes is a Uint8Array, /],
  [{ bytes: new Float64Array(0) }, /: data\.bytes is a Float64Array, /],
  [{ bytes: new DataView(new ArrayBuffer(1)) }, /: data\.bytes is a DataView, /],
  [{ bytes: new ArrayBuffer(2) }, /: data\.bytes is an ArrayBuffer, /],
  [{ user: Promise.resolve(1) }, /: data\.user is a Promise: await it first/],
  [{ re: /x/ }, /: data\.re is a RegExp, /],
  [{ failed: new Error('x') }, /: data\.failed is an Error, /],
  [{ query: new URLSearchParams('a=1') }, /: data\.query is an? URLSearchParams, /],
  [{ one: new Hidden() }, /: data\.one is a Hidden, /],
  [{ far: crossRealm.map }, /: data\.far is a Map, /],
  [{ 'a b': { n: 1n } }, /: data\["a b"\]\.n is a BigInt, which has no JSON form: send a string/],
  [1n, /: data is a BigInt/],
  [cycle, /: data\.list\[0\]\.self refers back to an object that holds it/],
  [() => 1, /: data is a function, which has no JSON form/],
  [Symbol('x'), /: data is a symbol, which has no JSON form/],
]

/** Values that JSON carries, of any class. */
const KEPT: [value: unknown, carried: unknown][] = [
  [
    { at: new Date(0), url: new URL('http://a/') },
    { at: '1970-01-01T00:00:00.000Z', url: 'http://a/' },
  ],
  [Buffer.from('a'), { type: 'Buffer', data: [97] }],
  [new Point(), { x: 1 }],
  [Object.create(null), {}],
  [{}, {}],
  [crossRealm.empty, {}],
  [
    [undefined, () => 1],
    [null, null],
  ],
  [{ a: undefined, f: () => 1 }, {}],
  [
    { boxed: new Number(5), word: new String('x') },
    { boxed: 5, word: 'x' },
  ],
  [{ one: { toJSON: () => 'mine', map: new Map() } }, { one: 'mine' }],
  [Object.assign(new Error('x'), { code: 'E' }), { code: 'E' }],
]

describe('data without a JSON form', () => {
  afterEach(cleanUp)

  for (const [value, problem] of LOST) {
    it(`throws in every push, even with validateOut: false: ${problem.source}`, async () => {
      const chat = messages({ validateOut: false }).on('x', () => null)
      const { hub, port } = await serveMessages(chat)
      await talk(port)
      const [connection] = [...hub.localConnections.values()]
      const targets = [hub.all(), hub.room('r'), chat.room(hub, 'r'), connection]
      for (const target of targets)
        expect(() => target?.push('said', value)).to.throw(TypeError, problem)
      expect(() => hub.all().push('said', value)).to.throw(/^push "said": data/)
      const thrown = await connection?.request('asked', value).catch((error: Error) => error)
      expect((thrown as Error).message).to.match(/^request "asked": data/)
    })

    it(`is an error of the application in a reply: ${problem.source}`, async () => {
      const chat = messages(protocol({ get: {} }), { validateOut: false })
      chat.on('get', () => value)
      const { port, errors } = await serveMessages(chat)
      expect((await ask(await talk(port), 'get')).error).to.include({ code: 'internal' })
      expect(errors[0]?.error.message)
        .to.match(problem)
        .and.match(/^reply to "get": data/)
    })
  }

  it('is told apart from data that JSON carries', async () => {
    const { hub, port } = await serveMessages(messages().on('x', () => null))
    const socket = await talk(port)
    for (const [value, carried] of KEPT) {
      hub.all().push('said', value)
      expect((await hear(socket)).data).to.deep.equal(carried)
    }
  })

  it('throws the error that toJSON throws', async () => {
    const { hub } = await serve(() => {})
    const odd = {
      toJSON: () => {
        throw new RangeError('odd')
      },
    }
    expect(() => hub.all().push('said', { odd })).to.throw(RangeError, 'odd')
  })
})

describe('a reply that fails its schema', () => {
  afterEach(cleanUp)

  it('is reported with its type, and with a hint when the handler returned nothing', async () => {
    const rooms = protocol({
      'room:say': { reply: z.object({ ok: z.boolean() }) },
      'room:list': { reply: z.object({ ok: z.boolean() }) },
      confirm: { push: true, reply: z.boolean() },
    })
    const chat = messages(rooms, { validateOut: true })
      .on('room:say', (() => {}) as never)
      .on('room:list', (() => ({ ok: 1 })) as never)
    const { port, errors, hub } = await serveMessages(chat)
    const socket = await talk(port)
    await ask(socket, 'room:say')
    await ask(socket, 'room:list')
    const [first, second] = errors.map(({ error }) => error)
    expect(first?.message).to.match(
      /^reply to "room:say": .+; is a return missing in the handler\?$/,
    )
    expect(second?.message)
      .to.match(/^reply to "room:list": ok: /)
      .and.not.include('return missing')
    const [connection] = [...hub.localConnections.values()]
    const asked = connection?.request('confirm')
    const { id } = await hear(socket)
    socket.json({ type: 'koaws:reply', id, data: 7 })
    const error = await asked?.then(
      () => null,
      (thrown: Error) => thrown,
    )
    expect(error?.message).to.match(/^the client's reply to "confirm": /)
  })

  it('is not reported when the handler returns the result of message.reply()', async () => {
    const chat = messages(protocol({ get: { reply: z.number() } }), { validateOut: true })
    chat.on('get', async (message) => {
      const replied = message.reply(7)
      await Promise.resolve()
      return replied
    })
    const { port, errors } = await serveMessages(chat)
    expect((await ask(await talk(port), 'get')).data).to.equal(7)
    expect(errors).to.deep.equal([])
  })
})

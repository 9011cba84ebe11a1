import { expect } from 'chai'
import { decode, encode } from '../../lib/client/envelope.ts'

describe('decode()', () => {
  it('accepts objects with a type of 1 to 255 characters and an optional positive integer as id', () => {
    for (const text of ['{"type":"a"}', '{"type":"a","id":1}', `{"type":"${'x'.repeat(255)}"}`])
      expect(decode(text), text).to.have.property('type')
    for (const text of [
      '',
      'null',
      '7',
      '[]',
      '{}',
      '{"type":""}',
      '{"type":7}',
      `{"type":"${'x'.repeat(256)}"}`,
      '{"type":"a","id":0}',
      '{"type":"a","id":"1"}',
      '{"type":"a","id":1.5}',
      '{"type":"a","id":9007199254740992}',
    ])
      expect(decode(text), text).to.equal(undefined)
  })
})

describe('encode()', () => {
  class Counter {
    #count = 7
    get count(): number {
      return this.#count
    }
  }

  /** Data that JSON would turn into `{}`, and what the error says. */
  const lossy: [data: unknown, says: string][] = [
    [new Map([[1, 2]]), 'data: [object Map] has no JSON form.'],
    [{ tags: new Set('a') }, 'tags: [object Set] has no JSON form.'],
    [{ a: [{}, { b: new Map() }] }, 'b: [object Map] has no JSON form.'],
    [[new Uint8Array(2)], '0: [object Uint8Array] has no JSON form.'],
    [new BigInt64Array(), 'data: [object BigInt64Array] has no JSON form.'],
    [{ file: new Blob(['x']) }, 'file: [object Blob] has no JSON form.'],
    [new ArrayBuffer(1), 'data: [object ArrayBuffer] has no JSON form.'],
    [Promise.resolve(1), 'data: [object Promise] has no JSON form.'],
    [new Error('x'), 'data: [object Error] has no JSON form.'],
    [Object.assign(new Map(), { more: 1 }), 'data: [object Map] has no JSON form.'],
    [() => 1, 'save: a function has no JSON form.'],
  ]
  for (const [data, says] of lossy) {
    it(`throws instead of sending an empty object: ${says}`, () => {
      expect(() => encode('save', data)).to.throw(TypeError, says)
    })
  }

  it('throws for a BigInt and a cycle', () => {
    const cycle: { self?: object } = {}
    cycle.self = cycle
    for (const data of [{ n: 1n }, cycle]) expect(() => encode('save', data)).to.throw(TypeError)
  })

  it('sends what JSON keeps, as JSON has it', () => {
    const kept = [
      null,
      {},
      [],
      { constructor: { name: 'Map' } },
      { map: Object.assign(new Map(), { toJSON: () => ['a'] }), at: new Date(0) },
      Object.create(null),
      Object.create({ inherited: new Map() }),
      [new String('x'), new Number(1), new Boolean(false)],
      { left: undefined, out: () => 1, list: [undefined, 1] },
      new Counter(),
      { [Symbol.toStringTag]: 'Thing', a: 1 },
    ]
    for (const data of kept) {
      expect(JSON.parse(encode('save', data)).data).to.deep.equal(JSON.parse(JSON.stringify(data)))
    }
  })
})

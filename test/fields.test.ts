import { expect } from 'chai'
import { fieldsOf, hasFields, isIntegerWithin, parseJson } from '../lib/fields.ts'

describe('the fields of a value from outside', () => {
  it('exist for objects and functions, and are empty for primitives', () => {
    for (const value of [{ a: 1 }, Object.assign(() => {}, { a: 1 })]) {
      expect(hasFields(value)).to.equal(true)
      expect(fieldsOf(value)['a']).to.equal(1)
    }
    for (const value of [null, undefined, 1, 'text', true, 1n, Symbol('s')]) {
      expect(hasFields(value), typeof value).to.equal(false)
      expect(fieldsOf(value)).to.deep.equal({})
    }
  })
})

describe('isIntegerWithin()', () => {
  it('includes both bounds', () => {
    expect([0, 1, 2, 3, 4].map((value) => isIntegerWithin(value, 1, 3))).to.deep.equal([
      false,
      true,
      true,
      true,
      false,
    ])
  })

  it('is false for fractions, infinities, NaN and other types', () => {
    for (const value of [1.5, Infinity, -Infinity, Number.NaN, '2', 2n, null, [2], {}]) {
      expect(isIntegerWithin(value, -Infinity, Infinity), String(value)).to.equal(false)
    }
  })
})

describe('parseJson()', () => {
  it('returns undefined for a text that is not JSON', () => {
    expect(parseJson('{"a":null}')).to.deep.equal({ a: null })
    expect(parseJson('')).to.equal(undefined)
    expect(parseJson('undefined')).to.equal(undefined)
  })
})

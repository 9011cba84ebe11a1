import { toStandardJsonSchema } from '@valibot/to-json-schema'
import { type } from 'arktype'
import { expect } from 'chai'
import * as v from 'valibot'
import { z } from 'zod'
import {
  type AsyncApiOptions,
  asyncapi,
  type JsonSchema,
  type SchemaPlace,
} from '../../lib/asyncapi/index.ts'
import { OptionsError, type ProtocolEntry, protocol, type StandardSchema } from '../../lib/index.ts'

/** Returns the schemas of one type in a document. */
function schemasOf(
  entry: ProtocolEntry,
  options: Partial<AsyncApiOptions> = {},
): Record<string, JsonSchema> {
  const info = { title: 'x', version: '1' }
  const { components } = asyncapi(protocol({ t: entry }), { info, ...options })
  return Object.fromEntries(
    Object.entries(components.schemas).filter(([name]) => !name.startsWith('koaws_')),
  )
}

const push = (schema: StandardSchema, options?: Partial<AsyncApiOptions>): unknown =>
  schemasOf({ push: schema }, options)['t.push']
const data = (schema: StandardSchema, options?: Partial<AsyncApiOptions>): unknown =>
  schemasOf({ data: schema }, options)['t.data']

const time = { type: 'string', format: 'date-time' }
const mine = (extra: object = {}): StandardSchema => ({
  '~standard': { version: 1, vendor: 'mine', validate: (value) => ({ value }), ...extra },
})

describe('the JSON Schemas of a document', () => {
  it('are those of the input, which is what travels', () => {
    const schema = z.object({ n: z.coerce.number().default(1), t: z.string().transform(Number) })
    expect(data(schema)).to.deep.include({ required: ['t'] })
    expect(push(schema)).to.deep.equal(data(schema))
    expect(data(type('string.integer.parse'))).to.deep.include({ type: 'string' })
  })

  it('have a string for a Date that the server sends', () => {
    expect(push(z.date())).to.deep.equal(time)
    expect(push(z.object({ at: z.date().nullable() }))).to.have.deep.nested.property(
      'properties.at.anyOf[0]',
      time,
    )
    expect(push(type('Date'))).to.deep.equal(time)
    expect(push(type({ at: 'Date' }))).to.have.deep.nested.property('properties.at', time)
  })

  it('refuse a Date that a client would have to send, but not a Date made of a string', () => {
    expect(() => data(z.object({ at: z.date() }))).to.throw(OptionsError, 'use z.coerce.date()')
    expect(() => data(type({ at: 'Date' }))).to.throw(OptionsError, 'string.date.iso.parse')
    expect(() => schemasOf({ push: true, reply: z.date() })).to.throw(OptionsError, 'z.coerce.date')
    expect(schemasOf({ reply: z.date() })['t.reply']).to.deep.equal(time)
    expect(data(z.coerce.date())).to.deep.equal(time)
    expect(data(type('string.date.iso.parse'))).to.deep.include({ type: 'string' })
  })

  it('refuse values that JSON cannot have, by the name of the type', () => {
    const schemas: [StandardSchema, string][] = [
      [z.object({ m: z.map(z.string(), z.string()) }), 'JSON has no map'],
      [z.set(z.string()), 'JSON has no set'],
      [z.bigint(), 'JSON has no bigint'],
      [z.symbol(), 'JSON has no symbol'],
      [z.literal([1n]), 'JSON has no bigint as a literal'],
      [z.instanceof(Map), 'JSON has no custom'],
      [z.nan(), 'JSON has no nan'],
      [type('Map'), 'JSON has no Map'],
      [type('bigint'), 'JSON has no bigint'],
      [type('symbol'), 'JSON has no symbol'],
    ]
    for (const [schema, reason] of schemas) {
      expect(() => push(schema), reason)
        .to.throw(OptionsError)
        .with.property('message')
        .that.matches(/^asyncapi\(\): the schema "push" of the type "t" has no JSON Schema: /)
        .and.includes(reason)
      expect(push(schema, { unrepresentable: 'any' })).to.deep.equal({})
    }
  })

  it('leave out undefined in a union', () => {
    expect(
      push(z.object({ a: z.union([z.string(), z.undefined()]) })),
    ).to.have.deep.nested.property('properties.a.anyOf', [{ type: 'string' }, { not: {} }])
    expect(push(type({ a: 'string | undefined' }))).to.have.nested.property('properties.a.anyOf')
  })

  it('keep the rules that have a keyword, and leave out the rest', () => {
    expect(
      data(
        z
          .string()
          .min(2)
          .refine((text) => text !== 'no'),
      ),
    ).to.deep.equal({
      type: 'string',
      minLength: 2,
    })
    expect(data(type('string >= 2').narrow((text) => text !== 'no'))).to.deep.equal({
      type: 'string',
      minLength: 2,
    })
  })

  it('of valibot come from @valibot/to-json-schema, in the option or around the schema', () => {
    const stars = v.object({ stars: v.pipe(v.number(), v.maxValue(5)) })
    expect(() => data(stars)).to.throw(
      OptionsError,
      'asyncapi(): the schema "data" of the type "t" offers no JSON Schema. For valibot, pass the option toJsonSchema',
    )
    expect(data(stars, { unrepresentable: 'any' })).to.deep.equal({})
    const wrapped = toStandardJsonSchema(stars)
    expect(data(wrapped)).to.have.nested.property('properties.stars.maximum', 5)
  })

  it('come from the option toJsonSchema first, which knows the place', () => {
    const places: SchemaPlace[] = []
    const options: Partial<AsyncApiOptions> = {
      toJsonSchema: (schema, place) => {
        places.push(place)
        return schema['~standard'].vendor === 'mine' ? { type: 'integer' } : undefined
      },
    }
    expect(schemasOf({ data: mine(), reply: z.string() }, options)).to.deep.equal({
      't.data': { type: 'integer' },
      't.reply': { type: 'string' },
    })
    expect(schemasOf({ push: mine(), reply: mine() }, options)).to.have.all.keys(
      't.push',
      't.reply',
    )
    expect(places).to.deep.equal([
      { type: 't', part: 'data', from: 'client' },
      { type: 't', part: 'reply', from: 'server' },
      { type: 't', part: 'push', from: 'server' },
      { type: 't', part: 'reply', from: 'client' },
    ])
  })

  it('of another library come through Standard JSON Schema, if it has that', () => {
    const offered = mine({
      jsonSchema: { input: ({ target }: { target: string }) => ({ title: target }) },
    })
    expect(data(offered)).to.deep.equal({ title: 'draft-07' })
    expect(() => data(mine())).to.throw(OptionsError, 'Its library, "mine", has no Standard JSON')
    expect(() => data(mine({ jsonSchema: { input: () => 7 } }))).to.throw(OptionsError)
  })

  it('come with clear errors when a converter fails or returns something else', () => {
    const failing = (): never => {
      throw new Error('no way.')
    }
    expect(() => data(mine(), { toJsonSchema: failing })).to.throw(
      OptionsError,
      'has no JSON Schema: no way. Change the schema',
    )
    const odd = { toJsonSchema: (): never => 'text' as never }
    expect(() => data(mine(), odd)).to.throw(OptionsError, 'must return a JSON Schema')
    const elsewhere = { toJsonSchema: () => ({ $ref: 'https://example.com/schema' }) }
    expect(() => data(mine(), elsewhere)).to.throw(OptionsError, 'outside of itself')
  })

  it('refer to themselves and to their definitions at their place in the document', () => {
    const raw = {
      $schema: 'http://json-schema.org/draft-07/schema#',
      $id: 'mine',
      properties: {
        $ref: { $ref: '#' },
        a: { $ref: '#/definitions/odd~1name%20%25' },
        b: { $ref: '#/properties/a' },
        c: { default: 1, enum: [{ $ref: '#', default: 2 }] },
      },
      definitions: { 'odd/name %': { items: { $ref: '#' } } },
    }
    expect(schemasOf({ data: mine() }, { toJsonSchema: () => raw })).to.deep.equal({
      't.data': {
        properties: {
          $ref: { $ref: '#/components/schemas/t.data' },
          a: { $ref: '#/components/schemas/odd-name-' },
          b: { $ref: '#/components/schemas/t.data/properties/a' },
          c: { enum: [{ $ref: '#', default: 2 }] },
        },
      },
      'odd-name-': { items: { $ref: '#/components/schemas/t.data' } },
    })
  })

  it('may be true or false', () => {
    expect(data(mine(), { toJsonSchema: () => true })).to.equal(true)
    expect(push(mine(), { toJsonSchema: () => ({ not: {} }) })).to.equal(undefined)
  })
})

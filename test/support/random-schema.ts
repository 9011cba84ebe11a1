// Random JSON Schemas, changes to them, and values that a sender with such a schema may send.

export type Random = () => number
type Schema = Record<string, unknown>

const NAMES = ['a', 'b', 'c', 'd']
const WORDS = ['red', 'green', 'blue', 'x', '']

export const pick = <T>(random: Random, list: readonly T[]): T =>
  list[Math.floor(random() * list.length)] as T

const chance = (random: Random, share: number): boolean => random() < share
const whole = (random: Random, from: number, to: number): number =>
  from + Math.floor(random() * (to - from + 1))

/** A document with schemas that refer to each other. */
export interface SchemaDocument {
  components: { schemas: Record<string, unknown> }
}

/** Returns a document; `components.schemas.root` is its first schema. */
export function randomDocument(random: Random): SchemaDocument {
  for (;;) {
    const root = randomSchema(random, 3)
    const node = randomSchema(random, 2)
    const document = { components: { schemas: { root, node, leaf: randomSchema(random, 0) } } }
    if (isFounded(document)) return document
  }
}

/** Returns whether no schema refers to itself without a field or an item in between. */
function isFounded({ components }: SchemaDocument): boolean {
  const ends = (schema: unknown, open: readonly string[]): boolean => {
    if (Array.isArray(schema)) return schema.every((one) => ends(one, open))
    if (!isSchema(schema)) return true
    const name = String(schema['$ref'] ?? '')
      .split('/')
      .at(-1)
    if (name) return !open.includes(name) && ends(components.schemas[name], [...open, name])
    return ['anyOf', 'oneOf', 'allOf', 'not', 'if', 'then', 'else'].every((keyword) =>
      ends(schema[keyword], open),
    )
  }
  return Object.keys(components.schemas).every((name) => ends(components.schemas[name], [name]))
}

export function randomSchema(random: Random, depth: number): unknown {
  const dice = random()
  if (dice < 0.02) return {}
  if (dice < 0.03) return true
  if (depth <= 0 || dice < 0.3) return randomScalar(random)
  const inner = (): unknown => randomSchema(random, depth - 1)
  if (dice < 0.55) return randomObject(random, inner)
  if (dice < 0.68) return randomArray(random, inner)
  if (dice < 0.76) return { anyOf: [inner(), inner()] }
  if (dice < 0.8) return randomUnion(random, inner)
  if (dice < 0.86) return { allOf: [randomObject(random, inner), randomObject(random, inner)] }
  if (dice < 0.93) return { $ref: `#/components/schemas/${pick(random, ['node', 'leaf'])}` }
  return randomOdd(random, inner)
}

function randomScalar(random: Random): unknown {
  switch (whole(random, 0, 7)) {
    case 0:
      return { type: 'null' }
    case 1:
      return { type: 'boolean' }
    case 2:
      return { const: pick(random, [...WORDS, 1, null, true]) }
    case 3:
      return {
        enum: [...new Set([pick(random, WORDS), pick(random, WORDS), pick(random, [1, 2, null])])],
      }
    case 4:
    case 5: {
      const schema: Schema = { type: pick(random, ['integer', 'number', ['integer', 'null']]) }
      if (chance(random, 0.5)) schema['minimum'] = whole(random, -3, 3)
      if (chance(random, 0.3)) schema['maximum'] = whole(random, 3, 8)
      if (chance(random, 0.2)) schema['exclusiveMinimum'] = whole(random, -3, 3)
      if (chance(random, 0.2)) schema['exclusiveMaximum'] = whole(random, 3, 8)
      if (chance(random, 0.2)) schema['multipleOf'] = pick(random, [1, 2, 4])
      return schema
    }
    default: {
      const schema: Schema = { type: pick(random, ['string', 'string', ['string', 'null']]) }
      if (chance(random, 0.3)) schema['minLength'] = whole(random, 0, 3)
      if (chance(random, 0.3)) schema['maxLength'] = whole(random, 2, 5)
      if (chance(random, 0.15)) schema['pattern'] = pick(random, ['^[a-z]*$', 'e', '^r'])
      return schema
    }
  }
}

function randomObject(random: Random, inner: () => unknown): Schema {
  const names = NAMES.filter(() => chance(random, 0.5))
  const schema: Schema = { type: 'object' }
  if (names.length > 0 || chance(random, 0.5))
    schema['properties'] = Object.fromEntries(names.map((name) => [name, inner()]))
  const required = names.filter(() => chance(random, 0.5))
  if (required.length > 0) schema['required'] = required
  if (chance(random, 0.2)) schema['additionalProperties'] = chance(random, 0.5) ? false : inner()
  if (chance(random, 0.05)) schema['minProperties'] = whole(random, 0, 2)
  if (chance(random, 0.05)) schema['maxProperties'] = whole(random, 1, 4)
  if (chance(random, 0.05)) schema['propertyNames'] = { maxLength: whole(random, 0, 2) }
  return schema
}

function randomArray(random: Random, inner: () => unknown): Schema {
  const schema: Schema = { type: 'array' }
  if (chance(random, 0.3)) {
    schema['items'] = [inner(), inner()].slice(whole(random, 0, 1))
    if (chance(random, 0.6)) schema['additionalItems'] = chance(random, 0.5) ? false : inner()
  } else if (chance(random, 0.9)) schema['items'] = inner()
  if (chance(random, 0.3)) schema['minItems'] = whole(random, 0, 2)
  if (chance(random, 0.3)) schema['maxItems'] = whole(random, 1, 4)
  if (chance(random, 0.1)) schema['uniqueItems'] = true
  return schema
}

/** A union that a field tells apart, as zod and others make it. */
function randomUnion(random: Random, inner: () => unknown): Schema {
  const branch = (kind: string): Schema => ({
    type: 'object',
    properties: { kind: { const: kind }, a: inner() },
    required: chance(random, 0.8) ? ['kind'] : ['kind', 'a'],
  })
  return { oneOf: [branch('x'), branch('y')] }
}

/** Keywords that are not judged. */
function randomOdd(random: Random, inner: () => unknown): Schema {
  return pick(random, [
    () => ({ not: randomScalar(random) }),
    // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
    () => ({ if: randomScalar(random), then: inner(), else: inner() }),
    () => ({ type: 'array', contains: inner() }),
    () => ({
      type: 'object',
      patternProperties: { '^[ab]$': inner() },
      properties: { c: inner() },
    }),
    () => ({ type: 'object', properties: { a: inner(), b: inner() }, dependencies: { a: ['b'] } }),
    () => ({ oneOf: [inner(), inner()] }),
    () => ({ type: 'string', format: pick(random, ['date', 'email']) }),
  ])()
}

/** Returns a changed copy of a document. */
export function changed(random: Random, document: SchemaDocument): SchemaDocument {
  for (;;) {
    const copy: SchemaDocument = structuredClone(document)
    for (let i = whole(random, 1, 2); i > 0; i--) {
      const { schemas } = copy.components
      const name = pick(random, Object.keys(schemas))
      schemas[name] = mutate(random, schemas[name])
    }
    if (isFounded(copy)) return copy
  }
}

const isSchema = (value: unknown): value is Schema =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Changes one schema inside of another. */
function mutate(random: Random, schema: unknown): unknown {
  if (!isSchema(schema)) return randomScalar(random)
  const places: (() => void)[] = []
  for (const [keyword, value] of Object.entries(schema)) {
    const change = (owner: Record<string, unknown> | unknown[], key: string | number): void => {
      places.push(() => {
        Reflect.set(owner, key, mutate(random, Reflect.get(owner, key)))
      })
    }
    if (/^(?:anyOf|oneOf|allOf|items)$/.test(keyword) && Array.isArray(value))
      for (const i of value.keys()) change(value, i)
    else if (/^(?:items|additionalProperties|additionalItems|then|contains)$/.test(keyword))
      change(schema, keyword)
    else if (keyword === 'properties' && isSchema(value))
      for (const name of Object.keys(value)) change(value, name)
  }
  if (places.length > 0 && chance(random, 0.7)) {
    pick(random, places)()
    return schema
  }
  return mutateHere(random, schema)
}

function mutateHere(random: Random, schema: Schema): unknown {
  const dice = random()
  const limits = Object.keys(schema).filter((keyword) => typeof schema[keyword] === 'number')
  const [limit] = limits
  if (limit !== undefined && dice < 0.5) {
    if (chance(random, 0.3)) delete schema[limit]
    else schema[limit] = Math.max(1, Number(schema[limit]) + pick(random, [-1, 1]))
    return schema
  }
  if (schema['type'] === 'object' && dice < 0.8) return mutateObject(random, schema)
  if (schema['type'] === 'string' && dice < 0.8) {
    schema[pick(random, ['minLength', 'maxLength'])] = whole(random, 0, 4)
    return schema
  }
  if (Array.isArray(schema['enum']) && dice < 0.8) {
    if (chance(random, 0.5)) schema['enum'] = schema['enum'].slice(1)
    else schema['enum'] = [...new Set([...schema['enum'], pick(random, WORDS)])]
    return (schema['enum'] as unknown[]).length > 0 ? schema : { type: 'string' }
  }
  if (Array.isArray(schema['anyOf']) && dice < 0.6) {
    schema['anyOf'].push(randomScalar(random))
    return schema
  }
  if (dice < 0.7) return { anyOf: [schema, randomScalar(random)] }
  return randomSchema(random, 1)
}

function mutateObject(random: Random, schema: Schema): Schema {
  const properties = isSchema(schema['properties']) ? schema['properties'] : {}
  const required = Array.isArray(schema['required']) ? schema['required'] : []
  const name = pick(random, NAMES)
  switch (whole(random, 0, 4)) {
    case 0:
      schema['properties'] = { ...properties, [name]: randomScalar(random) }
      break
    case 1: {
      const { [name]: _, ...rest } = properties
      schema['properties'] = rest
      schema['required'] = required.filter((one) => one !== name)
      break
    }
    case 2:
      schema['required'] = [...new Set([...required, name])]
      break
    case 3:
      schema['required'] = required.slice(1)
      break
    default:
      if (schema['additionalProperties'] === undefined) schema['additionalProperties'] = false
      else delete schema['additionalProperties']
  }
  return schema
}

/**
 * Returns a value that a sender with this schema may send. It has only fields that the schema names
 * or allows, and may still be invalid: check it.
 */
export function sample(
  random: Random,
  document: SchemaDocument,
  schema: unknown,
  depth = 4,
  closed = false,
): unknown {
  if (!isSchema(schema)) return anything(random)
  const again = (one: unknown): unknown => sample(random, document, one, depth - 1)
  if (depth <= 0) return pick(random, [null, 'red', 1, {}, []])
  const ref = schema['$ref']
  if (typeof ref === 'string')
    return again(document.components.schemas[ref.split('/').at(-1) ?? ''])
  for (const keyword of ['anyOf', 'oneOf']) {
    const list = schema[keyword]
    if (Array.isArray(list)) return again(pick(random, list))
  }
  if (Array.isArray(schema['allOf'])) {
    const named = schema['allOf'].some((one) => isSchema(one) && isSchema(one['properties']))
    const values = schema['allOf'].map((one) => sample(random, document, one, depth - 1, named))
    return values.every(isSchema) ? Object.assign({}, ...values) : values[0]
  }
  if (Object.hasOwn(schema, 'const')) return schema['const']
  if (Array.isArray(schema['enum'])) return pick(random, schema['enum'])
  if (schema['if'] !== undefined) return again(schema[pick(random, ['then', 'else'])])
  const type = Array.isArray(schema['type']) ? pick(random, schema['type']) : schema['type']
  switch (type) {
    case 'null':
      return null
    case 'boolean':
      return chance(random, 0.5)
    case 'integer':
      return whole(random, -5, 10)
    case 'number':
      return chance(random, 0.5) ? whole(random, -5, 10) : whole(random, -10, 20) / 2
    case 'string':
      return chance(random, 0.4) ? pick(random, WORDS) : 'reread'.slice(0, whole(random, 0, 6))
    case 'array':
      return sampleArray(random, schema, again)
    case 'object':
      return sampleObject(random, schema, again, closed)
    default:
      return anything(random)
  }
}

function anything(random: Random): unknown {
  return pick(random, [null, true, 0, -4, 2.5, 'red', 'zzzzz', {}, { a: 1, q: 'x' }, [], [1, 'b']])
}

function sampleArray(random: Random, schema: Schema, again: (one: unknown) => unknown): unknown[] {
  const { items, additionalItems } = schema
  return Array.from({ length: whole(random, 0, 4) }, (_, i) => {
    if (!Array.isArray(items)) return again(items ?? true)
    return again(i < items.length ? items[i] : (additionalItems ?? true))
  })
}

function sampleObject(
  random: Random,
  schema: Schema,
  again: (one: unknown) => unknown,
  closed: boolean,
): Schema {
  const { properties, required, additionalProperties, patternProperties } = schema
  const value: Schema = {}
  for (const [name, one] of Object.entries(isSchema(properties) ? properties : {})) {
    if (chance(random, 0.6)) value[name] = again(one)
  }
  for (const name of Array.isArray(required) ? required : []) {
    const one = isSchema(properties) ? properties[name] : undefined
    value[name] ??= again(one ?? additionalProperties ?? true)
  }
  const named = closed || isSchema(properties) || isSchema(patternProperties)
  const open = additionalProperties ?? !named
  if (open !== false && chance(random, 0.6))
    value[pick(random, [...NAMES, 'other'])] ??= again(open)
  if (isSchema(patternProperties) && chance(random, 0.6))
    value[pick(random, ['a', 'b'])] ??= again(Object.values(patternProperties)[0])
  return value
}

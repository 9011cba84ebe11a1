// What schema libraries are told about values that JSON has in another form, or not at all.
import { isFields, propertyOf } from './fields.ts'
import type { SchemaPlace } from './types.ts'

/** The JSON form of a Date. */
const TIME = { type: 'string', format: 'date-time' }

/** Types of zod without a JSON form. zod asks for an override only if it does not throw itself. */
const NOT_JSON: ReadonlySet<unknown> = new Set([
  'bigint',
  'custom',
  'file',
  'function',
  'map',
  'nan',
  'promise',
  'set',
  'symbol',
  'transform',
])

/** Returns the `libraryOptions` of a library: a Date is a string, `undefined` is absent. */
export function libraryOptions(vendor: string, place: SchemaPlace): object | undefined {
  if (vendor === 'zod') return zodOptions(place)
  if (vendor === 'arktype') return arktypeOptions(place)
  return undefined
}

function zodOptions(place: SchemaPlace): object {
  const override = (context: unknown): void => {
    const definition = propertyOf(propertyOf(propertyOf(context, 'zodSchema'), '_zod'), 'def')
    const schema = propertyOf(context, 'jsonSchema')
    const type = propertyOf(definition, 'type')
    if (!isFields(schema)) return
    if (type === 'date') {
      const coerced = propertyOf(definition, 'coerce') === true
      if (!coerced) assertDateTravels(place, 'z.coerce.date()')
      Object.assign(schema, TIME)
    } else if (type === 'undefined' || type === 'void') Object.assign(schema, { not: {} })
    else if (NOT_JSON.has(type)) throw new Error(`JSON has no ${String(type)}`)
    else if (type === 'literal') assertLiterals(propertyOf(definition, 'values'))
  }
  return { unrepresentable: 'any', override }
}

/** A literal of zod may be undefined or a BigInt. */
function assertLiterals(values: unknown): void {
  if (!Array.isArray(values)) return
  for (const value of values) {
    if (value === undefined || typeof value === 'bigint')
      throw new Error(`JSON has no ${typeof value} as a literal`)
  }
}

function arktypeOptions(place: SchemaPlace): object {
  const none = (context: unknown): never => {
    const what = propertyOf(context, 'domain') ?? propertyOf(propertyOf(context, 'proto'), 'name')
    throw new Error(`JSON has no ${typeof what === 'string' ? what : 'form of this value'}`)
  }
  const absent = (context: unknown): object => {
    const value = propertyOf(context, 'unit') ?? propertyOf(context, 'domain')
    return value === undefined || value === 'undefined' ? { not: {} } : none(context)
  }
  const date = (): object => {
    assertDateTravels(place, "'string.date.iso.parse'")
    return TIME
  }
  return { fallback: { date, domain: absent, unit: absent, proto: none, symbolKey: none } }
}

/** A Date that a client sends arrives as a string, which its schema does not take. */
function assertDateTravels({ from }: SchemaPlace, instead: string): void {
  if (from === 'client') throw new Error(`a Date arrives as a string: use ${instead}`)
}

// Converts the schemas of a protocol to JSON Schemas, and moves them into a document.
import { OptionsError, type StandardSchema } from '../index.ts'
import { entriesOf, member, propertyOf, reference, stepsOf } from './fields.ts'
import { libraryOptions } from './libraries.ts'
import type { Names } from './names.ts'
import { isJsonSchema, mapSchemas } from './schema-walk.ts'
import type { AsyncApiOptions, JsonSchema, SchemaPlace } from './types.ts'

/** The draft that AsyncAPI 3 builds on. */
const TARGET = 'draft-07'

type ConversionOptions = Pick<AsyncApiOptions, 'toJsonSchema' | 'unrepresentable'>

/**
 * Returns the JSON Schema of what travels: the input of the schema in its JSON form. What a client
 * sends is validated on arrival, and what the server sends is sent without a conversion.
 *
 * @throws OptionsError if the schema has no JSON Schema, unless `unrepresentable` is `any`
 */
export function jsonSchemaOf(
  schema: StandardSchema,
  place: SchemaPlace,
  { toJsonSchema, unrepresentable }: ConversionOptions,
): JsonSchema {
  const where = `asyncapi(): the schema "${place.part}" of the type ${JSON.stringify(place.type)}`
  try {
    const given: unknown = toJsonSchema?.(schema, place)
    const found = given === undefined ? ask(schema, place) : given
    if (isJsonSchema(found)) return found
    if (given !== undefined) {
      throw new OptionsError(
        `${where}: toJsonSchema() must return a JSON Schema (an object, true or false) or undefined.`,
      )
    }
  } catch (thrown) {
    if (thrown instanceof OptionsError) throw thrown
    if (unrepresentable === 'any') return {}
    const why = thrown instanceof Error ? thrown.message : String(thrown)
    throw new OptionsError(
      `${where} has no JSON Schema: ${why.replace(/\.$/, '')}. Change the schema, convert it in the option toJsonSchema, or set unrepresentable: 'any'.`,
    )
  }
  if (unrepresentable === 'any') return {}
  throw new OptionsError(`${where} offers no JSON Schema. ${advice(schema)}`)
}

/** Asks a schema through Standard JSON Schema. Returns undefined if it does not offer that. */
function ask(schema: StandardSchema, place: SchemaPlace): unknown {
  const standard = schema['~standard']
  const offered = propertyOf(standard, 'jsonSchema')
  const input = propertyOf(offered, 'input')
  if (typeof input !== 'function') return undefined
  const options = libraryOptions(standard.vendor, place)
  const found: unknown = input.call(offered, {
    target: TARGET,
    ...(options && { libraryOptions: options }),
  })
  return found
}

function advice(schema: StandardSchema): string {
  const { vendor } = schema['~standard']
  if (vendor === 'valibot') {
    return "For valibot, pass the option toJsonSchema: (schema) => toJsonSchema(schema, { typeMode: 'input' }), with toJsonSchema from @valibot/to-json-schema."
  }
  return `Its library, ${JSON.stringify(vendor)}, has no Standard JSON Schema: pass the option toJsonSchema, or set unrepresentable: 'any'.`
}

/** Returns whether a sender may leave the value out; false for an asynchronous schema. */
export function allowsUndefined(schema: StandardSchema): boolean {
  try {
    const result = schema['~standard'].validate(undefined)
    if (result instanceof Promise) {
      result.catch(() => {})
      return false
    }
    return result.issues === undefined
  } catch {
    return false
  }
}

/** The schemas of a document, under `components.schemas`. */
export class SchemaShelf {
  readonly schemas: Record<string, JsonSchema> = {}
  readonly #names: Names
  readonly #defaults: boolean
  /** The names of definitions, by their text and that of their surroundings. */
  readonly #definitions = new Map<string, string>()

  /** @param defaults whether `default` is kept */
  constructor(names: Names, defaults: boolean) {
    this.#names = names
    this.#defaults = defaults
  }

  /** Adds a schema, and returns a reference to it. Equal definitions are added once. */
  add(wanted: string, schema: JsonSchema, where: string): { readonly $ref: string } {
    const home = this.#names.take(wanted)
    const definitions = definitionsOf(schema)
    const surroundings = JSON.stringify(schema)
    const places = new Map<string, string>()
    const added: [string, JsonSchema][] = []
    for (const [key, name, definition] of definitions) {
      const closed = !/"\$ref":/.test(JSON.stringify(definition))
      const identity = `${key}\n${closed ? JSON.stringify(definition) : surroundings}`
      const known = this.#definitions.get(identity)
      const place = known ?? this.#names.take(name)
      places.set(key, place)
      if (known !== undefined) continue
      this.#definitions.set(identity, place)
      added.push([place, definition])
    }
    const move = (one: JsonSchema, root: boolean): JsonSchema =>
      this.#move(one, root, (ref) => moveReference(ref, home, places, where))
    this.schemas[home] = move(schema, true)
    for (const [place, definition] of added) this.schemas[place] = move(definition, true)
    return reference('components', 'schemas', home)
  }

  #move(schema: JsonSchema, root: boolean, refer: (ref: string) => unknown): JsonSchema {
    if (typeof schema === 'boolean') return schema
    const moved: Record<string, unknown> = {}
    for (const [keyword, value] of Object.entries(schema)) {
      if (value === undefined || keyword === '$schema' || keyword === '$id') continue
      if (keyword === 'default' && !this.#defaults) continue
      if (root && (keyword === 'definitions' || keyword === '$defs')) continue
      moved[keyword] =
        keyword === '$ref' && typeof value === 'string'
          ? refer(value)
          : mapSchemas(keyword, value, (one) => this.#move(one, false, refer))
    }
    return moved
  }
}

/** Returns the definitions of a schema: keyword and name as a key, name, and schema. */
function definitionsOf(schema: JsonSchema): [key: string, name: string, JsonSchema][] {
  return ['definitions', '$defs'].flatMap((keyword) =>
    entriesOf(member(schema, keyword)).flatMap(([name, one]) => {
      const found: [string, string, JsonSchema][] = []
      if (isJsonSchema(one)) found.push([`${keyword}/${name}`, name, one])
      return found
    }),
  )
}

/** Returns a reference of a schema that stood alone, as one of the document. */
function moveReference(
  ref: string,
  home: string,
  places: ReadonlyMap<string, string>,
  where: string,
): string {
  if (ref !== '#' && !ref.startsWith('#/')) {
    throw new OptionsError(
      `${where} has a $ref to ${JSON.stringify(ref)}, outside of itself. Put the schema into its definitions.`,
    )
  }
  const [keyword, name, ...rest] = stepsOf(decode(ref))
  const place = places.get(`${keyword}/${name}`)
  if (place !== undefined) return reference('components', 'schemas', place, ...rest).$ref
  return reference('components', 'schemas', home, ...stepsOf(decode(ref))).$ref
}

function decode(ref: string): string {
  try {
    return decodeURIComponent(ref.slice(1))
  } catch {
    return ref.slice(1)
  }
}

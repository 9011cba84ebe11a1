// JSON Schemas at their places in a document: references, conjunctions, equality and types.
import { isFields, itemsOf, member, sameJson, step, stepsOf } from './fields.ts'
import { isJsonSchema } from './schema-walk.ts'
import type { JsonSchema, JsonSchemaObject } from './types.ts'

/** A JSON Schema, its JSON pointer, and the document with the targets of its references. */
export interface Located {
  readonly schema: JsonSchema
  readonly at: string
  readonly root: unknown
}

/** A schema with keywords, which is not a reference. */
export interface Resolved extends Located {
  readonly schema: JsonSchemaObject
}

/** Keywords without an effect on which values are valid. */
const ANNOTATIONS: ReadonlySet<string> = new Set([
  '$comment',
  '$id',
  '$schema',
  '$defs',
  'definitions',
  'default',
  'deprecated',
  'description',
  'discriminator',
  'example',
  'examples',
  'externalDocs',
  'readOnly',
  'title',
  'writeOnly',
])

export function isAnnotation(keyword: string): boolean {
  return ANNOTATIONS.has(keyword) || keyword.startsWith('x-')
}

const REFERENCES = 32

/** Returns the target of the references of a schema; null if there is none. */
export function resolve(one: Located): Located | null {
  let found = one
  for (let hops = 0; hops < REFERENCES; hops++) {
    const ref = member(found.schema, '$ref')
    if (typeof ref !== 'string') return found
    const target = valueAt(found.root, ref)
    if (!target || !isJsonSchema(target.value)) return null
    found = { schema: target.value, at: target.at, root: one.root }
  }
  return null
}

/** Returns what a reference inside of a document points to, and its JSON pointer. */
export function valueAt(root: unknown, ref: string): { value: unknown; at: string } | null {
  if (!ref.startsWith('#')) return null
  let pointer: string
  try {
    pointer = decodeURIComponent(ref.slice(1))
  } catch {
    return null
  }
  let value = root
  for (const name of stepsOf(pointer)) value = member(value, name)
  return value === undefined ? null : { value, at: pointer }
}

/** Returns the schema of a keyword; null if it has none. */
export function inside(one: Located, ...names: readonly (string | number)[]): Located | null {
  let value: unknown = one.schema
  for (const name of names) value = member(value, String(name))
  return isJsonSchema(value)
    ? { schema: value, at: one.at + names.map(step).join(''), root: one.root }
    : null
}

/** Returns the schemas in the list of a keyword. */
export function listIn(one: Located, keyword: string): Located[] {
  return itemsOf(member(one.schema, keyword)).flatMap((_, i) => inside(one, keyword, i) ?? [])
}

/**
 * Returns the schemas that a value must satisfy together, with references resolved and `allOf`
 * unfolded. `never`: no value satisfies them. Null: a reference has no target, or never ends.
 */
export function flatten(given: readonly Located[], level = 0): Resolved[] | 'never' | null {
  if (level > REFERENCES) return null
  const found: Resolved[] = []
  for (const raw of given) {
    const one = resolve(raw)
    if (!one) return null
    const { schema } = one
    if (schema === false) return 'never'
    if (schema === true) continue
    if (isNever(schema)) return 'never'
    found.push({ ...one, schema })
    const inner = flatten(listIn(one, 'allOf'), level + 1)
    if (inner === null || inner === 'never') return inner
    found.push(...inner)
  }
  return found
}

/** Returns whether a schema allows no value. */
export function isNever(schema: JsonSchemaObject): boolean {
  const not = schema['not']
  return not === true || (isFields(not) && Object.keys(not).every(isAnnotation))
}

/** Returns whether two schemas are the same, apart from annotations and the places of their parts. */
export function isSame(a: Located, b: Located, open: ReadonlySet<string> = new Set()): boolean {
  const [one, other] = [resolve(a), resolve(b)]
  if (!one || !other) return false
  const pair = `${one.at}\n${other.at}`
  if (open.has(pair)) return true
  if (!isFields(one.schema) || !isFields(other.schema)) return one.schema === other.schema
  const inner = new Set(open).add(pair)
  const names = new Set([...Object.keys(one.schema), ...Object.keys(other.schema)])
  return [...names].every((name) => isAnnotation(name) || isSameKeyword(one, other, name, inner))
}

/** Keywords with values, not schemas. */
const PLAIN: ReadonlySet<string> = new Set(['const', 'enum', 'required', 'type'])

/** Returns whether two schemas have the same value of a keyword. */
export function isSameKeyword(
  a: Located,
  b: Located,
  keyword: string,
  open: ReadonlySet<string> = new Set(),
): boolean {
  const same = (one: unknown, other: unknown, at: readonly [string, string]): boolean => {
    if (one === other) return true
    if (Array.isArray(one) && Array.isArray(other)) {
      return (
        one.length === other.length &&
        one.every((inner, i) => same(inner, other[i], [at[0] + step(i), at[1] + step(i)]))
      )
    }
    if (!isFields(one) || !isFields(other)) return false
    return isSame(
      { schema: one, at: at[0], root: a.root },
      { schema: other, at: at[1], root: b.root },
      open,
    )
  }
  const [one, other] = [member(a.schema, keyword), member(b.schema, keyword)]
  if (one === undefined || other === undefined) return one === other
  if (PLAIN.has(keyword)) return sameJson(one, other)
  if (/^(?:properties|patternProperties|dependencies|dependentSchemas)$/.test(keyword)) {
    if (!isFields(one) || !isFields(other)) return false
    const names = Object.keys(one)
    return (
      names.length === Object.keys(other).length &&
      names.every((name) =>
        same(one[name], member(other, name), [
          a.at + step(keyword) + step(name),
          b.at + step(keyword) + step(name),
        ]),
      )
    )
  }
  return same(one, other, [a.at + step(keyword), b.at + step(keyword)])
}

/** The types of JSON values, with numbers in two parts. */
export type Kind = 'null' | 'boolean' | 'object' | 'array' | 'string' | 'integer' | 'fraction'

const KINDS: readonly Kind[] = [
  'null',
  'boolean',
  'object',
  'array',
  'string',
  'integer',
  'fraction',
]

export function kindOf(value: unknown): Kind {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'fraction'
  if (typeof value === 'string') return 'string'
  return typeof value === 'boolean' ? 'boolean' : 'object'
}

/** Returns whether the keyword `type` of a schema allows values of a kind. */
export function allowsKind(schema: JsonSchemaObject, kind: Kind): boolean {
  const type = schema['type']
  if (type === undefined) return true
  const names = Array.isArray(type) ? type : [type]
  return names.includes(kind) || (names.includes('number') && /integer|fraction/.test(kind))
}

/** Returns the kinds that schemas allow together. */
export function kindsOf(parts: readonly Resolved[]): Kind[] {
  const listed = valuesOf(parts)?.map(kindOf)
  return KINDS.filter(
    (kind) =>
      parts.every(({ schema }) => allowsKind(schema, kind)) && (!listed || listed.includes(kind)),
  )
}

/** Returns the values that `const` and `enum` of schemas leave; null without these keywords. */
export function valuesOf(parts: readonly Resolved[]): unknown[] | null {
  let values: unknown[] | null = null
  for (const { schema } of parts) {
    for (const list of listsOf(schema)) {
      values = (values ?? list).filter((one) => list.some((other) => sameJson(one, other)))
    }
  }
  return (
    values?.filter((one) => parts.every(({ schema }) => allowsKind(schema, kindOf(one)))) ?? null
  )
}

function listsOf(schema: JsonSchemaObject): unknown[][] {
  const lists: unknown[][] = []
  if (Object.hasOwn(schema, 'const')) lists.push([schema['const']])
  if (Array.isArray(schema['enum'])) lists.push(schema['enum'])
  return lists
}

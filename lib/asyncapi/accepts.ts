// Whether a JSON Schema accepts a known value: for `const`, `enum` and the names of properties.
import { entriesOf, isFields, itemsOf, member, sameJson, stringsOf } from './fields.ts'
import {
  allowsKind,
  inside,
  isAnnotation,
  kindOf,
  type Located,
  listIn,
  type Resolved,
  resolve,
} from './located.ts'

/** True, false, or null if a keyword is not known here. */
type Verdict = boolean | null

/** Returns the verdict of all: one false is enough, and then one null. */
function every(verdicts: Iterable<Verdict>): Verdict {
  let result: Verdict = true
  for (const one of verdicts) {
    if (one === false) return false
    if (one === null) result = null
  }
  return result
}

const not = (verdict: Verdict): Verdict => (verdict === null ? null : !verdict)

/** Returns whether a schema accepts a value; null if that cannot be known. */
export function accepts(value: unknown, raw: Located, level = 0): Verdict {
  const one = level > 64 ? null : resolve(raw)
  if (!one) return null
  const { schema } = one
  if (typeof schema === 'boolean') return schema
  const at: Resolved = { ...one, schema }
  return every(Object.keys(schema).map((keyword) => acceptsKeyword(value, at, keyword, level + 1)))
}

function acceptsKeyword(value: unknown, one: Resolved, keyword: string, level: number): Verdict {
  const given = one.schema[keyword]
  const inner = (list: readonly Located[]): Verdict[] =>
    list.map((schema) => accepts(value, schema, level))
  switch (keyword) {
    case 'type':
      return allowsKind(one.schema, kindOf(value))
    case 'const':
      return sameJson(value, given)
    case 'enum':
      return itemsOf(given).some((item) => sameJson(value, item))
    case 'allOf':
      return every(inner(listIn(one, keyword)))
    case 'anyOf':
      return not(every(inner(listIn(one, keyword)).map(not)))
    case 'oneOf': {
      const verdicts = inner(listIn(one, keyword))
      if (verdicts.includes(null)) return null
      return verdicts.filter((verdict) => verdict).length === 1
    }
    case 'not': {
      const schema = inside(one, keyword)
      return schema && not(accepts(value, schema, level))
    }
    default:
      if (isAnnotation(keyword)) return true
      if (typeof value === 'number') return acceptsNumber(value, keyword, given)
      if (typeof value === 'string') return acceptsString(value, keyword, given)
      if (Array.isArray(value)) return acceptsArray(value, one, keyword, level)
      if (isFields(value)) return acceptsObject(value, one, keyword, level)
      return isKnown(keyword) || null
  }
}

const NUMBER = /^(?:minimum|maximum|exclusiveMinimum|exclusiveMaximum|multipleOf)$/
const STRING = /^(?:minLength|maxLength|pattern|format)$/
const ARRAY = /^(?:items|additionalItems|minItems|maxItems|uniqueItems)$/
const OBJECT =
  /^(?:properties|additionalProperties|propertyNames|required|minProperties|maxProperties)$/

/** Whether a keyword is known, and has an effect only on values of some kinds. */
export function isKnown(keyword: string): boolean {
  return [NUMBER, STRING, ARRAY, OBJECT].some((pattern) => pattern.test(keyword))
}

function acceptsNumber(value: number, keyword: string, given: unknown): Verdict {
  if (!NUMBER.test(keyword)) return isKnown(keyword) || null
  if (typeof given !== 'number') return null
  if (keyword === 'minimum') return value >= given
  if (keyword === 'maximum') return value <= given
  if (keyword === 'exclusiveMinimum') return value > given
  if (keyword === 'exclusiveMaximum') return value < given
  return Number.isInteger(value) && Number.isInteger(given) ? value % given === 0 : null
}

function acceptsString(value: string, keyword: string, given: unknown): Verdict {
  const length = [...value].length
  if (keyword === 'minLength') return typeof given === 'number' ? length >= given : null
  if (keyword === 'maxLength') return typeof given === 'number' ? length <= given : null
  if (keyword === 'pattern' && typeof given === 'string') {
    try {
      return new RegExp(given, 'u').test(value)
    } catch {
      return null
    }
  }
  return (!STRING.test(keyword) && isKnown(keyword)) || null
}

function acceptsArray(
  value: readonly unknown[],
  one: Resolved,
  keyword: string,
  level: number,
): Verdict {
  const given = one.schema[keyword]
  switch (keyword) {
    case 'minItems':
      return typeof given === 'number' ? value.length >= given : null
    case 'maxItems':
      return typeof given === 'number' ? value.length <= given : null
    case 'items':
      return every(value.map((item, i) => acceptsMaybe(item, itemAt(one, i), level)))
    case 'additionalItems':
      return true // with `items`
    case 'uniqueItems':
      return given !== true || !value.some((a, i) => value.some((b, j) => j > i && sameJson(a, b)))
    default:
      return isKnown(keyword) || null
  }
}

/** Returns the schema of an item; null if any value is allowed. */
export function itemAt(one: Located, index: number): Located | null {
  if (!Array.isArray(member(one.schema, 'items'))) return inside(one, 'items')
  return inside(one, 'items', index) ?? inside(one, 'additionalItems')
}

function acceptsMaybe(value: unknown, schema: Located | null, level: number): Verdict {
  return schema ? accepts(value, schema, level) : true
}

function acceptsObject(
  value: Readonly<Record<string, unknown>>,
  one: Resolved,
  keyword: string,
  level: number,
): Verdict {
  const given = one.schema[keyword]
  const names = Object.keys(value)
  switch (keyword) {
    case 'required':
      return stringsOf(given).every((name) => Object.hasOwn(value, name))
    case 'minProperties':
      return typeof given === 'number' ? names.length >= given : null
    case 'maxProperties':
      return typeof given === 'number' ? names.length <= given : null
    case 'properties':
      return every(
        entriesOf(given)
          .filter(([name]) => Object.hasOwn(value, name))
          .map(([name]) => acceptsMaybe(value[name], inside(one, keyword, name), level)),
      )
    case 'additionalProperties':
      if (one.schema['patternProperties'] !== undefined) return null
      return every(
        names
          .filter((name) => member(one.schema['properties'], name) === undefined)
          .map((name) => acceptsMaybe(value[name], inside(one, keyword), level)),
      )
    case 'propertyNames':
      return every(names.map((name) => acceptsMaybe(name, inside(one, keyword), level)))
    default:
      return isKnown(keyword) || null
  }
}

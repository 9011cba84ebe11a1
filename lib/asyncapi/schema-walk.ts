// Walks over the schemas inside of a JSON Schema, and knows which keywords hold them.
import { isFields } from './fields.ts'
import type { JsonSchema } from './types.ts'

/** Keywords with a schema, or with a list of schemas. */
const SCHEMAS: ReadonlySet<string> = new Set([
  'additionalItems',
  'additionalProperties',
  'allOf',
  'anyOf',
  'contains',
  'else',
  'if',
  'items',
  'not',
  'oneOf',
  'prefixItems',
  'propertyNames',
  'then',
  'unevaluatedItems',
  'unevaluatedProperties',
])

/** Keywords with schemas by name. */
const MAPS: ReadonlySet<string> = new Set([
  '$defs',
  'definitions',
  'dependencies',
  'dependentSchemas',
  'patternProperties',
  'properties',
])

/** Whether a value is a JSON Schema. */
export function isJsonSchema(value: unknown): value is JsonSchema {
  return typeof value === 'boolean' || isFields(value)
}

/** Returns the value of a keyword, with another schema in place of each schema in it. */
export function mapSchemas(
  keyword: string,
  value: unknown,
  map: (schema: JsonSchema) => JsonSchema,
): unknown {
  if (SCHEMAS.has(keyword)) {
    if (Array.isArray(value)) return value.map((one) => (isJsonSchema(one) ? map(one) : one))
    return isJsonSchema(value) ? map(value) : value
  }
  if (!MAPS.has(keyword) || !isFields(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, one]) => [name, isJsonSchema(one) ? map(one) : one]),
  )
}

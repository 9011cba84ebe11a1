// Reads JSON and members of values from outside, and checks integers within bounds.

/** The members of a value that came from elsewhere. */
export type Fields = { readonly [name: string]: unknown }

/** Whether a value has members that can be read: an object or a function. */
export function hasFields(value: unknown): value is Fields {
  return (typeof value === 'object' && value !== null) || typeof value === 'function'
}

/** The members of any value; without any for a primitive. Reading one may throw, as a getter may. */
export function fieldsOf(value: unknown): Fields {
  return hasFields(value) ? value : {}
}

/** Whether a value is an integer within bounds, both included. */
export function isIntegerWithin(value: unknown, least: number, most: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most
}

/** Returns whether a value from outside is a number of something: an integer from 0 to 2^53 - 1. */
export function isCount(value: unknown): value is number {
  return isIntegerWithin(value, 0, Number.MAX_SAFE_INTEGER)
}

/** Returns undefined for a text that is not JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

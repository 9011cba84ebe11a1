// Reads values from outside: options, JSON Schemas and documents from files.

/** The members of a value that came from elsewhere. */
export type Fields = { readonly [name: string]: unknown }

/** Whether a value is an object with names, and not an array. */
export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Returns a member of a value; undefined for inherited members and for other values. */
export function member(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? Reflect.get(value, name)
    : undefined
}

/** Returns a property of an object of a library, which may have it from its class. */
export function propertyOf(value: unknown, name: string): unknown {
  const readable = (typeof value === 'object' && value !== null) || typeof value === 'function'
  return readable ? Reflect.get(value, name) : undefined
}

/** Returns the entries of an object; none for another value. */
export function entriesOf(value: unknown): [string, unknown][] {
  return isFields(value) ? Object.entries(value) : []
}

/** Returns the items of an array; none for another value. */
export function itemsOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

/** Returns the strings of an array; none for another value. */
export function stringsOf(value: unknown): string[] {
  return itemsOf(value).filter((one) => typeof one === 'string')
}

/** Returns whether two JSON values are equal; the order of names has no meaning. */
export function sameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false
    return a.every((one, i) => sameJson(one, b[i]))
  }
  if (!isFields(a) || !isFields(b)) return false
  const names = Object.keys(a)
  if (names.length !== Object.keys(b).length) return false
  return names.every((name) => Object.hasOwn(b, name) && sameJson(a[name], b[name]))
}

/** Returns a step of a JSON pointer for a name (RFC 6901, section 3). */
export function step(name: string | number): string {
  return `/${String(name).replaceAll('~', '~0').replaceAll('/', '~1')}`
}

/** Returns the names of a JSON pointer (RFC 6901, section 4). */
export function stepsOf(pointer: string): string[] {
  return pointer
    .split('/')
    .slice(1)
    .map((name) => name.replaceAll('~1', '/').replaceAll('~0', '~'))
}

/** Returns a reference to a place in the same document, as a URI fragment (RFC 6901, section 6). */
export function reference(...names: readonly string[]): { readonly $ref: string } {
  return { $ref: `#${names.map((name) => encodeURI(step(name)).replaceAll('#', '%23')).join('')}` }
}

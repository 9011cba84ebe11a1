import type { Json } from './vectors.ts'

type Fields = { [name: string]: Json }

/** The ids of one run, by their names in the vector. */
export class Ids {
  readonly #ids = new Map<string, number>()
  #last = 0

  /** The id of this name; a new one the first time. */
  chosen(name: string): number {
    const id = this.#ids.get(name) ?? ++this.#last
    this.#ids.set(name, id)
    return id
  }

  /** Whether an id that the other side has sent can be that of this name. */
  isFor(name: string, id: Json): boolean {
    const known = this.#ids.get(name)
    if (known !== undefined) return known === id
    if (!Number.isSafeInteger(id) || (id as number) < 1) return false
    this.#ids.set(name, id as number)
    return true
  }
}

/** The value that a player sends for a pattern. */
export function filled(pattern: Json, ids: Ids): Json {
  if (Array.isArray(pattern)) return pattern.map((item) => filled(item, ids))
  if (!isObject(pattern)) return pattern
  if ('$id' in pattern) return ids.chosen(pattern['$id'] as string)
  if ('$now' in pattern) return Date.now() + (pattern['$now'] as number)
  if ('$like' in pattern) return pattern['$like'] as Json
  if ('$maybe' in pattern) return pattern['$maybe'] as Json
  return Object.fromEntries(
    Object.entries(pattern).map(([name, value]) => [name, filled(value, ids)]),
  )
}

/** The differences between a value and a pattern, one line each. */
export function differences(pattern: Json, value: Json | undefined, ids: Ids, at = ''): string[] {
  const fits = (yes: boolean): string[] =>
    yes ? [] : [`${at || 'it'} is ${JSON.stringify(value)}, not ${JSON.stringify(pattern)}`]
  if (isObject(pattern)) {
    if ('$id' in pattern) return fits(ids.isFor(pattern['$id'] as string, value as Json))
    if ('$like' in pattern) return fits(isLike(pattern['$like'] as Json, value))
    if ('$maybe' in pattern)
      return value === undefined ? [] : differences(pattern['$maybe'] as Json, value, ids, at)
    return isObject(value) ? fieldDifferences(pattern, value, ids, at) : fits(false)
  }
  if (!Array.isArray(pattern)) return fits(pattern === value)
  if (!Array.isArray(value) || value.length !== pattern.length) return fits(false)
  return pattern.flatMap((item, i) => differences(item, value[i], ids, `${at}[${i}]`))
}

function fieldDifferences(pattern: Fields, value: Fields, ids: Ids, at: string): string[] {
  const names = new Set([...Object.keys(pattern), ...Object.keys(value)])
  return [...names].flatMap((name) => {
    const path = at ? `${at}.${name}` : name
    if (Object.hasOwn(pattern, name)) {
      const field = Object.hasOwn(value, name) ? value[name] : undefined
      return differences(pattern[name] as Json, field, ids, path)
    }
    return [`${path} is ${JSON.stringify(value[name])}, and should not be there`]
  })
}

function isLike(example: Json, value: Json | undefined): boolean {
  if (Number.isInteger(example)) return Number.isInteger(value)
  return value !== undefined && kindOf(example) === kindOf(value)
}

function kindOf(value: Json): string {
  if (value === null) return 'null'
  return Array.isArray(value) ? 'array' : typeof value
}

function isObject(value: Json | undefined): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Throws with the differences and the received value. */
export function assertMatch(pattern: Json, value: Json | undefined, ids: Ids, what: string): void {
  const found = differences(pattern, value, ids)
  if (found.length === 0) return
  const text = (JSON.stringify(value) ?? 'nothing').slice(0, 500)
  throw new Error(`${what}: ${found.join('; ')}\n  came: ${text}`)
}

import { OptionsError, toError } from './errors.ts'
import { isThenable } from './thenable.ts'

/** What is wrong with a value, as the end of a sentence, or null. */
export type Check = (value: unknown) => string | null

/** Check an object of options by a table: unknown names and wrong values throw with what to do. */
export function validate(where: string, given: unknown, checks: Record<string, Check>): void {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new OptionsError(`${where} takes an object of options, not ${describe(given)}.`)
  }
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(checks, name)) throw unknownOption(where, name, Object.keys(checks))
    if (value === undefined) continue
    const problem = (checks[name] as Check)(value)
    if (problem) throw new OptionsError(`${where}: the option "${name}" ${problem}`)
  }
}

function unknownOption(where: string, name: string, known: readonly string[]): OptionsError {
  const nearest = known
    .map((candidate) => [distance(name.toLowerCase(), candidate.toLowerCase()), candidate] as const)
    .sort(([a], [b]) => a - b)[0]
  const hint =
    nearest && nearest[0] <= Math.max(2, name.length / 3)
      ? `Did you mean "${nearest[1]}"?`
      : `It has: ${known.join(', ')}.`
  return new OptionsError(`${where} has no option "${name}". ${hint}`)
}

/** Levenshtein's distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const substitution = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min((row[j] as number) + 1, (next[j - 1] as number) + 1, substitution))
    }
    row = next
  }
  return row[b.length] as number
}

/** A short name for a value in an error message. */
export function describe(value: unknown): string {
  if (value === null) return 'null'
  if (typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'object') return Array.isArray(value) ? 'an array' : 'an object'
  return String(value)
}

const isFunction: Check = (value) =>
  typeof value === 'function' ? null : `must be a function, not ${describe(value)}.`

/** A duration in milliseconds; a small number looks like seconds. */
const milliseconds: Check = (value) => {
  if (typeof value !== 'number' || !(value > 0) || value > 2 ** 31 - 1) {
    return `must be a number of milliseconds above 0, not ${describe(value)}.`
  }
  if (value < 100) return `is ${value} milliseconds. Are these seconds? Multiply by 1000.`
  return null
}

/** A whole number above 0. */
const count: Check = (value) =>
  Number.isSafeInteger(value) && (value as number) > 0
    ? null
    : `must be a whole number above 0, not ${describe(value)}.`

const boolean: Check = (value) =>
  typeof value === 'boolean' ? null : `must be true or false, not ${describe(value)}.`

/** One of some names. */
const oneOf =
  (...names: string[]): Check =>
  (value) =>
    names.includes(value as string)
      ? null
      : `must be one of ${names.map((name) => `"${name}"`).join(', ')}, not ${describe(value)}.`

/** A non-empty string. */
const string: Check = (value) =>
  typeof value === 'string' && value.length > 0
    ? null
    : `must be a non-empty string, not ${describe(value)}.`

/** An array of non-empty strings. */
const strings: Check = (value) =>
  Array.isArray(value) && value.every((one) => typeof one === 'string' && one.length > 0)
    ? null
    : 'must be an array of non-empty strings.'

/** Any value that passes one of the checks; the message is the first's. */
const either =
  (...checks: Check[]): Check =>
  (value) =>
    checks.some((check) => check(value) === null) ? null : (checks[0] as Check)(value)

/** The checks that tables of options are made of. */
export const check: {
  isFunction: Check
  milliseconds: Check
  count: Check
  boolean: Check
  string: Check
  strings: Check
  oneOf: (...names: string[]) => Check
  either: (...checks: Check[]) => Check
} = { isFunction, milliseconds, count, boolean, string, strings, oneOf, either }

/**
 * Call a function of the options. It must give its answer at once: the handshake does not wait, and
 * a promise would count as true.
 *
 * @throws what it throws, or an error in place of null and undefined, which Koa would pass over
 * @throws OptionsError for a promise, whose rejection is taken care of
 */
export function askOption<T>(name: string, ask: () => T): T {
  let value: T
  try {
    value = ask()
  } catch (thrown) {
    throw thrown ?? toError(thrown)
  }
  if (!isThenable(value)) return value
  Promise.resolve(value).catch(() => {})
  throw new OptionsError(
    `The option "${name}" must be synchronous: it gave a promise. Await what it needs in middleware.`,
  )
}

/**
 * A name of a room or user.
 *
 * @throws TypeError unless it is a string of 1 to 255 bytes
 */
export function assertName(kind: string, name: unknown): asserts name is string {
  const problem = nameProblem(name)
  if (problem) throw new TypeError(`A ${kind} is named by a string of 1 to 255 bytes, ${problem}.`)
}

/**
 * Names of rooms or users, each once; users may be given as numbers.
 *
 * @throws TypeError as `assertName`
 */
export function namesOf(kind: string, given: readonly (string | number)[]): string[] {
  const names = new Set<string>()
  for (const one of given) {
    const name = kind === 'user' && Number.isFinite(one) ? String(one) : (one as string)
    assertName(kind, name)
    names.add(name)
  }
  return [...names]
}

function nameProblem(name: unknown): string | null {
  if (typeof name !== 'string') return `not ${describe(name)}`
  if (name.length === 0) return 'not an empty one'
  if (name.length > 255 || (name.length > 85 && Buffer.byteLength(name) > 255))
    return 'not a longer one'
  return null
}

/** Options without what is undefined, for a library that would take that in place of its defaults. */
export function withoutUndefined<T extends object>(options: T): T {
  let found = false
  for (const name in options) found ||= options[name] === undefined
  if (!found) return options
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T
}

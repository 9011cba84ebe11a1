// Checks objects of options and names, and calls functions of the options.
import { OptionsError, toError } from './errors.ts'
import { fieldsOf, isIntegerWithin } from './fields.ts'
import { isThenable } from './thenable.ts'

/** Returns the problem of a value, as the end of a sentence, or null. */
export type Check = (value: unknown) => string | null

/**
 * Checks an object of options against a table.
 *
 * @throws OptionsError for an unknown name or an invalid value, with advice
 */
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

/** Returns the Levenshtein distance of two strings. */
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

/** Returns a short text for a value in an error message. */
export function describe(value: unknown): string {
  if (value === null) return 'null'
  if (typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'bigint') return `the BigInt ${value}n`
  if (typeof value === 'object') return Array.isArray(value) ? 'an array' : describeObject(value)
  return String(value)
}

/** Returns a text for an object. A getter of an object from outside may throw. */
function describeObject(value: object): string {
  try {
    const name: unknown = fieldsOf(value.constructor)['name']
    if (typeof name === 'string' && /^\w{1,60}$/.test(name) && name !== 'Object')
      return `an object of the class ${name}`
  } catch {}
  return 'an object'
}

/** The end of a sentence about a string that UTF-8 cannot encode (RFC 3629, section 3). */
export const LONE_SURROGATE = 'a lone surrogate: call toWellFormed() on it'

/** The longest delay of a Node timer, in milliseconds. */
const LONGEST = 2 ** 31 - 1

const isFunction: Check = (value) =>
  typeof value === 'function' ? null : `must be a function, not ${describe(value)}.`

/** Checks a duration in milliseconds; a small number looks like seconds. */
const milliseconds: Check = (value) => {
  if (typeof value !== 'number' || !(value > 0) || value > LONGEST) {
    return `must be a number of milliseconds from 100 to ${LONGEST}, not ${describe(value)}.`
  }
  if (value < 100) return `is ${value} milliseconds. Are these seconds? Multiply by 1000.`
  return null
}

/** Checks a duration that may be 0. */
const delay: Check = (value) =>
  value === 0 ? null : (milliseconds(value)?.replace('must be', 'must be 0 or') ?? null)

/** Checks a whole number above 0. */
const count: Check = (value) =>
  isIntegerWithin(value, 1, Number.MAX_SAFE_INTEGER)
    ? null
    : `must be a whole number above 0, not ${describe(value)}.`

const boolean: Check = (value) =>
  typeof value === 'boolean' ? null : `must be true or false, not ${describe(value)}.`

/** Checks that a value is one of some strings. */
const oneOf =
  (...names: string[]): Check =>
  (value) =>
    names.includes(value as string)
      ? null
      : `must be one of ${names.map((name) => `"${name}"`).join(', ')}, not ${describe(value)}.`

/** Checks a non-empty string. UTF-8 would replace a lone surrogate by another character. */
const string: Check = (value) => {
  if (typeof value !== 'string' || value.length === 0) {
    return `must be a non-empty string, not ${describe(value)}.`
  }
  return value.isWellFormed() ? null : `is ${describe(value)}, which has ${LONE_SURROGATE}.`
}

/** Checks an array of non-empty strings. */
const strings: Check = (value) => {
  if (!Array.isArray(value)) return `must be an array of non-empty strings, not ${describe(value)}.`
  const wrong = value.findIndex((one) => typeof one !== 'string' || one.length === 0)
  if (wrong >= 0) return `must hold non-empty strings, not ${describe(value[wrong])}.`
  const malformed = (value as string[]).find((one) => !one.isWellFormed())
  return malformed === undefined
    ? null
    : `holds ${describe(malformed)}, which has ${LONE_SURROGATE}.`
}

/** Passes a value that passes one of the checks. The message comes from the first check. */
const either =
  (...checks: Check[]): Check =>
  (value) =>
    checks.some((check) => check(value) === null) ? null : (checks[0] as Check)(value)

/** The checks for tables of options. */
export const check: {
  isFunction: Check
  milliseconds: Check
  delay: Check
  count: Check
  boolean: Check
  string: Check
  strings: Check
  oneOf: (...names: string[]) => Check
  either: (...checks: Check[]) => Check
} = { isFunction, milliseconds, delay, count, boolean, string, strings, oneOf, either }

/**
 * Calls a function of the options. It must be synchronous: the handshake does not wait, and a
 * promise would be truthy.
 *
 * @throws the error of the function; an Error in place of null and undefined, which Koa would
 * ignore
 * @throws OptionsError for a promise; its rejection is handled
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
    `The option "${name}" must be synchronous, but it returned a promise. Do asynchronous work in middleware.`,
  )
}

/**
 * Asserts that a value is a valid name of a room, user, connection or type: a well-formed string of
 * 1 to 255 bytes. UTF-8 encodes every lone surrogate as U+FFFD, so that different names would
 * collide.
 *
 * @throws TypeError for any other value
 */
export function assertName(kind: string, name: unknown): asserts name is string {
  const problem = nameProblem(name)
  if (problem)
    throw new TypeError(`The name of a ${kind} must be a string of 1 to 255 bytes, ${problem}.`)
}

/** Returns whether a value is a valid name of a room, user, connection or type. */
export function isName(name: unknown): name is string {
  return nameProblem(name) === null
}

/**
 * Returns names of rooms or users without duplicates. Users may be numbers.
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
  if (name.length === 0) return 'not an empty string'
  if (name.length > 255 || (name.length > 85 && Buffer.byteLength(name) > 255))
    return `not ${Buffer.byteLength(name)} bytes`
  if (!name.isWellFormed()) return `and ${describe(name)} has ${LONE_SURROGATE}`
  return null
}

/** Returns options without undefined, for a library that would not use its defaults. */
export function withoutUndefined<T extends object>(options: T): T {
  let found = false
  for (const name in options) found ||= options[name] === undefined
  if (!found) return options
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T
}

/** @throws OptionsError for a value that is not a server of Node */
export function assertServer(where: string, server: unknown): void {
  if (typeof fieldsOf(server)['on'] === 'function') return
  throw new OptionsError(
    `${where} takes an http, https or http2 server, such as the result of app.listen(), not ${describe(server)}.`,
  )
}

// Patterns of room names in options: a name, a prefix followed by `*`, or a RegExp.
import { type Check, describe, isName } from './validate.ts'

/** Rooms in an option: a name, a prefix followed by `*`, a RegExp from `^` to `$`, or a list of these. */
export type Patterns = string | RegExp | readonly (string | RegExp)[]

const pattern: Check = (value) => {
  if (value instanceof RegExp) {
    return /^\^.*\$$/s.test(value.source)
      ? null
      : `holds ${value}, which also matches inside longer names: begin it with ^ and end it with $.`
  }
  if (typeof value !== 'string' || value === '') {
    return `must be a name, a prefix followed by *, a RegExp, or a list of these, not ${describe(value)}.`
  }
  if (/\*./.test(value)) return `holds ${describe(value)}: a * is allowed only at the end.`
  const beginning = value.replace(/\*$/, '')
  return beginning === '' || isName(beginning)
    ? null
    : `holds ${describe(value)}, which matches no room: a name is a well-formed string of 1 to 255 bytes.`
}

/** Checks an option with patterns. */
export const checkPatterns: Check = (value) => {
  if (!Array.isArray(value)) return pattern(value)
  return value.map(pattern).find((problem) => problem !== null) ?? null
}

/** Returns a function that tells whether a name matches one of the patterns. */
export function matcher(given: Patterns): (name: string) => boolean {
  const list: readonly (string | RegExp)[] =
    typeof given === 'string' || given instanceof RegExp ? [given] : given
  const tests = list.map(testOf)
  const [only = () => false, another] = tests
  return another ? (name) => tests.some((test) => test(name)) : only
}

function testOf(given: string | RegExp): (name: string) => boolean {
  if (given instanceof RegExp) {
    const regexp = new RegExp(given.source, given.flags.replaceAll(/[gy]/g, '')) // stateless
    return (name) => regexp.test(name)
  }
  if (!given.endsWith('*')) return (name) => name === given
  const beginning = given.slice(0, -1)
  return (name) => name.startsWith(beginning)
}

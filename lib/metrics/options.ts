// Checks the options of `instrument()` and `metrics()`.

import { OptionsError } from '../index.ts'

/** Returns what an option must be, when the value is not that; otherwise null. */
export type Check = (value: unknown) => string | null

/** The name of a hub without the option `name`. */
export const DEFAULT_NAME = 'default'

export const isBoolean: Check = (value) =>
  typeof value === 'boolean' ? null : 'must be true or false'

export const isName: Check = (value) =>
  typeof value === 'string' && /^[\w.-]{1,64}$/.test(value)
    ? null
    : 'must be a name of 1 to 64 letters, digits, ".", "_" and "-"'

/** @throws OptionsError for an unknown option, or one with a wrong value */
export function checkOptions(where: string, given: object, checks: Record<string, Check>): void {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new OptionsError(`${where}: the options must be an object.`)
  }
  for (const [name, value] of Object.entries(given)) {
    const check = Object.hasOwn(checks, name) ? checks[name] : undefined
    if (check === undefined) {
      const known = Object.keys(checks).join(', ')
      throw new OptionsError(`${where} has no option "${name}". It has: ${known}.`)
    }
    const problem = value === undefined ? null : check(value)
    if (problem !== null) throw new OptionsError(`${where}: the option "${name}" ${problem}.`)
  }
}

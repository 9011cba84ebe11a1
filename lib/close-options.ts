// The options of `hub.close()` and `hub.closeOnSignal()`: their checks.

import { constants } from 'node:os'
import { isCloseCode } from './protocol/close-codes.ts'
import { type Check, check, describe, validate } from './validate.ts'

const closeChecks = {
  code: (value) =>
    isCloseCode(value)
      ? null
      : `must be 1000 to 1003, 1007 to 1014, or 3000 to 4999, not ${describe(value)}.`,
  timeout: check.delay,
  readyDelay: check.delay,
  server: check.boolean,
} satisfies Record<string, Check>

/** Check the options of `hub.close()`. */
export function checkCloseOptions(given: unknown): void {
  validate('hub.close()', given, closeChecks)
}

const signals: Check = (value) => {
  const wrong = check.strings(value)
  if (wrong) return wrong
  const names: string[] = Array.isArray(value) ? value : []
  const unknown = names.find((name) => !(name in constants.signals))
  if (unknown !== undefined)
    return `holds ${describe(unknown)}, which is not a signal of this system.`
  const unheard = names.find((name) => name === 'SIGKILL' || name === 'SIGSTOP')
  return unheard === undefined ? null : `holds ${describe(unheard)}, which a process cannot catch.`
}

/** Check the options of `hub.closeOnSignal()`. */
export function checkSignalOptions(given: unknown): void {
  validate('hub.closeOnSignal()', given, {
    signals,
    pm2: check.boolean,
    timeout: closeChecks.timeout,
    readyDelay: closeChecks.readyDelay,
    after: check.isFunction,
  })
}

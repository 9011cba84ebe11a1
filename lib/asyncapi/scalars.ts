// Compares the rules of numbers and strings in two schemas.

import { say } from './gaps.ts'
import type { Kind, Resolved } from './located.ts'
import type { Reporter, Sent } from './sent.ts'

/** The values of a keyword in the parts of a schema. */
function valuesOf({ parts }: Sent, keyword: string): unknown[] {
  return parts.map(({ schema }) => schema[keyword]).filter((value) => value !== undefined)
}

function numbersOf(sent: Sent, keyword: string): number[] {
  return valuesOf(sent, keyword).filter((value) => typeof value === 'number')
}

/**
 * Compares a lower and an upper bound, such as `minLength` and `maxLength`.
 *
 * @param least the bound that holds without a keyword
 * @param most the same, if there is one
 */
export function boundGaps(
  sent: Sent,
  target: Resolved,
  reporter: Reporter,
  [lower, upper]: readonly [string, string],
  { least = 0, most = Number.POSITIVE_INFINITY }: { least?: number; most?: number } = {},
): void {
  const low = Math.max(least, ...numbersOf(sent, lower))
  const high = Math.min(most, ...numbersOf(sent, upper))
  const [floor, ceiling] = [target.schema[lower], target.schema[upper]]
  const fail = (keyword: string): void =>
    reporter.report(
      say.limit(reporter.side, keyword, target.schema[keyword], valuesOf(sent, keyword)[0]),
      sent.at,
    )
  if (floor !== undefined && !(typeof floor === 'number' && low >= floor)) fail(lower)
  if (ceiling !== undefined && !(typeof ceiling === 'number' && high <= ceiling)) fail(upper)
}

export function stringGaps(sent: Sent, target: Resolved, reporter: Reporter): void {
  boundGaps(sent, target, reporter, ['minLength', 'maxLength'])
  for (const keyword of ['pattern', 'format']) {
    const rule = target.schema[keyword]
    if (rule === undefined) continue
    const rules = valuesOf(sent, keyword)
    if (rules.includes(rule)) continue
    if (rules.length > 0) reporter.report(say.changed(keyword), sent.at, false)
    else reporter.report(say.limit(reporter.side, keyword, rule, undefined), sent.at)
  }
}

export function numberGaps(kind: Kind, sent: Sent, target: Resolved, reporter: Reporter): void {
  const whole = kind === 'integer'
  for (const sign of [1, -1]) rangeGaps(sign, whole, sent, target, reporter)
  const step = target.schema['multipleOf']
  if (step === undefined) return
  const steps: unknown[] = whole
    ? [1, ...valuesOf(sent, 'multipleOf')]
    : valuesOf(sent, 'multipleOf')
  if (!steps.some((one) => one === step || isMultiple(one, step))) {
    reporter.report(
      say.limit(reporter.side, 'multipleOf', step, valuesOf(sent, 'multipleOf')[0]),
      sent.at,
    )
  }
}

function isMultiple(one: unknown, step: unknown): boolean {
  return Number.isInteger(one) && Number.isInteger(step) && Number(one) % Number(step) === 0
}

/** Compares the lower bounds; with the sign -1 the upper ones, as lower bounds of `-x`. */
function rangeGaps(
  sign: number,
  whole: boolean,
  sent: Sent,
  target: Resolved,
  reporter: Reporter,
): void {
  const name = sign > 0 ? 'minimum' : 'maximum'
  const strict = sign > 0 ? 'exclusiveMinimum' : 'exclusiveMaximum'
  const closed = numbersOf(sent, name).map((value) => {
    return whole ? Math.ceil(sign * value) : sign * value
  })
  const open = numbersOf(sent, strict).map((value) => sign * value)
  /** The least value is at least this one. */
  const low = Math.max(...closed, ...open.map((value) => (whole ? Math.floor(value) + 1 : value)))
  /** The values are above this one. */
  const above = Math.max(...open)
  for (const keyword of [name, strict]) {
    const bound = target.schema[keyword]
    if (bound === undefined) continue
    const limit = typeof bound === 'number' ? sign * bound : Number.NaN
    const fits = keyword === name ? low >= limit : low > limit || above >= limit
    if (fits) continue
    reporter.report(say.limit(reporter.side, keyword, bound, valuesOf(sent, keyword)[0]), sent.at)
  }
}

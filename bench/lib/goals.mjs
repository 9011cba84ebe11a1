import { readFileSync } from 'node:fs'
import { round } from './stats.mjs'

const GOALS = JSON.parse(readFileSync(new URL('../goals.json', import.meta.url), 'utf8'))

/** A path has slashes between the names. Returns undefined where a contestant was left out. */
function valueAt(results, path) {
  return path.split('/').reduce((value, name) => value?.[name], results)
}

/** Compares the results of a benchmark with its goals. An unmeasured value is null. */
export function judge(name, results) {
  return (GOALS[name] ?? []).map(({ what, value, of, most }) => {
    const base = of === undefined ? 1 : valueAt(results, of)
    const ratio = valueAt(results, value) / base
    if (!Number.isFinite(ratio)) return { what, most, ratio: null, verdict: 'not measured' }
    const short = Math.ceil(round((ratio / most - 1) * 100, 6))
    const verdict = ratio <= most ? 'holds' : `short by ${short} %`
    return { what, most, ratio: round(ratio, 3), verdict }
  })
}

export function printGoals(name, results) {
  const rows = judge(name, results)
  if (rows.length === 0) return
  console.log(`\ngoals of ${name}`)
  for (const { what, most, ratio, verdict } of rows) {
    console.log(`  ${verdict}: ${what}: ${ratio ?? '-'}, goal at most ${most}`)
  }
}

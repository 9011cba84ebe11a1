import { readFileSync } from 'node:fs'
import { MAX_CLIENT_SHARE } from './rounds.mjs'
import { median, round, summary } from './stats.mjs'

const FIGURES = [
  'usPerDelivery',
  'usPerPublish',
  'redisUsPerPublish',
  'perSecond',
  'p50',
  'p99',
  'max',
]

/** What koaws may cost or take of what redis-adapter does. */
const GOALS = [
  { mode: /^throughput/, figure: 'usPerDelivery', most: 0.17 },
  { mode: /^burst/, figure: 'usPerDelivery', most: 0.17 },
  { mode: /^bus only/, figure: 'usPerPublish', most: 0.4 },
  { mode: /publishes\/s$/, figure: 'p50', most: 1 },
  { mode: /publishes\/s$/, figure: 'p99', most: 1 },
]

export function redisVersions() {
  const versions = {}
  for (const name of ['@socket.io/redis-adapter', '@socket.io/redis-streams-adapter', 'redis']) {
    const file = new URL(`../node_modules/${name}/package.json`, import.meta.url)
    versions[name] = JSON.parse(readFileSync(file, 'utf8')).version
  }
  return versions
}

/** One by the other in each round that both have: the median of that, the smallest and the largest. */
function ratio(own, other, figure) {
  const pairs = own.flatMap((mine) => {
    const its = other.find(({ round: number }) => number === mine.round)
    return its ? [mine[figure] / its[figure]] : []
  })
  if (pairs.length === 0) return null
  const { median: middle, min, max } = summary(pairs)
  return { median: round(middle, 3), min: round(min, 3), max: round(max, 3), rounds: pairs.length }
}

/** scenario -> mode -> name -> figures, ratios and windows. */
export function scenarioResults(windows, subject, baseline) {
  const results = {}
  for (const { scenario, mode } of windows) {
    results[scenario] ??= {}
    results[scenario][mode] ??= contestantsOf(
      windows.filter((one) => one.scenario === scenario && one.mode === mode),
      subject,
      baseline,
    )
  }
  return results
}

function contestantsOf(windows, subject, baseline) {
  const of = (name) => windows.filter((one) => one.name === name)
  const rows = {}
  for (const name of new Set(windows.map((one) => one.name))) {
    const own = of(name)
    const row = { windows: own.length }
    for (const figure of FIGURES) {
      if (own[0][figure] === undefined) continue
      const { median: middle, min, max } = summary(own.map((one) => one[figure]))
      row[figure] = { median: round(middle, 3), min: round(min, 3), max: round(max, 3) }
      if (name !== baseline) row[figure].byBaseline = ratio(own, of(baseline), figure)
      if (name !== subject) row[figure].subjectByIt = ratio(of(subject), own, figure)
    }
    row.serverShare = round(median(own.map((one) => one.serverShare)), 2)
    row.clientShare = round(median(own.map((one) => one.clientShare)), 2)
    row.all = own.map(({ scenario: _s, mode: _m, name: _n, ...rest }) => rest)
    rows[name] = row
  }
  return rows
}

export function printScenario(title, mode, windows, subject, baseline) {
  const rows = contestantsOf(windows, subject, baseline)
  const main = mode.startsWith('bus only') ? 'usPerPublish' : 'usPerDelivery'
  const spread = ({ median: middle, min, max }) => `${middle} (${min}-${max})`
  console.log(`\n${title}, ${mode}: CPU of all instances and of Redis; median (min-max) of rounds`)
  console.table(
    Object.fromEntries(
      Object.entries(rows).map(([name, row]) => [
        name,
        {
          [main === 'usPerPublish' ? 'us per publish' : 'us per delivery']: spread(row[main]),
          [`${subject} by it`]: row[main].subjectByIt ? spread(row[main].subjectByIt) : '-',
          'deliveries/s': Math.round(row.perSecond.median),
          'of it Redis, us per publish': row.redisUsPerPublish.median,
          ...(row.p50 && {
            'p50 ms': spread(row.p50),
            'p99 ms': spread(row.p99),
            'max ms': row.max.median,
          }),
          'server share': row.serverShare,
          'client share': `${row.clientShare}${row.clientShare > MAX_CLIENT_SHARE ? ' (!)' : ''}`,
          windows: row.windows,
        },
      ]),
    ),
  )
}

/** How each goal stands: by the median of what the rounds give. */
export function goalsOf(results) {
  const rows = {}
  for (const [scenario, modes] of Object.entries(results)) {
    for (const [mode, contestants] of Object.entries(modes)) {
      for (const { mode: pattern, figure, most } of GOALS) {
        const found = contestants.koaws?.[figure]?.byBaseline
        if (!pattern.test(mode) || !found) continue
        rows[`${scenario}, ${mode}: ${figure}`] = {
          ratio: found.median,
          min: found.min,
          max: found.max,
          goal: `<= ${most}`,
          met: found.median <= most,
        }
      }
    }
  }
  return rows
}

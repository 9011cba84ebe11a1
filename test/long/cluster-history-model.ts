/*
 * Random schedules of starts, ends and kills against the protocol of the history in a cluster:
 *
 *     npx tsx test/long/cluster-history-model.ts [schedules=100000] [seed] [--flaws] [--flaw=name]
 *
 * Ends with 1 when a message is lost, doubled or reordered without a report. With --flaws it runs
 * wrong variants of the protocol, and ends with 1 when one of them is not found.
 */
import { FLAWS, type Flaw, runSchedule } from '../support/cluster-history-model.ts'
import { runFuzz } from './support/fuzz.ts'
import { optionOf } from './support/program.ts'
import { keepResult } from './support/results.ts'

const FULL = 100_000
const one = optionOf('flaw')

interface Report {
  failed: number
  seconds: number
  figures: Record<string, number>
  /** Kinds of faults, with their number and the first seed. */
  kinds: Record<string, [count: number, seed: number]>
}

function runAll(first: number, schedules: number, flaw: Flaw | null): Report {
  const began = performance.now()
  const report: Report = { failed: 0, seconds: 0, figures: {}, kinds: {} }
  for (let seed = first; seed < first + schedules; seed++) {
    const { faults, figures } = runSchedule(seed, flaw)
    for (const [name, value] of Object.entries(figures)) {
      report.figures[name] = (report.figures[name] ?? 0) + value
    }
    if (faults.length > 0) report.failed++
    for (const fault of faults) {
      const kind = fault.replace(/ at \d+ ms$/, '')
      const known = report.kinds[kind] ?? [0, seed]
      report.kinds[kind] = [known[0] + 1, known[1]]
    }
    if ((seed - first + 1) % 5_000 === 0) {
      process.stderr.write(`${seed - first + 1} schedules, ${report.failed} failed\n`)
    }
  }
  report.seconds = Math.round((performance.now() - began) / 100) / 10
  return report
}

async function run(schedules: number, seed: number): Promise<boolean> {
  console.log(`seed ${seed}`)
  if (one !== undefined || process.argv.includes('--flaws')) {
    let isFound = true
    for (const flaw of FLAWS.filter((name) => one === undefined || name === one)) {
      const report = runAll(seed, schedules, flaw)
      console.log(`${flaw}: ${JSON.stringify(report)}`)
      if (report.failed === 0) isFound = false
    }
    return isFound
  }
  const report = runAll(seed, schedules, null)
  console.log(JSON.stringify({ seed, schedules, ...report }))
  if (report.failed === 0 && schedules >= FULL) {
    keepResult('cluster-history-model', { seed, schedules, ...report })
  }
  return report.failed === 0
}

runFuzz(FULL, run)

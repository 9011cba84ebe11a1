/*
 * Random schedules of streams, over simulated connections and instances:
 *
 *     npx tsx test/long/streams-model.ts [schedules=100000] [seed]
 *
 * The real client and the real classes of the server run in virtual time. Ends with 1 when a stream hangs, an item is
 * lost without an error, comes twice or out of order, or something is left at the end.
 */
import { STREAM_FLAWS } from '../support/streams-flaws.ts'
import { createStreamsReport, runStreamsModel } from '../support/streams-model.ts'
import { runFuzz } from './support/fuzz.ts'
import { keepResult } from './support/results.ts'

const FULL = 100_000
/** Each wrong variant must be found within so many schedules. */
const MOST_FOR_FLAW = 1_000

async function run(schedules: number, seed: number): Promise<boolean> {
  console.log(`seeds from ${seed}`)
  const began = performance.now()
  const report = createStreamsReport()
  for (let i = 0; i < schedules && report.wrong.length < 50; i++) {
    await runStreamsModel(seed + i, report)
    if ((i + 1) % 1_000 === 0) {
      process.stderr.write(`${i + 1} schedules, ${report.wrong.length} wrong\n`)
    }
  }
  for (const one of report.wrong) console.log(one)
  const flaws: Record<string, number | null> = {}
  for (const flaw of STREAM_FLAWS) flaws[flaw] = await find(flaw)
  const missed = Object.values(flaws).filter((found) => found === null).length
  const seconds = Math.round((performance.now() - began) / 100) / 10
  const { wrong, ...counts } = report
  const result = { seed, ...counts, wrong: wrong.length, 'schedules to find': flaws, seconds }
  console.log(JSON.stringify(result))
  const isWell = wrong.length === 0 && missed === 0
  if (isWell && schedules >= FULL) keepResult('streams-model', result)
  return isWell
}

/** Returns how many schedules a wrong variant needs to be found; null if it is not. */
async function find(flaw: (typeof STREAM_FLAWS)[number]): Promise<number | null> {
  const report = createStreamsReport()
  for (let seed = 1; seed <= MOST_FOR_FLAW; seed++) {
    await runStreamsModel(seed, report, flaw)
    if (report.wrong.length > 0) return seed
  }
  console.log(`${flaw}: not found`)
  return null
}

runFuzz(FULL, run)

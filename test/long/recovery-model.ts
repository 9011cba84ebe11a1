/*
 * Random schedules of the recovery of rooms, and wrong variants of its protocol that must be found:
 *
 *     npx tsx test/long/recovery-model.ts [schedules=100000] [seed]
 *
 * Ends with 1 when a schedule is wrong, or a variant is not found.
 */
import { findFlaw, runSchedules } from '../support/recovery/runs.ts'
import { FLAWS } from '../support/recovery/types.ts'
import { runFuzz } from './support/fuzz.ts'
import { keepResult } from './support/results.ts'

const FULL = 100_000
/** Within how many schedules each wrong variant must be found. */
const MOST = 1_000

async function run(schedules: number, seed: number): Promise<boolean> {
  console.log(`seeds ${seed} to ${seed + schedules - 1}`)
  const began = performance.now()
  const { failed, ...figures } = runSchedules(seed, schedules, (done, wrong) => {
    if (done % 10_000 === 0) process.stderr.write(`${done} schedules, ${wrong} wrong\n`)
  })
  const seconds = Math.round((performance.now() - began) / 100) / 10
  for (const { seed: one, wrong } of failed) console.log(`seed ${one}: ${wrong.join(', ')}`)
  /** How many schedules it took to find each wrong variant. */
  const found = Object.fromEntries(FLAWS.map((flaw) => [flaw, findFlaw(flaw, 1, MOST)]))
  console.log(JSON.stringify({ schedules, wrong: failed.length, ...figures, found, seconds }))
  const isWell = failed.length === 0 && Object.values(found).every((after) => after !== null)
  if (isWell && schedules >= FULL) {
    keepResult('recovery-model', { seed, schedules, wrong: 0, ...figures, found, seconds })
  }
  return isWell
}

runFuzz(FULL, run)

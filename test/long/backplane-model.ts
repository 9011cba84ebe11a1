/*
 * Random instances, rooms, members, cuts and deaths against a model of what each member is owed:
 *
 *     npx tsx test/long/backplane-model.ts [messages=1000000] [seed] [--only=memory,cluster,redis] [--quick]
 *
 * Ends with 1 when a message arrives twice or out of order, or is missing without a report.
 */
import { runModel } from '../support/backplane-model.ts'
import { ENGINES, type EngineName, openEngine } from '../support/model-engines.ts'
import { runFuzz } from './support/fuzz.ts'
import { optionOf } from './support/program.ts'
import { keepResult } from './support/results.ts'

const FULL = 1_000_000
const isQuick = process.argv.includes('--quick')
const only = optionOf('only')
const names = only ? (only.split(',') as EngineName[]) : ENGINES
/** Real engines take longer per message. */
const SHARES: Record<EngineName, number> = { memory: 1, cluster: 0.2, redis: 0.1 }

async function run(messages: number, seed: number): Promise<boolean> {
  const many = isQuick ? 4_000 : messages
  console.log(`seed ${seed}`)
  const runs: Record<string, { wrong: number; [figure: string]: unknown }> = {}
  for (const name of names) {
    const { engine, close } = await openEngine(name)
    const began = performance.now()
    const report = await runModel({
      engine,
      seed,
      messages: isQuick ? many : Math.round(many * SHARES[name]),
      instances: 4,
      rooms: 12,
      burst: isQuick ? 12 : 80,
      round: isQuick ? 2_000 : 20_000,
      progress: (published, wrong) =>
        process.stderr.write(`${name}: ${published} published, ${wrong} wrong\n`),
    })
    await close()
    const seconds = Math.round((performance.now() - began) / 100) / 10
    const { wrong, ...figures } = report
    runs[name] = { seed, ...figures, wrong: wrong.length, seconds }
    for (const what of wrong) console.log(`${name}: ${what}`)
    console.log(`${name}: ${JSON.stringify({ ...figures, wrong: wrong.length, seconds })}`)
  }
  const isWell = Object.values(runs).every(({ wrong }) => wrong === 0)
  if (isWell && !isQuick && !only && messages >= FULL) keepResult('backplane-model', { runs })
  return isWell
}

runFuzz(FULL, run)

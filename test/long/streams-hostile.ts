import { attackStreams } from '../support/hostile-streams-attack.ts'
import { cleanUp } from '../support/server.ts'
import { runFuzzWithGc } from './support/fuzz.ts'
import { heapAfterGc } from './support/heap.ts'
import { keepResult } from './support/results.ts'
import { watchProcess } from './support/watch.ts'

const FULL = 500_000
const CONNECTIONS = 24
/** The usual variation of a heap, in bytes. */
const MOST_LEFT = 4 * 1024 * 1024
/** What may wait for a connection: eight streams, and what is written at once. */
const MOST_WAITING = 8 * 262_144 + 1_048_576

async function run(messages: number, seed: number): Promise<boolean> {
  process.stderr.write(`seed ${seed}\n`)
  const watch = watchProcess()
  await attackStreams({
    seed: seed + 1_000,
    messages: Math.min(5_000, messages),
    connections: CONNECTIONS,
  })
  await cleanUp()
  const before = await heapAfterGc()
  const began = performance.now()
  let told = 0
  const report = await attackStreams({
    seed,
    messages,
    connections: CONNECTIONS,
    onProgress: (sent) => {
      if (sent - told < 20_000) return
      told = sent
      process.stderr.write(`${sent} sent, heap ${process.memoryUsage().heapUsed}\n`)
    },
  })
  await cleanUp()
  const after = await heapAfterGc()
  watch.end()
  const { violations, ...figures } = report
  const wrong = [...violations, ...watch.violations]
  if (after - before > MOST_LEFT) wrong.push(`${after - before} bytes of heap are left`)
  if (report.mostWaiting > MOST_WAITING) wrong.push(`${report.mostWaiting} bytes waited`)
  const seconds = Math.round((performance.now() - began) / 100) / 10
  const heap = { before, after, left: after - before }
  const result = { seed, messages, ...figures, heap, seconds, wrong: wrong.length }
  for (const one of wrong) console.error(one)
  console.log(JSON.stringify(result))
  if (wrong.length === 0 && messages >= FULL) keepResult('streams-hostile', result)
  return wrong.length === 0
}

await runFuzzWithGc(FULL, run)

// Runs `npm run test:all` several times beside two busy loops, and writes the results to
// test/long/results/stress.json. A trustworthy suite passes each time.
//
//     npm run test:stress [-- runs]
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'
import { stripVTControlCharacters } from 'node:util'

const LOOPS = 2
const RESULT = new URL('../test/long/results/stress.json', import.meta.url)

interface Run {
  passed: number
  failed: number
  /** Titles of failed tests, as mocha prints them. */
  failures: string[]
  seconds: number
}

const many = Number(process.argv[2] ?? 5)
const loops: ChildProcess[] = []
// Ends the loops, however this process ends.
process.on('exit', () => {
  for (const loop of loops) loop.kill('SIGKILL')
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1))
for (let i = 0; i < LOOPS; i++) {
  loops.push(spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' }))
}

const runs: Run[] = []
for (let i = 0; i < many; i++) {
  const one = await run()
  runs.push(one)
  console.log(`${i + 1} of ${many}: ${one.passed} passed, ${one.failed} failed, ${one.seconds} s`)
  for (const title of one.failures) console.log(`  ${title}`)
  save() // a run that is cut off keeps what it has seen
}
const passed = countPassed()
console.log(`${passed} of ${many} runs passed`)
process.exit(passed === many ? 0 : 1)

function countPassed(): number {
  return runs.filter(({ failed }) => failed === 0).length
}

function save(): void {
  const machine = `Node ${process.versions.node}, ${availableParallelism()} x ${cpus()[0]?.model}`
  const date = new Date().toISOString().slice(0, 10)
  const counts = { passed: countPassed(), of: many }
  const result = { date, machine, loops: LOOPS, command: 'npm run test:all', ...counts, runs }
  writeFileSync(RESULT, `${JSON.stringify(result, null, 2)}\n`)
}

async function run(): Promise<Run> {
  const began = performance.now()
  const args = ['--import=tsx', 'scripts/test.ts', '--all', '--reporter', 'dot']
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
  })
  const [code] = await once(child, 'close')
  text = stripVTControlCharacters(text)
  const count = (word: string): number =>
    [...text.matchAll(new RegExp(`^ +(\\d+) ${word}`, 'gm'))].reduce(
      (sum, [, n]) => sum + Number(n),
      0,
    )
  const failures = [...text.matchAll(/^ {2}\d+\) (.+(?:\n {5,}\S.*?:?$)*)/gm)].map(
    ([, title = '']) => title.replace(/\s*\n\s*/g, ' '),
  )
  const failed = count('failing')
  if (failed > 0) console.log(text.slice(text.search(/^ +\d+ failing/m)))
  return {
    passed: count('passing'),
    failed: code === 0 ? failed : Math.max(1, failed),
    failures,
    seconds: Math.round((performance.now() - began) / 1_000),
  }
}

// npm test:           the fast tests; skips those of missing programs
// npm run test:all:   every test; fails if a program is missing
// --covered, --apart: the two halves of that, for .ci/run.
// Coverage slows tests down. Files that start programs or compute models add little to it.
// All run the files side by side, and then the flows again over HTTP/2. The first two also check the types meanwhile.
// The fast tests leave out LONG, to end within three minutes, and the flows of LONG over HTTP/2. Other arguments go to
// mocha:
// npm test -- -g rejects, npm test -- test/listener/origin.test.ts
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { missingPrograms } from '../test/support/programs.ts'

/** The slow files, the slowest first, so that a long file does not run alone at the end. */
const LONG = [
  'docs/samples',
  'docs/reference',
  'examples/chat',
  'examples/assistant',
  'examples/llm',
  'examples/cluster',
  'examples/cluster-history',
  'examples/history',
  'http2/browser',
  'inspector/browser',
  'hub/heartbeat',
  'hub/signals',
  'interop/by-hand',
  'adapters/redis/faults',
  'adapters/redis/history/model',
  'history/model',
  'streams/model',
  'retry/model',
  'adapters/cluster/retry/processes',
  'adapters/cluster/history/processes',
  'adapters/cluster/retry/pm2',
  'connection/congestion',
  'adapters/redis/suite',
  'adapters/cluster/retry/store',
  'adapters/redis/history/cluster',
  'adapters/redis/retry/store',
  'history/membership',
  'adapters/redis/refusals',
  'adapters/redis/history/store',
  'adapters/cluster/headcount',
  'asyncapi/document',
  'middleware/compatibility',
  'examples/load-test',
  'examples/browser',
  'adapters/redis/history/session',
  'adapters/cluster/large',
  'client/browser',
  'examples/docker',
  'messages/hostile',
  'hub/file-limit',
  'adapters/redis/link',
  'adapters/cluster/link',
  'examples/restart',
  'deploys/http2',
  'backplane/model',
  'hub/presence/online-users',
  'connection/flood',
  'interop/from-ws',
  'deploys/pm2',
  'adapters/cluster/processes',
  'adapters/cluster/pm2',
  'deploys/haproxy',
  'deploys/nginx',
  'deploys/doctor',
  'cli/doctor/hostile',
  'deploys/stop',
].map((name) => `test/${name}.test.ts`)

/** Slow files that start programs and browsers, or compute models. */
const APART =
  /^test\/(docs|examples|interop|deploys)\/|\/(browser|model|processes|pm2|hostile|compatibility|signals)\.test/
const apart = LONG.filter((file) => APART.test(file))

/** Folders without tests of this run. Hidden ones are left by a run that was killed. */
const NO_TESTS = /^(\..*|support|peers|long|node_modules)$/

process.chdir(new URL('..', import.meta.url).pathname)
const words = process.argv.slice(2)
const part = /^--(all|covered|apart)$/.exec(words[0] ?? '')?.[1]
const all = part !== undefined
if (all) words.shift()

const missing = missingPrograms()
if (missing.length > 0) {
  const names = missing.join(', ')
  console.log(
    all
      ? `npm run test:all needs ${names}: run npm run setup`
      : `Skipped: the tests that need ${names}. npm run setup installs them, npm run test:all runs everything.`,
  )
  if (all) process.exit(1)
}

// Tests wait more than they compute. JOBS=1 runs one file after the other in one process.
const jobs = process.env['JOBS'] ?? String(availableParallelism() + 4)
const side = jobs === '1' ? [] : ['--parallel', '--jobs', jobs]
const flags = words.filter((word) => !word.endsWith('.test.ts'))
const chosen = words.filter((word) => word.endsWith('.test.ts'))
const fast = all ? [] : LONG.flatMap((file) => ['--ignore', file])
const runs =
  chosen.length > 0
    ? [[...flags, ...chosen]]
    : [
        [...side, ...flags, ...testFiles()],
        ...(part === 'covered'
          ? []
          : [[...side, ...flags, ...fast, '--config', 'test/http2/flows.mocharc.json']]),
      ]
const types = part === 'covered' || part === 'apart' ? null : checkTypes()
let failed = false
// The second command runs even if the first one fails.
for (const run of runs) failed = (await mocha(run)) !== 0 || failed
const faults = await types
if (faults) console.error(`npm run typecheck failed:\n${faults}`)
process.exit(failed || faults ? 1 : 0)

/** Returns the files of this run, the slowest first. */
function testFiles(): string[] {
  const files = testFilesIn('test').sort()
  const short = files.filter((file) => !LONG.includes(file))
  if (part === 'apart') return apart
  if (part === 'covered') return [...LONG.filter((file) => !apart.includes(file)), ...short]
  return all ? [...LONG, ...short] : short
}

function testFilesIn(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`
    if (entry.isDirectory()) return NO_TESTS.test(entry.name) ? [] : testFilesIn(path)
    return entry.name.endsWith('.test.ts') ? [path] : []
  })
}

/** Returns what `npm run typecheck` prints when it fails, otherwise null. */
async function checkTypes(): Promise<string | null> {
  const child = spawn('npm', ['run', 'typecheck', '--silent'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let printed = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      printed += text
    })
  }
  const [code] = await once(child, 'close')
  return code === 0 ? null : printed || `status ${code}`
}

async function mocha(run: string[]): Promise<number> {
  const env = { ...process.env, KOAWS_TEST_ALL: all ? '1' : '' }
  const child = spawn(process.execPath, ['scripts/mocha.mjs', ...run], { stdio: 'inherit', env })
  const [code] = await once(child, 'exit')
  return typeof code === 'number' ? code : 1
}

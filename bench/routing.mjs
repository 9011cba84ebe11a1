import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { guarded, onCore } from './lib/children.mjs'
import { environment, printEnvironment, writeResults } from './lib/environment.mjs'
import { rounds } from './lib/rounds.mjs'
import { number, selected } from './lib/settings.mjs'
import { median, round, summary } from './lib/stats.mjs'

const BASELINE = 'parse and reply'
const FORMS = [
  'delivery',
  'parse',
  BASELINE,
  'routed',
  'routed, async handler',
  'routed, 1 middleware',
  'routed, 3 middleware',
  'routed, zod',
  'routed, valibot',
  'routed, arktype',
]
const SIZES = { small: '78 B', nested: '562 B, nested' }
const WORKER = fileURLToPath(new URL('./lib/routing-worker.mjs', import.meta.url))

const settings = {
  rounds: number('ROUNDS', 7, { max: 100 }),
  samples: number('SAMPLES', 9, { max: 100 }),
  window: number('WINDOW', 20_000),
  maxSeconds: number('MAX_SECONDS', 1800),
}

const execute = promisify(execFile)

/** Nanoseconds of CPU per message, one figure per sample. */
async function measure(form, size) {
  const { samples, window, maxSeconds } = settings
  const [file, ...args] = onCore(0, [process.execPath, WORKER])
  const { stdout } = await execute(file, [...args, form, size, samples, window].map(String), {
    env: { ...process.env, NODE_ENV: 'production' },
    timeout: maxSeconds * 1000,
  })
  return JSON.parse(stdout)
}

/** Returns the median of each round, and the least sample of all. */
function figures(perRound) {
  const medians = perRound.map(({ windows }) => median(windows))
  return {
    min: Math.min(...perRound.flatMap(({ windows }) => windows)),
    median: median(medians),
    spread: Math.max(...medians) / Math.min(...medians),
  }
}

/** The cost beyond the baseline: of the least samples, and the median of the rounds. */
function beyond(perRound, baseline) {
  const differences = perRound.flatMap(({ index, windows }) => {
    const other = baseline.find((one) => one.index === index)
    return other ? [median(windows) - median(other.windows)] : []
  })
  const { median: middle, min, max } = summary(differences)
  return {
    ofMinima: figures(perRound).min - figures(baseline).min,
    median: middle,
    from: min,
    to: max,
  }
}

function rowsOf(runs) {
  const rows = {}
  for (const [form, perRound] of Object.entries(runs)) {
    rows[form] = {
      ...roundedOf(figures(perRound), 2),
      beyondBaseline: roundedOf(beyond(perRound, runs[BASELINE]), 0),
      rounds: perRound.map(({ windows }) => windows.map((ns) => round(ns, 0))),
    }
  }
  return rows
}

function roundedOf(object, digits) {
  return Object.fromEntries(
    Object.entries(object).map(([key, value]) => [key, round(value, digits)]),
  )
}

function print(title, rows) {
  console.log(`\nrouting a message of ${title}, CPU ns per message`)
  console.table(
    Object.fromEntries(
      Object.entries(rows).map(([form, { min, median, spread, beyondBaseline }]) => [
        form,
        {
          min: round(min, 0),
          median: round(median, 0),
          'max/min': spread,
          [`beyond "${BASELINE}": minima`]: beyondBaseline.ofMinima,
          'median of rounds': beyondBaseline.median,
          spread: `${beyondBaseline.from}..${beyondBaseline.to}`,
        },
      ]),
    ),
  )
}

await guarded(async () => {
  const about = environment()
  printEnvironment(about)
  const names = selected(FORMS, BASELINE)
  const workloads = {}
  for (const [size, title] of Object.entries(SIZES)) {
    const runs = {}
    const { leftOut, failures } = await rounds(names, settings.rounds, async (form, index) => {
      const windows = await measure(form, size)
      runs[form] = [...(runs[form] ?? []), { index, windows }]
    })
    const contestants = rowsOf(runs)
    print(title, contestants)
    workloads[title] = { contestants, leftOut, failures }
  }
  writeResults('routing', { ...about, settings, baseline: BASELINE, workloads })
}, settings.maxSeconds)

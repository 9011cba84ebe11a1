import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, loadavg } from 'node:os'
import { fileURLToPath } from 'node:url'
import { pinned } from './children.mjs'
import { printGoals } from './goals.mjs'
import { profile, profiles } from './profile.mjs'

function version(path) {
  try {
    return JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')).version
  } catch {
    return null
  }
}

const LIBRARIES = [
  'ws',
  'koa',
  '@koa/router',
  'koa-easy-ws',
  'fastify',
  '@fastify/websocket',
  'crossws',
  'socket.io',
]

/** From the root: koaws is measured with the schema libraries that it is tested with. */
const SCHEMAS = ['zod', 'valibot', 'arktype']
const OBSERVABILITY = [
  '@opentelemetry/api',
  '@opentelemetry/sdk-metrics',
  '@opentelemetry/sdk-trace',
  'prom-client',
]

const load = () => loadavg().map((value) => Number(value.toFixed(2)))

export function environment() {
  const versions = { koaws: version('../../package.json') }
  for (const name of LIBRARIES) versions[name] = version(`../node_modules/${name}/package.json`)
  for (const name of [...SCHEMAS, ...OBSERVABILITY])
    versions[name] = version(`../../node_modules/${name}/package.json`)
  versions.bun = version('../node_modules/@oven/bun-linux-x64/package.json')
  // koaws takes ws from the root; another version would distort the comparison.
  const rootWs = version('../../node_modules/ws/package.json')
  if (rootWs !== null && rootWs !== versions.ws) {
    console.warn(`ws differs: ${versions.ws} for the others, ${rootWs} for koaws`)
  }
  return {
    date: new Date().toISOString(),
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    pinned,
    loadBefore: load(),
    versions: { ...versions, 'ws of koaws': rootWs },
  }
}

export function printEnvironment({ node, platform, cpu, cores, loadBefore, versions }) {
  console.log(`Node ${node}, ${platform}, ${cores} x ${cpu}, pinned: ${pinned}, load ${loadBefore}`)
  console.log(
    Object.entries(versions)
      .map(([name, value]) => `${name} ${value ?? '-'}`)
      .join(', '),
  )
}

export function writeResults(name, figures) {
  const results = { ...figures, ...(profiles && { profile }) }
  const folder = new URL('../results/', import.meta.url)
  mkdirSync(folder, { recursive: true })
  const file = fileURLToPath(new URL(`${name}.json`, folder))
  writeFileSync(file, `${JSON.stringify({ ...results, loadAfter: load() }, null, 2)}\n`)
  printGoals(name, results)
  console.log(`\nwritten: ${file}`)
}

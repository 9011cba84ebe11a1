/** With `--profile`: where CPU and memory of a server go, by function. */
import { fileURLToPath } from 'node:url'
import { round } from './stats.mjs'

export const profiles = process.argv.includes('--profile')
/** What this run has profiled: title -> contestant -> shares. */
export const profile = {}

const MOST = 15
const ROOT = fileURLToPath(new URL('../../', import.meta.url))

let inspector

async function post(method, params) {
  if (!inspector) {
    const { Session } = await import('node:inspector/promises')
    inspector = new Session()
    inspector.connect()
  }
  return inspector.post(method, params)
}

/** The side of the server: commands of rpc.mjs. */
export const profiling = {
  async startProfile({ kind }) {
    if (kind === 'heap') {
      await post('HeapProfiler.startSampling', { samplingInterval: 4096 })
    } else {
      await post('Profiler.enable')
      await post('Profiler.setSamplingInterval', { interval: 200 })
      await post('Profiler.start')
    }
  },
  async stopProfile({ kind }) {
    if (kind === 'heap') {
      globalThis.gc?.()
      return byFunction(allocations((await post('HeapProfiler.stopSampling')).profile.head))
    }
    return byFunction(samples((await post('Profiler.stop')).profile))
  },
}

/**
 * With `--profile`: runs a load on a server once more, and keeps the share of each group and of the
 * largest functions, in percent. The load counts in no figure of the run.
 */
export async function profiled(title, name, server, kind, run) {
  if (!profiles) return
  await server.call('startProfile', { kind })
  await run()
  const shares = await server.call('stopProfile', { kind })
  profile[title] ??= {}
  profile[title][name] = shares
  console.log(`\n${kind} profile, ${title}: ${name}, percent by function`)
  console.table(shares.groups)
  console.table(shares.top)
}

function samples({ nodes, samples: ids, timeDeltas }) {
  const callFrames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]))
  return ids
    .map((id, i) => ({ callFrame: callFrames.get(id), self: timeDeltas[i] }))
    .filter(({ callFrame: { functionName, url } }) => {
      // The profiler itself: "dispatch" is native code of the inspector.
      return functionName !== '(idle)' && !(functionName === 'dispatch' && url === '')
    })
}

/** Bytes that were still in use at the end, by the function that allocated them. */
function allocations({ callFrame, selfSize, children }) {
  return [{ callFrame, self: selfSize }, ...children.flatMap(allocations)]
}

function byFunction(rows) {
  const total = rows.reduce((sum, { self }) => sum + self, 0)
  const sum = (nameOf) => {
    const parts = new Map()
    for (const { callFrame, self } of rows) {
      const name = nameOf(callFrame)
      parts.set(name, (parts.get(name) ?? 0) + self)
    }
    return [...parts]
      .sort(([, one], [, other]) => other - one)
      .map(([name, self]) => [name, round((100 * self) / total, 1)])
  }
  return {
    groups: Object.fromEntries(sum(({ url, functionName }) => groupOf(url, functionName))),
    top: Object.fromEntries(sum(nameOfFrame).slice(0, MOST)),
  }
}

/** koaws, node, the name of a package, or a state of V8 such as "(garbage collector)". */
function groupOf(url, functionName) {
  if (url === '') return functionName.startsWith('(') ? functionName : 'node'
  if (url.startsWith('node:')) return 'node'
  const [, name] = url.match(/.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/) ?? []
  return name ?? (url.includes('/dist/') ? 'koaws' : 'bench')
}

function nameOfFrame({ functionName, url, lineNumber }) {
  const path = url.replace('file://', '').replace(ROOT, '')
  const where = path.replace(/.*node_modules\//, '')
  return `${functionName || '(anonymous)'} ${where}${where && `:${lineNumber + 1}`}`.trim()
}

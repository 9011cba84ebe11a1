import { selfSigned } from './lib/certificate.mjs'
import { guarded, startServer } from './lib/children.mjs'
import { environment, printEnvironment, writeResults } from './lib/environment.mjs'
import { build, Load } from './lib/load.mjs'
import { templateOf } from './lib/message.mjs'
import { paired, printPaired } from './lib/paired.mjs'
import { profiled, profiles } from './lib/profile.mjs'
import { printWindows, rounds, Windows } from './lib/rounds.mjs'
import { number, selected } from './lib/settings.mjs'

const SUBJECT = 'koaws'
const BASELINE = 'ws-send'

const settings = {
  rounds: number('ROUNDS', 5, { max: 100 }),
  tlsRounds: number('TLS_ROUNDS', 12, { max: 100 }),
  warmup: number('WARMUP', 800),
  window: number('WINDOW', 1500),
  members: number('MEMBERS', 1000, { max: 15_000 }),
  compressedMembers: number('COMPRESSED_MEMBERS', 200, { max: 15_000 }),
  publishers: number('PUBLISHERS', 50, { max: 250 }),
  maxSeconds: number('MAX_SECONDS', 1800),
}

const PLAIN = {
  'lone, the next when every member has the last': { mode: 'all', size: 100 },
  'burst of 10 in one turn': { mode: 'all', size: 100, burst: 10 },
  'burst of 100 in one turn': { mode: 'all', size: 100, burst: 100 },
  [`chat, ${settings.publishers} publishers, one message of each in flight`]: {
    mode: 'own',
    size: 100,
    publishers: settings.publishers,
  },
}
const COMPRESSED = {
  '1 KiB': { mode: 'all', size: 1024 },
  '8 KiB': { mode: 'all', size: 8192 },
}

const PARTS = [
  {
    title: 'broadcast of 100 B',
    workloads: PLAIN,
    members: settings.members,
    contestants: {
      'ws-send': { server: 'ws-send' },
      'ws-frame': { server: 'ws-frame' },
      koaws: { server: 'koaws' },
      'socket.io': { server: 'socket.io', kind: 'socket.io' },
      bun: { server: 'bun' },
    },
  },
  {
    title: 'compressed broadcast',
    needsZlib: true,
    workloads: COMPRESSED,
    members: settings.compressedMembers,
    contestants: {
      'ws-send': { server: 'ws-send', deflate: true },
      koaws: { server: 'koaws', deflate: true },
      'koaws-plain': { server: 'koaws' },
    },
  },
]

async function measure(load, server, kind, workload, ms, group = 'members') {
  const [before, after] = kind === 'socket.io' ? ['42["m",', ']'] : ['', '']
  const stray = await load.command('template', templateOf(workload.size, before, after))
  const run = await load.command('run', { group, ...workload, ms, server: server.pid })
  // Checked first: the previous run sent a message too many.
  return {
    ...run,
    errors: stray.errors + run.errors,
    reasons: { ...stray.reasons, ...run.reasons },
  }
}

async function runPart({ title, workloads, members, contestants }, load) {
  const windows = new Map(Object.keys(workloads).map((name) => [name, new Windows()]))
  const names = selected(Object.keys(contestants), BASELINE, [SUBJECT, 'ws-frame', 'koaws-plain'])
  const { leftOut, failures } = await rounds(names, settings.rounds, async (name, i) => {
    const { server: serverName, kind, deflate = false } = contestants[name]
    const server = await startServer(serverName, { deflate })
    try {
      await load.open('members', { port: server.port, count: members, kind, deflate })
      for (const [what, workload] of Object.entries(workloads)) {
        const warm = await measure(load, server, kind, workload, settings.warmup)
        const run = await measure(load, server, kind, workload, settings.window)
        if (warm.errors + run.errors > 0) {
          windows.get(what).discard(name)
          const reasons = JSON.stringify({ ...warm.reasons, ...run.reasons })
          console.log(`  ${title}, ${what}: ${name}: window discarded, ${reasons}`)
          if (run.deliveries === undefined || warm.deliveries === undefined) break
          continue
        }
        windows.get(what).add(name, {
          round: i,
          us: run.serverCpuNs / 1000 / run.deliveries,
          perSecond: (run.deliveries / run.wallNs) * 1e9,
          serverShare: run.serverCpuNs / run.wallNs,
          clientShare: run.clientCpuNs / run.wallNs,
          published: run.published,
          deliveries: run.deliveries,
        })
      }
    } finally {
      await load.command('drop')
      await server.stop()
    }
  })
  // Bun has no profile by function.
  const profiledNames = names.filter((name) => !leftOut[name] && name !== 'bun')
  for (const name of profiles ? profiledNames : []) {
    const { server: serverName, kind, deflate = false } = contestants[name]
    const server = await startServer(serverName, { deflate })
    try {
      await load.open('members', { port: server.port, count: members, kind, deflate })
      for (const [what, workload] of Object.entries(workloads)) {
        const run = () => measure(load, server, kind, workload, settings.window)
        await run()
        await profiled(`${title}, ${what}`, name, server, 'cpu', run)
      }
    } finally {
      await load.command('drop')
      await server.stop()
    }
  }
  const results = {}
  for (const [what, list] of windows) {
    results[what] = list.results(SUBJECT)
    printWindows(
      `${title}, ${what}, ${members} members: server CPU per delivery`,
      SUBJECT,
      results[what],
    )
  }
  return { members, leftOut, failures, workloads: results }
}

/** The same server with and without TLS, both open all the time, in windows by turns. */
async function runTls(load) {
  const servers = {
    koaws: await startServer('koaws', {}),
    'koaws-tls': await startServer('koaws', { identity: selfSigned() }),
  }
  const names = Object.keys(servers)
  const { members } = settings
  const workloads = {}
  try {
    for (const [name, { port }] of Object.entries(servers)) {
      await load.open(name, { port, count: members, tls: name === 'koaws-tls' })
    }
    for (const [what, workload] of Object.entries(PLAIN)) {
      const run = (name, ms) => measure(load, servers[name], undefined, workload, ms, name)
      for (const name of names) await run(name, 2 * settings.warmup)
      workloads[what] = await paired({
        ...{ baseline: SUBJECT, names, rounds: settings.tlsRounds, log: console.log },
        measure: async (name) => {
          const { errors, reasons, ...window } = await run(name, settings.window)
          return {
            ...{ errors, reasons },
            usPerOperation: window.serverCpuNs / 1000 / window.deliveries,
            clientShare: window.clientCpuNs / window.wallNs,
            serverShare: window.serverCpuNs / window.wallNs,
            rate: (window.deliveries / window.wallNs) * 1e9,
          }
        },
      })
      const title = `broadcast over TLS, ${what}`
      printPaired(`${title}, ${members} members: server CPU`, 'us', SUBJECT, workloads[what])
      for (const name of names) {
        await profiled(title, name, servers[name], 'cpu', () => run(name, settings.window))
      }
    }
  } finally {
    await load.command('drop')
    await Promise.all(Object.values(servers).map((server) => server.stop()))
  }
  return { members, baseline: SUBJECT, workloads }
}

await guarded(async () => {
  build()
  const about = environment()
  printEnvironment(about)
  const load = new Load()
  const { zlib, tls: hasTls } = await load.command('about')
  const parts = {}
  for (const part of PARTS) {
    if (part.needsZlib && !zlib) console.log(`left out: ${part.title}: no zlib`)
    else parts[part.title] = await runPart(part, load)
  }
  const tls = hasTls && !process.env.ONLY ? { tls: await runTls(load) } : {}
  writeResults('broadcast', { ...about, settings, subject: SUBJECT, parts, ...tls })
}, settings.maxSeconds)

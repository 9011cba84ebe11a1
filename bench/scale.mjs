/** Many WebSockets in one process: memory, idle CPU, stalls, broadcasts and the end. */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { selfSigned } from './lib/certificate.mjs'
import { Child, guarded, runtimeOf } from './lib/children.mjs'
import { environment, printEnvironment, writeResults } from './lib/environment.mjs'
import { firstLine } from './lib/line-up.mjs'
import { build, buildHttp2 } from './lib/load.mjs'
import { Over1, Over2 } from './lib/scale-clients.mjs'
import { descriptors, number, selected } from './lib/settings.mjs'
import { round } from './lib/stats.mjs'

const quick = process.argv.includes('--quick')
/** `node bench/scale.mjs 1000000`: the WebSockets over HTTP/2. */
const argument = Number(process.argv.slice(2).find((word) => /^\d+$/.test(word)))

const MIB = 1024 * 1024
const MOST = 1_000_000
/** What a connection may still take after it is open, in broadcasts and at the end. */
const LATER = 2500

const settings = {
  connections: Math.min(MOST, argument || (quick ? 20_000 : 500_000)),
  perSession: number('PER_SESSION', 100, { max: 100 }),
  inFlight: number('IN_FLIGHT', 500, { max: 10_000 }),
  /** Over HTTP/1.1, where each needs a file descriptor. */
  sockets: number('SOCKETS', quick ? 1000 : 19_000, { max: 19_000 }),
  heartbeat: number('HEARTBEAT', 30_000, { max: 600_000 }),
  window: number('WINDOW', quick ? 5000 : 61_000, { max: 600_000 }),
  probeEvery: number('PROBE_EVERY', 5, { max: 1000 }),
  broadcasts: number('BROADCASTS', quick ? 2 : 4, { max: 100 }),
  heapMegabytes: number('HEAP', 18_000, { max: 100_000 }),
  /** Memory that the machine must have available: below this, everything stops. */
  reserveMegabytes: number('RESERVE', 2048, { max: 1_000_000 }),
  maxSeconds: number('MAX_SECONDS', 3600),
}
const RESERVE = settings.reserveMegabytes * MIB

const koaws = (kind) => () => {
  const nodeArgs = [`--max-old-space-size=${settings.heapMegabytes}`, '--expose-gc']
  return { kind, server: new Child(kind, '../servers/scale.mjs', 0, { nodeArgs }) }
}
const sockets = (tls) => () => new Over1({ tls })

/** How each is started, its load client, and how many it is to open. */
const CONTESTANTS = {
  'http/2': {
    start: koaws('http/2'),
    load: () => new Over2({ ...settings, count: settings.connections }),
    count: settings.connections,
  },
  'http/1.1': { start: koaws('http/1.1'), load: sockets(false), count: settings.sockets },
  'http/1.1 with TLS': {
    start: koaws('http/1.1 with TLS'),
    load: sockets(true),
    count: settings.sockets,
  },
  bun: {
    start: () => {
      const runtime = runtimeOf('bun')
      return { server: new Child('bun', '../servers/scale-bun.mjs', 0, { runtime }) }
    },
    load: sockets(false),
    count: settings.sockets,
  },
}

/** Lines of /proc/meminfo, in bytes. */
function machineMemory() {
  const text = readFileSync('/proc/meminfo', 'utf8')
  const of = (name) => Number(text.match(new RegExp(`^${name}: +(\\d+)`, 'm'))?.[1] ?? 0) * 1024
  return {
    available: of('MemAvailable'),
    // What the kernel holds for all processes: sockets, their buffers and tables.
    kernel: of('Slab') + of('KernelStack') + of('PageTables'),
  }
}

async function memory(server) {
  const own = await server.call('memory', {}, 600_000)
  return { ...own, kernel: machineMemory().kernel }
}

/** How much more there is of each kind of memory for each connection, in bytes. */
function perConnection(before, after, connections) {
  return Object.fromEntries(
    Object.keys(after).map((key) => [key, Math.round((after[key] - before[key]) / connections)]),
  )
}

async function cpuAround(server, run) {
  const before = await server.call('cpu')
  const result = await run()
  return { ...result, serverUs: (await server.call('cpu', {}, 120_000)) - before }
}

/** Opens until all are open, or the memory of the machine ends. */
async function openAll(server, load, port, count, figures) {
  const began = performance.now()
  const result = await cpuAround(server, async () => {
    let connections = 0
    while (connections < count && machineMemory().available > RESERVE + LATER * connections) {
      await load.openTo(port, Math.min(count, connections + load.step))
      connections = Math.min(count, connections + load.step)
      figures.connections = connections
    }
    return { connections }
  })
  const { connections, serverUs } = result
  const ms = performance.now() - began
  if (connections === 0) throw new Error('too little memory for any connection')
  const availableMegabytes = Math.round(machineMemory().available / MIB)
  if (connections < count) {
    console.log(`memory ended at ${connections} connections, ${availableMegabytes} MiB are left`)
  }
  return {
    connections,
    availableMegabytes,
    open: {
      seconds: round(ms / 1000, 1),
      perSecond: Math.round((connections / ms) * 1000),
      serverUsEach: round(serverUs / connections, 1),
    },
  }
}

/** Sends to a room or to all, and resolves when each member has the message. */
function broadcast(server, load, members, room) {
  return cpuAround(server, async () => {
    const { done } = await load.awaitMessages(members, 300_000)
    await server.call('send', { room }, 300_000)
    const { messages, tookNs } = await done
    if (messages !== members) throw new Error(`${messages} of ${members} have the message`)
    return { ms: round(tookNs / 1e6, 1) }
  })
}

async function idle(server, load, port, connections) {
  const before = await load.read()
  await server.call('startDelay')
  const result = await cpuAround(server, () =>
    load.probe(port, settings.window, settings.probeEvery * 1000),
  )
  const { maxMs } = await server.call('stopDelay')
  const after = await load.read()
  return {
    heartbeat: settings.heartbeat,
    seconds: round(result.tookNs / 1e9, 1),
    pings: after.pings - before.pings,
    closed: after.closed - before.closed,
    usPerConnectionAndSecond: round((result.serverUs / connections / result.tookNs) * 1e9, 3),
    serverShare: round((result.serverUs * 1000) / result.tookNs, 3),
    clientShare: round((after.cpuNs - before.cpuNs) / result.tookNs, 3),
    largestStallMs: round(maxMs, 1),
    echoMs: {
      p50: round(result.p50Ns / 1e6, 2),
      p99: round(result.p99Ns / 1e6, 2),
      max: round(result.maxNs / 1e6, 1),
    },
  }
}

async function broadcasts(server, load, connections) {
  const figures = {}
  for (const [name, members, room] of [
    ['a room of 1', 1, '1:7'],
    ['a room of 100', Math.min(100, connections), '100:0'],
    ['a room of 10,000', Math.min(10_000, connections), '10000:0'],
    ['all', connections, undefined],
  ]) {
    const rounds = []
    for (let i = 0; i < settings.broadcasts; i++) {
      rounds.push(await broadcast(server, load, members, room))
    }
    const { ms, serverUs } = rounds.reduce((one, other) => (other.ms < one.ms ? other : one))
    const usEach = round(serverUs / members, 2)
    figures[name] = { members, ms, usEach, rounds: rounds.map((one) => one.ms) }
    console.log(name, figures[name])
  }
  return figures
}

async function close(server, load, connections) {
  const gone = load.gone(600_000)
  const closing = await cpuAround(server, async () => ({
    ms: await server.call('close', { timeout: 120_000 }, 900_000),
  }))
  const { closed } = await gone
  const left = await server.call('status')
  return {
    close: {
      seconds: round(closing.ms / 1000, 1),
      serverUsEach: round(closing.serverUs / connections, 1),
      closed,
      left: left.connections,
    },
    dropped: left.drops,
  }
}

/** Fills in the figures as they are measured, so that those before a failure remain. */
async function measure({ server, load, kind, count }, figures) {
  const identity = kind?.endsWith('TLS') ? selfSigned() : undefined
  const { port } = await server.call('start', { kind, heartbeat: settings.heartbeat, identity })
  const empty = await memory(server)
  Object.assign(figures, await openAll(server, load, port, count, figures))
  const { connections } = figures
  console.log('open', connections, figures.open)
  await sleep(2000)
  figures.bytesPerConnection = perConnection(empty, await memory(server), connections)
  console.log('bytes per connection', figures.bytesPerConnection)
  figures.idle = await idle(server, load, port, connections)
  console.log('idle', figures.idle)
  figures.broadcasts = await broadcasts(server, load, connections)
  const after = await memory(server)
  figures.bytesPerConnectionAfter = perConnection(empty, after, connections)
  figures.rss = Math.round(after.rss / MIB)
  Object.assign(figures, await close(server, load, connections))
  console.log('close', figures.close)
}

/** Rejects when the machine has too little memory left, at any time of the run. */
function memoryEnds(figures) {
  let timer
  const ended = new Promise((_, reject) => {
    timer = setInterval(() => {
      const { available } = machineMemory()
      if (available > RESERVE) return
      const at = figures.connections ?? 0
      reject(new Error(`memory ended with ${at} connections: ${available} bytes are available`))
    }, 200)
  })
  return { ended, stop: () => clearInterval(timer) }
}

async function run(name) {
  const { start, load: startLoad, count } = CONTESTANTS[name]
  const figures = { wanted: count }
  const { kind, server } = start()
  const load = startLoad()
  const guard = memoryEnds(figures)
  try {
    await Promise.race([measure({ server, load, kind, count }, figures), guard.ended])
  } catch (error) {
    figures.failed = firstLine(error)
    console.log(`${name}: ${figures.failed}`)
    process.exitCode = 1
  } finally {
    guard.stop()
    await Promise.all([server.stop(), load.stop()])
  }
  return figures
}

function print(contestants) {
  console.table(
    Object.fromEntries(
      Object.entries(contestants).map(([name, one]) => [
        name,
        {
          open: `${one.connections ?? 0} of ${one.wanted ?? '?'}`,
          heap: one.bytesPerConnection?.heap,
          rss: one.bytesPerConnection?.rss,
          kernel: one.bytesPerConnection?.kernel,
          'idle us/s': one.idle?.usPerConnectionAndSecond,
          'stall ms': one.idle?.largestStallMs,
          'echo p99 ms': one.idle?.echoMs.p99,
          'to all ms': one.broadcasts?.all?.ms,
          'close s': one.close?.seconds,
        },
      ]),
    ),
  )
  for (const [name, one] of Object.entries(contestants)) {
    const complete = !one.failed && one.connections === one.wanted && one.close.closed >= one.wanted
    const verdict = complete ? 'holds' : 'missed'
    console.log(`goal of ${name}: all ${one.wanted} open, served and closed: ${verdict}`)
  }
}

async function main() {
  if (descriptors() < settings.sockets + 500) throw new Error('too few open files: ulimit -n')
  const about = environment()
  printEnvironment(about)
  build()
  buildHttp2()
  const contestants = {}
  for (const name of selected(Object.keys(CONTESTANTS))) {
    console.log(`\n${name}`)
    contestants[name] = await run(name)
  }
  print(contestants)
  if (!quick) writeResults('scale', { ...about, settings, contestants })
}

await guarded(main, settings.maxSeconds)

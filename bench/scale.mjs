/** Many WebSockets in one process, over HTTP/2: memory, idle CPU, stalls, broadcasts and the end. */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Child, guarded } from './lib/children.mjs'
import { environment, printEnvironment, writeResults } from './lib/environment.mjs'
import { buildHttp2, Http2Load } from './lib/load.mjs'
import { descriptors, number } from './lib/settings.mjs'
import { round } from './lib/stats.mjs'

const quick = process.argv.includes('--quick')

const settings = {
  sessions: number('SESSIONS', quick ? 200 : 5000, { max: 19_000 }),
  perSession: number('PER_SESSION', 100, { max: 100 }),
  inFlight: number('IN_FLIGHT', 500, { max: 10_000 }),
  heartbeat: number('HEARTBEAT', 30_000, { max: 600_000 }),
  window: number('WINDOW', quick ? 31_000 : 61_000, { max: 600_000 }),
  probeEvery: number('PROBE_EVERY', 5, { max: 1000 }),
  heapMegabytes: number('HEAP', 18_000, { max: 100_000 }),
  maxSeconds: number('MAX_SECONDS', 3600),
}

const connections = settings.sessions * settings.perSession
const MIB = 1024 * 1024

/** Memory that the kernel holds for all processes: sockets, their buffers and tables. In bytes. */
function kernelMemory() {
  const lines = readFileSync('/proc/meminfo', 'utf8').split('\n')
  const of = (name) => Number(lines.find((line) => line.startsWith(`${name}:`))?.match(/\d+/) ?? 0)
  return (of('Slab') + of('KernelStack') + of('PageTables')) * 1024
}

async function memory(server) {
  return { ...(await server.call('memory', {}, 600_000)), kernel: kernelMemory() }
}

/** How much more there is of each kind of memory for each connection, in bytes. */
function perConnection(before, after) {
  return Object.fromEntries(
    Object.keys(after).map((key) => [key, Math.round((after[key] - before[key]) / connections)]),
  )
}

async function cpuAround(server, run) {
  const before = await server.call('cpu')
  const result = await run()
  return { ...result, serverUs: (await server.call('cpu', {}, 120_000)) - before }
}

/** Sends to a room or to all, and resolves when each member has the message. */
async function broadcast(server, load, members, room) {
  await load.command('mark')
  return cpuAround(server, async () => {
    const awaited = load.command('await', { messages: members, ms: 300_000 })
    await server.call('send', { room }, 300_000)
    const { messages, tookNs } = await awaited
    if (messages !== members) throw new Error(`${messages} of ${members} have the message`)
    return { members, ms: round(tookNs / 1e6, 1) }
  })
}

async function idle(server, load) {
  const before = await load.command('read')
  await server.call('startDelay')
  const result = await cpuAround(server, () =>
    load.command('probe', { ms: settings.window, intervalUs: settings.probeEvery * 1000 }),
  )
  const { maxMs } = await server.call('stopDelay')
  return {
    heartbeat: settings.heartbeat,
    seconds: round(result.tookNs / 1e9, 1),
    pings: result.pings - before.pings,
    closed: result.closed - before.closed,
    usPerConnectionAndSecond: round((result.serverUs / connections / result.tookNs) * 1e9, 3),
    serverShare: round((result.serverUs * 1000) / result.tookNs, 3),
    clientShare: round((result.cpuNs - before.cpuNs) / result.tookNs, 3),
    largestStallMs: round(maxMs, 1),
    echoMs: {
      p50: round(result.p50Ns / 1e6, 2),
      p99: round(result.p99Ns / 1e6, 2),
      max: round(result.maxNs / 1e6, 1),
    },
  }
}

async function main() {
  if (descriptors() < settings.sessions + 100) throw new Error('too few open files: ulimit -n')
  const about = environment()
  printEnvironment(about)
  buildHttp2()
  const nodeArgs = [`--max-old-space-size=${settings.heapMegabytes}`, '--expose-gc']
  const server = new Child('scale', '../servers/scale.mjs', 0, { nodeArgs })
  const load = new Http2Load(1)
  const { port } = await server.call('start', { kind: 'http/2', heartbeat: settings.heartbeat })
  const empty = await memory(server)
  const opening = await cpuAround(server, () =>
    load.command('open', {
      ...{ port, path: '/in/', sessions: settings.sessions, streams: settings.perSession },
      inFlight: settings.inFlight,
    }),
  )
  const results = { connections, sessions: settings.sessions }
  const { opened, refused, tookNs, serverUs } = opening
  if (opened !== connections) throw new Error(`${opened} opened, ${refused} refused`)
  results.open = {
    seconds: round(tookNs / 1e9, 1),
    perSecond: Math.round((connections / tookNs) * 1e9),
    serverUsEach: round(serverUs / connections, 1),
  }
  console.log('open', results.open)
  await sleep(2000)
  results.bytesPerConnection = perConnection(empty, await memory(server))
  console.log('bytes per connection', results.bytesPerConnection)
  results.idle = await idle(server, load)
  console.log('idle', results.idle)
  results.broadcasts = {}
  for (const [name, members, room] of [
    ['a room of 1', 1, '1:7'],
    ['a room of 100', Math.min(100, connections), '100:0'],
    ['a room of 10,000', Math.min(10_000, connections), '10000:0'],
    ['all', connections, undefined],
  ]) {
    const rounds = []
    for (let i = 0; i < (quick ? 2 : 4); i++)
      rounds.push(await broadcast(server, load, members, room))
    const { ms, serverUs: us } = rounds.reduce((one, other) => (other.ms < one.ms ? other : one))
    const usEach = round(us / members, 2)
    results.broadcasts[name] = { members, ms, usEach, rounds: rounds.map((one) => one.ms) }
    console.log(name, results.broadcasts[name])
  }
  results.bytesPerConnectionAfter = perConnection(empty, await memory(server))
  const gone = load.command('gone', { ms: 600_000 })
  const closing = await cpuAround(server, async () => ({
    ms: await server.call('close', { timeout: 120_000 }, 900_000),
  }))
  const { closed } = await gone
  const left = await server.call('status')
  results.close = {
    seconds: round(closing.ms / 1000, 1),
    serverUsEach: round(closing.serverUs / connections, 1),
    closed,
    left: left.connections,
  }
  console.log('close', results.close)
  results.rss = Math.round((await server.call('memory', {}, 600_000)).rss / MIB)
  results.dropped = left.drops
  if (!quick) writeResults('scale', { ...about, settings, ...results })
}

await guarded(main, settings.maxSeconds)

import { setTimeout as sleep } from 'node:timers/promises'
import { selfSigned } from './lib/certificate.mjs'
import { guarded, startClient, startServer } from './lib/children.mjs'
import { environment, printEnvironment, writeResults } from './lib/environment.mjs'
import { firstLine } from './lib/line-up.mjs'
import { paired, printPaired, windowOf } from './lib/paired.mjs'
import { rounds } from './lib/rounds.mjs'
import { number, selected } from './lib/settings.mjs'
import { round, summary } from './lib/stats.mjs'

const quick = process.argv.includes('--quick')
const setting = (name, usual, short, limits) => number(name, quick ? short : usual, limits)

const settings = {
  rounds: setting('ROUNDS', 5, 1, { max: 100 }),
  memoryRounds: setting('MEMORY_ROUNDS', 3, 1, { max: 50 }),
  connections: number('CONNECTIONS', 50, { max: 1000 }),
  warmup: setting('WARMUP', 40_000, 5000),
  window: setting('WINDOW', 15_000, 5000),
  members: number('MEMBERS', 500, { max: 5000 }),
  publishes: setting('PUBLISHES', 100, 20),
  size: 100,
  idle: setting('IDLE', 2000, 400, { max: 15_000 }),
  idleWarmups: setting('IDLE_WARMUPS', 10, 5, { max: 1000 }),
  maxSeconds: number('MAX_SECONDS', 1800),
}

const ECHO = {
  'one in flight': { depth: 1, batches: false },
  '8 in flight, each reply followed by the next message': { depth: 8, batches: false },
}
const BROADCAST = {
  'lone, the next when every member has the last': 1,
  'burst of 10 in one turn': 10,
}
const KEYS = ['rss', 'heapUsed', 'external', 'arrayBuffers']

/**
 * Each pair has a baseline over HTTP/1.1, and HTTP/2 with several numbers of WebSockets per
 * session.
 */
const PAIRS = [
  { title: 'plain TCP', baseline: 'http-1.1', over2: 'h2c', servers: ['http-1.1', 'h2c'] },
  {
    title: 'TLS',
    baseline: 'http-1.1-tls',
    over2: 'h2-tls',
    servers: ['tls', 'tls'],
    secure: true,
  },
]
const PER_SESSION = { echo: [1, 10, 50], room: [1, 10, 100], idle: [1, 10, 100] }

const identity = selfSigned()
const allNames = PAIRS.flatMap(({ baseline, over2 }) => [
  baseline,
  ...[1, 10, 50, 100].map((n) => `${over2}-${n}`),
])

/** name -> { server, perSession, secure } */
function formsOf({ baseline, over2, servers, secure = false }, what) {
  const forms = { [baseline]: { server: servers[0], perSession: 0, secure } }
  for (const perSession of PER_SESSION[what]) {
    forms[`${over2}-${perSession}`] = { server: servers[1], perSession, secure }
  }
  const names = selected(Object.keys(forms), baseline, allNames)
  return Object.fromEntries(names.map((name) => [name, forms[name]]))
}

const start = (name, what, nodeArgs) => startServer(name, { what, identity }, nodeArgs)

/**
 * New WebSockets for every window, because those of other forms idle meanwhile and sessions age.
 */
async function withOpen(client, how, work) {
  await client.call('openOver', how)
  try {
    return await work()
  } finally {
    await client.call('dropOver')
  }
}

/** Windows of all forms of a pair, each beside one of the baseline. */
async function compare({ title, pair, servers, forms, client, what, count, warm, load }) {
  const { baseline } = pair
  const over = (name, work) => {
    const { perSession, secure } = forms[name]
    const { port } = servers.get(perSession === 0)
    return withOpen(client, { what, port, secure, perSession, count }, work)
  }
  const leftOut = {}
  for (const name of Object.keys(forms)) {
    try {
      const { errors, reasons } = await over(name, warm)
      if (errors > 0) throw new Error(`${errors} errors in warming up ${JSON.stringify(reasons)}`)
    } catch (error) {
      leftOut[name] = firstLine(error)
      console.log(`left out of "${title}": ${name}: ${leftOut[name]}`)
    }
  }
  if (leftOut[baseline]) throw new Error(`the baseline ${baseline} failed`)
  const contestants = await paired({
    baseline,
    names: Object.keys(forms).filter((name) => leftOut[name] === undefined),
    rounds: settings.rounds,
    log: console.log,
    measure: (name) =>
      over(name, async () => {
        const first = await load(0.1)
        const figures = await windowOf(
          servers.get(forms[name].perSession === 0),
          () => load(1),
          () => sleep(5),
        )
        return { ...figures, errors: first.errors + figures.errors }
      }),
  })
  printPaired(`${pair.title}: ${title}`, 'us', baseline, contestants)
  return { contestants, leftOut }
}

/** One server for HTTP/1.1 and one for all forms of HTTP/2, warm and alive for all windows. */
async function withServers(pair, what, work) {
  const servers = new Map()
  try {
    servers.set(true, await start(pair.servers[0], what))
    servers.set(false, await start(pair.servers[1], what))
    return await work(servers, formsOf(pair, what))
  } finally {
    for (const server of servers.values()) await server.stop()
  }
}

function echo(pair, client) {
  const { connections: count } = settings
  return withServers(pair, 'echo', async (servers, forms) => {
    const results = {}
    for (const [workload, how] of Object.entries(ECHO)) {
      const run = (messages) =>
        client.call('echoOver', {
          ...how,
          perConnection: Math.max(how.depth, Math.round(messages / count)),
        })
      results[workload] = await compare({
        title: `echo of 32 B, ${workload}, ${count} WebSockets: server CPU per message`,
        ...{ pair, servers, forms, client, what: 'echo', count },
        warm: () => run(settings.warmup),
        load: (part) => run(settings.window * part),
      })
    }
    return results
  })
}

function broadcast(pair, client) {
  const { members: count, size, publishes } = settings
  return withServers(pair, 'room', async (servers, forms) => {
    const results = {}
    for (const [workload, burst] of Object.entries(BROADCAST)) {
      const run = (number_) => client.call('broadcastOver', { publishes: number_, burst, size })
      results[workload] = await compare({
        title: `broadcast of ${size} B, ${workload}, ${count} members: server CPU per delivery`,
        ...{ pair, servers, forms, client, what: 'members', count },
        warm: () => run(publishes),
        load: (part) => run(Math.max(5, Math.round(publishes * part))),
      })
    }
    return results
  })
}

async function idleBytes({ server: name, perSession, secure }, client) {
  const server = await start(name, 'idle', ['--expose-gc'])
  const { port } = server
  const how = { what: 'idle', port, secure, perSession, browser: true }
  const state = async () => {
    const { lost } = await client.call('idleOver')
    if (lost > 0) throw new Error(`${lost} were lost, or were sent something`)
  }
  try {
    // A hundred at a time: memory freed by a larger warm-up would be reused by the measured ones.
    for (let i = 0; i < settings.idleWarmups; i++) {
      await withOpen(client, { ...how, count: 100 }, state)
    }
    await sleep(300)
    const base = await server.call('memory')
    return await withOpen(client, { ...how, count: settings.idle }, async () => {
      await sleep(700)
      const loaded = await server.call('memory')
      await state()
      return Object.fromEntries(KEYS.map((key) => [key, (loaded[key] - base[key]) / settings.idle]))
    })
  } finally {
    await server.stop()
  }
}

function condense(values, digits) {
  const { median, min, max } = summary(values)
  return { median: round(median, digits), min: round(min, digits), max: round(max, digits) }
}

async function memory(pair, client) {
  const forms = formsOf(pair, 'idle')
  const { baseline } = pair
  const runs = Object.fromEntries(Object.keys(forms).map((name) => [name, []]))
  const { leftOut, failures } = await rounds(
    Object.keys(forms),
    settings.memoryRounds,
    async (name, i) => {
      runs[name].push({ round: i, ...(await idleBytes(forms[name], client)) })
    },
  )
  const results = {}
  const rows = {}
  for (const [name, list] of Object.entries(runs)) {
    if (list.length === 0) continue
    const ratio = (key) => {
      const ratios = list.flatMap((run) => {
        const other = runs[baseline].find((one) => one.round === run.round)
        return other ? [run[key] / other[key]] : []
      })
      return ratios.length > 0 ? condense(ratios, 3) : null
    }
    results[name] = {
      ...Object.fromEntries(
        KEYS.map((key) => [
          key,
          condense(
            list.map((run) => run[key]),
            0,
          ),
        ]),
      ),
      ratios: { heapUsed: ratio('heapUsed'), rss: ratio('rss') },
      runs: list,
    }
    const { heapUsed, external, rss, ratios } = results[name]
    const spread = (of) => (of ? `${of.min}..${of.max}` : '-')
    rows[name] = {
      heapUsed: heapUsed.median,
      [`x ${baseline}`]: ratios.heapUsed?.median ?? '-',
      'heap spread': spread(ratios.heapUsed),
      external: external.median,
      rss: rss.median,
      'rss x': ratios.rss?.median ?? '-',
      'rss spread': spread(ratios.rss),
      runs: list.length,
    }
  }
  console.log(`\n${pair.title}: bytes per idle WebSocket, ${settings.idle} of them`)
  console.table(rows)
  return { contestants: results, leftOut, failures }
}

await guarded(async () => {
  const about = environment()
  printEnvironment(about)
  const client = startClient()
  const pairs = {}
  for (const pair of PAIRS) {
    pairs[pair.title] = {
      baseline: pair.baseline,
      echo: await echo(pair, client),
      broadcast: await broadcast(pair, client),
      memory: await memory(pair, client),
    }
  }
  if (!quick) writeResults('http2', { ...about, settings, pairs })
}, settings.maxSeconds)

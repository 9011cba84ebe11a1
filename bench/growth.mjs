/** Whether the cost of each operation grows in proportion to the number of connections. */
import { setTimeout as sleep } from 'node:timers/promises'
import { draw, growth } from './lib/charts.mjs'
import { Child, guarded } from './lib/children.mjs'
import { environment, printEnvironment, writeResults } from './lib/environment.mjs'
import { build, hex, Load } from './lib/load.mjs'
import { ACCEPT, plainRequest } from './lib/request.mjs'
import { number } from './lib/settings.mjs'
import { median, round, summary } from './lib/stats.mjs'

const quick = process.argv.includes('--quick')

const settings = {
  rounds: number('ROUNDS', quick ? 1 : 9, { max: 50 }),
  warmup: number('WARMUP', quick ? 2000 : 16_000, { max: 19_000 }),
  /** Joins to rooms in one window of one count. */
  changes: number('CHANGES', quick ? 16_000 : 64_000),
  /** Deliveries of single messages to all in one window of one count. */
  deliveries: number('DELIVERIES', quick ? 16_000 : 48_000),
  heartbeat: number('HEARTBEAT', 500, { max: 600_000 }),
  /** Of each count. */
  beats: number('BEATS', quick ? 2 : 6, { max: 100 }),
  maxSeconds: number('MAX_SECONDS', 3600),
}

const COUNTS = [1000, 4000, 16_000]
/** The handshakes of one window with one count. A count opens a fixed number at a time. */
const UNITS = COUNTS.at(-1)

let groups = 0

/** Starts a server for all counts. Its code has been compiled by long use when this resolves. */
async function warm(load, options) {
  const nodeArgs = ['--expose-gc']
  const server = new Child('growth', '../servers/scale.mjs', 0, { nodeArgs })
  const { port } = await server.call('start', { kind: 'http/1.1', heartbeat: 0, ...options })
  const open = (count) => {
    const path = options.presence ? '/v1' : '/in/0'
    const protocol = options.presence ? 'koaws.v1' : undefined
    return load.open(`members ${++groups}`, {
      ...{
        port,
        count,
        sources: 8,
        timeoutMs: 300_000,
        discard: Number(Boolean(options.presence)),
      },
      ...{ request: hex(plainRequest(port, path, protocol)), expect: hex(ACCEPT) },
    })
  }
  await open(settings.warmup)
  const name = options.presence ? 'people' : 'warm'
  const pause = options.presence ? 200 : 0
  await server.call('change', { name, each: 100, times: 2, pause })
  for (const raw of [false, true]) await server.call('broadcasts', { count: 5, pause: 50, raw })
  await drop(server, load)
  return { server, open }
}

async function drop(server, load) {
  await load.command('drop')
  while ((await server.call('status')).connections > 0) await sleep(50)
  await server.call('memory')
}

/** Joins, leaves, deliveries and handshakes. Each returns the CPU for one unit, in microseconds. */
async function plain({ server, open }, load, connections) {
  const cost = {}
  let handshakes = 0
  const opens = UNITS / connections
  for (let i = 0; i < opens; i++) {
    const before = await server.call('cpu')
    await open(connections)
    handshakes += (await server.call('cpu')) - before
    if (i < opens - 1) await drop(server, load)
  }
  cost.handshake = handshakes / UNITS
  for (const [label, each] of [
    ['rooms of 100', 100],
    ['one room', connections],
  ]) {
    const times = Math.ceil(settings.changes / connections)
    const { join, leave } = await server.call('change', { name: label, each, times })
    cost[`join, ${label}`] = join / times / connections
    cost[`leave, ${label}`] = leave / times / connections
  }
  for (const [label, raw] of [
    ['broadcast, a delivery', false],
    ['the same by plain writes to each socket', true],
  ]) {
    const count = Math.ceil(settings.deliveries / connections)
    const how = { count, pause: Math.ceil(connections / 40), raw }
    cost[label] = (await server.call('broadcasts', how)) / count / connections
  }
  await drop(server, load)
  return cost
}

async function beating({ server, open }, load, connections) {
  const { heartbeat, beats } = settings
  await open(connections)
  await sleep(2 * heartbeat)
  const before = await server.call('cpu')
  await sleep(heartbeat * beats)
  const us = (await server.call('cpu')) - before
  await drop(server, load)
  return { 'heartbeat, a beat': us / connections / beats }
}

async function present({ server, open }, load, connections) {
  await open(connections)
  const times = Math.ceil(UNITS / connections)
  const how = { name: 'people', each: 100, times, pause: 200 }
  const { join, leave } = await server.call('change', how)
  await drop(server, load)
  return {
    'presence, join, rooms of 100': join / times / connections,
    'presence, leave, rooms of 100': leave / times / connections,
  }
}

/** Each with the options of its server. */
const PARTS = [
  [plain, {}],
  [beating, { heartbeat: settings.heartbeat }],
  [present, { presence: true }],
]

/** One server for all rounds, in which the counts take turns: so each has the same code and state of it. */
async function measure(load, part, options, rows) {
  const warmed = await warm(load, options)
  try {
    for (let i = 0; i < settings.rounds; i++) {
      const shift = i % COUNTS.length
      for (const connections of [...COUNTS.slice(shift), ...COUNTS.slice(0, shift)]) {
        const cost = await part(warmed, load, connections)
        rows.push({ round: i, connections, cost })
        console.log(rows.at(-1))
      }
    }
  } finally {
    await warmed.server.stop()
  }
}

function resultsOf(rows) {
  const names = [...new Set(rows.flatMap(({ cost }) => Object.keys(cost)))]
  return Object.fromEntries(
    names.map((name) => {
      const at = (i, count) =>
        rows.find((row) => row.round === i && row.connections === count && name in row.cost)?.cost[
          name
        ]
      const all = Array.from({ length: settings.rounds }, (_, i) => i)
      const of = (count) => median(all.map((i) => at(i, count)))
      const us = Object.fromEntries(COUNTS.map((count) => [count, round(of(count), 3)]))
      const growth = round(Math.max(...Object.values(us)) / Math.min(...Object.values(us)), 3)
      const { median: last, ...spread } = summary(
        all.map((i) => at(i, COUNTS.at(-1)) / at(i, COUNTS[0])),
      )
      return [
        name,
        {
          ...{ us, growth, last: round(last, 3) },
          spread: { min: round(spread.min, 3), max: round(spread.max, 3) },
        },
      ]
    }),
  )
}

async function main() {
  const about = environment()
  printEnvironment(about)
  build()
  const load = new Load(1)
  const rows = []
  for (const [part, options] of PARTS) await measure(load, part, options, rows)
  const results = resultsOf(rows)
  console.log('\nCPU of the server for each unit, in microseconds: median of the rounds')
  console.table(
    Object.fromEntries(
      Object.entries(results).map(([name, { us, growth: most, last, spread }]) => [
        name,
        {
          ...us,
          'largest / smallest': most,
          [`${COUNTS.at(-1)} / ${COUNTS[0]}`]: last,
          spread: `${spread.min}..${spread.max}`,
        },
      ]),
    ),
  )
  if (quick) return
  writeResults('growth', { ...about, settings, results, rounds: rows })
  draw('growth', growth)
}

await guarded(main, settings.maxSeconds)

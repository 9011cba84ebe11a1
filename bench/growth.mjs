/** Whether the cost of each operation grows in proportion to the number of connections. */
import { setTimeout as sleep } from 'node:timers/promises'
import { draw, growth } from './lib/charts.mjs'
import { Child, guarded } from './lib/children.mjs'
import { environment, printEnvironment, writeResults } from './lib/environment.mjs'
import { build, hex, Load } from './lib/load.mjs'
import { ACCEPT, plainRequest } from './lib/request.mjs'
import { number } from './lib/settings.mjs'
import { median, round } from './lib/stats.mjs'

const quick = process.argv.includes('--quick')

const settings = {
  rounds: number('ROUNDS', quick ? 1 : 5, { max: 50 }),
  warmup: number('WARMUP', quick ? 2000 : 12_000, { max: 19_000 }),
  /** The number of deliveries of single messages to all. */
  deliveries: number('DELIVERIES', quick ? 40_000 : 160_000),
  heartbeat: number('HEARTBEAT', 500, { max: 600_000 }),
  /** Of the largest count. */
  beats: number('BEATS', quick ? 2 : 6, { max: 100 }),
  maxSeconds: number('MAX_SECONDS', 3600),
}

const COUNTS = [1000, 4000, 16_000]
/** The units that each count is repeated for: a short measurement is a cold one. */
const UNITS = COUNTS.at(-1)

/** Starts an instance. Its code has been compiled by long use when this resolves. */
async function warm(load, options) {
  const server = new Child('growth', '../servers/scale.mjs', 0, { nodeArgs: ['--expose-gc'] })
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
  await server.call('change', { name, each: 100 })
  await server.call('broadcasts', { count: 10, pause: 20 })
  await server.call('change', { name, each: 100, leave: true })
  await drop(server, load)
  return { server, open }
}

let groups = 0

async function drop(server, load) {
  await load.command('drop')
  while ((await server.call('status')).connections > 0) await sleep(50)
  await server.call('memory')
}

/** The CPU of the server for each connection, message or beat, in microseconds. */
async function measure(load, connections) {
  const repeats = UNITS / connections
  const cost = {}
  const add = (name, us, units) => {
    cost[name] = (cost[name] ?? 0) + us / units / repeats
  }
  const plain = await warm(load, {})
  try {
    const { server, open } = plain
    const change = async (name, each) => {
      const label = each === 100 ? 'rooms of 100' : 'one room'
      const join = await server.call('change', { name, each })
      const leave = await server.call('change', { name, each, leave: true })
      add(`join, ${label}`, join, connections)
      add(`leave, ${label}`, leave, connections)
    }
    for (let i = 0; i < repeats; i++) {
      const before = await server.call('cpu')
      await open(connections)
      add('handshake', (await server.call('cpu')) - before, connections)
      await change('small', 100)
      await change('large', connections)
      if (i === repeats - 1) {
        const count = Math.ceil(settings.deliveries / connections)
        const us = await server.call('broadcasts', { count, pause: Math.ceil(connections / 40) })
        cost['broadcast, a delivery'] = us / count / connections
      }
      await drop(server, load)
    }
  } finally {
    await plain.server.stop()
  }
  const { heartbeat } = settings
  const beating = await warm(load, { heartbeat })
  try {
    await beating.open(connections)
    await sleep(2 * heartbeat)
    const beats = settings.beats * repeats
    const before = await beating.server.call('cpu')
    await sleep(heartbeat * beats)
    const us = (await beating.server.call('cpu')) - before
    cost['heartbeat, a beat'] = us / connections / beats
    await drop(beating.server, load)
  } finally {
    await beating.server.stop()
  }
  const present = await warm(load, { presence: true })
  try {
    await present.open(connections)
    for (let i = 0; i < repeats; i++) {
      const join = await present.server.call('change', { name: 'people', each: 100 })
      const leave = await present.server.call('change', { name: 'people', each: 100, leave: true })
      add('presence, join, rooms of 100', join, connections)
      add('presence, leave, rooms of 100', leave, connections)
    }
    await drop(present.server, load)
  } finally {
    await present.server.stop()
  }
  return cost
}

function resultsOf(rows) {
  const names = Object.keys(rows[0].cost)
  return Object.fromEntries(
    names.map((name) => {
      const of = (connections) =>
        median(rows.filter((row) => row.connections === connections).map(({ cost }) => cost[name]))
      const us = Object.fromEntries(COUNTS.map((count) => [count, round(of(count), 3)]))
      const growth = round(Math.max(...Object.values(us)) / Math.min(...Object.values(us)), 3)
      return [name, { us, growth, last: round(us[COUNTS.at(-1)] / us[COUNTS[0]], 3) }]
    }),
  )
}

async function main() {
  const about = environment()
  printEnvironment(about)
  build()
  const load = new Load(1)
  const rows = []
  for (let i = 0; i < settings.rounds; i++) {
    const shift = i % COUNTS.length
    for (const connections of [...COUNTS.slice(shift), ...COUNTS.slice(0, shift)]) {
      rows.push({ round: i, connections, cost: await measure(load, connections) })
      console.log(rows.at(-1))
    }
  }
  const results = resultsOf(rows)
  console.log('\nCPU of the server for each unit, in microseconds: median of the rounds')
  console.table(
    Object.fromEntries(
      Object.entries(results).map(([name, { us, growth: most, last }]) => [
        name,
        { ...us, 'largest / smallest': most, [`${COUNTS.at(-1)} / ${COUNTS[0]}`]: last },
      ]),
    ),
  )
  if (quick) return
  writeResults('growth', { ...about, settings, results, rounds: rows })
  draw('growth', growth)
}

await guarded(main, settings.maxSeconds)

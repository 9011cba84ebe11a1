/** Part b: a publish to a room with history against one to a room without, on the same hub and in the same processes. */
import { interleaved, rounded, Stage, shown, spreadOf } from './stage.mjs'

/** The engine, and the number of instances. */
export const ENGINES = {
  memory: { adapter: 'none', instances: 1 },
  redis: { adapter: 'redis', instances: 2 },
  cluster: { adapter: 'cluster', instances: 2 },
}

/** Members for each instance, rooms, and messages in a turn. One order is in flight. */
export const WORKLOADS = {
  'one, 1 member': { each: 1, rooms: 1, burst: 1 },
  'one, 100 members': { each: 100, rooms: 1, burst: 1 },
  '10 in a turn, 100 members': { each: 100, rooms: 1, burst: 10 },
  '50 rooms in a turn, 1 member': { each: 1, rooms: 50, burst: 50 },
}

const KINDS = ['chat', 'plain']

async function runWorkload(stage, engine, workload, { each, rooms, burst }, settings, add) {
  const { size, window, pairs } = settings
  for (const kind of KINDS) {
    const group = { name: kind, rooms, size }
    const members = { instances: stage.addresses, each, resumes: true }
    await stage.clients.call('join', { key: kind, group, members })
  }
  const publish = (key, ms) =>
    stage.measure(() => stage.clients.call('publish', { key, burst, ms }, ms + 60_000))
  const warmup = stage.isWarm ? settings.warmup : settings.firstWarmup
  for (const kind of KINDS) await publish(kind, warmup)
  stage.isWarm = true
  for (let i = 0; i < pairs; i++) {
    const pair = {}
    for (const kind of i % 2 === 0 ? KINDS : [...KINDS].reverse()) {
      const { published, deliveries, serversUs, redisUs, wallUs, clientUs } = await publish(
        kind,
        window,
      )
      if (deliveries !== published * each * stage.addresses.length) {
        throw new Error(`${deliveries} deliveries of ${published} messages`)
      }
      pair[kind] = {
        usPerPublish: serversUs / published,
        usPerDelivery: serversUs / deliveries,
        redisUsPerPublish: redisUs / published,
        perSecond: (published / wallUs) * 1e6,
        clientShare: clientUs / wallUs,
      }
    }
    add({ engine, workload, pair: i, ...pair })
  }
  for (const key of KINDS) await stage.clients.call('leave', { key })
}

/** New processes for each round. */
async function runEngine(engine, settings, add) {
  const { adapter, instances } = ENGINES[engine]
  const stage = new Stage(adapter)
  try {
    for (let i = 0; i < instances; i++) await stage.add()
    for (const [workload, mode] of Object.entries(WORKLOADS)) {
      await runWorkload(stage, engine, workload, mode, settings, add)
    }
    await stage.check()
  } finally {
    await stage.stop()
  }
}

function resultOf(rows) {
  const ratios = rows.map(({ chat, plain }) => ({
    servers: chat.usPerPublish / plain.usPerPublish,
    redis: chat.redisUsPerPublish / plain.redisUsPerPublish,
  }))
  const figures = (kind) => {
    const own = rows.map((row) => row[kind])
    const spreads = ['usPerPublish', 'usPerDelivery', 'redisUsPerPublish', 'clientShare']
    return Object.fromEntries(spreads.map((figure) => [figure, spreadOf(own, figure)]))
  }
  return {
    ratio: spreadOf(ratios, 'servers'),
    redisRatio: spreadOf(ratios, 'redis'),
    with: figures('chat'),
    without: figures('plain'),
  }
}

export async function publishes(settings, rounds) {
  const rows = []
  const failures = []
  await interleaved(Object.keys(ENGINES), rounds, failures, (engine, round) =>
    runEngine(engine, settings, (row) => rows.push({ round, ...row })),
  )
  const results = {}
  const table = {}
  for (const engine of Object.keys(ENGINES)) {
    for (const workload of Object.keys(WORKLOADS)) {
      const own = rows.filter((row) => row.engine === engine && row.workload === workload)
      if (own.length === 0) continue
      const result = resultOf(own)
      results[engine] ??= {}
      results[engine][workload] = result
      table[`${engine}: ${workload}`] = {
        ratio: shown(result.ratio),
        'with, µs': shown(result.with.usPerPublish),
        'without, µs': shown(result.without.usPerPublish),
        'Redis ratio': engine === 'redis' ? shown(result.redisRatio) : '',
        'Redis with, µs': engine === 'redis' ? shown(result.with.redisUsPerPublish) : '',
        'Redis without, µs': engine === 'redis' ? shown(result.without.redisUsPerPublish) : '',
      }
    }
  }
  console.log('\nPublishes to a room with history and without; CPU of all instances per publish')
  console.table(table)
  return { results, failures, rounds: rows.map(rounded) }
}

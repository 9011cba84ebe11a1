/** Part d: clients that are not logged in open connections as fast as they can, while members get messages. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Child } from '../lib/children.mjs'
import { interleaved, rounded, Stage, shown, spreadOf } from './stage.mjs'

export const STORMS = ['none', 'plain', 'resumes', 'plain, 128 rooms', 'resumes, 128 rooms']
const ROOMS = 128
const MIB = 1024 * 1024

async function runStorm(kind, settings, row) {
  const { members: each, perSecond, size, missed, window, inFlight, most } = settings
  const stage = new Stage('none')
  let storm
  try {
    const instance = await stage.add()
    const [address] = stage.addresses
    const positions = await Promise.all(
      Array.from({ length: ROOMS }, (_, i) =>
        instance.call('fill', { room: `chat:${i}`, count: missed, size }),
      ),
    )
    const members = { instances: [address], each, resumes: true }
    await stage.clients.call('join', { key: 'members', group: { name: 'chat', size }, members })
    const publish = (ms) =>
      stage.measure(() =>
        stage.clients.call('publish', { key: 'members', perSecond, ms }, ms + 60_000),
      )
    await publish(1000)
    const rssBefore = await instance.call('watchMemory')
    if (kind !== 'none') {
      storm = new Child('storm', '../history/storm.mjs', 1)
      await storm.call('start', { kind, port: address.port, positions, inFlight, most })
    }
    const figures = await publish(window)
    const { rss, heap } = await instance.call('memory')
    const done = storm ? await storm.call('stop') : { opened: 0, open: 0 }
    const { deliveries, published } = figures
    if (deliveries !== published * each) throw new Error(`${deliveries} of ${published * each}`)
    Object.assign(row, {
      p50: figures.p50,
      p99: figures.p99,
      max: figures.max,
      perSecond: (done.opened / figures.wallUs) * 1e6,
      usEach: done.opened > 0 ? figures.serversUs / done.opened : undefined,
      serverShare: figures.serversUs / figures.wallUs,
      clientShare: figures.clientUs / figures.wallUs,
      rssBefore: rssBefore / MIB,
      grown: (rss - rssBefore) / MIB,
      heap: heap / MIB,
      ...done,
    })
    await instance.call('idle', { members: each })
    await sleep(500)
    const after = await instance.call('memory')
    row.heapAfter = after.heap / MIB
    row.drops = (await instance.call('status')).drops.recoveries
  } finally {
    await storm?.stop()
    await stage.stop()
  }
}

export async function anonymous(settings, rounds) {
  const rows = []
  const failures = []
  await interleaved(STORMS, rounds, failures, async (name, round) => {
    const row = { name, round }
    await runStorm(name, settings, row)
    rows.push(row)
  })
  const results = {}
  const table = {}
  for (const name of STORMS) {
    const own = rows.filter((row) => row.name === name)
    if (own.length === 0) continue
    const figures = ['p50', 'p99', 'max', 'perSecond', 'usEach', 'serverShare', 'grown', 'heap']
    const more = ['heapAfter', 'opened', 'open', 'recovered', 'refused', 'failed', 'clientShare']
    results[name] = Object.fromEntries(
      [...figures, ...more].map((figure) => [figure, spreadOf(own, figure)]),
    )
    const one = results[name]
    table[name] = {
      'p50 ms': shown(one.p50),
      'p99 ms': shown(one.p99),
      'max ms': shown(one.max),
      'opened per s': shown(one.perSecond),
      'server µs each': shown(one.usEach),
      'RSS + MiB': shown(one.grown),
      'open at the end': shown(one.open),
      'heap MiB': shown(one.heap),
      'heap after': shown(one.heapAfter),
      failed: shown(one.failed),
    }
  }
  console.log(`\nA storm of anonymous clients, and ${settings.members} members`)
  console.table(table)
  return { results, failures, rounds: rows.map(rounded) }
}

/** Part a: clients that return, from the memory of the process, from the ring of an instance, and from Redis itself. */
import { interleaved, rounded, Stage, shown, spreadOf } from './stage.mjs'

/** Where the missed messages come from. */
export const SOURCES = {
  memory: { adapter: 'none' },
  'redis, ring': { adapter: 'redis', isWarm: true },
  'redis, no ring': { adapter: 'redis', isWarm: false },
  'cluster, ring': { adapter: 'cluster', isWarm: true },
}

const roomName = (number) => `chat:${number}`

/** Fills the rooms. A warm instance has a member in each room meanwhile, so that it keeps what it hears. */
async function fillRooms(stage, { adapter, isWarm }, { rooms, missed, size }) {
  const filler = await stage.add()
  const measured = adapter === 'none' ? filler : await stage.add()
  const address = stage.addresses.at(-1)
  if (isWarm) {
    const members = { instances: [address], each: 1, resumes: true }
    await stage.clients.call('join', { key: 'anchor', group: { name: 'chat', rooms }, members })
  }
  const filled = await Promise.all(
    Array.from({ length: rooms }, async (_, number) => {
      const position = await filler.call('fill', { room: roomName(number), count: missed, size })
      return { number, position }
    }),
  )
  return { measured, port: address.port, rooms: filled }
}

async function runSource(name, settings, row) {
  const { missed, clients: count, inFlight, perSecond, warmups } = settings
  const stage = new Stage(SOURCES[name].adapter)
  try {
    const { measured, port, rooms } = await fillRooms(stage, SOURCES[name], settings)
    const given = { port, count, rooms, missed }
    const recover = async (mode) => {
      await stage.clients.call('prepare', given)
      const figures = await stage.measure(() => stage.clients.call('recover', mode), [measured])
      await stage.clients.call('drop')
      await measured.call('idle', { members: SOURCES[name].isWarm ? 1 : 0 })
      return figures
    }
    for (let i = 0; i < warmups; i++) await recover({ inFlight })
    const full = await recover({ inFlight })
    row.usEach = full.serversUs / full.done
    row.perSecondAndCore = 1e6 / row.usEach
    row.redisUsEach = full.redisUs / full.done
    row.perSecond = (full.done / full.wallUs) * 1e6
    row.clientShare = full.clientUs / full.wallUs
    row.fullP99 = full.p99
    const paced = await recover({ perSecond })
    row.p50 = paced.p50
    row.p99 = paced.p99
    row.max = paced.max
    row.serverShare = paced.serversUs / paced.wallUs
    const whole = await stage.measure(
      () => stage.clients.call('returns', { ...given, inFlight }),
      [measured],
    )
    row.wholeUsEach = whole.serversUs / whole.done
    row.wholeP99 = whole.p99
    await stage.check()
  } finally {
    await stage.stop()
  }
}

/** Recoveries alone, after so many that the code is compiled: several windows of the same processes. */
export async function steady({ sources, warmups, windows, ...settings }) {
  const results = {}
  for (const name of sources) {
    const rows = []
    const stage = new Stage(SOURCES[name].adapter)
    try {
      const { measured, port, rooms } = await fillRooms(stage, SOURCES[name], settings)
      const { missed, clients: count, inFlight } = settings
      for (let i = 0; i < warmups + windows; i++) {
        await stage.clients.call('prepare', { port, count, rooms, missed })
        const run = () => stage.clients.call('recover', { inFlight })
        const { serversUs, done } = await stage.measure(run, [measured])
        await stage.clients.call('drop')
        await measured.call('idle', { members: SOURCES[name].isWarm ? 1 : 0 })
        const usEach = serversUs / done
        if (i >= warmups) rows.push({ usEach, perSecondAndCore: 1e6 / usEach })
      }
      await stage.check()
    } finally {
      await stage.stop()
    }
    results[name] = {
      usEach: spreadOf(rows, 'usEach', 1),
      perSecondAndCore: spreadOf(rows, 'perSecondAndCore', 0),
    }
    console.log(name, shown(results[name].usEach), 'µs,', shown(results[name].perSecondAndCore))
  }
  return { results }
}

export async function recoveries(settings, rounds) {
  const rows = []
  const failures = []
  await interleaved(Object.keys(SOURCES), rounds, failures, async (name, i) => {
    const row = { name, round: i }
    await runSource(name, settings, row)
    rows.push(row)
  })
  const results = {}
  for (const name of Object.keys(SOURCES)) {
    const own = rows.filter((row) => row.name === name)
    if (own.length === 0) continue
    const figures = {
      usEach: 1,
      perSecondAndCore: 0,
      redisUsEach: 1,
      perSecond: 0,
      clientShare: 2,
      fullP99: 1,
      p50: 2,
      p99: 2,
      max: 2,
      serverShare: 2,
      wholeUsEach: 1,
      wholeP99: 1,
    }
    results[name] = Object.fromEntries(
      Object.entries(figures).map(([figure, digits]) => [figure, spreadOf(own, figure, digits)]),
    )
  }
  console.log(`\nRecoveries of ${settings.missed} messages of ${settings.size} B`)
  console.table(
    Object.fromEntries(
      Object.entries(results).map(([name, one]) => [
        name,
        {
          'per s and core': shown(one.perSecondAndCore),
          µs: shown(one.usEach),
          'Redis µs': shown(one.redisUsEach),
          [`p99 ms at ${settings.perSecond}/s`]: shown(one.p99),
          'server share': shown(one.serverShare),
          'with handshake, µs': shown(one.wholeUsEach),
          'client share': shown(one.clientShare),
        },
      ]),
    ),
  )
  return { results, failures, rounds: rows.map(rounded) }
}

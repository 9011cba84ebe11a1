import { setTimeout as sleep } from 'node:timers/promises'
import { round, summary } from './stats.mjs'

const MAX_CLIENT_SHARE = 0.9

/**
 * Measures each contestant in every round beside the baseline, in alternating order, so that other
 * work of the machine affects both halves of a pair. measure(name) returns { usPerOperation,
 * errors, reasons, clientShare, serverShare, rate }.
 */
export async function paired({ baseline, names, rounds, measure, log }) {
  const rivals = names.filter((name) => name !== baseline)
  const results = new Map(
    names.map((name) => [
      name,
      { windows: [], ratios: [], clientShares: [], serverShares: [], rates: [], discarded: 0 },
    ]),
  )
  const window = async (name) => {
    const result = results.get(name)
    if (result.failure) return null
    try {
      const figures = await measure(name)
      if (figures.errors > 0) {
        result.discarded++
        log(
          `  ${name}: window discarded, ${figures.errors} errors ${JSON.stringify(figures.reasons)}`,
        )
        return null
      }
      result.windows.push(figures.usPerOperation)
      result.clientShares.push(figures.clientShare)
      result.serverShares.push(figures.serverShare)
      result.rates.push(figures.rate)
      return figures.usPerOperation
    } catch (error) {
      result.failure = error.message
      log(`  ${name}: left out from here on: ${error.message}`)
      return null
    }
  }
  for (let i = 0; i < rounds; i++) {
    const shift = rivals.length > 0 ? i % rivals.length : 0
    const order = [...rivals.slice(shift), ...rivals.slice(0, shift)]
    if (order.length === 0) await window(baseline)
    for (const [position, name] of order.entries()) {
      if (results.get(name).failure) continue
      const baselineFirst = (i + position) % 2 === 0
      const first = await window(baselineFirst ? baseline : name)
      const second = await window(baselineFirst ? name : baseline)
      if (first === null || second === null) continue
      results.get(name).ratios.push(baselineFirst ? second / first : first / second)
    }
    if (results.get(baseline).failure) throw new Error(`the baseline ${baseline} failed`)
  }
  return Object.fromEntries([...results].map(([name, result]) => [name, finish(result)]))
}

function rounded(values, digits) {
  const figures = summary(values)
  if (figures === null) return null
  return {
    median: round(figures.median, digits),
    min: round(figures.min, digits),
    max: round(figures.max, digits),
  }
}

function finish({ windows, ratios, clientShares, serverShares, rates, discarded, failure }) {
  const clientShare = rounded(clientShares, 2)
  return {
    cpuUs: rounded(windows, 2),
    ratio: rounded(ratios, 3),
    windows: windows.map((value) => round(value, 2)),
    ratios: ratios.map((value) => round(value, 3)),
    clientShare,
    serverShare: rounded(serverShares, 2),
    perSecond: rounded(rates, 0),
    clientSaturated: clientShare !== null && clientShare.median > MAX_CLIENT_SHARE,
    discarded,
    ...(failure && { failure }),
  }
}

/** One window: the server's CPU at its borders, and load from the client between them. */
export async function windowOf(server, load, settle) {
  const before = await server.call('cpu')
  const { operations, errors, reasons, wallUs, clientCpuUs } = await load()
  // Work that the server still does for this window belongs to it.
  await settle()
  const cpuUs = (await server.call('cpu')) - before
  return {
    usPerOperation: cpuUs / operations,
    errors,
    reasons,
    clientShare: clientCpuUs / wallUs,
    serverShare: cpuUs / wallUs,
    rate: (operations / wallUs) * 1e6,
  }
}

/**
 * Pairs of windows of one load, with new connections for each. The first of a contestant follows a
 * longer load, so that its code has been compiled. around(name, work) may count something in a window.
 */
export function pairedLoad({
  baseline,
  servers,
  rounds,
  warmup,
  window,
  open,
  run,
  close,
  around = (_, work) => work(),
}) {
  const warm = new Set()
  const measure = async (name) => {
    const server = servers.get(name)
    await open(server)
    try {
      const first = await run(name, warm.has(name) ? window / 10 : warmup)
      if (first.errors > 0) return { ...first, usPerOperation: 0 }
      warm.add(name)
      return await around(name, () =>
        windowOf(
          server,
          () => run(name, window),
          () => sleep(5),
        ),
      )
    } finally {
      await close()
    }
  }
  return paired({ baseline, names: [...servers.keys()], rounds, measure, log: console.log })
}

export function printPaired(title, unit, baseline, results) {
  console.log(`\n${title}`)
  console.table(
    Object.fromEntries(
      Object.entries(results).map(([name, result]) => [
        name,
        {
          [`${unit} median`]: result.cpuUs?.median ?? '-',
          min: result.cpuUs?.min ?? '-',
          [`x ${baseline}`]: name === baseline ? 1 : (result.ratio?.median ?? '-'),
          spread:
            name !== baseline && result.ratio ? `${result.ratio.min}..${result.ratio.max}` : '-',
          pairs: name === baseline ? '-' : result.ratios.length,
          '/s': result.perSecond?.median ?? '-',
          'server share': result.serverShare?.median ?? '-',
          'client share': `${result.clientShare?.median ?? '-'}${result.clientSaturated ? ' (!)' : ''}`,
          discarded: result.discarded,
        },
      ]),
    ),
  )
  if (Object.values(results).some((result) => result.clientSaturated)) {
    console.log('(!) the client used more than 0.9 of a core: the rate is the limit of the client')
  }
}

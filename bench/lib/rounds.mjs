import { firstLine } from './line-up.mjs'
import { median, round, summary } from './stats.mjs'

export const MAX_CLIENT_SHARE = 0.9

/**
 * Runs each contestant once in every round, in a rotating order. A contestant that fails in its
 * first round is left out; later it loses that round.
 */
export async function rounds(names, count, runOne) {
  const leftOut = {}
  const failures = []
  for (let i = 0; i < count; i++) {
    const shift = i % names.length
    for (const name of [...names.slice(shift), ...names.slice(0, shift)]) {
      if (leftOut[name]) continue
      try {
        await runOne(name, i)
      } catch (error) {
        if (i === 0) leftOut[name] = firstLine(error)
        else failures.push({ name, round: i, error: firstLine(error) })
        console.log(`${i === 0 ? 'left out' : 'round lost'}: ${name}: ${firstLine(error)}`)
      }
    }
  }
  return { leftOut, failures }
}

/** Windows of one workload: name -> [{ round, us, perSecond, serverShare, clientShare }]. */
export class Windows {
  #byName = new Map()
  #discarded = {}

  add(name, figures) {
    if (!this.#byName.has(name)) this.#byName.set(name, [])
    this.#byName.get(name).push(figures)
  }

  discard(name) {
    this.#discarded[name] = (this.#discarded[name] ?? 0) + 1
  }

  results(subject) {
    const rows = {}
    const own = this.#byName.get(subject) ?? []
    for (const [name, windows] of this.#byName) {
      const us = windows.map((window) => window.us)
      const { min, max } = summary(us)
      rows[name] = {
        min: round(min, 3),
        median: round(median(us), 3),
        spread: round(max / min, 2),
        ...ratios(own, windows),
        perSecond: round(median(windows.map((window) => window.perSecond)), 0),
        serverShare: round(median(windows.map((window) => window.serverShare)), 2),
        clientShare: round(median(windows.map((window) => window.clientShare)), 2),
        discarded: this.#discarded[name] ?? 0,
        windows,
      }
    }
    for (const [name, discarded] of Object.entries(this.#discarded)) rows[name] ??= { discarded }
    return rows
  }
}

/**
 * The subject divided by this contestant: of the two minima, and the median of the rounds' ratios.
 */
function ratios(own, windows) {
  if (own.length === 0) return {}
  const pairs = windows.flatMap((window) => {
    const mine = own.find((other) => other.round === window.round)
    return mine ? [mine.us / window.us] : []
  })
  const minimum = (list) => Math.min(...list.map((window) => window.us))
  return {
    ratioOfMinima: round(minimum(own) / minimum(windows), 3),
    medianRatio: round(median(pairs), 3),
  }
}

export function printWindows(title, subject, results) {
  console.log(`\n${title}`)
  console.table(
    Object.fromEntries(
      Object.entries(results).map(([name, row]) => [
        name,
        {
          'us min': row.min ?? '-',
          median: row.median ?? '-',
          'max/min': row.spread ?? '-',
          [`${subject} by it: minima`]: row.ratioOfMinima ?? '-',
          'median of rounds': row.medianRatio ?? '-',
          '/s': row.perSecond ?? '-',
          'server share': row.serverShare ?? '-',
          'client share': `${row.clientShare ?? '-'}${row.clientShare > MAX_CLIENT_SHARE ? ' (!)' : ''}`,
          windows: row.windows?.length ?? 0,
          discarded: row.discarded,
        },
      ]),
    ),
  )
  if (Object.values(results).some((row) => row.clientShare > MAX_CLIENT_SHARE)) {
    console.log('(!) the client used more than 0.9 of a core: the rate is the limit of the client')
  }
}

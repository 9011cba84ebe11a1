/**
 * Part c: rooms without history. A hub with the option `history` and one of earlier code, beside a hub without the
 * option; and the same hub twice, which shows the noise.
 */
import { median, round } from '../lib/stats.mjs'
import { rounded, Stage, spreadOf } from './stage.mjs'

const BASELINE = 'without'

/** What a window does on the members of a hub, and by what its CPU time is divided. */
const WORKLOADS = {
  'push to 100 members': { command: 'publish', mode: { burst: 1 }, by: 'deliveries' },
  '10 pushes in a turn': { command: 'publish', mode: { burst: 10 }, by: 'deliveries' },
  'request and reply': { command: 'ask', mode: { type: 'echo' }, by: 'replies' },
  'leave and join': { command: 'ask', mode: { type: 'hop' }, by: 'replies' },
  'handshake, join, end': { command: 'visits', mode: {}, by: 'visits' },
}

async function contestant(stage, options) {
  const instance = await stage.add(options)
  const address = stage.addresses.at(-1)
  return { instance, address }
}

/** All hubs are open and warm, and take their windows by turns. */
export async function unrecorded({ before, size, warmup, window, members: each }, count) {
  const stage = new Stage('none')
  const rows = []
  const failures = []
  try {
    const contestants = {
      [BASELINE]: await contestant(stage, { history: null }),
      'without, again': await contestant(stage, { history: null }),
      with: await contestant(stage, {}),
      ...(before && { before: await contestant(stage, { history: null, dist: before }) }),
    }
    const names = Object.keys(contestants)
    for (const name of names) {
      const members = { instances: [contestants[name].address], each, resumes: false }
      const group = { name: 'plain', size }
      await stage.clients.call('join', { key: name, group, members })
    }
    const run = async (name, { command, mode, by }, ms) => {
      const { instance, address } = contestants[name]
      const given = { key: name, port: address.port, ms, ...mode }
      const figures = await stage.measure(
        () => stage.clients.call(command, given, ms + 60_000),
        [instance],
      )
      if (command === 'visits') await instance.call('idle', { members: each })
      return figures.serversUs / figures[by]
    }
    for (const [workload, what] of Object.entries(WORKLOADS)) {
      for (const name of names) await run(name, what, warmup)
      for (let i = 0; i < count; i++) {
        const shift = i % names.length
        const us = {}
        for (const name of [...names.slice(shift), ...names.slice(0, shift)]) {
          us[name] = await run(name, what, window)
        }
        rows.push({ workload, round: i, us })
      }
    }
    await stage.check()
  } catch (error) {
    failures.push(String(error.message).split('\n')[0])
    console.log(`  lost: ${failures.at(-1)}`)
  } finally {
    await stage.stop()
  }
  return { results: resultsOf(rows), failures, rounds: rows.map(rounded) }
}

function resultsOf(rows) {
  const results = {}
  const table = {}
  for (const workload of Object.keys(WORKLOADS)) {
    const own = rows.filter((row) => row.workload === workload)
    if (own.length === 0) continue
    const cells = {}
    results[workload] = {}
    for (const name of Object.keys(own[0].us)) {
      const us = spreadOf(
        own.map((row) => row.us),
        name,
      )
      const ratios = own.map((row) => ({ ratio: row.us[name] / row.us[BASELINE] }))
      const ratio =
        name === BASELINE ? undefined : { ...spreadOf(ratios, 'ratio'), ...quartiles(ratios) }
      results[workload][name] = { us, ...(ratio && { ratio }) }
      cells[name] = ratio
        ? `${ratio.median} (${ratio.lower} to ${ratio.upper})`
        : `${us.median} µs (${us.min} to ${us.max})`
    }
    table[workload] = cells
  }
  console.log('\nRooms without history: ratio to a hub without the option, median (middle half)')
  console.table(table)
  return results
}

/** The middle half: single windows are disturbed by other work. */
function quartiles(ratios) {
  const sorted = ratios.map(({ ratio }) => ratio).sort((a, b) => a - b)
  const half = Math.floor(sorted.length / 2)
  if (half === 0) return { lower: round(sorted[0]), upper: round(sorted[0]) }
  return {
    lower: round(median(sorted.slice(0, half))),
    upper: round(median(sorted.slice(sorted.length - half))),
  }
}

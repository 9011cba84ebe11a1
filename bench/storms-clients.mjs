/**
 * Storms of a few abusive clients, and a bystander with timed echoes. `BEFORE=<dist>` runs another
 * build by turns.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import WebSocket from 'ws'
import { environment, printEnvironment, writeResults } from './lib/environment.mjs'
import { number } from './lib/settings.mjs'
import { median, round } from './lib/stats.mjs'

const here = (path) => fileURLToPath(new URL(path, import.meta.url))
const builds = {
  ...(process.env.BEFORE && { before: resolve(process.env.BEFORE) }),
  now: here('../dist'),
}
const STORMS = {
  none: 'nobody else',
  objects: '4 clients, objects of 54 KB with 5,500 names',
  auth: '20 clients, koaws:auth of 60 KB while one is checked',
  streams: '1 session, 10,000 WebSockets of HTTP/2 in one write, every 2 s',
}
const settings = {
  rounds: number('ROUNDS', 3, { max: 20 }),
  window: number('WINDOW', 6_000, { max: 60_000 }),
  lead: number('LEAD', 1_000, { max: 60_000 }),
  probeEvery: number('PROBE_EVERY', 20, { max: 1000 }),
}
const patience = 10_000

/**
 * A client that connects during the storm: the time until it is open, and the time of each echo.
 */
async function bystander(port) {
  const began = performance.now()
  const socket = new WebSocket(`ws://127.0.0.1:${port}/echo`)
  socket.on('error', () => {})
  const opened = await Promise.race([once(socket, 'open').then(() => true), sleep(patience, false)])
  const openMs = performance.now() - began
  if (!opened) {
    socket.terminate()
    return { openMs: patience, times: [patience] } // it never connected
  }
  const times = []
  const end = performance.now() + settings.window
  while (performance.now() < end) {
    const sent = performance.now()
    socket.send('x')
    const heard = once(socket, 'message').then(() => true)
    const answered = await Promise.race([heard, sleep(patience, false)])
    times.push(performance.now() - sent) // an unanswered echo counts as long as the client waited
    if (!answered) break
    await sleep(settings.probeEvery)
  }
  socket.terminate()
  return { openMs, times }
}

async function run(build, storm) {
  const server = fork(here('servers/storm-clients.mjs'), [build], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  })
  const [line] = await once(server.stdout, 'data')
  const [port, http2Port] = JSON.parse(String(line))
  const attackers = fork(here('lib/storm-attack.mjs'), [
    storm,
    String(storm === 'streams' ? http2Port : port),
  ])
  try {
    await sleep(settings.lead)
    return await bystander(port)
  } finally {
    attackers.kill('SIGKILL')
    server.kill('SIGKILL')
  }
}

const at = (times, share) => {
  const sorted = [...times].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? null
}

const env = environment()
printEnvironment(env)
const results = {}
for (const storm of Object.keys(STORMS)) results[storm] = {}
for (let i = 0; i < settings.rounds; i++) {
  for (const storm of Object.keys(STORMS)) {
    for (const name of Object.keys(builds)) {
      const { openMs, times } = await run(builds[name], storm)
      results[storm][name] ??= []
      results[storm][name].push({
        openMs: round(openMs, 1),
        p50Ms: round(at(times, 0.5), 1),
        p99Ms: round(at(times, 0.99), 1),
        maxMs: round(at(times, 1), 1),
        echoes: times.length,
      })
      console.log(storm, name, JSON.stringify(results[storm][name].at(-1)))
    }
  }
}

console.log('\nmedian of the rounds, ms')
const medians = {}
for (const [storm, byName] of Object.entries(results)) {
  medians[storm] = {}
  for (const [name, all] of Object.entries(byName)) {
    const of = (key) => median(all.map((one) => one[key]).filter((value) => value !== null))
    medians[storm][name] = {
      open: of('openMs'),
      p50: of('p50Ms'),
      p99: of('p99Ms'),
      max: of('maxMs'),
    }
    console.log(storm.padEnd(9), name.padEnd(7), JSON.stringify(medians[storm][name]))
  }
}
if (!process.argv.includes('--quick')) {
  writeResults('storms-clients', { ...env, settings, storms: STORMS, medians, rounds: results })
}
process.exit(0)

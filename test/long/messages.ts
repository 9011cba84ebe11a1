/**
 * Sends valid and invalid messages of every kind to a server that speaks `koaws.v1`.
 *
 *     npx tsx test/long/messages.ts [messages=2000000] [seed]
 *
 * The JSON of the result goes to stdout, all else to stderr. Exits with 1 when a check fails. See
 * README.md.
 */
import { type ChildProcess, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'
import { cleanUp } from '../support/server.ts'
import { type AttackReport, attack } from './support/attack.ts'
import { Bystander } from './support/bystander.ts'
import { differences } from './support/compare.ts'
import { heapAfterGc } from './support/heap.ts'
import { type HostileSite, hostileSite } from './support/hostile-site.ts'
import { keepResult } from './support/results.ts'
import { watchProcess } from './support/watch.ts'

const SELF = fileURLToPath(import.meta.url)

/** The size of a full run, the result of which is kept. */
const FULL = 2_000_000
const WARM_UP = 20_000
const CONNECTIONS = 56
/** The longest latency of a well-behaved client, in milliseconds. */
const MOST_LATENCY = 2_000
/** The limit of heap growth after a full run in bytes: the usual variation of a heap. */
const MOST_LEFT = 4 * 1024 * 1024
/** How long ended connections may take to be released, in milliseconds. */
const PATIENCE = 10_000

// ---- the clients, in a separate process

interface Order {
  readonly port: number
  readonly seed: number
  readonly messages: number
}

function clients(): void {
  process.on('disconnect', () => process.exit(0))
  process.on('message', async (order: Order) => {
    const onProgress = (sent: number): void => void process.send?.({ sent })
    const report = await attack({ ...order, connections: CONNECTIONS, onProgress })
    process.send?.({ report: plain(report) })
  })
}

function plain({ sent, connections, answers, ...rest }: AttackReport): AttackReport {
  const { made, counted, codes, closes, violations } = rest
  return { sent, connections, answers, made, counted, codes, closes, violations }
}

function order(child: ChildProcess, what: Order): Promise<AttackReport> {
  child.send(what)
  return new Promise((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`the clients ended with ${code}`)))
    child.on('message', function hear(answer: { sent: number; report?: AttackReport }) {
      if (!answer.report) log(`  ${answer.sent} sent`)
      else {
        child.off('message', hear)
        child.removeAllListeners('exit')
        resolve(answer.report)
      }
    })
  })
}

// ---- the server

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

function log(text: string): void {
  process.stderr.write(`${text}\n`)
}

/** Waits until the attackers have left. */
async function emptied({ hub }: HostileSite, left: number): Promise<void> {
  const end = Date.now() + PATIENCE
  while (hub.status().connections > left && Date.now() < end) await pause(20)
}

async function run(messages: number, seed: number): Promise<boolean> {
  log(`seed ${seed}, ${messages} messages`)
  const site = await hostileSite()
  const child = fork(SELF, ['--clients'])
  const warmUp = await order(child, { port: site.port, seed: seed + 1_000_000, messages: WARM_UP })
  await emptied(site, 0)
  const watch = watchProcess()
  const before = await heapAfterGc()
  const bystander = await Bystander.open(site.port, '/zod')
  for (const name of Object.keys(site.drops)) delete site.drops[name]
  const dropsBefore = site.hub.status().drops

  const loop = monitorEventLoopDelay({ resolution: 10 })
  loop.enable()
  const began = performance.now()
  const report = await order(child, { port: site.port, seed, messages })
  const seconds = Math.round((performance.now() - began) / 1000)
  const { count, sum, max, problem } = await bystander.end()
  loop.disable()
  await emptied(site, 0)
  const after = await heapAfterGc()
  watch.end()

  const { connections, rooms, users, pending, drops } = site.hub.status()
  const added = Object.fromEntries(
    Object.entries(drops).map(([name, many]) => [name, many - (dropsBefore[name] ?? 0)]),
  )
  const wrong = [
    ...warmUp.violations,
    ...report.violations,
    ...watch.violations,
    ...differences(report, site.drops, added),
    ...(problem === null ? [] : [`the bystander: ${problem}`]),
    ...unexpected(site),
  ]
  if (max > MOST_LATENCY) wrong.push(`the bystander waited ${Math.round(max)} ms`)
  if (connections + rooms + users + pending > 0) wrong.push('something is left of the connections')
  if (site.count.opened !== site.count.closed) wrong.push('onOpen and onClose ran not as often')
  if (after - before > MOST_LEFT) wrong.push(`${after - before} bytes of heap are left`)

  const result = {
    ok: wrong.length === 0,
    wrong,
    seed,
    messages,
    seconds,
    sent: report.sent,
    connections: report.connections,
    answers: report.answers,
    handled: site.count.handled,
    bystander: { echoes: count, 'mean, ms': round(sum / count), 'max, ms': round(max) },
    'longest turn of the loop, ms': round(loop.max / 1e6),
    heap: { before, after, left: after - before },
    closes: report.closes,
    drops: added,
    codes: report.codes,
    asked: site.asked,
    failures: site.failures,
    kinds: report.made,
  }
  process.stdout.write(`${JSON.stringify(result)}\n`)
  if (result.ok && messages >= FULL) keepResult('messages', result)
  for (const line of wrong) log(line)
  site.end()
  child.disconnect()
  await once(child, 'exit')
  await cleanUp()
  return result.ok
}

const round = (ms: number): number => Math.round(ms * 100) / 100

/** Returns reported errors that the handlers of these tests never throw. */
function unexpected({ failures }: HostileSite): string[] {
  return Object.keys(failures)
    .filter((one) => !/^(boom|twice): /.test(one))
    .map((one) => `app.on('error'): ${one}`)
}

const [first = String(FULL), given] = process.argv.slice(2)
if (first === '--clients') clients()
else if (typeof gc !== 'function') {
  const seed = given ?? String(Math.floor(Math.random() * 2 ** 31))
  const args = ['--expose-gc', '--import=tsx', SELF, first, seed]
  const [code] = await once(spawn(process.execPath, args, { stdio: 'inherit' }), 'exit')
  process.exitCode = code ?? 1
} else {
  const ended = run(Number(first.replace('messages=', '')), Number(given))
  ended.then(
    (ok) => process.exit(ok ? 0 : 1),
    (error) => {
      log(error.stack)
      process.exit(1)
    },
  )
}

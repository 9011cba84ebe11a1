/**
 * Sends valid and invalid messages of every kind from a server to clients of `koaws/client`, in Node and
 * in Chromium.
 *
 *     npx tsx test/long/client.ts [messages=200000] [seed]
 *
 * The JSON of the result goes to stdout, all else to stderr. Exits with 1 when a check fails. See
 * README.md.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { WebSocket } from 'ws'
import { connect } from '../../lib/client/index.ts'
import { type DriveReport, drive } from './support/drive.ts'
import { driveInPage, type PageReport } from './support/drive-in-page.ts'
import { heapAfterGc } from './support/heap.ts'
import { HostileServer, LISTENED } from './support/hostile-server.ts'
import { keepResult } from './support/results.ts'
import { watchProcess } from './support/watch.ts'

const SELF = fileURLToPath(import.meta.url)

/** The size of a full run, the result of which is kept. */
const FULL = 200_000
const WARM_UP = 5_000
const CLIENTS = 12
/** The share of the messages for Chromium. */
const IN_CHROMIUM = 0.1
/**
 * The limit of timers per client without those of requests: steps, silence, answer, reconnect,
 * refresh.
 */
const MOST_TIMERS = 8
const MOST_LEFT = 4 * 1024 * 1024

function log(text: string): void {
  process.stderr.write(`${text}\n`)
}

async function listen(): Promise<{ http: Server; url: string }> {
  const http = createServer().listen(0, '127.0.0.1')
  await once(http, 'listening')
  return { http, url: `ws://127.0.0.1:${(http.address() as AddressInfo).port}/` }
}

/** Runs clients in this process. */
async function inNode(seed: number, messages: number): Promise<Outcome<DriveReport>> {
  const { http, url } = await listen()
  const server = new HostileServer(http, seed, messages)
  const told = setInterval(() => log(`  ${server.sent.messages} sent`), 10_000)
  const began = performance.now()
  const report = await drive({
    url,
    clients: CLIENTS,
    types: LISTENED,
    goOn: () => !server.isDone,
    connect: connect as never,
    options: { WebSocket: WebSocket as never },
  })
  const seconds = Math.round((performance.now() - began) / 1000)
  clearInterval(told)
  server.end()
  http.close()
  return { seconds, report, sent: server.sent, made: server.made, wrong: wrongIn(report, server) }
}

/** Runs the bundle in a page. */
async function inChromium(seed: number, messages: number): Promise<Outcome<PageReport>> {
  const { http, url } = await listen()
  const server = new HostileServer(http, seed, messages)
  const began = performance.now()
  const report = await driveInPage(http, url, CLIENTS, () => !server.isDone)
  const seconds = Math.round((performance.now() - began) / 1000)
  server.end()
  http.close()
  const wrong = [...wrongIn(report, server), ...report.uncaught]
  return { seconds, report, sent: server.sent, made: server.made, wrong }
}

interface Outcome<Report> {
  readonly seconds: number
  readonly report: Report
  readonly sent: HostileServer['sent']
  readonly made: Record<string, number>
  readonly wrong: readonly string[]
}

function wrongIn(
  { violations, timers, timersLeft }: DriveReport,
  { bad }: HostileServer,
): string[] {
  const wrong = [...violations, ...bad.map((text) => `a client sent ${text}`)]
  if (timers > CLIENTS * MOST_TIMERS) wrong.push(`${timers} timers`)
  if (timersLeft > 0) wrong.push(`${timersLeft} timers are left`)
  return wrong
}

async function run(messages: number, seed: number): Promise<boolean> {
  log(`seed ${seed}, ${messages} messages`)
  await inNode(seed + 1_000_000, WARM_UP)
  const watch = watchProcess()
  const before = await heapAfterGc()
  const node = await inNode(seed, messages)
  const after = await heapAfterGc()
  log('in Chromium')
  const chromium = await inChromium(seed + 1, Math.round(messages * IN_CHROMIUM))
  watch.end()
  const wrong = [...node.wrong, ...chromium.wrong, ...watch.violations]
  if (after - before > MOST_LEFT) wrong.push(`${after - before} bytes of heap are left`)
  const result = {
    ok: wrong.length === 0,
    wrong,
    seed,
    messages,
    heap: { before, after, left: after - before },
    node,
    chromium,
  }
  process.stdout.write(`${JSON.stringify(result)}\n`)
  for (const line of wrong) log(line)
  if (result.ok && messages >= FULL) keepResult('client', result)
  return result.ok
}

const [first = String(FULL), given] = process.argv.slice(2)
if (typeof gc !== 'function') {
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

/*
 * A reader of a stream that stops for a while:
 *
 *     npx tsx test/long/streams-stalled.ts [seconds=60]
 *
 * The server is a process of its own. Another client sends an echo each 5 ms: first without the stream, then while its
 * reader stands still. Ends with 1 when the server holds more than 256 KiB for the reader, the reader counts as a slow
 * consumer, or the p99 of the echoes (the median over the seconds) is more than twice that before.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { WebSocket } from 'ws'
import { connect } from '../../lib/client/index.ts'
import { streams } from '../../lib/client/streams.ts'
import { coreOf } from '../../lib/connection/connection.ts'
import { messages } from '../../lib/index.ts'
import { serveMessages } from '../support/talk.ts'
import { runProgram } from './support/program.ts'
import { keepResult } from './support/results.ts'

const FULL = 60
const MOST_HELD = 262_144
const EVERY = 5
/** The credit of the reader, in bytes. */
const CREDITS = { default: undefined, largest: 245_760 } as const

/** What the server says about its memory. */
interface Held {
  /** Bytes that wait in the outboxes, and bytes that the streams keep. */
  readonly outboxes: number
  readonly streams: number
  readonly made: number
  readonly slowConsumers: number
}

async function server(): Promise<void> {
  let made = 0
  const chat = messages()
    .on('echo', ({ data }) => data)
    .on(
      'list',
      async function* () {
        for (;;) {
          made++
          yield 'x'.repeat(1_000)
        }
      },
      { resume: true },
    )
  const { port, hub } = await serveMessages(chat, {}, { heartbeat: {} })
  process.on('disconnect', () => process.exit(0))
  process.on('message', () => {
    let outboxes = 0
    let streamed = 0
    for (const connection of hub.localConnections.values()) {
      outboxes += connection.bufferedAmount
      streamed = coreOf(connection).owner?.streams?.held.total ?? 0
    }
    const slowConsumers = hub.status().drops['slowConsumer'] ?? 0
    process.send?.({ outboxes, streams: streamed, made, slowConsumers } satisfies Held)
  })
  process.send?.({ port })
}

async function heldBy(child: ChildProcess): Promise<Held> {
  child.send('held')
  const [held] = (await once(child, 'message')) as [Held]
  return held
}

/** Sends echoes at fixed times. Returns their latencies in milliseconds. */
async function echoes(port: number, milliseconds: number): Promise<number[]> {
  const client = connect(`ws://127.0.0.1:${port}/`, { WebSocket: WebSocket as never })
  await client.request('echo', 0)
  const times: number[] = []
  const end = performance.now() + milliseconds
  const asked: Promise<unknown>[] = []
  for (let due = performance.now(); due < end; due += EVERY) {
    await pause(Math.max(0, due - performance.now()))
    const began = performance.now()
    asked.push(client.request('echo', 1).then(() => times.push(performance.now() - began)))
  }
  await Promise.all(asked)
  client.close()
  return times
}

/** The median, and the median of the p99 of each second: other work of the machine disturbs some of them. */
function quantiles(times: number[]): { p50: number; p99: number } {
  const at = (list: number[], share: number): number => {
    const sorted = [...list].sort((a, b) => a - b)
    return Math.round((sorted[Math.floor(sorted.length * share)] ?? 0) * 100) / 100
  }
  const each = 1_000 / EVERY
  const seconds = Array.from({ length: Math.ceil(times.length / each) }, (_, i) =>
    at(times.slice(i * each, (i + 1) * each), 0.99),
  )
  return { p50: at(times, 0.5), p99: at(seconds, 0.5) }
}

async function run(): Promise<boolean> {
  const [first = `seconds=${FULL}`] = process.argv.slice(2)
  const seconds = Number(first.replace('seconds=', ''))
  const child = fork(fileURLToPath(import.meta.url), ['--server'])
  const [{ port }] = (await once(child, 'message')) as [{ port: number }]
  await echoes(port, 2_000) // warm-up
  const wrong: string[] = []
  const parts: Record<string, object> = {}
  for (const [name, credit] of Object.entries(CREDITS)) {
    const before = quantiles(await echoes(port, seconds * 1_000))
    const client = connect(`ws://127.0.0.1:${port}/`, { WebSocket: WebSocket as never, streams })
    const stream = client.stream('list', null, { resume: true, credit })
    await stream.next()
    const most = { outboxes: 0, streams: 0 }
    let isOver = false
    const watching = (async () => {
      while (!isOver) {
        const held = await heldBy(child)
        most.outboxes = Math.max(most.outboxes, held.outboxes)
        most.streams = Math.max(most.streams, held.streams)
        await pause(100)
      }
    })()
    const during = quantiles(await echoes(port, seconds * 1_000))
    isOver = true
    await watching
    const { made, slowConsumers } = await heldBy(child)
    // The reader goes on where it stood.
    for (let i = 0; i < 1_000; i++) if ((await stream.next()).done) wrong.push(`${name}: it ended`)
    await stream.return() // otherwise it goes on without a connection
    client.close()
    parts[name] = { before, during, most, made, slowConsumers }
    if (most.outboxes + most.streams > MOST_HELD)
      wrong.push(`${name}: ${JSON.stringify(most)} bytes`)
    if (slowConsumers > 0) wrong.push(`${name}: a slow consumer`)
    if (during.p99 > 2 * before.p99 + 1)
      wrong.push(`${name}: p99 ${during.p99} of ${before.p99} ms`)
  }
  child.disconnect()
  const result = { seconds, parts, wrong: wrong.length }
  for (const one of wrong) console.error(one)
  console.log(JSON.stringify(result))
  if (wrong.length === 0 && seconds >= FULL) keepResult('streams-stalled', result)
  return wrong.length === 0
}

if (process.argv[2] === '--server') await server()
else runProgram(run)

import { getEventListeners } from 'node:events'
import { WebSocket } from 'ws'
import { type Client, connect } from '../../lib/client/index.ts'
import { streams } from '../../lib/client/streams.ts'
import { messages, type ProtocolDefinition } from '../../lib/index.ts'
import { LibTimers } from '../support/limits.ts'
import { randomOf } from '../support/recovery-model.ts'
import { cleanUp, eventually, type Site, turn } from '../support/server.ts'
import { serveMessages } from '../support/talk.ts'
import { runFuzzWithGc } from './support/fuzz.ts'
import { heapAfterGc } from './support/heap.ts'
import { keepResult } from './support/results.ts'
import { watchProcess } from './support/watch.ts'

const FULL = 100_000
/** The files that make timers of streams. */
const SERVER = ['streams/stream-timer', 'streams/stream-sender', 'streams/stream-receiver']
const AT_ONCE = 8
/** The limit of heap growth after a full run in bytes: the usual variation of a heap. */
const MOST_LEFT = 4 * 1024 * 1024

const STAGES = [
  'before the request is sent',
  'at once',
  'after an item',
  'after some items',
  'while the handler waits',
  'while the server waits for credit',
  'with an abort',
  'with an abort during an item',
  'after the last item',
  'an upload, with an abort',
  'an upload, by the handler',
  'an upload, by the source',
] as const

type Stage = (typeof STAGES)[number]

interface Counts {
  started: number
  ended: number
  sources: number
  sourcesEnded: number
  listeners: number
  stages: Record<string, number>
  wrong: string[]
}

function handlers(counts: Counts) {
  return messages()
    .on('list', async function* ({ data, signal }) {
      counts.started++
      const { items, waits } = data as { items: number; waits: boolean }
      try {
        for (let i = 0; i < items; i++) {
          if (waits && i === 2) await aborted(signal)
          yield { i, text: 'x'.repeat(100) }
        }
        return items
      } finally {
        counts.ended++
        counts.listeners += getEventListeners(signal, 'abort').length
      }
    })
    .on('take', async ({ data, upload }) => {
      counts.started++
      try {
        let many = 0
        for await (const _ of upload) if (++many === data) break
        return many
      } finally {
        counts.ended++
      }
    })
}

/** Resolves when a signal aborts, and leaves no listener. */
function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}

/** Ends one request at a stage. */
async function cancel(
  client: Client<ProtocolDefinition>,
  stage: Stage,
  counts: Counts,
  resume: boolean,
): Promise<void> {
  const controller = new AbortController()
  const { signal } = controller
  const ended = async (reply: Promise<unknown>): Promise<void> => {
    await reply.catch(() => {})
    counts.listeners += getEventListeners(signal, 'abort').length
  }
  if (stage.startsWith('an upload')) {
    async function* source(): AsyncGenerator<string> {
      counts.sources++
      try {
        for (let i = 0; i < 50; i++) {
          if (stage.endsWith('by the source') && i === 5) throw new Error('enough')
          if (stage.endsWith('with an abort') && i === 5) controller.abort()
          yield 'x'.repeat(100)
        }
      } finally {
        counts.sourcesEnded++
      }
    }
    await ended(client.upload('take', 3, source(), { signal }))
    return
  }
  const work = { items: stage === 'while the server waits for credit' ? 1_000 : 20, waits: false }
  if (stage === 'while the handler waits') work.waits = true
  const credit = stage === 'while the server waits for credit' ? 500 : undefined
  const stream = client.stream('list', work, { signal, resume, credit })
  if (stage === 'before the request is sent') void stream.return()
  else if (stage === 'at once') {
    await turn()
    void stream.return()
  } else if (stage === 'with an abort') {
    await turn()
    controller.abort()
  } else {
    const last = { 'after an item': 1, 'after the last item': 20 }[stage as string] ?? 2
    let taken = 0
    try {
      for await (const _ of stream) {
        if (++taken < last) continue
        if (stage === 'with an abort during an item') controller.abort()
        else break
      }
    } catch {}
  }
  await ended(stream.reply)
}

async function round(
  site: Site,
  clients: Client<ProtocolDefinition>[],
  many: number,
  random: () => number,
  counts: Counts,
): Promise<void> {
  let left = many
  const lane = async (client: Client<ProtocolDefinition>): Promise<void> => {
    while (left-- > 0) {
      const stage = STAGES[Math.floor(random() * STAGES.length)] as Stage
      counts.stages[stage] = (counts.stages[stage] ?? 0) + 1
      await cancel(client, stage, counts, random() < 0.3)
    }
  }
  await Promise.all(clients.map(lane))
  await eventually(() => counts.started === counts.ended, 'the end of all handlers')
  await eventually(() => counts.sources === counts.sourcesEnded, 'the end of all sources')
  for (let i = 0; i < 5; i++) await turn()
  if (site.errors.length > 0) counts.wrong.push(String(site.errors[0]?.error.stack))
}

async function run(cancels: number, seed: number): Promise<boolean> {
  process.stderr.write(`seed ${seed}\n`)
  const began = performance.now()
  const random = randomOf(seed)
  const watch = watchProcess()
  const counts = newCounts()
  const site = await serveMessages(
    handlers(counts),
    {},
    { heartbeat: false, user: () => 'ann', flood: false },
  )
  const timers = new LibTimers()
  const clients = Array.from({ length: AT_ONCE }, () =>
    connect(`ws://127.0.0.1:${site.port}/`, { WebSocket: WebSocket as never, streams }),
  )
  await round(site, clients, Math.min(5_000, cancels), random, counts) // warm-up
  const before = await heapAfterGc()
  const measured = newCounts()
  Object.assign(counts, measured)
  for (let done = 0; done < cancels; done += 10_000) {
    await round(site, clients, Math.min(10_000, cancels - done), random, counts)
    process.stderr.write(`${Math.min(done + 10_000, cancels)} cancels\n`)
  }
  const after = await heapAfterGc()
  const left = SERVER.reduce((sum, file) => sum + timers.of(file), 0)
  const pending = timers.of('client/timer')
  timers.stop()
  watch.end()
  const { wrong } = counts
  wrong.push(...watch.violations)
  if (left > 0) wrong.push(`${left} timers of streams are left on the server`)
  if (counts.listeners > 0) wrong.push(`${counts.listeners} listeners are left`)
  if (after - before > MOST_LEFT) wrong.push(`${after - before} bytes of heap are left`)
  for (const client of clients) client.close()
  await cleanUp()
  const seconds = Math.round((performance.now() - began) / 100) / 10
  const { started, ended, sources, sourcesEnded, listeners, stages } = counts
  const result = {
    seed,
    cancels,
    handlers: { started, finally: ended },
    sources: { started: sources, finally: sourcesEnded },
    listeners,
    timers: { streams: left, 'of the clients': pending },
    heap: { before, after, left: after - before },
    stages,
    seconds,
    wrong: wrong.length,
  }
  for (const one of wrong) console.error(one)
  console.log(JSON.stringify(result))
  if (wrong.length === 0 && cancels >= FULL) keepResult('streams-cancel', result)
  return wrong.length === 0
}

function newCounts(): Counts {
  return { started: 0, ended: 0, sources: 0, sourcesEnded: 0, listeners: 0, stages: {}, wrong: [] }
}

await runFuzzWithGc(FULL, run)

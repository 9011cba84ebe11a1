// A server with streams, and clients that attack it.
import { once } from 'node:events'
import { WebSocket } from 'ws'
import { errorTable } from '../../lib/error-table.ts'
import { MessageError, messages } from '../../lib/index.ts'
import { HostileStreams } from './hostile-streams.ts'
import { eventually, type Site, turn } from './server.ts'
import { serveMessages } from './talk.ts'

/** The limit on the bytes that the streams of the attacked server hold. */
const MOST_HELD = 1_000_000

/** The result of an attack. */
export interface StreamsAttack {
  sent: number
  connections: number
  received: Record<string, number>
  codes: Record<string, number>
  closes: Record<string, number>
  /** Handlers that were called, and handlers the `finally` of which ran. */
  started: number
  ended: number
  /** The most bytes that waited for one connection. */
  mostWaiting: number
  drops: Record<string, number>
  violations: string[]
}

const CODES = new Set([...Object.keys(errorTable), 'internal', 'conflict'])
const FROM_SERVER = new Set([
  'koaws:welcome',
  'koaws:item',
  'koaws:reply',
  'koaws:error',
  'koaws:credit',
  'koaws:cancel',
])
/** A connection ends on its own by an offense of its client, as a slow consumer, or as a flood. */
const CLOSES = new Set([1005, 1006, 1008, 4400, 4610])

/** Sends hostile messages over some connections at a time, and judges the answers. */
export async function attackStreams(options: {
  readonly seed: number
  readonly messages: number
  readonly connections: number
  readonly onProgress?: (sent: number) => void
}): Promise<StreamsAttack> {
  const result: StreamsAttack = {
    sent: 0,
    connections: 0,
    received: {},
    codes: {},
    closes: {},
    started: 0,
    ended: 0,
    mostWaiting: 0,
    drops: {},
    violations: [],
  }
  const site = await serveStreams(result)
  const lanes = Array.from({ length: options.connections }, async (_, lane) => {
    const generator = new HostileStreams(options.seed + lane)
    while (result.sent < options.messages && result.violations.length < 20) {
      await runConnection(site, generator, result, options.messages)
      options.onProgress?.(result.sent)
    }
  })
  await Promise.all(lanes)
  await eventually(() => site.hub.status().connections === 0, 'the end of all connections')
  // Without their connections all streams end, with `resume` after 200 ms.
  await eventually(() => result.started === result.ended, 'the end of all handlers')
  for (const { error } of site.errors) {
    if (error.message !== 'boom') result.violations.push(`app.on('error'): ${error.stack}`)
  }
  Object.assign(result.drops, site.hub.status().drops)
  return result
}

async function serveStreams(result: StreamsAttack): Promise<Site> {
  const counted = <T extends unknown[]>(run: (...args: T) => AsyncGenerator<unknown, unknown>) =>
    async function* (...args: T): AsyncGenerator<unknown, unknown> {
      result.started++
      try {
        return yield* run(...args)
      } finally {
        result.ended++
      }
    }
  const list = counted(async function* ({ data }: { data: unknown }) {
    const items = typeof data === 'number' ? Math.min(data, 500) : 3
    for (let i = 0; i < items; i++) {
      if (i % 10 === 9) await turn()
      yield { i, text: 'x'.repeat(i % 50) }
    }
    return items
  })
  const chat = messages({ maxOffences: 50 })
    .on('list', list as never)
    .on('resumed', list as never, { resume: true })
    .on(
      'endless',
      counted(async function* () {
        for (let i = 0; ; i++) {
          await turn()
          yield i
        }
      }) as never,
      { resume: true },
    )
    .on('take', async (message) => {
      result.started++
      try {
        let many = 0
        for await (const _ of message.upload) if (++many === 20) break
        return many
      } finally {
        result.ended++
      }
    })
    .on(
      'both',
      counted(async function* (message: { upload: AsyncIterable<unknown> }) {
        for await (const item of message.upload) yield item
        return null
      }) as never,
    )
    .on('plain', ({ data }) => data)
    .on(
      'fail',
      counted(async function* ({ data }: { data: unknown }) {
        yield 1
        if (data === 7) throw new Error('boom')
        throw new MessageError(409, 'no')
      }) as never,
    )
  const streams = { bytes: MOST_HELD, idle: 500, resume: 200, perConnection: 8 }
  return serveMessages(
    chat,
    {},
    { streams, heartbeat: false, user: (ctx) => String(ctx.query['user']) },
  )
}

async function runConnection(
  site: Site,
  generator: HostileStreams,
  result: StreamsAttack,
  most: number,
): Promise<void> {
  result.connections++
  generator.begin()
  const user = generator.below(4)
  const socket = new WebSocket(`ws://127.0.0.1:${site.port}/?user=${user}`, 'koaws.v1')
  const wrong = (what: string): void => {
    if (result.violations.length < 20) result.violations.push(what)
  }
  socket.on('error', (error) => wrong(`a socket: ${error.message}`))
  socket.on('message', (data) => judge(String(data), result, wrong))
  const closed = once(socket, 'close')
  await once(socket, 'open')
  // Some do not read: what waits for them on the server must have a bound.
  if (generator.chance(0.2)) socket.pause()
  for (let left = 20 + generator.below(400); left > 0 && result.sent < most; left--) {
    if (socket.readyState !== socket.OPEN) break
    socket.send(generator.next())
    result.sent++
    if (generator.chance(0.1)) await turn()
    for (const connection of left % 50 === 0 ? site.hub.localConnections.values() : []) {
      result.mostWaiting = Math.max(result.mostWaiting, connection.bufferedAmount)
    }
  }
  for (let i = 0; i < 5; i++) await turn()
  if (generator.chance(0.5)) socket.terminate()
  else {
    socket.resume()
    socket.close()
  }
  const [code] = (await closed) as [number]
  result.closes[code] = (result.closes[code] ?? 0) + 1
  if (!CLOSES.has(code)) wrong(`closed with ${code}`)
}

function judge(text: string, result: StreamsAttack, wrong: (what: string) => void): void {
  const { type, id, error } = JSON.parse(text) as {
    type: string
    id?: number
    error?: { code: string }
  }
  result.received[type] = (result.received[type] ?? 0) + 1
  if (!FROM_SERVER.has(type)) wrong(`the server sent ${text.slice(0, 100)}`)
  const needsId = type !== 'koaws:welcome' && type !== 'koaws:error'
  if (needsId && !Number.isSafeInteger(id)) wrong(`without an id: ${text.slice(0, 100)}`)
  if (type !== 'koaws:error') return
  const code = String(error?.code)
  result.codes[code] = (result.codes[code] ?? 0) + 1
  if (!CODES.has(code)) wrong(`an undocumented code: ${code}`)
}

/*
 * Streams with `resume` over connections that are cut, on two instances:
 *
 *     npx tsx test/long/streams.ts [items=1000000] [seed] [--only=redis,cluster]
 *
 * A cut for each 900 items. Ends with 1 when an item is lost without an error, comes twice or out of order, or a
 * stream hangs.
 */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { Redis } from 'ioredis'
import Koa from 'koa'
import { WebSocket } from 'ws'
import { clusterAdapter } from '../../lib/adapters/cluster/index.ts'
import { redisAdapter } from '../../lib/adapters/redis/index.ts'
import { connect } from '../../lib/client/index.ts'
import { streams } from '../../lib/client/streams.ts'
import koaWs, { type Adapter, accept, type Hub, messages } from '../../lib/index.ts'
import { startCutProxy } from '../support/cut-proxy.ts'
import { randomOf } from '../support/recovery-model.ts'
import { startRedis, stopRedis } from '../support/redis.ts'
import { eventually } from '../support/server.ts'
import { runFuzz } from './support/fuzz.ts'
import { optionOf } from './support/program.ts'
import { keepResult } from './support/results.ts'

const FULL = 1_000_000
const ITEMS_OF_A_CUT = 900
const ITEMS_OF_A_STREAM = 5_000
const CLIENTS = 8
/** No stream is without an item for so long, in milliseconds. */
const SILENCE = 60_000
const NAMES = ['redis', 'cluster'] as const

type Name = (typeof NAMES)[number]

/** What has become of the items. `lost` ones are those of which no error told. */
interface Figures {
  streams: number
  items: number
  cuts: number
  /** Streams of which the iterator said that they cannot go on, by code. */
  told: Record<string, number>
  lost: number
  twice: number
  'out of order': number
  hanging: number
  /** Errors that the applications got. */
  reported: number
}

interface Instance {
  readonly hub: Hub
  readonly server: Server
  readonly port: number
}

async function serve(adapter: Adapter, figures: Figures): Promise<Instance> {
  const chat = messages().on(
    'count',
    async function* ({ data }) {
      const items = data as number
      for (let i = 0; i < items; i++) {
        if (i % 32 === 0) await nextTurn()
        yield i
      }
      return items
    },
    { resume: true },
  )
  const hub = koaWs({ adapter, user: (ctx) => String(ctx.query['user']) })
  const app = new Koa()
  app.on('error', (error) => {
    figures.reported++
    process.stderr.write(`${error.stack}\n`)
  })
  app.use(hub)
  app.use(accept(chat))
  const server = createServer(app.callback())
  hub.attach(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { hub, server, port: (server.address() as AddressInfo).port }
}

async function runOver(
  name: Name,
  adapters: () => Adapter,
  items: number,
  seed: number,
): Promise<Figures & { seconds: number; drops: Record<string, number>[] }> {
  const began = performance.now()
  const random = randomOf(seed)
  const figures: Figures = {
    streams: 0,
    items: 0,
    cuts: 0,
    told: {},
    lost: 0,
    twice: 0,
    'out of order': 0,
    hanging: 0,
    reported: 0,
  }
  const instances = [await serve(adapters(), figures), await serve(adapters(), figures)] as const
  await eventually(() => instances.every(({ hub }) => hub.status().backplane?.instances === 1))
  let begun = 0

  const play = async (index: number): Promise<void> => {
    const proxy = await startCutProxy(() => instances[random() < 0.5 ? 0 : 1].port)
    const client = connect(`ws://127.0.0.1:${proxy.port}/?user=${index}`, {
      WebSocket: WebSocket as never,
      minDelay: 1,
      maxDelay: 20,
      streams,
    })
    let untilCut = Math.ceil(random() * 2 * ITEMS_OF_A_CUT)
    while (begun < items) {
      const many = Math.min(ITEMS_OF_A_STREAM, items - begun)
      begun += many
      figures.streams++
      const stream = client.stream('count', many, { resume: true, timeout: SILENCE })
      let next = 0
      try {
        for await (const item of stream) {
          const i = item as number
          figures.items++
          if (i < next) figures.twice++
          else if (i > next) figures['out of order']++
          next = Math.max(next, i + 1)
          if (--untilCut > 0) continue
          untilCut = Math.ceil(random() * 2 * ITEMS_OF_A_CUT)
          figures.cuts += proxy.cut()
          // Otherwise the rest may wait in the client already, and the next request would go into the cut.
          for (let turns = 0; turns < 5; turns++) await nextTurn()
        }
        if ((await stream.reply) !== many || next !== many) figures.lost += many - next
      } catch (error) {
        const code = String((error as { code?: unknown }).code ?? error)
        figures.told[code] = (figures.told[code] ?? 0) + 1
        if (code === 'ERR_KOAWS_TIMEOUT') figures.hanging++
      }
      process.stderr.write(`${name}: ${JSON.stringify(figures)}\n`)
    }
    client.close()
    proxy.close()
  }
  await Promise.all(Array.from({ length: CLIENTS }, (_, index) => play(index)))
  const drops = instances.map(({ hub }) => hub.status().drops)
  await Promise.all(instances.map(({ hub }) => hub.close({ timeout: 1_000 })))
  for (const { server } of instances) server.close()
  return { ...figures, drops, seconds: Math.round((performance.now() - began) / 100) / 10 }
}

async function run(items: number, seed: number): Promise<boolean> {
  const alive = setInterval(() => {}, 60_000) // adapters keep no process alive
  console.log(`seed ${seed}`)
  const names = (optionOf('only')?.split(',') ?? NAMES) as Name[]
  let isWell = true
  for (const name of names) {
    const folder = mkdtempSync(join(tmpdir(), 'koaws-'))
    const redis = name === 'redis' ? await startRedis() : null
    const adapters = (): Adapter =>
      redis
        ? redisAdapter({
            client: new Redis({ host: '127.0.0.1', port: redis.port, lazyConnect: true }),
            heartbeat: 200,
          })
        : clusterAdapter({ name: 'streams', folder, heartbeat: 200 })
    const result = await runOver(name, adapters, items, seed)
    if (redis) await stopRedis()
    rmSync(folder, { recursive: true, force: true })
    console.log(`${name}: ${JSON.stringify(result)}`)
    const { lost, twice, hanging, reported } = result
    const isGood = lost + twice + hanging + reported + result['out of order'] === 0
    isWell &&= isGood
    if (isGood && items >= FULL) keepResult(`streams-${name}`, { seed, ...result })
  }
  clearInterval(alive)
  return isWell
}

runFuzz(FULL, run)

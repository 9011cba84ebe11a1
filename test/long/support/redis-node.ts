/**
 * One instance in a separate process, which publishes numbered messages and keeps the result of each.
 * `RedisNode` of redis-nodes.ts starts it and sends its orders.
 */
import { subscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { LostEvent } from '../../../lib/index.ts'
import type {
  Contestant,
  Instance,
  RecoverySettings,
  RedisAddress,
  Verdict,
} from './redis-contestants.ts'
import { startInstance } from './redis-contestants.ts'

/** The orders to a node. */
export type NodeOrder =
  | { readonly do: 'start'; readonly given: StartGiven }
  | { readonly do: 'publish'; readonly given: { readonly p: number; readonly perSecond: number } }
  | { readonly do: 'stop' | 'report' }

interface StartGiven {
  readonly contestant: Contestant
  readonly redis: RedisAddress
  readonly host: string
  /** 0: any free port. */
  readonly port: number
  readonly recovery?: RecoverySettings | undefined
}

/** What a node tells while it runs: the number of a message with its time, or with its verdict. */
export type News = readonly [s: number, what: number | Verdict]

/** How often it tells, in milliseconds. */
const TELL = 20

/** The results of the messages of a node, and its own state. */
export interface NodeReport {
  /** The publish time of each message, by number. */
  readonly at: readonly number[]
  /** The verdict of each message; null: none so far. */
  readonly verdicts: readonly (Verdict | null)[]
  /** Whether the library reports verdicts. */
  readonly hasVerdicts: boolean
  /** Uncaught errors: without a listener, each of them would end the process. */
  readonly uncaught: readonly string[]
  readonly lost: readonly Pick<LostEvent, 'direction' | 'topic' | 'from' | 'count'>[]
  readonly status: ReturnType<Instance['status']> | null
  /** The longest turn of the event loop, in milliseconds. */
  readonly longestTurn: number
}

let instance: Instance
let timer: NodeJS.Timeout | undefined
const at: number[] = []
const verdicts: (Verdict | null)[] = []
let hasVerdicts = false
const uncaught: string[] = []
const lost: NodeReport['lost'][number][] = []
const loop = monitorEventLoopDelay({ resolution: 10 })

let news: News[] | null = null

async function start(given: StartGiven): Promise<{ port: number }> {
  const { contestant, redis, host, port, recovery } = given
  instance = await startInstance(contestant, redis, recovery)
  if (recovery) {
    news = []
    setInterval(tell, TELL)
  }
  instance.http.listen(port, host)
  await once(instance.http, 'listening')
  loop.enable()
  return { port: (instance.http.address() as AddressInfo).port }
}

function publish({ p, perSecond }: { p: number; perSecond: number }): void {
  const began = performance.now()
  let published = 0
  timer = setInterval(() => {
    const due = ((performance.now() - began) * perSecond) / 1000
    for (; published < due; published++) one(p)
  }, 1000 / perSecond)
}

/** A node may be killed at any time: then this is all that is known of its messages. */
function tell(): void {
  if (news && news.length > 0) process.send?.({ news: news.splice(0) })
}

function one(p: number): void {
  const s = at.length
  at.push(Date.now())
  news?.push([s, at[s] as number])
  verdicts.push(null)
  const verdict = instance.publish({ p, s })
  if (!verdict) return
  hasVerdicts = true
  void verdict.then((what) => {
    verdicts[s] = what
    news?.push([s, what])
  })
}

function report(): NodeReport {
  tell()
  const status = instance.status()
  const { id, backplane, drops, history } = status ?? {}
  return {
    at,
    verdicts,
    hasVerdicts,
    uncaught,
    lost,
    status: status ? ({ id, backplane, drops, history } as NodeReport['status']) : null,
    longestTurn: Math.round(loop.max / 1e6),
  }
}

const acts: Record<string, (given: never) => unknown> = {
  start,
  publish,
  stop: () => clearInterval(timer),
  report,
}

const note = (error: unknown): void =>
  void uncaught.push(String((error as Error)?.stack ?? error).slice(0, 300))
process.on('uncaughtException', note)
process.on('unhandledRejection', note)
process.on('disconnect', () => process.exit(0))
subscribe('koaws:lost', (event) => {
  const { direction, topic, from, count } = event as LostEvent
  lost.push({ direction, topic, from, count })
})
process.on('message', async (order: NodeOrder & { id: number; given?: never }) => {
  try {
    process.send?.({ id: order.id, result: (await acts[order.do]?.(order.given as never)) ?? null })
  } catch (error) {
    process.send?.({ id: order.id, error: String((error as Error).stack) })
  }
})

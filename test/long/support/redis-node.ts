/**
 * One instance in a process of its own, that publishes numbered messages and keeps what came of each.
 * `RedisNode` of redis-nodes.ts starts it and speaks to it.
 */
import { subscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { LostEvent } from '../../../lib/index.ts'
import type { Contestant, Instance, RedisAddress, Verdict } from './redis-contestants.ts'
import { startInstance } from './redis-contestants.ts'

/** What a node is told. */
export type NodeOrder =
  | { readonly do: 'start'; readonly given: StartGiven }
  | { readonly do: 'publish'; readonly given: { readonly p: number; readonly perSecond: number } }
  | { readonly do: 'stop' | 'report' }

interface StartGiven {
  readonly contestant: Contestant
  readonly redis: RedisAddress
  readonly host: string
  /** 0: any. */
  readonly port: number
}

/** What came of what a node has published, and of the node. */
export interface NodeReport {
  /** When each message was published, by its number. */
  readonly at: readonly number[]
  /** What was said of each; null: nothing so far. */
  readonly verdicts: readonly (Verdict | null)[]
  /** Whether it is said at all. */
  readonly hasVerdicts: boolean
  /** Errors that nobody caught: without a listener each of them ends a process. */
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

async function start({ contestant, redis, host, port }: StartGiven): Promise<{ port: number }> {
  instance = await startInstance(contestant, redis)
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

function one(p: number): void {
  const s = at.length
  at.push(Date.now())
  verdicts.push(null)
  const verdict = instance.publish({ p, s })
  if (!verdict) return
  hasVerdicts = true
  void verdict.then((what) => {
    verdicts[s] = what
  })
}

function report(): NodeReport {
  const status = instance.status()
  const { id, backplane, drops } = status ?? {}
  return {
    at,
    verdicts,
    hasVerdicts,
    uncaught,
    lost,
    status: status ? ({ id, backplane, drops } as NodeReport['status']) : null,
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

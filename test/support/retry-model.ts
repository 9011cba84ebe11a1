import Koa from 'koa'
import { connect } from '../../lib/client/index.ts'
import koaWs, { type Adapter, accept, type Hub, MessageError, messages } from '../../lib/index.ts'
import { testApp } from '../../lib/testing/index.ts'
import { type Cut, cutting } from './cut-socket.ts'
import { randomOf } from './recovery-model.ts'

/** The instances of a model. */
export interface RetryEngine {
  /** Returns the adapter of the next instance; undefined for an instance that shares nothing. */
  adapter(): Adapter | undefined
  /** Disturbs the engine. */
  harm?(random: () => number): void
}

/** What a model has seen. */
export interface RetryReport {
  readonly requests: number
  /** Answered with the right reply or error of the handler. */
  readonly answered: number
  /** Rejected with `ERR_KOAWS_OUTCOME_UNKNOWN`. */
  readonly unknown: number
  /** Rejected, and not run. */
  readonly refused: number
  readonly cuts: number
  /** How often an instance was replaced. */
  readonly replaced: number
  readonly wrong: readonly string[]
}

/** The size of a model. */
export interface RetrySize {
  readonly instances: number
  readonly clients: number
  /** The requests of each client. */
  readonly requests: number
  /** The pause between two disturbances, in milliseconds. @default 5 */
  readonly every?: number
  /** How likely an instance shuts down at a disturbance, and another one takes its place. @default 0 */
  readonly replaces?: number
}

const STAGES: readonly Cut[] = ['instead of sending', 'after sending', 'on receiving']
/** How long a request may take before it counts as hanging, in milliseconds. */
const HANGS = 60_000

interface Instance {
  readonly hub: Hub
  readonly app: Koa
}

/** Sends requests with `retry` over connections that break at every stage, and judges each outcome. */
export async function runRetryModel(
  seed: number,
  engine: RetryEngine,
  { instances, clients, requests, every = 5, replaces = 0 }: RetrySize,
): Promise<RetryReport> {
  const random = randomOf(seed)
  const below = (most: number): number => Math.floor(random() * most)
  const runs = new Map<number, number>()
  const wrong: string[] = []
  const counts = { answered: 0, unknown: 0, refused: 0, cuts: 0, replaced: 0 }

  const serve = (): Instance => {
    const chat = messages({ concurrency: 4 }).on('add', async ({ data }) => {
      const n = data as number
      runs.set(n, (runs.get(n) ?? 0) + 1)
      if (n % 3 === 0) await new Promise((resolve) => setTimeout(resolve, n % 7))
      if (n % 11 === 0) throw new MessageError(409, 'no', { code: 'no', data: n })
      return n * 2
    })
    const adapter = engine.adapter()
    const hub = koaWs({ user: (ctx) => ctx.query['user'] as string, adapter, heartbeat: false })
    const app = new Koa()
    app.on('error', (error) => wrong.push(`error: ${error.stack}`))
    app.use(hub)
    app.use(accept(chat))
    return { hub, app }
  }
  const all = Array.from({ length: instances }, serve)
  const closing: Promise<void>[] = []

  const harm = (): void => {
    engine.harm?.(random)
    const { hub } = all[below(all.length)] as Instance
    for (const connection of hub.localConnections.values()) {
      if (random() < 0.5) connection.terminate()
    }
    if (random() >= replaces) return
    const old = all.splice(below(all.length), 1, serve())
    counts.replaced++
    closing.push(...old.map((one) => one.hub.close({ timeout: 2_000 })))
  }
  const harming = setInterval(harm, every)

  const runClient = async (index: number): Promise<void> => {
    const plan = (text: string, isSent: boolean): Cut => {
      const concerned = isSent ? /"key"/.test(text) : /"koaws:(reply|error)"/.test(text)
      if (!concerned || random() > 0.15) return 'never'
      const stage = STAGES[below(3)] as Cut
      if ((stage === 'on receiving') === isSent) return 'never'
      counts.cuts++
      return stage
    }
    const base = () => testApp((all[below(all.length)] as Instance).app).webSocket()
    const client = connect(`ws://app/?user=${seed}-${index}`, {
      WebSocket: cutting(base, plan),
      minDelay: 1,
      maxDelay: 3,
      retry: () => true,
    })
    const ask = async (n: number): Promise<void> => {
      const hanging = setTimeout(() => wrong.push(`${n}: it hangs`), HANGS)
      try {
        judge(n, { value: await client.request('add', n, { retry: true }) })
      } catch (error) {
        judge(n, { error: error as Record<string, unknown> })
      }
      clearTimeout(hanging)
    }
    for (let i = 0; i < requests; ) {
      const many = Math.min(1 + below(4), requests - i)
      const first = index * requests + i
      await Promise.all(Array.from({ length: many }, (_, k) => ask(first + k)))
      i += many
    }
    client.close()
  }

  const judge = (
    n: number,
    { value, error }: { value?: unknown; error?: Record<string, unknown> },
  ) => {
    const many = runs.get(n) ?? 0
    const report = (what: string): void => void wrong.push(`${n}: ${what}`)
    if (many > 1) report(`run ${many} times`)
    if (error === undefined) {
      if (value !== n * 2 || n % 11 === 0 || many !== 1) report(`${value} after ${many} runs`)
      counts.answered++
    } else if (error['code'] === 'no') {
      if (n % 11 !== 0 || error['data'] !== n || many !== 1) report(`refused after ${many} runs`)
      counts.answered++
    } else if (error['code'] === 'ERR_KOAWS_OUTCOME_UNKNOWN') {
      counts.unknown++
    } else if (error['code'] === 'ERR_KOAWS_RETRY_STORE') {
      if (many !== 0) report(`${error['code']} after ${many} runs`)
      counts.refused++
    } else report(`${error['code']} ${error}`)
  }

  await Promise.all(Array.from({ length: clients }, (_, index) => runClient(index)))
  clearInterval(harming)
  await Promise.all([...closing, ...all.map(({ hub }) => hub.close({ timeout: 2_000 }))])
  for (const [n, many] of runs) if (many > 1) wrong.push(`${n}: run ${many} times in the end`)
  return { requests: clients * requests, ...counts, wrong }
}

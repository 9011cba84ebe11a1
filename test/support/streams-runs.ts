// The handlers of the model of streams, and what they have seen.
import { MessageError } from '../../lib/index.ts'
import type { Asked } from './streams-site.ts'
import type { VirtualTime } from './virtual-time.ts'

/** What a request asks its handler to do. */
export interface Work {
  readonly run: number
  /** How many items the generator has. */
  readonly items: number
  /** The size of each item, in characters. */
  readonly size: number
  /** The pause before each item, in milliseconds. */
  readonly gap: number
  /** The generator throws at this item. */
  readonly throwsAt: number | null
  /** The handler leaves its loop over items of the client at this one. */
  readonly leavesAt: number | null
  /** Whether it ends its pauses when the signal aborts. */
  readonly heeds: boolean
}

/** What was seen of one request. */
export interface Run {
  readonly number: number
  /** How often the handler was called, and how often its `finally` ran. */
  started: number
  ended: number
  threw: boolean
  /** Items that the handler has made, and items of the client that it has got. */
  sent: number
  got: number
  fault?: string
}

/** Calls the handler of a type. */
export function handlerOf(
  type: string,
  { data, signal, upload }: Asked,
  runs: Map<number, Run>,
  time: VirtualTime,
): unknown {
  const work = data as Work
  const run = runs.get(work.run) as Run
  const heeded = work.heeds ? signal : undefined
  if (type === 'list') return list(work, run, time, heeded)
  if (type === 'take') return take(work, run, time, upload())
  return both(work, run, upload())
}

async function* list(
  work: Work,
  run: Run,
  time: VirtualTime,
  signal: AbortSignal | undefined,
): AsyncGenerator<object, object> {
  run.started++
  try {
    for (let i = 0; i < work.items; i++) {
      if (work.gap > 0) await pause(time, work.gap, signal)
      if (i === work.throwsAt) throw boom(run)
      run.sent++
      yield itemOf(i, work.size)
    }
    return { items: work.items }
  } finally {
    run.ended++
  }
}

async function take(
  work: Work,
  run: Run,
  time: VirtualTime,
  upload: AsyncIterable<unknown>,
): Promise<object> {
  run.started++
  try {
    for await (const item of upload) {
      if ((item as { i: number }).i !== run.got) run.fault = `got ${JSON.stringify(item)}`
      run.got++
      if (work.gap > 0) await time.pass(work.gap)
      if (run.got === work.throwsAt) throw boom(run)
      if (run.got === work.leavesAt) break
    }
    return { items: run.got }
  } finally {
    run.ended++
  }
}

/** Sends each item of the client back. */
async function* both(
  work: Work,
  run: Run,
  upload: AsyncIterable<unknown>,
): AsyncGenerator<object, object> {
  run.started++
  try {
    for await (const item of upload) {
      if ((item as { i: number }).i !== run.got) run.fault = `got ${JSON.stringify(item)}`
      run.got++
      if (run.got === work.throwsAt) throw boom(run)
      run.sent++
      yield item as object
      if (run.got === work.leavesAt) break
    }
    return { items: run.got }
  } finally {
    run.ended++
  }
}

function boom(run: Run): Error {
  run.threw = true
  return new MessageError(409, 'boom', { code: 'boom' })
}

export function itemOf(i: number, size: number): object {
  return { i, text: 'x'.repeat(size) }
}

async function pause(time: VirtualTime, gap: number, signal: AbortSignal | undefined) {
  if (!signal) return time.pass(gap)
  signal.throwIfAborted()
  await new Promise<void>((resolve, reject) => {
    const abort = (): void => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    time.after(gap, () => {
      signal.removeEventListener('abort', abort)
      resolve()
    })
  })
}

/** Returns what is wrong with the handlers at the end. */
export function judgeRuns(runs: Map<number, Run>): string[] {
  const wrong: string[] = []
  for (const { number, started, ended, fault } of runs.values()) {
    if (fault) wrong.push(`the handler ${number}: ${fault}`)
    if (started > 1) wrong.push(`the handler ${number} ran ${started} times`)
    if (ended !== started) wrong.push(`of the handler ${number}, finally ran ${ended} times`)
  }
  return wrong
}

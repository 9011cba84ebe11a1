// The application of the client in the model of streams, and its account of each stream.
import type { Client, ClientStream } from '../../lib/client/index.ts'
import type { ProtocolDefinition } from '../../lib/protocol/definition.ts'
import { itemOf, type Run, type Work } from './streams-runs.ts'
import type { VirtualTime } from './virtual-time.ts'

/** What one request has come to. */
export interface Account {
  /** What it was, for messages. */
  readonly what: string
  readonly run: Run
  readonly resumes: boolean
  /** Whether the reader stops for longer than the server waits. */
  readonly isStalled: boolean
  isSettled: boolean
  /** `done`, `left`, `aborted`, or the code of the error. */
  outcome: string
  items: number
  readonly faults: string[]
}

/** Where chance comes from. */
export interface Dice {
  chance(share: number): boolean
  below(most: number): number
  pick<T>(list: readonly T[]): T
}

type Way = 'reads all' | 'breaks' | 'aborts' | 'returns' | 'stalls'

function workOf(run: Run, dice: Dice): Work {
  const isLarge = dice.chance(0.15)
  return {
    run: run.number,
    items: isLarge ? dice.below(30) : dice.below(dice.pick([3, 40])),
    size: isLarge ? 1_000 + dice.below(40_000) : dice.below(40),
    gap: dice.pick([0, 0, 1, 20, 150]),
    throwsAt: dice.chance(0.1) ? dice.below(10) : null,
    leavesAt: dice.chance(0.15) ? 1 + dice.below(10) : null,
    heeds: dice.chance(0.5),
  }
}

/** Reads a stream in one of some ways. */
export function playStream(
  client: Client<ProtocolDefinition>,
  run: Run,
  dice: Dice,
  time: VirtualTime,
): Account {
  const work = workOf(run, dice)
  const resume = dice.chance(0.7)
  const way = dice.pick<Way>([
    'reads all',
    'reads all',
    'reads all',
    'breaks',
    'aborts',
    'returns',
    'stalls',
  ])
  const credit = dice.pick([1, 1, 60, 300, 5_000, undefined, 245_760])
  const account = accountOf(
    `list ${JSON.stringify({ ...work, way, resume, credit })}`,
    run,
    resume,
    way === 'stalls',
  )
  const { faults } = account
  const controller = new AbortController()
  const reason = new Error('enough')
  const stream = client.stream('list', work, { resume, credit, signal: controller.signal })
  const pause = dice.pick([0, 0, 0, 5, 60])
  const last = dice.below(12)
  if (way === 'aborts') time.after(dice.below(2_500), () => controller.abort(reason))
  if (way === 'returns') time.after(dice.below(2_500), () => void stream.return())

  const read = async (): Promise<void> => {
    for await (const item of stream) {
      const expected = itemOf(account.items, work.size)
      if (JSON.stringify(item) !== JSON.stringify(expected)) {
        faults.push(`item ${account.items} is ${JSON.stringify(item).slice(0, 40)}`)
      }
      account.items++
      if (way === 'breaks' && account.items > last) break
      if (way === 'stalls' && account.items === last) await time.pass(300_000)
      else if (pause > 0) await time.pass(pause)
    }
  }
  const judge = async (): Promise<void> => {
    let failure: unknown
    await read().catch((error: unknown) => {
      failure = error
    })
    const reply = await outcomeOf(stream)
    account.outcome = reply.outcome
    if (reply.error === reason) account.outcome = 'aborted'
    if (reply.outcome === 'ERR_KOAWS_CANCELLED') {
      if (way === 'breaks' || way === 'returns') account.outcome = 'left'
    } else if (reply.outcome === 'done') {
      // A loop that was left, or an abort after the answer, may have fewer.
      const isWhole = way === 'reads all' || way === 'stalls'
      if (isWhole && account.items !== work.items) faults.push(`${account.items} of ${work.items}`)
      if (isWhole && failure) faults.push(`a reply, and ${String(failure)}`)
      if ((reply.value as { items: number }).items !== work.items) faults.push('another reply')
    } else if (failure === undefined && (way === 'reads all' || way === 'stalls')) {
      faults.push(`the loop ended without ${reply.outcome}`)
    }
    account.isSettled = true
  }
  void judge()
  return account
}

/** Sends items, with items of the server at the same time or without. */
export function playUpload(
  client: Client<ProtocolDefinition>,
  run: Run,
  dice: Dice,
  time: VirtualTime,
): Account {
  const work = workOf(run, dice)
  const isBoth = dice.chance(0.4)
  const throwsAt = dice.chance(0.1) ? dice.below(8) : null
  const aborts = dice.chance(0.2)
  const account = accountOf(
    `${isBoth ? 'both' : 'take'} ${JSON.stringify({ ...work, throwsAt, aborts })}`,
    run,
    false,
    false,
  )
  const { faults } = account
  const reason = new Error('enough')
  let isOpen = 0
  let made = 0
  async function* source(): AsyncGenerator<object> {
    isOpen++
    try {
      for (let i = 0; i < work.items; i++) {
        if (dice.chance(0.2)) await time.pass(dice.below(50))
        if (i === throwsAt) throw reason
        made++
        yield itemOf(i, work.size)
      }
    } finally {
      isOpen--
    }
  }
  const controller = new AbortController()
  if (aborts) time.after(dice.below(2_500), () => controller.abort(reason))
  const { signal } = controller
  const begin = (): { reply: Promise<unknown> } => {
    if (!isBoth) return { reply: client.upload('take', work, source(), { signal }) }
    const stream = client.stream('both', work, { upload: source(), signal })
    const read = async (): Promise<void> => {
      for await (const item of stream) {
        if ((item as { i: number }).i !== account.items) faults.push(`item ${JSON.stringify(item)}`)
        account.items++
      }
    }
    read().catch(() => {})
    return stream
  }
  const judge = async (): Promise<void> => {
    const { outcome, error, value } = await outcomeOf(begin())
    account.outcome = error === reason ? 'aborted' : outcome
    if (outcome === 'done') {
      const got = (value as { items: number }).items
      if (got !== run.got) faults.push(`a reply with ${got}, and the handler got ${run.got}`)
      const isEarly = work.leavesAt !== null && work.leavesAt <= work.items
      if (!isEarly && got !== work.items) faults.push(`${got} of ${work.items} items`)
    }
    if (run.got > made) faults.push('items that were not made')
    // The source may be at an item that is awaited.
    for (let i = 0; i < 20 && isOpen > 0; i++) await time.pass(50)
    if (isOpen > 0) faults.push('the source is open')
    account.isSettled = true
  }
  void judge()
  return account
}

function accountOf(what: string, run: Run, resumes: boolean, isStalled: boolean): Account {
  return {
    what: `stream ${run.number}, ${what}`,
    run,
    resumes,
    isStalled,
    isSettled: false,
    outcome: 'open',
    items: 0,
    faults: [],
  }
}

async function outcomeOf({
  reply,
}: Pick<ClientStream, 'reply'>): Promise<{ outcome: string; value?: unknown; error?: unknown }> {
  try {
    return { outcome: 'done', value: await reply }
  } catch (error) {
    const code: unknown = (error as { code?: unknown }).code
    return { outcome: typeof code === 'string' ? code : String(error), error }
  }
}

import { expect } from 'chai'
import { nowhere } from '../../lib/history/place.ts'
import type { Entry, HistoryStore, Place, Reading } from '../../lib/history/store.ts'
import { Tail } from '../../lib/history/tail.ts'
import type { Unrecovered } from '../../lib/protocol/history.ts'
import { eventually, turn } from '../support/server.ts'

const limits = { messages: 10, bytes: 10_000, ttl: 60_000, maxTotal: 10_000 }
const T = 1_700_000_000_000
const epochAt = (time: number): string => `${nowhere(time).epoch}xxxxxxxx`
const entryAt = (
  offset: number,
  key = `k${offset}`,
  previous = offset > 1 ? `k${offset - 1}` : '',
): Entry => ({
  key,
  count: 1,
  payload: Buffer.from(key),
  offset,
  previous,
})

/** An engine with a clock that the test sets. */
class Engine implements HistoryStore {
  readonly local = false
  now = T
  epoch = ''
  entries: Entry[] = []
  reads = 0
  append(): Place {
    throw new Error('unused')
  }
  async read(_log: string, since: Place | null): Promise<Reading> {
    this.reads++
    const top = await this.top()
    if (since && (since.epoch === top.epoch || isOfBefore(since, top))) {
      return { top, entries: this.entries.filter(({ offset }) => offset > since.offset) }
    }
    return { top, missing: 'epoch' }
  }
  async top(): Promise<Place> {
    const last = this.entries.at(-1)
    if (this.epoch === '') return nowhere(this.now)
    return { epoch: this.epoch, offset: last?.offset ?? 0, key: last?.key ?? '' }
  }
  async follow(): Promise<void> {}
  unfollow(): void {}
  async renew(_log: string, seen: Place): Promise<void> {
    if (seen.epoch.length === 9 || this.epoch >= seen.epoch) return
    this.entries = []
    this.epoch = epochAt(Math.max(this.now, Number.parseInt(seen.epoch.slice(0, 9), 36) + 1))
  }
  close(): void {}
}

/** Whether a place is of a time when the log did not exist. */
const isOfBefore = ({ epoch, offset }: Place, top: Place): boolean =>
  offset === 0 && epoch.length === 9 && epoch <= top.epoch

async function follow(engine: Engine): Promise<{ tail: Tail; got: string[] }> {
  const got: string[] = []
  const tail = new Tail('room:a', engine, limits, {
    began: () => got.push('began'),
    appended: (_epoch, { key }) => got.push(key),
    restarted: (_top, reason: Unrecovered) => got.push(`restarted: ${reason}`),
  })
  await tail.begin()
  return { tail, got }
}

describe('Tail', () => {
  it('goes on when the log is born after the clock of the engine was set back', async () => {
    const engine = new Engine()
    const { tail, got } = await follow(engine)
    engine.epoch = epochAt(T - 5_000)
    engine.entries = [entryAt(1)]
    tail.recorded(engine.epoch, [entryAt(1)])
    await eventually(() => got.length > 1)
    tail.recorded(engine.epoch, [entryAt(2)])
    expect(got).to.deep.equal(['began', 'restarted: epoch', 'k2'])
  })

  it('renews the epoch when the engine has an older one', async () => {
    const engine = new Engine()
    engine.epoch = epochAt(T)
    engine.entries = [entryAt(1)]
    const { tail, got } = await follow(engine)
    engine.epoch = epochAt(T - 5_000) // lost, and recorded anew by a server with another clock
    engine.entries = [entryAt(1, 'other')]
    tail.recorded(engine.epoch, engine.entries)
    await eventually(() => got.length > 1)
    expect(got).to.deep.equal(['began', 'restarted: epoch'])
    expect(tail.top?.epoch).to.equal(engine.epoch)
    expect(engine.epoch > epochAt(T)).to.equal(true)
  })

  it('reads entries that a later one overtook, and takes them once', async () => {
    const engine = new Engine()
    engine.epoch = epochAt(T)
    engine.entries = [entryAt(1)]
    const { tail, got } = await follow(engine)
    engine.entries = [1, 2, 3, 4].map((offset) => entryAt(offset))
    tail.recorded(engine.epoch, [entryAt(4)])
    tail.recorded(engine.epoch, [entryAt(2), entryAt(3)])
    await eventually(() => got.length > 3)
    tail.recorded(engine.epoch, [entryAt(2), entryAt(3)])
    await tail.look()
    await turn()
    expect(got).to.deep.equal(['began', 'k2', 'k3', 'k4'])
    expect(tail.top?.offset).to.equal(4)
  })

  it('stays when a late entry of an older epoch arrives', async () => {
    const engine = new Engine()
    engine.epoch = epochAt(T)
    engine.entries = [entryAt(1)]
    const { tail, got } = await follow(engine)
    tail.recorded(epochAt(T - 5_000), [entryAt(7)])
    await tail.look()
    await turn()
    expect(got).to.deep.equal(['began'])
    expect(tail.top).to.deep.equal({ epoch: engine.epoch, offset: 1, key: 'k1' })
  })

  it('does not ask an engine again and again that keeps an older epoch', async () => {
    const engine = new Engine()
    engine.epoch = epochAt(T)
    engine.entries = [entryAt(1)]
    const { tail } = await follow(engine)
    engine.renew = async () => {}
    engine.epoch = epochAt(T - 5_000)
    await tail.look()
    const { reads } = engine
    for (let i = 0; i < 20; i++) await turn()
    expect(engine.reads).to.equal(reads)
  })

  it('has looked when the engine answers a read, but refuses to renew', async () => {
    const engine = new Engine()
    engine.epoch = epochAt(T)
    engine.entries = [entryAt(1)]
    const { tail, got } = await follow(engine)
    engine.renew = async () => Promise.reject(new Error('refused'))
    engine.epoch = epochAt(T - 5_000)
    expect(await tail.look()).to.equal(true)
    expect(got).to.deep.equal(['began'])
  })

  it('is ready for new entries before a long gap is read, unless the top does not fit', async () => {
    const engine = new Engine()
    engine.epoch = epochAt(T)
    engine.entries = [entryAt(1), entryAt(2)]
    const { tail, got } = await follow(engine)
    const read = engine.read.bind(engine)
    engine.read = () => new Promise(() => {})
    await tail.ready()
    engine.entries.push(entryAt(3))
    await tail.ready()
    expect(got).to.deep.equal(['began'])
    engine.read = read
    engine.epoch = epochAt(T + 5_000)
    engine.entries = [entryAt(1, 'a')]
    await tail.ready()
    expect(got).to.deep.equal(['began', 'restarted: epoch', 'a'])
  })

  it('gives what is recorded after the join, and before the subscription holds', async () => {
    for (const [first, second] of [
      [1, 2],
      [3, 4],
    ] as const) {
      const engine = new Engine()
      if (first > 1) {
        engine.epoch = epochAt(T - 1)
        engine.entries = [entryAt(1), entryAt(2)]
      }
      const got: string[] = []
      const owner = {
        began: () => got.push('began'),
        appended: (_epoch: string, { key }: Entry) => got.push(key),
        restarted: () => got.push('restarted'),
      }
      const tail = new Tail('room:a', engine, limits, owner)
      engine.follow = async () => {
        engine.epoch ||= epochAt(T)
        engine.entries.push(entryAt(first)) // no instance is told
        await turn()
        engine.entries.push(entryAt(second))
        tail.recorded(engine.epoch, [entryAt(second)])
        await turn()
      }
      await tail.begin()
      expect(got).to.deep.equal(['began', `k${first}`, `k${second}`])
    }
  })

  /** An engine that lost its log, and has recorded two entries since. */
  async function begunAnew(): Promise<{ engine: Engine; tail: Tail; got: string[] }> {
    const engine = new Engine()
    engine.epoch = epochAt(T)
    engine.entries = [entryAt(1)]
    const { tail, got } = await follow(engine)
    engine.epoch = epochAt(T + 5_000)
    engine.entries = [entryAt(1, 'a'), entryAt(2, 'b', 'a')]
    return { engine, tail, got }
  }

  it('goes on at the beginning of a later epoch', async () => {
    const { engine, tail, got } = await begunAnew()
    await tail.look()
    expect(got).to.deep.equal(['began', 'restarted: epoch', 'a', 'b'])
    expect(tail.top).to.deep.equal({ epoch: engine.epoch, offset: 2, key: 'b' })
  })

  it('goes on at the end of a later epoch when the first entries are gone', async () => {
    const { engine, tail, got } = await begunAnew()
    engine.read = async () => ({ top: await engine.top(), missing: 'trimmed' })
    await tail.look()
    expect(got).to.deep.equal(['began', 'restarted: epoch'])
    expect(tail.top).to.deep.equal({ epoch: engine.epoch, offset: 2, key: 'b' })
  })

  it('gives a late entry of the earlier epoch first when it arrives meanwhile', async () => {
    const { engine, tail, got } = await begunAnew()
    const read = engine.read.bind(engine)
    engine.read = async (log, since) => {
      if (engine.reads === 2) tail.recorded(epochAt(T), [entryAt(2)])
      return read(log, since)
    }
    await tail.look()
    expect(got).to.deep.equal(['began', 'k2', 'restarted: epoch', 'a', 'b'])
    expect(tail.top).to.deep.equal({ epoch: engine.epoch, offset: 2, key: 'b' })
  })
})

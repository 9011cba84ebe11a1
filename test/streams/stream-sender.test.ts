import { mock } from 'node:test'
import { expect } from 'chai'
import type { StreamAnswer } from '../../lib/protocol/streams.ts'
import { HeldBytes } from '../../lib/streams/held-bytes.ts'
import { StreamSender, type StreamSink } from '../../lib/streams/stream-sender.ts'
import { deferred, turn } from '../support/server.ts'

const REPLY: StreamAnswer = { type: 'koaws:reply', json: '"end"' }

/** A sink that records what it gets. */
function sink(): StreamSink & { seen: string[] } {
  const seen: string[] = []
  return {
    seen,
    attempt: 0,
    item: (json, index) => seen.push(`${index}:${json}`),
    answer: ({ type, json }) => seen.push(`${type} ${json}`),
    replaced: (isLost) => seen.push(isLost ? 'lost' : 'replaced'),
  }
}

describe('StreamSender', () => {
  beforeEach(() => mock.timers.enable({ apis: ['setTimeout'] }))
  afterEach(() => mock.timers.reset())

  /** Makes a sender with 1,000 bytes to hold. */
  function make(first: StreamSink, { resume = 1_000 as number | null, credit = 1_000 } = {}) {
    const held = new HeldBytes(
      1_000,
      () => {},
      () => {},
    )
    const counts: string[] = []
    let isForgotten = false
    const sender = new StreamSender(
      {
        id: 1,
        resume,
        idle: 5_000,
        held,
        count: (reason) => counts.push(reason),
        encode: (value) => JSON.stringify(value),
        forgotten: () => {
          isForgotten = true
        },
      },
      first,
      credit,
    )
    return { sender, held, counts, isForgotten: () => isForgotten }
  }

  /** Runs a generator, and answers with what it returns. */
  async function run(sender: StreamSender, source: () => AsyncIterable<unknown>): Promise<void> {
    const value = await sender.run(source())
    sender.settled()
    sender.end({ type: 'koaws:reply', json: JSON.stringify(value ?? null) })
  }

  async function* two(): AsyncGenerator<unknown> {
    yield 1
    yield 2
    return 'end'
  }

  it('keeps items and answer until the time for a resume is over', async () => {
    const one = sink()
    const { sender, held, counts, isForgotten } = make(one)
    await run(sender, two)
    expect(one.seen).to.deep.equal(['0:1', '1:2', 'koaws:reply "end"'])
    expect(held.total).to.be.above(0)
    sender.detach(one, undefined)
    mock.timers.tick(1_000)
    expect([held.total, isForgotten(), counts]).to.deep.equal([0, true, []])
    expect(sender.signal.aborted).to.equal(false)
  })

  it('goes on without a sink, and counts the loss when none comes back', async () => {
    const one = sink()
    const { sender, held, counts } = make(one)
    const go = deferred()
    let isOver = false
    const running = run(sender, async function* () {
      try {
        yield 1
        await go.promise
        for (;;) {
          yield 2
          if (sender.signal.aborted) return
          await turn()
        }
      } finally {
        isOver = true
      }
    })
    await turn()
    sender.detach(one, undefined)
    go.resolve()
    await turn()
    mock.timers.tick(1_000)
    await running
    expect([isOver, held.total, counts]).to.deep.equal([true, 0, ['streamLost']])
    expect(one.seen).to.deep.equal(['0:1'])
  })

  it('sends a sink that comes again what it has not got, without forgetting what was not taken', async () => {
    const [one, other, third] = [sink(), sink(), sink()]
    const { sender } = make(one)
    await run(sender, two)
    expect(sender.attach(other, 1, 1_000, 0)).to.equal(true)
    expect(other.seen).to.deep.equal(['1:2', 'koaws:reply "end"'])
    expect(one.seen.at(-1)).to.equal('replaced')
    expect(sender.attach(third, 0, 1_000)).to.equal(true)
    expect(third.seen).to.deep.equal(['0:1', '1:2', 'koaws:reply "end"'])
    sender.grant(0, 2)
    expect(sender.attach(other, 1, 1_000)).to.equal(false)
  })

  it('ends the wait of an answer for credit with ERR_KOAWS_STREAM_IDLE', async () => {
    const [one, other] = [sink(), sink()]
    const { sender, counts, held } = make(one)
    sender.detach(one, undefined)
    await run(sender, two)
    sender.attach(other, 0, 1)
    expect(other.seen).to.deep.equal(['0:1'])
    mock.timers.tick(4_000)
    sender.grant(0, 0)
    mock.timers.tick(1_000)
    expect(other.seen.at(-1)).to.include('ERR_KOAWS_STREAM_IDLE')
    expect(counts).to.deep.equal(['streamIdle'])
    mock.timers.tick(1_000)
    expect(held.total).to.equal(0)
  })

  it('restarts the time of a client only with progress', async () => {
    const one = sink()
    const { sender, counts } = make(one, { resume: null, credit: 1 })
    const running = run(sender, two).catch((error: { code: string }) => error.code)
    await turn()
    mock.timers.tick(4_999)
    sender.grant(0, 0)
    await turn()
    mock.timers.tick(1)
    expect(await running).to.equal('ERR_KOAWS_STREAM_IDLE')
    expect(counts).to.deep.equal(['streamIdle'])
  })

  it('sends an answer that cannot be kept to a client that is there, and forgets it', async () => {
    const one = sink()
    const { sender, held, isForgotten } = make(one)
    sender.end({ type: 'koaws:reply', json: JSON.stringify('x'.repeat(2_000)) })
    expect(one.seen[0]).to.match(/^koaws:reply "xxx/)
    expect([held.total, isForgotten()]).to.deep.equal([0, true])
  })

  it('keeps ERR_KOAWS_STREAM_MEMORY in place of such an answer for a client that is away', async () => {
    const [one, other] = [sink(), sink()]
    const { sender } = make(one)
    sender.detach(one, undefined)
    sender.end({ type: 'koaws:reply', json: JSON.stringify('x'.repeat(2_000)) })
    sender.attach(other, 0, 1)
    expect(other.seen[0]).to.match(/^koaws:error .*ERR_KOAWS_STREAM_MEMORY/)
  })

  it('tells its sink of a loss', () => {
    const one = sink()
    const { sender } = make(one)
    sender.cancel(new Error('shutdown'), true)
    sender.end(REPLY)
    expect(one.seen).to.deep.equal(['lost'])
    expect(sender.signal.reason).to.have.property('message', 'shutdown')
  })

  it('does not let an error in `finally` hide the error before it', async () => {
    const one = sink()
    const { sender } = make(one, { resume: null })
    async function* broken(): AsyncGenerator<unknown> {
      try {
        yield 1n
      } finally {
        // biome-ignore lint/correctness/noUnsafeFinally: tested
        throw new Error('in finally')
      }
    }
    const error = await sender.run(broken()).catch((thrown: unknown) => thrown)
    expect(error).to.be.instanceOf(TypeError)
  })
})

import { mock } from 'node:test'
import { expect } from 'chai'
import { HeldBytes } from '../../lib/streams/held-bytes.ts'
import { StreamRelay } from '../../lib/streams/relay.ts'
import { StreamSender } from '../../lib/streams/stream-sender.ts'

describe('a stream of another instance that is asked for once more', () => {
  afterEach(() => mock.timers.reset())

  it('keeps the debt of an item that exceeded the credit', async () => {
    mock.timers.enable({ apis: ['setTimeout'] })
    const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
    const nothing = (): void => {}
    const gone = {
      item: nothing,
      answer: nothing,
      replaced: nothing,
      lost: nothing,
      id: 1,
      attempt: 0,
    }
    const held = new HeldBytes(1_000_000, nothing, nothing)
    const sender = new StreamSender(
      {
        id: 1,
        resume: 60_000,
        idle: 120_000,
        held,
        count: nothing,
        encode: (value) => JSON.stringify(value),
        forgotten: nothing,
      },
      gone,
      1,
    )
    const relays: Record<string, StreamRelay> = {}
    const between = (from: string, to: string): StreamRelay =>
      new StreamRelay(
        {
          peers: () => [to],
          tell: (_to, text) => {
            queueMicrotask(() => relays[to]?.noted(from, text))
            return true
          },
        },
        () => (from === 'a' ? sender : undefined),
      )
    Object.assign(relays, { a: between('a', 'b'), b: between('b', 'a') })
    sender.detach(gone, undefined)
    void sender.run(
      (function* () {
        for (let i = 0; i < 3; i++) yield 'x'.repeat(1_000)
      })(),
    )
    const items: number[] = []
    const sink = { ...gone, item: (_json: string, index: number) => void items.push(index) }
    const source = await relays['b']?.pull('name', sink, 0, 1)
    for (let i = 0; i < 4; i++) {
      mock.timers.tick(2_000) // the silence in which the other instance asks once more
      await turn()
    }
    expect(items).to.deep.equal([0])
    source?.grant(500, 0)
    await turn()
    expect(items).to.deep.equal([0])
    source?.grant(600, 1)
    await turn()
    expect(items).to.deep.equal([0, 1])
    source?.cancel()
    sender.cancel()
  })
})

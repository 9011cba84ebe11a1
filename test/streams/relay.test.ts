import { mock } from 'node:test'
import { expect } from 'chai'
import { type Adapter, type KoaWsOptions, messages } from '../../lib/index.ts'
import type { StreamAnswer } from '../../lib/protocol/streams.ts'
import { HeldBytes } from '../../lib/streams/held-bytes.ts'
import type { ResumingSink, StreamSource } from '../../lib/streams/pull.ts'
import { StreamRelay } from '../../lib/streams/relay.ts'
import { StreamSender } from '../../lib/streams/stream-sender.ts'
import { overAdapters } from '../support/over-adapters.ts'
import { cleanUp, eventually, type Site, turn } from '../support/server.ts'
import { begin, hearAll, hearMany, item, KEY, PLENTY, ping } from '../support/streams.ts'
import { hear, serveMessages, talk } from '../support/talk.ts'

const NAME = 'name'

/** The connection of a client at the instance that pulls. */
function client(): ResumingSink & { seen: string[] } {
  const seen: string[] = []
  return {
    id: 1,
    attempt: 0,
    seen,
    item: (json, index) => seen.push(`${index}:${json}`),
    answer: ({ type, json }) => seen.push(`${type} ${json}`),
    replaced: (isLost) => seen.push(isLost ? 'lost' : 'replaced'),
  }
}

/** Two relays, `b` with a stream, and a line between them that can lose notes. */
function pair(mode: { peers?: string[] } = {}) {
  const notes: string[] = []
  let lose: (text: string) => boolean = () => false
  const line = (from: string) => ({
    peers: () => mode.peers ?? [from === 'a' ? 'b' : 'a'],
    tell: (to: string, text: string) => {
      notes.push(`${from}>${to} ${text}`)
      if (!lose(text)) queueMicrotask(() => relays[to]?.noted(from, text))
      return true
    },
  })
  const held = new HeldBytes(
    1_000_000,
    () => {},
    () => {},
  )
  const counts: string[] = []
  const home = client()
  const sender = new StreamSender(
    {
      id: 1,
      resume: 60_000,
      idle: 120_000,
      held,
      count: (reason) => counts.push(reason),
      encode: (value) => JSON.stringify(value),
      forgotten: () => {},
    },
    home,
    PLENTY,
  )
  const relays: Record<string, StreamRelay> = {
    a: new StreamRelay(line('a'), () => undefined),
    b: new StreamRelay(line('b'), (name) => (name === NAME ? sender : undefined)),
  }
  const [a, b] = [relays['a'] as StreamRelay, relays['b'] as StreamRelay]
  return {
    a,
    b,
    sender,
    home,
    held,
    notes,
    losing: (which: (text: string) => boolean) => {
      lose = which
    },
  }
}

/** Returns a function that makes the next items of a stream. */
function source(sender: StreamSender) {
  const waiting: unknown[] = []
  let wake = (): void => {}
  async function* items(): AsyncGenerator<unknown> {
    for (;;) {
      while (waiting.length === 0) {
        await new Promise<void>((resolve) => {
          wake = resolve
          sender.signal.addEventListener('abort', () => resolve(), { once: true })
        })
        if (sender.signal.aborted) return
      }
      const next = waiting.shift()
      if (next === 'end') return
      yield next
    }
  }
  const answer: StreamAnswer = { type: 'koaws:reply', json: 'null' }
  void sender.run(items()).then(() => sender.end(answer))
  return (...made: unknown[]): void => {
    waiting.push(...made)
    wake()
  }
}

async function turns(): Promise<void> {
  for (let n = 0; n < 4; n++) await turn()
}

describe('the relay of streams', () => {
  describe('over a line', () => {
    beforeEach(() => mock.timers.enable({ apis: ['setTimeout'] }))
    afterEach(() => mock.timers.reset())

    it('refuses a pull of an earlier attempt than that of the connection that has the stream', async () => {
      const { a, sender } = pair()
      const here = { ...client(), attempt: 2 }
      sender.attach(here, 0, 1_000)
      expect(await a.pull(NAME, { ...client(), attempt: 1 }, 0, 1_000)).to.equal(null)
      expect(here.seen).to.deep.equal([])
      expect(await a.pull(NAME, { ...client(), attempt: 3 }, 0, 1_000)).to.not.equal(null)
      expect(here.seen).to.deep.equal(['replaced'])
    })

    it('hands items, grants and the answer over', async () => {
      const { a, sender, home } = pair()
      const make = source(sender)
      make(1, 2)
      await turns()
      const there = client()
      const pull = await a.pull(NAME, there, 1, PLENTY)
      await turns()
      expect(home.seen).to.deep.equal(['0:1', '1:2', 'replaced'])
      expect(there.seen).to.deep.equal(['1:2'])
      make(3, 'end')
      await turns()
      expect(there.seen).to.deep.equal(['1:2', '2:3', 'koaws:reply null'])
      pull?.cancel()
      await turns()
      expect(sender.isOver).to.equal(true)
    })

    it('keeps to the credit, and relays grants and what was taken', async () => {
      const { a, sender, held } = pair()
      const make = source(sender)
      const there = client()
      const pull = await a.pull(NAME, there, 0, 1)
      make(1, 2)
      await turns()
      expect(there.seen).to.deep.equal(['0:1'])
      const before = held.total
      pull?.grant(PLENTY, 1)
      await turns()
      expect(there.seen).to.deep.equal(['0:1', '1:2'])
      expect(held.total).to.equal(before)
    })

    it('asks anew at once after a gap', async () => {
      const { a, sender, losing } = pair()
      const make = source(sender)
      const there = client()
      await a.pull(NAME, there, 0, PLENTY)
      losing((text) => text.includes('["1"]'))
      make(1)
      await turns()
      losing(() => false)
      make(2)
      await turns()
      expect(there.seen).to.deep.equal(['0:1', '1:2'])
    })

    it('asks anew after a silence, and does not forget items that the client has not taken', async () => {
      const { a, sender, losing } = pair()
      const make = source(sender)
      const there = client()
      await a.pull(NAME, there, 0, PLENTY)
      make(1)
      await turns()
      losing((text) => text.includes('answer'))
      make('end')
      await turns()
      losing(() => false)
      for (let n = 0; n < 3; n++) {
        mock.timers.tick(2_000)
        await turns()
      }
      expect(there.seen).to.deep.equal(['0:1', 'koaws:reply null'])
      expect(sender.attach(client(), 0, PLENTY)).to.equal(true)
    })

    it('does not take a stream back that the client has resumed elsewhere, if that note was lost', async () => {
      const { a, sender, losing } = pair()
      const make = source(sender)
      const there = client()
      await a.pull(NAME, there, 0, PLENTY)
      losing((text) => text.includes('gone'))
      const back = client()
      expect(sender.attach(back, 0, PLENTY)).to.equal(true)
      await turns()
      losing(() => false)
      for (let n = 0; n < 3; n++) {
        mock.timers.tick(2_000)
        await turns()
      }
      make(1)
      await turns()
      expect(there.seen).to.deep.equal(['replaced'])
      expect(back.seen).to.deep.equal(['0:1'])
    })

    it('resolves with null without a stream, without peers, and after a silence', async () => {
      const { a, losing } = pair()
      expect(await a.pull('other', client(), 0, 1)).to.equal(null)
      expect(await pair({ peers: [] }).a.pull(NAME, client(), 0, 1)).to.equal(null)
      losing(() => true)
      const pulled = a.pull(NAME, client(), 0, 1)
      mock.timers.tick(3_000)
      expect(await pulled).to.equal(null)
    })

    it('gives a stream back that was found too late', async () => {
      const { a, b, sender, notes } = pair()
      source(sender)
      const pulled = a.pull(NAME, client(), 0, 1)
      mock.timers.tick(3_000)
      expect(await pulled).to.equal(null)
      await turns()
      expect(notes.some((note) => note.includes('"leave"'))).to.equal(true)
      b.left('a')
      expect(sender.isOver).to.equal(false)
    })

    it('loses the stream when its instance leaves, is silent, or ends', async () => {
      const ways: ((made: ReturnType<typeof pair>) => void)[] = [
        ({ a }) => a.left('b'),
        ({ losing }) => {
          losing(() => true)
          for (let n = 0; n < 8; n++) mock.timers.tick(2_000)
        },
        ({ sender }) => sender.cancel(new Error('shutdown'), true),
        ({ a }) => a.close(),
      ]
      for (const way of ways) {
        const made = pair()
        source(made.sender)
        const there = client()
        await made.a.pull(NAME, there, 0, PLENTY)
        await turns()
        way(made)
        await turns()
        expect(there.seen).to.deep.equal(['lost'])
      }
    })

    it('tells of no loss by another end', async () => {
      const { a, b, sender } = pair()
      source(sender)
      const there = client()
      const pull = (await a.pull(NAME, there, 0, PLENTY)) as StreamSource
      await turns()
      const home = client()
      sender.attach(home, 0, PLENTY)
      await turns()
      expect(there.seen).to.deep.equal(['replaced'])
      pull.detach(there, undefined)
      b.left('a')
      a.close()
      await turns()
      expect(home.seen).to.deep.equal([])
    })

    it('ignores notes of another kind, and malformed ones', () => {
      const { a } = pair()
      expect(a.noted('b', '{"ask":1}')).to.equal(false)
      for (const text of [
        '{"stream":',
        '{"stream":7}',
        '{"stream":["items",1,"x"]}',
        '{"stream":["pull",1]}',
      ]) {
        expect(a.noted('b', text)).to.equal(true)
      }
    })
  })

  /** The tests of two hubs that an adapter joins. */
  function joined(adapterOf: () => () => Adapter): void {
    afterEach(cleanUp)

    let allowed = 0
    let wake: Set<() => void> = new Set()
    const signals: AbortSignal[] = []
    const allow = (many: number): void => {
      allowed = many
      for (const resolve of wake) resolve()
    }

    async function two(options: KoaWsOptions = {}): Promise<[Site, Site]> {
      allowed = 0
      wake = new Set()
      const adapter = adapterOf()
      const sites: Site[] = []
      for (let n = 0; n < 2; n++) {
        const chat = messages().on(
          'go',
          async function* ({ signal }) {
            signals.push(signal)
            for (let at = 0; at < 6; at++) {
              while (at >= allowed && !signal.aborted) {
                await new Promise<void>((resolve) => {
                  wake.add(resolve)
                  signal.addEventListener('abort', () => resolve(), { once: true })
                })
              }
              yield at
            }
            return 'end'
          },
          { resume: true },
        )
        sites.push(await serveMessages(chat, {}, { adapter: adapter(), ...options }))
      }
      const [one, other] = sites as [Site, Site]
      await eventually(() => one.hub.status().backplane.state === 'ready')
      await eventually(() => other.hub.status().backplane.state === 'ready')
      return [one, other]
    }

    const again = (since: number, credit = PLENTY) => ({ credit, key: KEY, again: true, since })

    it('go on at the other instance, and back at the first', async () => {
      const [one, other] = await two()
      allow(2)
      const first = await talk(one.port)
      begin(first, 'go', 1, { credit: PLENTY, key: KEY })
      await hearMany(first, 2)
      first.terminate()
      const second = await talk(other.port)
      begin(second, 'go', 1, again(1))
      expect(await hear(second)).to.deep.equal(item(1, 1))
      allow(3)
      expect(await hear(second)).to.deep.equal(item(1, 2))
      second.terminate()
      allow(4)
      const third = await talk(one.port)
      begin(third, 'go', 1, again(2))
      expect(await hearMany(third, 2)).to.deep.equal([item(1, 2), item(1, 3)])
      allow(6)
      const { items, answer } = await hearAll(third, 1)
      expect([items, answer.data]).to.deep.equal([[4, 5], 'end'])
      expect([...one.errors, ...other.errors]).to.deep.equal([])
    })

    it('relay credit, and a cancel', async () => {
      const [one, other] = await two()
      allow(6)
      const first = await talk(one.port)
      begin(first, 'go', 1, { credit: 1, key: KEY })
      await hear(first)
      const second = await talk(other.port)
      begin(second, 'go', 1, again(1, 1))
      expect(await hear(second)).to.deep.equal(item(1, 1))
      second.json({ type: 'koaws:credit', id: 1, data: { bytes: 1, items: 2 } })
      second.json({ type: 'koaws:credit', id: 1, data: { bytes: 60, items: 2 } })
      expect(await hear(second)).to.deep.equal(item(1, 2))
      const signal = signals.at(-1) as AbortSignal
      second.json({ type: 'koaws:cancel', id: 1 })
      await eventually(() => signal.aborted)
      expect(await ping(second)).to.satisfy((heard: unknown[]) => heard.length <= 1)
      expect(one.errors).to.deep.equal([])
    })

    it('apply credit that arrives while the stream is looked for', async () => {
      const [one, other] = await two()
      allow(6)
      const first = await talk(one.port)
      begin(first, 'go', 1, { credit: 1, key: KEY })
      await hear(first)
      const second = await talk(other.port)
      begin(second, 'go', 1, again(1, 1))
      second.json({ type: 'koaws:credit', id: 1, data: { bytes: PLENTY, items: 1 } })
      expect((await hearAll(second, 1)).items).to.deep.equal([1, 2, 3, 4, 5])
    })

    it('are cancelled by a client that does so while the stream is looked for', async () => {
      const [one, other] = await two()
      allow(1)
      const first = await talk(one.port)
      begin(first, 'go', 1, { credit: PLENTY, key: KEY })
      await hear(first)
      const signal = signals.at(-1) as AbortSignal
      const second = await talk(other.port)
      begin(second, 'go', 1, again(1))
      second.json({ type: 'koaws:cancel', id: 1 })
      await eventually(() => signal.aborted)
    })

    it('are lost when their instance shuts down', async () => {
      const [one, other] = await two()
      allow(1)
      const first = await talk(one.port)
      begin(first, 'go', 1, { credit: PLENTY, key: KEY })
      await hear(first)
      const second = await talk(other.port)
      begin(second, 'go', 1, again(1))
      allow(2)
      expect(await hear(second)).to.deep.equal(item(1, 1))
      await one.hub.close({ timeout: 200 })
      expect((await hear(second)).error?.code).to.equal('ERR_KOAWS_STREAM_LOST')
      expect(await ping(second)).to.deep.equal([])
    })

    it('are unknown to both instances under another key', async () => {
      const [, other] = await two()
      const second = await talk(other.port)
      begin(second, 'go', 1, again(1))
      expect((await hear(second)).error?.code).to.equal('ERR_KOAWS_STREAM_LOST')
    })
  }

  overAdapters(joined)
})

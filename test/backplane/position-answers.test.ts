import { expect } from 'chai'
import type { Adapter, AdapterEvents, AdapterLink } from '../../lib/backplane/adapter.ts'
import { Backplane } from '../../lib/backplane/backplane.ts'
import type { BackplaneHost } from '../../lib/backplane/host.ts'
import { noteOf } from '../../lib/backplane/notes.ts'
import type { Order } from '../../lib/backplane/order.ts'
import { Tops } from '../../lib/backplane/tops.ts'
import { decode, encode, type Message } from '../../lib/backplane/wire.ts'
import { Frame } from '../../lib/connection/frame.ts'
import { soon, turn } from '../support/server.ts'

/** A message that was published to one instance, and is unacknowledged. */
interface Given {
  readonly topic: string
  readonly message: Message
  acknowledge(): void
}

/** Makes a backplane over an engine on which the test acknowledges publishes to instances. */
function backplane(
  id = 'me',
  maxQueued: Adapter['maxQueued'] = {},
): {
  line: Backplane
  events: AdapterEvents
  given: Given[]
  /** The number of failed orders, per call. */
  failed: number[]
  hear(from: string, message: Message): void
} {
  const given: Given[] = []
  let events: AdapterEvents | undefined
  const link: AdapterLink = {
    subscribe: async () => {},
    unsubscribe: () => {},
    publish: (topics, payload) =>
      new Promise<void>((resolve) => {
        const topic = topics[0] as string
        if (!topic.startsWith('instance:')) resolve()
        else given.push({ topic, message: decode(payload).message, acknowledge: resolve })
      }),
    close: async () => {},
  }
  const adapter: Adapter = {
    heartbeat: 3_600_000,
    maxQueued,
    connect: (_id, given) => {
      events = given
      return link
    },
  }
  const ignore = (): void => {}
  const failed: number[] = []
  const host: BackplaneHost = {
    deliver: ignore,
    answer: ({ type }) => ({
      count: 5_000,
      members:
        type === 'members'
          ? Array.from({ length: 5_000 }, (_, i) => ({ id: `${i}`, userId: undefined, info: null }))
          : [],
    }),
    lost: ignore,
    failed: (count) => void failed.push(count),
    foreign: () => expect.fail('foreign'),
    noted: ignore,
    joined: ignore,
    left: ignore,
    changed: ignore,
    returned: ignore,
  }
  const line = new Backplane(adapter, id, host)
  const hub = events as unknown as AdapterEvents
  const hear = (from: string, message: Message): void => hub.received(encode(from, message))
  return { line, events: hub, given, failed, hear }
}

const sendTo = (room: string): Order => ({
  type: 'send',
  target: { kind: 'rooms', names: [room], except: [], exceptUsers: [] },
  frame: Frame.encode('x', null).plain,
  pushed: false,
  volatile: false,
})

const beat = (number: number): Message => ({ kind: 'beat', number, period: 3_600_000 })

/** Waits until all publishes that need no acknowledgement have reached the engine. */
async function turns(): Promise<void> {
  for (let i = 0; i < 20; i++) await turn()
}

/** Returns the topics of an answer, and the largest part of it. */
function topsOf(given: readonly Given[]): { topics: string[]; most: number } {
  const all = given.map(({ message }) => (message.kind === 'tops' ? message.tops : []))
  return {
    topics: all.flat().map(({ topic }) => topic),
    most: Math.max(0, ...all.map(({ length }) => length)),
  }
}

describe('a note to another instance', () => {
  it('counts as one failed order when it cannot be sent', async () => {
    const { line, events, failed } = backplane('me', { bytes: 0 })
    events.up()
    line.note('other', 'text')
    expect(failed).to.deep.equal([1])
    await line.close()
  })
})

describe('a request for positions', () => {
  const lines: Backplane[] = []
  afterEach(() => Promise.all(lines.splice(0).map((line) => line.close())))

  /** Makes an instance that has published to 5,000 rooms, and knows another one. */
  async function publisher(): Promise<ReturnType<typeof backplane>> {
    const one = backplane()
    lines.push(one.line)
    one.events.up()
    for (let i = 0; i < 5_000; i++) one.line.publish(sendTo(`${i}`))
    await turns()
    return one
  }

  it('is answered for the topics that it names', async () => {
    const { given, hear } = await publisher()
    const topics = ['room:7', 'room:never published', 'room:4999', 'all']
    hear('other', noteOf({ type: 'ask', number: 3, topics, last: true }))
    await soon(() => expect(given).to.have.lengthOf(1))
    expect(topsOf(given).topics).to.deep.equal(['room:7', 'room:4999'])
    given[0]?.acknowledge()
    await soon(() => expect(given).to.have.lengthOf(2))
    const told = noteOf({ type: 'told', number: 3, forgotten: undefined })
    expect(given[1]?.message).to.deep.equal(told)
    given[1]?.acknowledge()
  })

  it('for many topics is answered in parts, each after the acknowledgement of the previous one', async () => {
    const { given, hear } = await publisher()
    const topics = Array.from({ length: 5_000 }, (_, i) => `room:${i}`)
    hear('other', noteOf({ type: 'ask', number: 1, topics, last: true }))
    const answers: Given[] = []
    for (let ended = false; !ended; ) {
      await turns()
      expect(given).to.have.lengthOf(1)
      const [part] = given.splice(0) as [Given]
      answers.push(part)
      ended = part.message.kind === 'note'
      part.acknowledge()
    }
    const { topics: told, most } = topsOf(answers)
    expect(told).to.deep.equal(topics)
    expect(most).to.be.at.most(1_000)
    await turns()
    expect(given).to.deep.equal([])
  })

  it('that is repeated replaces the pending answer', async () => {
    const { given, hear } = await publisher()
    const topics = Array.from({ length: 900 }, (_, i) => `room:${i}`)
    for (let number = 1; number <= 500; number++) {
      hear('other', noteOf({ type: 'ask', number, topics, last: true }))
      hear('third', noteOf({ type: 'ask', number, topics, last: true }))
    }
    await turns()
    expect(given, 'for both together').to.have.lengthOf(1)
    const all: Given[] = []
    const isEnd = ({ message }: Given): boolean => message.kind === 'note'
    while (all.filter(isEnd).length < 2) {
      await turns()
      expect(given).to.have.lengthOf(1)
      const [part] = given.splice(0) as [Given]
      all.push(part)
      part.acknowledge()
    }
    const count = (topic: string): number =>
      topsOf(all.filter((one) => one.topic === topic)).topics.length
    // Topics that are named again while the first part is under way are answered again.
    for (const peer of ['other', 'third']) expect(count(`instance:${peer}`)).to.be.most(1_800)
    const last = all.map(({ message }) => message).find(({ kind }) => kind === 'note')
    expect(last).to.deep.equal(noteOf({ type: 'told', number: 500, forgotten: undefined }))
    await turns()
    expect(given).to.deep.equal([])
  })

  it('is sent in parts, each after the acknowledgement of the previous one', async () => {
    const { line, given, hear, events } = backplane()
    lines.push(line)
    for (let i = 0; i < 3_000; i++) await line.subscribe(`room:${i}${'x'.repeat(200)}`)
    events.up()
    hear('new', noteOf({ type: 'heard', after: '', until: '', peers: [], left: [] }))
    hear('new', beat(1))
    const named: string[] = []
    for (let ended = false; !ended; ) {
      await turns()
      const parts = given.splice(0)
      const asks = parts.flatMap(({ message }) => {
        const note = message.kind === 'note' ? JSON.parse(message.text).backplane : {}
        return note.type === 'ask' ? [note] : []
      })
      expect(asks.length, 'one part at a time').to.be.at.most(1)
      for (const { topics, last } of asks) {
        expect(Buffer.byteLength(topics.join())).to.be.below(80_000)
        named.push(...topics)
        ended ||= last
      }
      for (const { acknowledge } of parts) acknowledge()
    }
    expect(new Set(named).size).to.equal(3_002)
  })

  it('is answered after queued messages have been published', async () => {
    const { line, events, given, hear } = await publisher()
    hear('other', beat(1))
    given.splice(0)
    events.down(new Error('cut'))
    line.publish(sendTo('7'))
    await turns()
    events.up()
    hear('third', noteOf({ type: 'ask', number: 1, topics: ['room:7'], last: true }))
    await turns()
    expect(topsOf(given).topics, 'the other instance is not back').to.deep.equal([])
    hear('other', beat(2))
    await soon(() => {
      for (const { acknowledge } of given) acknowledge()
      expect(topsOf(given).topics).to.deep.equal(['room:7'])
    })
  })
})

describe('the members of a large room', () => {
  it('are sent in parts, each after the acknowledgement of the previous one', async () => {
    const { line, events, given, hear } = backplane()
    events.up()
    const target = { kind: 'rooms', names: ['r'], except: [], exceptUsers: [] } as const
    hear('other', { kind: 'question', id: 1, question: { type: 'members', target } })
    const members: string[] = []
    for (let more = true; more; ) {
      await turns()
      expect(given).to.have.lengthOf(1)
      const [{ message, acknowledge }] = given.splice(0) as [Given]
      if (message.kind !== 'answer') throw new Error('not an answer')
      members.push(...message.members.map(({ id }) => id))
      more = message.more
      acknowledge()
    }
    expect(members).to.deep.equal(Array.from({ length: 5_000 }, (_, i) => `${i}`))
    await line.close()
  })
})

describe('the positions of an instance', () => {
  it('are bounded in bytes, and record when one was dropped', () => {
    const tops = new Tops(0)
    const name = 'x'.repeat(240)
    for (let i = 0; i < 99_000; i++) {
      tops.take([`room:${i}${name}`], 1, i)
    }
    const topics = [...tops.topics]
    const bytes = topics.reduce((sum, topic) => sum + topic.length, 0)
    expect(bytes).to.be.within(8 * 1024 * 1024, 16 * 1024 * 1024)
    expect(tops.has(`room:0${name}`)).to.equal(false)
    expect(tops.has(`room:98999${name}`), 'the last one').to.equal(true)
    expect(tops.forgotten(99_000)).to.be.a('number')
    tops.forget(700_000)
    tops.forget(800_000)
    expect([...tops.topics]).to.deep.equal([])
    tops.take(['room:again'], 1, 800_000)
    expect(tops.get('room:again', 800_000)).to.include({ next: 2 })
  })
})

import { expect } from 'chai'
import { type AdapterEvents, memoryAdapter } from '../../lib/index.ts'
import { adapterSuite } from '../../lib/testing/index.ts'

describe('memoryAdapter()', () => {
  const tests = adapterSuite(() => {
    const adapter = memoryAdapter()
    const stranger = adapter.connect('stranger', { received() {}, up() {}, down() {}, gone() {} })
    return {
      adapter: () => adapter,
      inject: async (topic, payload) => void (await stranger.publish([topic], payload)),
    }
  }, ['cut'])
  for (const { name, run } of tests) it(name, run)
})

describe('adapterSuite()', () => {
  const NAME = 'a payload arrives with the topic on which it was published, or without a topic'

  /** Runs the topic test of the suite with an adapter that delivers payloads in this way. */
  async function run(
    give: (received: AdapterEvents['received'], payload: Buffer, topics: string[]) => void,
  ): Promise<void> {
    const links = new Set<{ topics: Set<string>; events: AdapterEvents }>()
    const adapter = {
      connect: (_id: string, events: AdapterEvents) => {
        const link = { topics: new Set<string>(), events }
        links.add(link)
        queueMicrotask(() => events.up())
        return {
          subscribe: async (topics: readonly string[]) => {
            for (const topic of topics) link.topics.add(topic)
          },
          unsubscribe() {},
          async publish(topics: readonly string[], payload: Buffer) {
            for (const { topics: heard, events } of links) {
              const common = topics.filter((topic) => heard.has(topic))
              if (common.length > 0) give(events.received, payload, common)
            }
          },
          close: async () => void links.delete(link),
        }
      },
    }
    const test = adapterSuite(() => ({ adapter: () => adapter })).find(({ name }) => name === NAME)
    if (!test) throw new Error(`no test "${NAME}"`)
    await test.run()
  }

  it('passes an adapter that reports each topic, or no topic', async () => {
    await run((received, payload, topics) => {
      for (const topic of topics) received(payload, topic)
    })
    await run((received, payload) => received(payload))
  })

  for (const [what, give] of [
    ['another topic', (received, payload) => received(payload, 'room:*')],
    ['an altered name', (received, payload, [topic]) => received(payload, `koaws:${topic}`)],
    ['only the first topic', (received, payload, [topic]) => received(payload, topic)],
    [
      'topics without a subscription',
      (received, payload, topics) => {
        for (const topic of [...topics, 'room:unheard']) received(payload, topic)
      },
    ],
    [
      'a topic with only some payloads',
      (received, payload, [topic]) => received(payload, topic === 'all' ? undefined : topic),
    ],
  ] as [string, Parameters<typeof run>[0]][]) {
    it(`fails an adapter that reports ${what}`, async () => {
      const error = await run(give).catch((reason: unknown) => reason)
      expect(error).to.have.property('name', 'AssertionError')
    })
  }
})

import { expect } from 'chai'
import type { AdapterLink } from '../../lib/backplane/adapter.ts'
import { SendQueue } from '../../lib/backplane/send-queue.ts'
import { Publication } from '../../lib/backplane/turn-groups.ts'
import { AdapterError } from '../../lib/index.ts'
import { turn } from '../support/server.ts'

/** Makes a queue over an engine that the test answers. */
function setUp(bounds = {}) {
  const given: { text: string; resolve: () => void; reject: (error: Error) => void }[] = []
  const failed: [number, string][] = []
  const taken: [orders: number, bytes: number][] = []
  const unsure: Error[] = []
  const refusals: string[] = []
  const link = {
    publish: (_topics: readonly string[], payload: Buffer) =>
      new Promise<void>((resolve, reject) =>
        given.push({ text: String(payload), resolve, reject }),
      ),
  } as unknown as AdapterLink
  const queue = new SendQueue(link, bounds, {
    failed: (orders, why) => failed.push([orders, why]),
    taken: (orders, bytes) => taken.push([orders, bytes]),
    unsure: (reason) => unsure.push(reason),
    refused: (topics, { message }) => refusals.push(`${topics}: ${message}`),
  })
  const add = (text: string, volatile = false, orders = 1): Publication => {
    const publication = new Publication()
    queue.add(['all'], Buffer.from(text), orders, publication, volatile)
    return publication
  }
  return {
    queue,
    add,
    given,
    failed,
    taken,
    unsure,
    refusals,
    texts: () => given.splice(0).map(({ text }) => text),
  }
}

const lost = new AdapterError('ERR_KOAWS_BACKPLANE', 'the connection was lost')
const refused = new AdapterError('ERR_KOAWS_BACKPLANE_REFUSED', 'NOPERM')

describe('the send queue', () => {
  it('resolves with sent when the engine has acknowledged', async () => {
    const { queue, add, given, taken } = setUp()
    queue.up()
    const publication = add('1')
    expect([queue.messages, queue.bytes]).to.deep.equal([1, 1])
    given[0]?.resolve()
    expect(await publication.result).to.equal('sent')
    expect(taken).to.deep.equal([[1, 1]])
    expect([queue.messages, queue.bytes]).to.deep.equal([0, 0])
    await queue.drained()
  })

  it('limits messages, each with its own result, rather than payloads', async () => {
    const { queue, add, given, failed } = setUp({ messages: 10 })
    const verdicts = [
      add('1', false, 4),
      add('2', false, 5),
      add('3', false, 1),
      add('4', false, 7),
    ]
    expect(await Promise.all(verdicts.map(({ result }) => result))).to.deep.equal([
      ...Array(3).fill('queued'),
      'failed',
    ])
    expect(queue.messages).to.equal(10)
    expect(failed).to.deep.equal([[7, 'the queue of the backplane is full ("maxQueued")']])
    queue.up()
    given[0]?.resolve()
    given[1]?.reject(refused)
    await turn()
    expect(queue.messages).to.equal(1)
    expect(failed.at(-1)?.[0]).to.equal(5)
    expect(queue.clear()).to.equal(1)
    expect(queue.messages).to.equal(0)
  })

  it('reports the topics that the engine refuses', async () => {
    const { queue, add, given, refusals } = setUp()
    queue.up()
    add('1')
    const urgent = queue.urgent(['instance:x'], Buffer.from('2'))
    for (const { reject } of given) reject(refused)
    expect(await urgent).to.equal(false)
    expect(refusals).to.deep.equal(['all: NOPERM', 'instance:x: NOPERM'])
  })

  it('queues during an outage, and publishes in order afterwards', async () => {
    const { queue, add, texts } = setUp()
    const first = add('1')
    expect(await first.result).to.equal('queued')
    queue.up()
    add('2')
    expect(texts()).to.deep.equal(['1', '2'])
  })

  it('publishes again, before later messages, when the outcome is unknown', async () => {
    const { queue, add, given, texts, unsure } = setUp()
    queue.up()
    const [one, two, three] = [add('1'), add('2'), add('3')]
    given[0]?.resolve()
    given[2]?.reject(lost)
    given[1]?.reject(lost)
    await turn()
    expect(unsure).to.deep.equal([lost])
    expect(await one.result).to.equal('sent')
    expect([await two.result, await three.result]).to.deep.equal(['queued', 'queued'])
    texts()
    add('4')
    queue.up()
    expect(texts()).to.deep.equal(['2', '3', '4'])
  })

  it('ignores a rejection from before the last outage', async () => {
    const { queue, add, given, texts, unsure } = setUp()
    queue.up()
    add('1')
    const early = given.splice(0)
    queue.down()
    queue.up()
    expect(texts()).to.deep.equal(['1'])
    early[0]?.reject(lost)
    await turn()
    expect([unsure, texts()]).to.deep.equal([[], []])
    expect(queue.messages).to.equal(1)
  })

  it('resolves with failed when the engine refuses, and publishes the rest', async () => {
    const { queue, add, given, failed } = setUp()
    queue.up()
    const [one, two] = [add('1'), add('2')]
    given[0]?.reject(refused)
    given[1]?.resolve()
    expect([await one.result, await two.result]).to.deep.equal(['failed', 'sent'])
    expect(failed).to.deep.equal([[1, 'NOPERM']])
  })

  it('resolves with failed above the limit, in messages and in bytes', async () => {
    const many = setUp({ messages: 2 })
    const results = [many.add('1'), many.add('2'), many.add('3')].map(({ result }) => result)
    expect(await Promise.all(results)).to.deep.equal(['queued', 'queued', 'failed'])
    const large = setUp({ bytes: 4 })
    const sizes = [large.add('12'), large.add('34'), large.add('5')].map(({ result }) => result)
    expect(await Promise.all(sizes)).to.deep.equal(['queued', 'queued', 'failed'])
    expect(large.failed).to.deep.equal([[1, 'the queue of the backplane is full ("maxQueued")']])
  })

  it('counts messages that are under way', async () => {
    const { queue, add } = setUp({ messages: 1 })
    queue.up()
    add('1')
    expect(await add('2').result).to.equal('failed')
  })

  it('drops volatile messages during an outage', async () => {
    const { queue, add, texts } = setUp()
    expect(await add('1', true).result).to.equal('failed')
    queue.up()
    add('2', true)
    expect(texts()).to.deep.equal(['2'])
  })

  it('resolves unsent messages with failed when it is cleared', async () => {
    const { queue, add } = setUp()
    queue.up()
    const [one, two] = [add('1'), add('2')]
    expect(queue.clear()).to.equal(2)
    expect([await one.result, await two.result]).to.deep.equal(['failed', 'failed'])
    expect(queue.messages).to.equal(0)
  })

  it('ignores the rejection of an urgent publish from before the last outage', async () => {
    const { queue, given, unsure } = setUp()
    queue.up()
    const early = queue.urgent(['all'], Buffer.from('1'))
    queue.down()
    queue.up()
    given[0]?.reject(lost)
    await early
    expect(unsure).to.deep.equal([])
    const late = queue.urgent(['all'], Buffer.from('2'))
    given[1]?.reject(lost)
    await late
    expect(unsure).to.deep.equal([lost])
  })
})

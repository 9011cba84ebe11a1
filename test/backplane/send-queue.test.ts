import { expect } from 'chai'
import type { AdapterLink } from '../../lib/backplane/adapter.ts'
import { SendQueue } from '../../lib/backplane/send-queue.ts'
import { Publication } from '../../lib/backplane/turn-groups.ts'
import { AdapterError } from '../../lib/index.ts'
import { turn } from '../support/server.ts'

/** A queue over an engine whose answers are given by hand. */
function setUp(bounds = {}) {
  const given: { text: string; resolve: () => void; reject: (error: Error) => void }[] = []
  const failed: [number, string][] = []
  const unsure: Error[] = []
  const link = {
    publish: (_topics: readonly string[], payload: Buffer) =>
      new Promise<void>((resolve, reject) =>
        given.push({ text: String(payload), resolve, reject }),
      ),
  } as unknown as AdapterLink
  const queue = new SendQueue(link, bounds, {
    failed: (orders, why) => failed.push([orders, why]),
    unsure: (reason) => unsure.push(reason),
    refused: () => {},
  })
  const add = (text: string, volatile = false): Publication => {
    const publication = new Publication()
    queue.add(['all'], Buffer.from(text), 1, publication, volatile)
    return publication
  }
  return { queue, add, given, failed, unsure, texts: () => given.splice(0).map(({ text }) => text) }
}

const lost = new AdapterError('ERR_KOAWS_BACKPLANE', 'the connection was lost')
const refused = new AdapterError('ERR_KOAWS_BACKPLANE_REFUSED', 'NOPERM')

describe('what waits for the backplane', () => {
  it('has been sent when the engine has it', async () => {
    const { queue, add, given } = setUp()
    queue.up()
    const publication = add('1')
    expect([queue.messages, queue.bytes]).to.deep.equal([1, 1])
    given[0]?.resolve()
    expect(await publication.result).to.equal('sent')
    expect([queue.messages, queue.bytes]).to.deep.equal([0, 0])
    await queue.drained()
  })

  it('is queued while the engine is away, and given in order when it is back', async () => {
    const { queue, add, texts } = setUp()
    const first = add('1')
    expect(await first.result).to.equal('queued')
    queue.up()
    add('2')
    expect(texts()).to.deep.equal(['1', '2'])
  })

  it('is given again, before everything later, when nobody knows what became of it', async () => {
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

  it('is not given twice for the rejection of an earlier time', async () => {
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

  it('has failed when the engine refuses it, and the rest goes on', async () => {
    const { queue, add, given, failed } = setUp()
    queue.up()
    const [one, two] = [add('1'), add('2')]
    given[0]?.reject(refused)
    given[1]?.resolve()
    expect([await one.result, await two.result]).to.deep.equal(['failed', 'sent'])
    expect(failed).to.deep.equal([[1, '"NOPERM"']])
  })

  it('has failed beyond the bounds, in number and in bytes, and not at them', async () => {
    const many = setUp({ messages: 2 })
    const results = [many.add('1'), many.add('2'), many.add('3')].map(({ result }) => result)
    expect(await Promise.all(results)).to.deep.equal(['queued', 'queued', 'failed'])
    const large = setUp({ bytes: 4 })
    const sizes = [large.add('12'), large.add('34'), large.add('5')].map(({ result }) => result)
    expect(await Promise.all(sizes)).to.deep.equal(['queued', 'queued', 'failed'])
    expect(large.failed).to.deep.equal([[1, 'too much waits for the backplane']])
  })

  it('what is on its way counts too', async () => {
    const { queue, add } = setUp({ messages: 1 })
    queue.up()
    add('1')
    expect(await add('2').result).to.equal('failed')
  })

  it('volatile is not kept', async () => {
    const { queue, add, texts } = setUp()
    expect(await add('1', true).result).to.equal('failed')
    queue.up()
    add('2', true)
    expect(texts()).to.deep.equal(['2'])
  })

  it('given up has failed, unless its verdict was queued', async () => {
    const { queue, add } = setUp()
    queue.up()
    const [one, two] = [add('1'), add('2')]
    expect(queue.clear()).to.equal(2)
    expect([await one.result, await two.result]).to.deep.equal(['failed', 'failed'])
    expect(queue.messages).to.equal(0)
  })

  it('is not taken for cut off by what an engine rejects that was cut before', async () => {
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

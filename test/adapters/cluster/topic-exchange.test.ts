import { expect } from 'chai'
import { RecordKind } from '../../../lib/adapters/cluster/records.ts'
import { turn } from '../../support/server.ts'
import {
  closeMesh,
  laterReader,
  meet,
  RecordedLink,
  rawPeer,
  Sockets,
  until,
} from './support/mesh.ts'

const KIB = 1024

const MIB = 1024 * KIB

describe('the topics of a stream', function () {
  this.timeout(120_000)
  let sockets: Sockets

  beforeEach(() => {
    sockets = new Sockets()
  })

  afterEach(async () => {
    sockets.stop()
    await closeMesh()
  })

  it('announces topic lists of any length, and delivers payloads for the last topic', async () => {
    // More than 64 MiB, the longest record, with few topics.
    const topics = Array.from({ length: 1_100 }, (_, i) => `room:${i}`.padEnd(62_000, '.'))
    const [one, two] = [new RecordedLink('a'), new RecordedLink('b')]
    two.link.subscribe(topics).catch(() => {})
    await meet(one, two)
    await one.say('to the last', topics.at(-1) as string)
    await until('it is heard', () => two.texts.includes('to the last'))
    for (const { events } of [one, two]) expect(events).to.deep.equal(['up'])
    two.link.unsubscribe(topics)
    await two.link.subscribe([topics[7] as string])
    await until('it is heard', () => {
      void one.say('here', topics[7] as string)
      return two.texts.includes('here')
    })
    expect(await one.say('gone', topics[8] as string), 'streams that want it').to.equal(0)
    expect(two.texts).to.not.include('gone')
  })

  it('announces topics once, in their final state, when they change while the stream is full', async () => {
    const one = new RecordedLink('a')
    await meet(one)
    const peer = await rawPeer(one)
    peer.pause()
    void one.say(Buffer.alloc(2 * MIB))
    await turn()
    for (let i = 0; i < 2_000; i++) {
      one.link.subscribe(['room:x']).catch(() => {})
      one.link.unsubscribe(['room:x'])
      one.link.subscribe(['room:y']).catch(() => {})
      await Promise.resolve()
    }
    let [records, ends] = [0, false]
    const reader = laterReader((kind, body) => {
      if (kind === RecordKind.subscribe || kind === RecordKind.unsubscribe) records++
      if (body.includes('room:y')) ends = true
    })
    peer.on('data', (chunk: Buffer) => reader.push(chunk))
    peer.resume()
    await until('it is told', () => ends)
    expect(records).to.be.below(10)
  })
})

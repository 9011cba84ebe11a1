import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { clusterAdapter } from '../../../lib/adapters/cluster/index.ts'
import type { Delivery } from '../../../lib/index.ts'
import { enterAndHold, type House, house } from '../../support/order.ts'
import { cleanUp, turn } from '../../support/server.ts'
import { until } from './support/mesh.ts'

const MIB = 1024 * 1024

describe('large messages between processes', function () {
  this.timeout(120_000)
  let folder: string

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'koaws-'))
  })

  afterEach(async () => {
    await cleanUp()
    rmSync(folder, { recursive: true, force: true })
  })

  /** Starts two instances, and resolves when they know each other. */
  async function two(heartbeat = 2_000): Promise<[House, House]> {
    const one = (): Promise<House> =>
      house({
        adapter: clusterAdapter({ name: 'large', folder, heartbeat }),
        maxRooms: 2_000,
        maxBufferedAmount: 512 * MIB,
      })
    const both: [House, House] = [await one(), await one()]
    await until('both know each other', () =>
      both.every(({ hub }) => hub.status().backplane.instances === 1),
    )
    return both
  }

  const verdictsOf = async (sends: readonly Delivery[]): Promise<string[]> =>
    Promise.all(sends.map(({ backplane }) => backplane))

  it('arrive when 1,000 rooms get 16.5 KB each in one turn, and only failed messages are missing', async () => {
    const [from, to] = await two()
    const rooms = Array.from({ length: 1_000 }, (_, i) => `room ${i}`)
    const { socket } = await enterAndHold(to, { rooms })
    const got: string[] = []
    socket.on('message', (data: Buffer) => got.push(data.toString('utf8', 0, 8).trim()))
    const fill = ' '.repeat(16.5 * 1024)
    from.hub.room('room 0').send('before  '.padEnd(2 * MIB))
    await turn()
    const sends = rooms.map((name) => from.hub.room(name).send(name + fill))
    const verdicts = await verdictsOf(sends)
    const sent = rooms.filter((_, i) => verdicts[i] === 'sent')
    expect(new Set(verdicts)).to.not.include('queued')
    expect(sent.length).to.be.above(800)
    await until('all that was sent has come', () => got.length > sent.length)
    expect(await from.hub.room('room 0').send('the end ').backplane).to.equal('sent')
    await until('the end has come', () => got.includes('the end'))
    expect(got).to.deep.equal(['before', ...sent, 'the end'])
    expect(from.hub.status().drops['backplane'] ?? 0).to.equal(rooms.length - sent.length)
    await until(
      'the others know what failed',
      () => to.hub.status().backplane.lost === rooms.length - sent.length,
    )
    expect(to.hub.status().backplane.state).to.equal('ready')
  })

  it('in one flooded room leave quiet rooms unaffected', async () => {
    // Both instances share one busy event loop: with a short heartbeat each takes the other for
    // silent, and queues.
    const [from, to] = await two(60_000)
    const quiet = Array.from({ length: 20 }, (_, i) => `quiet ${i}`)
    const { socket } = await enterAndHold(to, { rooms: ['flooded', ...quiet] })
    const heard: string[] = []
    let flooded = 0
    socket.on('message', (data: Buffer) => {
      if (data.length < 1_000) heard.push(data.toString())
      else flooded++
    })
    const states: string[] = []
    const note = (event: unknown): void => void states.push((event as { state: string }).state)
    subscribe('koaws:backplane', note)
    const large = Buffer.alloc(MIB, 'x')
    const [floods, talks]: [Delivery[], Delivery[]] = [[], []]
    const said: string[] = []
    for (let round = 0; round < 60; round++) {
      for (let i = 0; i < 8; i++) floods.push(from.hub.room('flooded').send(large))
      for (const name of quiet) {
        const text = `${name}: ${round}`
        said.push(text)
        talks.push(from.hub.room(name).send(text))
      }
      await turn()
    }
    expect(new Set(await verdictsOf(talks))).to.deep.equal(new Set(['sent']))
    await until('the others are heard', () => heard.length >= said.length)
    expect([...heard].sort()).to.deep.equal([...said].sort())
    const verdicts = await verdictsOf(floods)
    expect(new Set(verdicts), 'more than the stream takes').to.deep.equal(
      new Set(['sent', 'failed']),
    )
    const sent = verdicts.filter((verdict) => verdict === 'sent').length
    await until('what was sent has come', () => flooded >= sent)
    expect(flooded).to.equal(sent)
    expect(from.hub.status().drops['backplane']).to.equal(verdicts.length - sent)
    unsubscribe('koaws:backplane', note)
    // A flooding client does not change the state of the backplane.
    for (const { hub } of [from, to]) expect(hub.status().backplane.state).to.equal('ready')
    expect(states).to.not.include('degraded')
  })
})

import { channel } from 'node:diagnostics_channel'
import { expect } from 'chai'
import { Hearing } from '../../lib/backplane/hearing.ts'
import { readNote } from '../../lib/backplane/notes.ts'
import { topicOfInstance } from '../../lib/backplane/order.ts'
import { Peers } from '../../lib/backplane/peers.ts'
import { decode } from '../../lib/backplane/wire.ts'
import type { BackplaneEvent, LostEvent } from '../../lib/index.ts'
import { type BreakableAdapter, breakableAdapter } from '../support/breakable-adapter.ts'
import { expectReceived, type House, house } from '../support/order.ts'
import { cleanUp, soon, turn } from '../support/server.ts'

/** Large enough that the slack of a busy machine is below the lease. */
const HEARTBEAT = 400

describe('an instance that its peers do not hear', () => {
  const heard: (() => void)[] = []
  afterEach(() => {
    for (const stop of heard.splice(0)) stop()
    return cleanUp()
  })

  /** Collects the reports of losses during a test. */
  function lossesFromNow(): LostEvent[] {
    const losses: LostEvent[] = []
    const hear = (event: unknown): void => void losses.push(event as LostEvent)
    channel('koaws:lost').subscribe(hear)
    heard.push(() => channel('koaws:lost').unsubscribe(hear))
    return losses
  }

  const idOf = ({ hub }: House): string => hub.status().id
  const stateOf = ({ hub }: House): string => hub.status().backplane.state

  async function houses(count: number, adapter: BreakableAdapter): Promise<House[]> {
    const all = await Promise.all(Array.from({ length: count }, () => house({ adapter })))
    await soon(() => {
      for (const { hub } of all) {
        const { state, instances } = hub.status().backplane
        expect([state, instances]).to.deep.equal(['ready', count - 1])
      }
    })
    return all
  }

  for (const echoes of [false, true]) {
    it(`learns from its peers that it is unheard, and queues${echoes ? ', over an engine that echoes' : ''}`, async () => {
      const adapter = breakableAdapter({ heartbeat: HEARTBEAT, echoes })
      const [one, other] = (await houses(2, adapter)) as [House, House]
      const states: BackplaneEvent[] = []
      const hear = (event: unknown): void => void states.push(event as BackplaneEvent)
      channel('koaws:backplane').subscribe(hear)
      const b = await other.enter({ rooms: ['r'] })
      adapter.block(idOf(one), idOf(other))
      await soon(() => expect(stateOf(one)).to.equal('degraded'))
      expect(await one.hub.room('r').send('1').backplane).to.equal('queued')
      await soon(() => {
        const whys = states.filter(({ instance }) => instance === idOf(one)).map(({ why }) => why)
        expect(whys).to.include(
          `this instance receives the messages of ${idOf(other)}, but ${idOf(other)} does not receive those of this instance`,
        )
      })
      await soon(() => expect(other.hub.status().backplane.instances).to.equal(0))
      await soon(() => {
        const seen = states.find(({ instance }) => instance === idOf(other))
        expect(seen?.state, 'the other side notices that it hears nothing').to.equal('degraded')
        expect(seen?.why).to.equal('all other instances have gone silent')
      })
      // This holds for new connections too.
      let beats = 0
      adapter.watch((id, _topics, payload) => {
        if (id === idOf(other) && decode(payload).message.kind === 'beat') beats++
      })
      await soon(() => expect(beats).to.be.at.least(6))
      expect(one.hub.status().backplane.queued.messages).to.equal(1)
      adapter.unblock(idOf(one), idOf(other))
      await soon(() => expect(stateOf(one)).to.equal('ready'))
      await soon(() => expect(one.hub.status().backplane.queued.messages).to.equal(0))
      expect(await b.socket.next()).to.equal('1')
      channel('koaws:backplane').unsubscribe(hear)
    })
  }

  it('gets a report of its own from the peer, before the next beat', async () => {
    const adapter = breakableAdapter({ heartbeat: HEARTBEAT })
    const [one, other] = (await houses(2, adapter)) as [House, House]
    let reports = 0
    adapter.block(idOf(one), idOf(other))
    adapter.watch((id, topics, payload) => {
      if (id !== idOf(other) || !topics.includes(topicOfInstance(idOf(one)))) return
      const { message } = decode(payload)
      if (message.kind === 'note' && readNote(message.text)?.type === 'heard') reports++
    })
    await soon(() => expect(stateOf(one)).to.equal('degraded'))
    expect(reports).to.be.above(0)
  })

  it('is detected by a peer that learns of it from a third instance', async () => {
    const adapter = breakableAdapter({ heartbeat: HEARTBEAT })
    const [one, other, third] = (await houses(3, adapter)) as [House, House, House]
    adapter.block(idOf(one), idOf(other))
    await soon(() => expect(stateOf(other)).to.equal('degraded'))
    await soon(() =>
      expect(other.hub.status().backplane.why).to.equal(
        `this instance does not receive the messages of ${idOf(one)}, but ${idOf(third)} does`,
      ),
    )
    await soon(() => expect(stateOf(one)).to.equal('degraded'))
    expect(stateOf(third)).to.equal('ready')
    adapter.unblock(idOf(one), idOf(other))
    await soon(() => {
      for (const each of [one, other, third]) expect(stateOf(each)).to.equal('ready')
    })
  })

  it('counts messages that were sent before the detection as lost', async () => {
    const adapter = breakableAdapter({ heartbeat: HEARTBEAT })
    const [one, other] = (await houses(2, adapter)) as [House, House]
    const b = await other.enter({ rooms: ['r'] })
    one.hub.room('r').send('1')
    expect(await b.socket.next()).to.equal('1')
    adapter.block(idOf(one), idOf(other))
    expect(await one.hub.room('r').send('lost').backplane).to.equal('sent')
    await soon(() => expect(stateOf(one)).to.equal('degraded'))
    one.hub.room('r').send('2')
    await turn()
    adapter.unblock(idOf(one), idOf(other))
    expect(await b.socket.next()).to.equal('2')
    expect(other.hub.status().backplane.lost).to.equal(1)
  })

  /** Waits until `by` reports a beat of an instance that was sent from now on. */
  async function heardAgain(adapter: BreakableAdapter, id: string, by: string): Promise<void> {
    let beat = Infinity
    let heard = 0
    adapter.watch((from, _topics, payload) => {
      const { message } = decode(payload)
      if (from === id && message.kind === 'beat') beat = Math.min(beat, message.number)
      const note = from === by && message.kind === 'note' ? readNote(message.text) : null
      if (note?.type !== 'heard') return
      heard = Math.max(heard, note.peers.find((peer) => peer.id === id)?.number ?? 0)
    })
    await soon(() => expect(heard).to.be.at.least(beat))
  }

  for (const end of ['is killed', 'closes'] as const) {
    it(`and ${end}: a peer learns from a third instance that messages are missing`, async () => {
      const adapter = breakableAdapter({ heartbeat: HEARTBEAT })
      const [one, other, third] = (await houses(3, adapter)) as [House, House, House]
      const b = await other.enter({ rooms: ['r'] })
      one.hub.room('r').send('1')
      expect(await b.socket.next()).to.equal('1')
      const losses = lossesFromNow()
      adapter.block(idOf(one), idOf(other))
      expect(await one.hub.room('r').send('lost').backplane).to.equal('sent')
      if (end === 'closes') await one.hub.close()
      else {
        await heardAgain(adapter, idOf(one), idOf(third))
        adapter.kill(idOf(one))
      }
      await soon(() => expect(losses.map(({ topic }) => topic)).to.include('room:r'))
      await soon(() => expect(stateOf(other)).to.equal('ready'))
      for (const { instance, from, count } of losses) {
        expect([instance, from, count]).to.deep.equal([idOf(other), idOf(one), 0])
      }
      expect(losses.filter(({ topic }) => topic === 'room:r')).to.have.length(1)
    })
  }

  it('reports nothing when all others heard the same of an instance that is gone', async () => {
    const adapter = breakableAdapter({ heartbeat: HEARTBEAT })
    const [one, other, third, fourth] = (await houses(4, adapter)) as [House, House, House, House]
    for (const { enter } of [other, third]) await enter({ rooms: ['r'] })
    const losses = lossesFromNow()
    adapter.kill(idOf(one))
    await fourth.hub.close()
    let notes = 0
    await soon(() => expect(other.hub.status().backplane.instances).to.equal(1))
    adapter.watch((_id, _topics, payload) => {
      const { message } = decode(payload)
      const note = message.kind === 'note' ? readNote(message.text) : null
      if (note?.type === 'heard' && note.left.length === 0) notes++
    })
    await soon(() => expect(notes, 'the departed are forgotten').to.be.at.least(2))
    expect(losses).to.deep.equal([])
  })

  it('is told apart from an instance that died', async () => {
    const adapter = breakableAdapter({ heartbeat: HEARTBEAT })
    const [one, other, third] = (await houses(3, adapter)) as [House, House, House]
    const states: unknown[] = []
    const hear = (event: unknown): void => void states.push(event)
    channel('koaws:backplane').subscribe(hear)
    adapter.kill(idOf(third))
    await soon(() => {
      for (const { hub } of [one, other]) expect(hub.status().backplane.instances).to.equal(1)
    })
    channel('koaws:backplane').unsubscribe(hear)
    expect(
      states.filter((event) => (event as BackplaneEvent).instance !== idOf(third)),
    ).to.deep.equal([])
    await expectReceived([])
  })
})

describe('the notes of peers about heard instances', () => {
  const note = (...peers: { id: string; number: number; silent: number }[]) =>
    ({ type: 'heard', after: '', until: '', peers, left: [] }) as const

  it('show a deaf peer when a beat and the next one are missing', () => {
    const hearing = new Hearing('me')
    for (const number of [1, 2, 3]) hearing.beat(number, number * 2_000)
    hearing.noted('o', note({ id: 'me', number: 1, silent: 2_400 }), 0, 2_000, 6_200)
    expect(hearing.deaf, 'within the slack of a busy machine').to.equal(null)
    hearing.noted('o', note({ id: 'me', number: 1, silent: 900 }), 0, 2_000, 7_000)
    expect(hearing.deaf, 'something else was heard').to.equal(null)
    hearing.noted('o', note({ id: 'me', number: 1, silent: 4_900 }), 5_500, 2_000, 7_000)
    expect(hearing.deaf, 'it is new').to.equal(null)
    hearing.noted('o', note({ id: 'me', number: 1, silent: 4_900 }), 0, 2_000, 7_000)
    expect(hearing.deaf).to.equal('o')
    const peers = new Peers({ joined() {}, left: () => false, missed() {}, outlived() {} })
    hearing.noted('o', note({ id: 'me', number: 1, silent: 6_900 }), 0, 2_000, 9_000)
    expect(hearing.fault(peers, 2_000, 9_000)?.isFirm, 'it may be a delay').to.equal(false)
    expect(hearing.fault(peers, 2_000, 9_001)?.isFirm, 'the next report says the same').to.equal(
      true,
    )
    hearing.renew()
    hearing.beat(4, 8_000)
    hearing.noted('o', note({ id: 'me', number: 1, silent: 6_000 }), 0, 2_000, 8_100)
    expect(hearing.deaf, 'nothing shows yet that the new connection works').to.equal('o')
    hearing.noted('o', note({ id: 'me', number: 4, silent: 10 }), 0, 2_000, 8_200)
    expect(hearing.deaf).to.equal(null)
  })

  it('follow when a period of a peer and the slack of a busy machine are over', () => {
    const peers = new Peers({ joined() {}, left: () => false, missed() {}, outlived() {} })
    peers.heard('a', 1, 2_000, 0)
    peers.heard('b', 1, 5_000, 0)
    expect(peers.late(2_250)).to.deep.equal([])
    expect(peers.late(2_251)).to.deep.equal(['a'])
    peers.received('a', 2_300)
    expect(peers.late(4_000)).to.deep.equal([])
    expect(peers.late(5_251)).to.deep.equal(['a', 'b'])
  })

  it('count for the range of ids that they cover', () => {
    const hearing = new Hearing('m')
    hearing.beat(1, 0)
    const heard = (after: string, until: string) =>
      hearing.noted('o', { type: 'heard', after, until, peers: [], left: [] }, 0, 2_000, 10_000)
    heard('a', 'l')
    heard('m', 'z')
    heard('n', '')
    expect(hearing.deaf).to.equal(null)
    heard('l', '')
    expect(hearing.deaf).to.equal('o')
    hearing.left('o')
    expect(hearing.deaf).to.equal(null)
  })

  it('are split into parts among many peers', () => {
    const peers = new Peers({ joined() {}, left: () => false, missed() {}, outlived() {} })
    for (let i = 0; i < 170; i++) peers.heard(`peer-${String(i).padStart(3, '0')}`, i, 2_000, i)
    const parts = [1, 2, 3, 4, 5].map(() => peers.named(1_000))
    expect(parts.map(({ peers: { length } }) => length)).to.deep.equal([50, 50, 50, 20, 50])
    expect(parts[0]?.after).to.equal('')
    for (const [i, { after }] of parts.entries()) {
      if (i > 0) expect(after).to.equal(parts[i - 1]?.until)
    }
    expect(parts[3]?.until, 'the rest').to.equal('')
    expect(parts[1]?.peers[0]).to.deep.equal({ id: 'peer-050', number: 50, silent: 950 })
    expect(peers.namedTo('peer-007', 8)).to.deep.equal({
      after: 'peer-006',
      until: 'peer-007',
      peers: [{ id: 'peer-007', number: 7, silent: 1 }],
      left: [],
    })
    expect(peers.namedTo('peer-007x', 8)).to.include({ after: 'peer-007', until: 'peer-007x' })
    for (const id of peers.ids.slice(0, 60)) peers.gone(id, 1_000)
    const { left } = peers.named(1_000)
    expect([left.length, left[0]?.id, left[49]?.id]).to.deep.equal([50, 'peer-010', 'peer-059'])
  })
})

import { channel } from 'node:diagnostics_channel'
import { expect } from 'chai'
import { decode, encode } from '../../lib/backplane/wire.ts'
import type { BackplaneEvent, KoaWsOptions, LostEvent } from '../../lib/index.ts'
import { type BreakableAdapter, breakableAdapter } from '../support/breakable-adapter.ts'
import { LibTimers, pass } from '../support/limits.ts'
import { expectReceived, type Guest, type House, house } from '../support/order.ts'
import { cleanUp, soon, turn } from '../support/server.ts'

const HEARTBEAT = 60
/**
 * Between a publish and a join that the age of the publish tells apart, in milliseconds. On a busy
 * machine a payload takes long, and its age does not count that.
 */
const APART = 400

/** A message leaves at the end of one turn, and arrives in a later one. */
async function arrived(): Promise<void> {
  for (let i = 0; i < 6; i++) await turn()
}

/** Expects exactly these messages for each guest, after they had time to arrive. */
async function expectArrived(guests: readonly Guest[], ...messages: string[]): Promise<void> {
  await arrived()
  await expectReceived(guests, ...messages)
}

describe('the backplane', () => {
  const heard: (() => void)[] = []
  afterEach(async () => {
    for (const stop of heard.splice(0)) stop()
    await cleanUp()
  })

  async function houses(
    count: number,
    adapter: BreakableAdapter,
    options: KoaWsOptions = {},
  ): Promise<House[]> {
    const all = await Promise.all(
      Array.from({ length: count }, () => house({ adapter, ...options })),
    )
    await acquainted(all)
    return all
  }

  /** Resolves when each instance is ready and knows the others. */
  function acquainted(all: readonly House[]): Promise<unknown> {
    return soon(() => {
      for (const { hub } of all) {
        const { state, instances } = hub.status().backplane
        expect([state, instances]).to.deep.equal(['ready', all.length - 1])
      }
    })
  }

  const idOf = ({ hub }: House): string => hub.status().id
  const stateOf = ({ hub }: House): string => hub.status().backplane.state
  const lostOf = ({ hub }: House): number => hub.status().backplane.lost

  /** Collects the events of a diagnostics channel during a test. */
  function listen<T>(name: string): T[] {
    const events: T[] = []
    const hear = (event: unknown): void => void events.push(event as T)
    channel(name).subscribe(hear)
    heard.push(() => channel(name).unsubscribe(hear))
    return events
  }

  describe('when messages are lost', () => {
    it('reports the loss with the next message: in the status, on a channel and to clients', async () => {
      const adapter = breakableAdapter({ heartbeat: HEARTBEAT })
      const [one, other] = (await houses(2, adapter)) as [House, House]
      const losses = listen<LostEvent>('koaws:lost')
      const plain = await other.enter({ rooms: ['r'] })
      const modern = await other.enter({ path: '/v1', rooms: ['r'] })
      const outside = await other.enter({ path: '/v1', rooms: ['s'] })
      one.hub.room('r').send('1')
      await expectArrived([plain, modern], '1')
      adapter.drop(1)
      one.hub.room('r').send('2')
      one.hub.room('r').send('3')
      await arrived()
      one.hub.room('r').send('4')
      await soon(() => expect(lostOf(other)).to.equal(2))
      const resync = '{"type":"koaws:resync","data":{"room":"r"}}'
      await expectArrived([modern], resync, '4')
      await expectArrived([plain], '4')
      await expectArrived([outside])
      expect(other.hub.status().drops['lost']).to.equal(2)
      expect(losses).to.deep.equal([
        {
          instance: idOf(other),
          direction: 'in',
          topic: 'room:r',
          from: idOf(one),
          count: 2,
          why: undefined,
        },
      ])
      expect(lostOf(one)).to.equal(0)
    })

    it('reports the loss without a next message, at the next beat', async () => {
      const adapter = breakableAdapter({ heartbeat: HEARTBEAT })
      const [one, other] = (await houses(2, adapter)) as [House, House]
      const modern = await other.enter({ path: '/v1', user: 'u' })
      one.hub.user('u').send('1')
      await expectArrived([modern], '1')
      adapter.drop(1)
      one.hub.user('u').send('2')
      await soon(() => expect(lostOf(other)).to.equal(1))
      await expectArrived([modern], '{"type":"koaws:resync","data":{"room":null}}')
    })

    it('reports the loss of the last message of an instance that closes', async () => {
      const adapter = breakableAdapter({ heartbeat: 3_600_000 })
      const [one, other] = (await houses(2, adapter)) as [House, House]
      const member = await other.enter({ rooms: ['r'] })
      one.hub.room('r').send('1')
      await expectArrived([member], '1')
      adapter.drop(1, 'room:')
      one.hub.room('r').send('2')
      await arrived()
      expect(lostOf(other)).to.equal(0)
      await one.hub.close()
      await soon(() => expect(lostOf(other)).to.equal(1))
    })

    it('sends resync to a client for a lost message to all', async () => {
      const adapter = breakableAdapter({ heartbeat: HEARTBEAT })
      const [one, other] = (await houses(2, adapter)) as [House, House]
      const modern = await other.enter({ path: '/v1' })
      one.hub.all().send('1')
      await expectArrived([modern], '1')
      adapter.drop(1)
      one.hub.all().send('2')
      await arrived()
      one.hub.all().send('3')
      await expectArrived([modern], '{"type":"koaws:resync","data":{"room":null}}', '3')
    })
  })

  describe('with an instance that was cut off', () => {
    /** Expects that a guest was told of a loss of unknown size in the room `r`. */
    async function expectUnknown(
      guest: Guest,
      losses: readonly LostEvent[],
      loss: Pick<LostEvent, 'instance' | 'from'>,
    ): Promise<void> {
      await expectArrived(
        [guest],
        '{"type":"koaws:resync","data":{"room":null}}',
        '{"type":"koaws:resync","data":{"room":"r"}}',
      )
      const unknown = losses.find(({ topic }) => topic === 'room:r')
      expect(unknown).to.include({ ...loss, count: 0 })
    }

    it('reports the messages of others as lost when it returns', async () => {
      const adapter = breakableAdapter({ heartbeat: HEARTBEAT })
      const [one, other, third] = (await houses(3, adapter)) as [House, House, House]
      const states = listen<BackplaneEvent>('koaws:backplane')
      const b = await other.enter({ path: '/v1', rooms: ['r', 's'] })
      const c = await third.enter({ rooms: ['r'] })
      one.hub.room('r').send('1')
      await expectArrived([b, c], '1')
      adapter.cut(idOf(other))
      expect(stateOf(other)).to.equal('degraded')
      one.hub.room('r').send('2')
      one.hub.room('s').send('never heard before')
      expect(await other.hub.room('r').send('3').backplane).to.equal('queued')
      await expectArrived([c], '2')
      await expectArrived([b], '3')
      adapter.heal(idOf(other))
      expect(stateOf(other)).to.equal('ready')
      await soon(() => expect(lostOf(other)).to.equal(2))
      await expectArrived([c], '3')
      const resync = (room: string): string => `{"type":"koaws:resync","data":{"room":"${room}"}}`
      await expectArrived([b], resync('r'), resync('s'))
      const mine = states.filter(({ instance }) => instance === idOf(other))
      expect(mine.map(({ state }) => state)).to.deep.equal(['degraded', 'ready'])
      expect(mine[1]?.queued.messages).to.equal(1)
    })

    it('reports the loss of the first message in a room by its age', async () => {
      const adapter = breakableAdapter({ heartbeat: HEARTBEAT })
      const [one, other] = (await houses(2, adapter)) as [House, House]
      const b = await other.enter({ path: '/v1', rooms: ['s'] })
      // A message of the same millisecond may precede the subscription.
      await pass(20)
      adapter.cut(idOf(other))
      one.hub.room('s').send('never heard before')
      await arrived()
      adapter.heal(idOf(other))
      await soon(() => expect(lostOf(other)).to.equal(1))
      await expectArrived([b], '{"type":"koaws:resync","data":{"room":"s"}}')
    })

    it('reports an unknown loss for a peer that died meanwhile', async () => {
      const adapter = breakableAdapter({ heartbeat: HEARTBEAT })
      const [one, other] = (await houses(2, adapter)) as [House, House]
      const losses = listen<LostEvent>('koaws:lost')
      const b = await other.enter({ path: '/v1', rooms: ['r'] })
      adapter.cut(idOf(other))
      one.hub.room('r').send('1')
      await arrived()
      adapter.kill(idOf(one))
      adapter.heal(idOf(other))
      await soon(() => expect(other.hub.status().backplane.instances).to.equal(0))
      await expectUnknown(b, losses, { instance: idOf(other), from: idOf(one) })
    })

    it('reports an unknown loss for an instance that came and went meanwhile', async () => {
      const adapter = breakableAdapter({ heartbeat: HEARTBEAT })
      const [other, witness] = (await houses(2, adapter)) as [House, House]
      const losses = listen<LostEvent>('koaws:lost')
      const b = await other.enter({ path: '/v1', rooms: ['r'] })
      adapter.cut(idOf(other))
      const brief = await house({ adapter })
      await soon(() => expect(brief.hub.status().backplane.state).to.equal('ready'))
      expect(await brief.hub.room('r').send('1').backplane).to.equal('sent')
      await soon(() => expect(witness.hub.status().backplane.instances).to.equal(2))
      await brief.hub.close()
      adapter.heal(idOf(other))
      await soon(() => expect(losses.map(({ topic }) => topic)).to.include('room:r'))
      await expectUnknown(b, losses, { instance: idOf(other), from: idOf(brief) })
    })

    it('delivers its queued messages only to members that were present when they were sent', async () => {
      const adapter = breakableAdapter({ heartbeat: HEARTBEAT })
      const [one, other, third] = (await houses(3, adapter)) as [House, House, House]
      const c = await third.enter({ rooms: ['r'] })
      one.hub.room('r').send('before')
      await expectArrived([c], 'before')
      adapter.cut(idOf(one))
      one.hub.room('r').send('queued')
      await pass(APART)
      const b = await other.enter({ rooms: ['r'] })
      const late = await third.enter({ rooms: ['r'] })
      adapter.heal(idOf(one))
      await soon(() => expect(one.hub.status().backplane.queued.messages).to.equal(0))
      await expectArrived([c], 'queued')
      await expectArrived([b, late])
      one.hub.room('r').send('after')
      await expectArrived([b, c, late], 'after')
      for (const each of [other, third]) expect(lostOf(each)).to.equal(0)
    })

    describe('that publishes again', () => {
      async function published(): Promise<{
        adapter: BreakableAdapter
        all: [House, House, House]
        guest: Guest
      }> {
        const adapter = breakableAdapter({ heartbeat: HEARTBEAT })
        const all = (await houses(3, adapter)) as [House, House, House]
        const [one, other] = all
        const guest = await other.enter({ rooms: ['r'] })
        for (const text of ['1', '2', '3']) one.hub.room('r').send(text)
        await arrived()
        adapter.loseAcknowledgements(idOf(one))
        for (const text of ['4', '5', '6']) {
          one.hub.room('r').send(text)
          await turn()
        }
        await expectArrived([guest], '1', '2', '3', '4', '5', '6')
        adapter.cut(idOf(one))
        expect(one.hub.status().backplane.queued.messages).to.equal(3)
        return { adapter, all, guest }
      }

      async function healed(
        adapter: BreakableAdapter,
        [one, other, third]: [House, House, House],
      ): Promise<void> {
        adapter.heal(idOf(one))
        one.hub.room('r').send('7')
        await soon(() => expect(one.hub.status().backplane.queued.messages).to.equal(0))
        await arrived()
        for (const each of [other, third]) expect(lostOf(each)).to.equal(0)
      }

      it('delivers once to a member that left and returned', async () => {
        const { adapter, all, guest } = await published()
        guest.connection.leave('r')
        await turn()
        await guest.connection.join('r')
        await healed(adapter, all)
        await expectArrived([guest], '7')
      })

      it('delivers once to a page that reloads, on the same and on another instance', async () => {
        const { adapter, all, guest } = await published()
        guest.socket.close()
        await guest.connection.closed
        await pass(APART)
        const [, other, third] = all
        const reloaded = [await other.enter({ rooms: ['r'] }), await third.enter({ rooms: ['r'] })]
        await healed(adapter, all)
        await expectArrived(reloaded, '7')
      })

      it('delivers once to a member that moved to another target room of the message', async () => {
        const { adapter, all, guest } = await published()
        const [one] = all
        adapter.heal(idOf(one))
        await soon(() => expect(one.hub.status().backplane.queued.messages).to.equal(0))
        adapter.loseAcknowledgements(idOf(one))
        one.hub.room('r', 's').send('both')
        await expectArrived([guest], 'both')
        adapter.cut(idOf(one))
        guest.connection.leave('r')
        await guest.connection.join('s')
        adapter.heal(idOf(one))
        one.hub.room('r', 's').send('next')
        await soon(() => expect(one.hub.status().backplane.queued.messages).to.equal(0))
        await expectArrived([guest], 'next')
      })
    })

    it('reports the loss even when the engine is interrupted during the question about it', async () => {
      const adapter = breakableAdapter({ heartbeat: HEARTBEAT })
      const all = (await houses(3, adapter)) as [House, House, House]
      const [one, other, third] = all
      await other.enter({ rooms: ['r'] })
      one.hub.room('r').send('1')
      await arrived()
      adapter.cut(idOf(other))
      let toldQuiet = false
      adapter.watch((id, topics, payload) => {
        if (id !== idOf(one) || !topics.includes('room:r')) return
        toldQuiet = decode(payload).message.kind === 'tops'
      })
      one.hub.room('r').send('2')
      await soon(() => expect(toldQuiet, 'it has told that the room is quiet').to.equal(true))
      adapter.cut(idOf(one))
      adapter.cut(idOf(third))
      adapter.heal(idOf(other))
      adapter.heal(idOf(one))
      await arrived()
      adapter.cut(idOf(one))
      adapter.heal(idOf(one))
      adapter.heal(idOf(third))
      await soon(() => expect(lostOf(other)).to.equal(1))
    })

    it('resolves a join without waiting for the engine', async () => {
      const adapter = breakableAdapter({ heartbeat: HEARTBEAT })
      const [one, other] = (await houses(2, adapter)) as [House, House]
      const b = await other.enter()
      adapter.cut(idOf(other))
      await b.connection.join('r')
      other.hub.room('r').send('here')
      adapter.heal(idOf(other))
      one.hub.room('r').send('there')
      await arrived()
      await expectArrived([b], 'here', 'there')
    })

    it('answers a question at once, in part', async () => {
      const adapter = breakableAdapter({ heartbeat: HEARTBEAT })
      const [one, other] = (await houses(2, adapter)) as [House, House]
      const a = await one.enter({ rooms: ['r'] })
      await other.enter({ rooms: ['r'] })
      adapter.cut(idOf(one))
      const timers = new LibTimers()
      const asked = one.hub.room('r').members()
      await turn()
      expect(timers.of('backplane/questions'), 'it waits for no answer').to.equal(0)
      timers.stop()
      const members = await asked
      expect(members.map(({ id }) => id)).to.deep.equal([a.connection.id])
      expect(members.missing).to.deep.equal([idOf(other)])
      expect(await one.hub.room('r').count()).to.equal(1)
    })

    it('detects an engine that hangs, and queues', async () => {
      const adapter = breakableAdapter({ heartbeat: HEARTBEAT, echoes: true })
      const [one, other] = (await houses(2, adapter)) as [House, House]
      const b = await other.enter({ rooms: ['r'] })
      adapter.mute(idOf(one))
      const { backplane } = one.hub.room('r').send('1')
      expect(await backplane).to.equal('queued')
      expect(stateOf(one)).to.equal('degraded')
      adapter.unmute(idOf(one))
      await soon(() => expect(stateOf(one)).to.equal('ready'))
      await expectArrived([b], '1')
      expect(one.hub.status().backplane.queued).to.deep.equal({ messages: 0, bytes: 0 })
    })
  })

  describe('with 1,000 instances', () => {
    it('sends beats less often, and still detects an engine that hangs equally fast', async () => {
      const adapter = breakableAdapter({ heartbeat: HEARTBEAT, echoes: true })
      const one = await house({ adapter })
      await soon(() => expect(stateOf(one)).to.equal('ready'))
      for (let i = 0; i < 5_000; i++) {
        const beat = encode(`peer-${i}`, { kind: 'beat', number: 1, period: 60_000 })
        adapter.inject('all', beat)
      }
      await soon(() => expect(one.hub.status().backplane.instances).to.equal(5_000))
      // With 1,000 instances, the interval of beats is 1.2 s.
      const beats = { all: 0, self: 0 }
      adapter.watch((_id, topics, payload) => {
        if (decode(payload).message.kind !== 'beat') return
        if (topics.includes('all')) beats.all++
        if (topics.includes(`instance:${idOf(one)}`)) beats.self++
      })
      await soon(() => expect(beats.self).to.be.at.least(8))
      expect(stateOf(one)).to.equal('ready')
      expect(beats.all).to.be.below(4)
      beats.all = 0
      adapter.mute(idOf(one))
      await soon(() => expect(stateOf(one)).to.equal('degraded'))
      expect(beats.all, 'it does not wait for several beats to all').to.be.below(2)
    })
  })

  describe('with an instance that died', () => {
    it('lists it as missing first, and forgets it later', async () => {
      const adapter = breakableAdapter({ heartbeat: HEARTBEAT })
      const all = await houses(3, adapter)
      const [one, other, third] = all as [House, House, House]
      for (const each of all) await each.enter({ rooms: ['r'] })
      expect(await one.hub.room('r').count()).to.equal(3)
      adapter.kill(idOf(other))
      const members = await one.hub.room('r').members()
      expect(members).to.have.lengthOf(2)
      await acquainted([one, third])
      expect((await one.hub.room('r').members()).missing).to.deep.equal([])
      expect(await one.hub.room('r').count()).to.equal(2)
    })
  })

  it('sends no beat after its goodbye', async () => {
    const inner = breakableAdapter({ heartbeat: HEARTBEAT })
    const slow: BreakableAdapter = {
      ...inner,
      connect(id, events) {
        const link = inner.connect(id, events)
        const publish = link.publish.bind(link)
        return Object.assign(link, {
          // Publishes to rooms are never acknowledged.
          publish: (topics: readonly string[], payload: Buffer) =>
            publish(topics, payload).then(() =>
              topics[0] === 'room:r' ? new Promise(() => {}) : undefined,
            ),
        })
      },
    }
    const [one, other] = (await houses(2, slow)) as [House, House]
    one.hub.room('r').send('1')
    let known = 1
    const closing = one.hub.close({ timeout: 500 })
    await soon(() => expect(other.hub.status().backplane.instances).to.equal(0))
    const looking = setInterval(() => {
      known = other.hub.status().backplane.instances
      if (known > 0) clearInterval(looking)
    }, 5)
    known = 0
    await closing
    clearInterval(looking)
    expect(known).to.equal(0)
  })

  it('publishes once per set of rooms and turn', async () => {
    const published: string[][] = []
    const inner = breakableAdapter({ heartbeat: 60_000 })
    const spied: BreakableAdapter = {
      ...inner,
      connect(id, events) {
        const link = inner.connect(id, events)
        const { publish } = link
        return Object.assign(link, {
          publish(topics: readonly string[], payload: Buffer) {
            if (/^(room|user)/.test(topics[0] ?? '')) published.push([...topics])
            return publish.call(link, topics, payload)
          },
        })
      },
    }
    const [one, other] = (await houses(2, spied)) as [House, House]
    const b = await other.enter({ rooms: ['r', 's'] })
    const sent = []
    for (let i = 0; i < 5; i++) {
      sent.push(one.hub.room('r').send(`r ${i}`))
      sent.push(one.hub.room('s').send(`s ${i}`))
    }
    for (const { backplane } of sent) expect(await backplane).to.equal('sent')
    expect(published).to.deep.equal([['room:r'], ['room:s']])
    await arrived()
    const texts = (name: string): string[] => [0, 1, 2, 3, 4].map((i) => `${name} ${i}`)
    await expectArrived([b], ...texts('r'), ...texts('s'))
    published.length = 0
    one.hub.room('r').send('1')
    one.hub.room('r', 's').send('2')
    one.hub.room('r').send('3')
    one.hub.room('s').send('4')
    await arrived()
    expect(published).to.deep.equal([['room:r'], ['room:r', 'room:s'], ['room:r'], ['room:s']])
    await expectArrived([b], '1', '2', '3', '4')
  })

  it('ignores and counts foreign payloads on every topic', async () => {
    const adapter = breakableAdapter({ heartbeat: 60_000 })
    const [one, other] = (await houses(2, adapter)) as [House, House]
    const a = await one.enter({ rooms: ['r'] })
    const payload = encode('stranger', {
      kind: 'orders',
      positions: [{ topic: 'all', epoch: 1, next: 1, after: null }],
      orders: [
        {
          type: 'close',
          target: { kind: 'all', names: [], except: [], exceptUsers: [] },
          code: 1005,
          reason: '',
        },
      ],
    })
    adapter.inject('all', payload)
    adapter.inject(`instance:${idOf(one)}`, Buffer.from('hello'))
    adapter.inject('room:r', Buffer.alloc(100, 1))
    await soon(() => expect(one.hub.status().drops['foreign']).to.equal(3))
    await expectArrived([a])
    expect(other.hub.status().drops['foreign']).to.equal(undefined)
  })

  it('closes while the engine hangs, and reports unsent messages as lost', async () => {
    const adapter = breakableAdapter({ heartbeat: HEARTBEAT })
    const [one, other] = (await houses(2, adapter)) as [House, House]
    const losses = listen<LostEvent>('koaws:lost')
    adapter.cut(idOf(one))
    const { backplane } = one.hub.all().send('1')
    expect(await backplane).to.equal('queued')
    await one.hub.close({ timeout: 500 })
    expect(one.hub.status().drops['backplane']).to.equal(1)
    expect(losses.map(({ direction, count }) => [direction, count])).to.deep.equal([['out', 1]])
    expect(await one.hub.all().send('2').backplane).to.equal('failed')
    adapter.mute(idOf(other))
    other.hub.all().send('3')
    await other.hub.close({ timeout: 500 })
  })
})

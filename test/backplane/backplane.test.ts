import { channel } from 'node:diagnostics_channel'
import { expect } from 'chai'
import { encode } from '../../lib/backplane/wire.ts'
import type { BackplaneEvent, KoaWsOptions, LostEvent } from '../../lib/index.ts'
import { type BreakableAdapter, breakableAdapter } from '../support/breakable-adapter.ts'
import { expectReceived, type Guest, type House, house } from '../support/order.ts'
import { cleanUp, soon, turn } from '../support/server.ts'

const HEARTBEAT = 60

/** A message goes out at the end of one turn, and arrives in a later one. */
async function arrived(): Promise<void> {
  for (let i = 0; i < 6; i++) await turn()
}

/** Expect that each guest has got exactly these, now that they have arrived. */
async function expectArrived(guests: readonly Guest[], ...messages: string[]): Promise<void> {
  await arrived()
  await expectReceived(guests, ...messages)
}

describe('the line between instances', () => {
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

  /** Every one is ready and knows the others. */
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

  /** What a channel says during a test. */
  function listen<T>(name: string): T[] {
    const events: T[] = []
    const hear = (event: unknown): void => void events.push(event as T)
    channel(name).subscribe(hear)
    heard.push(() => channel(name).unsubscribe(hear))
    return events
  }

  describe('when messages did not arrive', () => {
    it('shows it with the next one: counted, on a channel, and to the clients', async () => {
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

    it('shows it without a next one, soon after', async () => {
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

    it('tells a client of what was for everybody', async () => {
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

  describe('of an instance that was cut off', () => {
    it('what others said meanwhile is known to be lost when it is back', async () => {
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

    it('what was the first in a room is known to be lost by its age', async () => {
      const adapter = breakableAdapter({ heartbeat: HEARTBEAT })
      const [one, other] = (await houses(2, adapter)) as [House, House]
      const b = await other.enter({ path: '/v1', rooms: ['s'] })
      // What was published in the same millisecond may have been before the subscription.
      await new Promise((resolve) => setTimeout(resolve, 20))
      adapter.cut(idOf(other))
      one.hub.room('s').send('never heard before')
      await arrived()
      adapter.heal(idOf(other))
      await soon(() => expect(lostOf(other)).to.equal(1))
      await expectArrived([b], '{"type":"koaws:resync","data":{"room":"s"}}')
    })

    it('what one published that died meanwhile may all have been missed', async () => {
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
      await expectArrived(
        [b],
        '{"type":"koaws:resync","data":{"room":null}}',
        '{"type":"koaws:resync","data":{"room":"r"}}',
      )
      const unknown = losses.find(({ topic }) => topic === 'room:r')
      expect(unknown).to.include({ instance: idOf(other), from: idOf(one), count: 0 })
    })

    it('what it published before somebody came is not called lost when it is back', async () => {
      const adapter = breakableAdapter({ heartbeat: HEARTBEAT })
      const [one, other] = (await houses(2, adapter)) as [House, House]
      one.hub.room('r').send('before')
      await arrived()
      adapter.cut(idOf(one))
      one.hub.room('r').send('queued')
      await new Promise((resolve) => setTimeout(resolve, 30))
      const b = await other.enter({ path: '/v1', rooms: ['r'] })
      await new Promise((resolve) => setTimeout(resolve, 30))
      adapter.heal(idOf(one))
      await soon(() => expect(one.hub.status().backplane.queued.messages).to.equal(0))
      await expectArrived([b], 'queued')
      expect(lostOf(other)).to.equal(0)
    })

    it('what it missed is known, though it was asked for while the engine came and went', async () => {
      const adapter = breakableAdapter({ heartbeat: HEARTBEAT })
      const all = (await houses(3, adapter)) as [House, House, House]
      const [one, other, third] = all
      await other.enter({ rooms: ['r'] })
      one.hub.room('r').send('1')
      await arrived()
      adapter.cut(idOf(other))
      one.hub.room('r').send('2')
      // Until it has told that the room is quiet.
      await new Promise((resolve) => setTimeout(resolve, 5 * HEARTBEAT))
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

    it('a join does not wait for the engine', async () => {
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

    it('a question is answered at once, in part', async () => {
      const adapter = breakableAdapter({ heartbeat: HEARTBEAT })
      const [one, other] = (await houses(2, adapter)) as [House, House]
      const a = await one.enter({ rooms: ['r'] })
      await other.enter({ rooms: ['r'] })
      adapter.cut(idOf(one))
      const began = Date.now()
      const members = await one.hub.room('r').members()
      expect(members.map(({ id }) => id)).to.deep.equal([a.connection.id])
      expect(members.missing).to.deep.equal([idOf(other)])
      expect(await one.hub.room('r').count()).to.equal(1)
      expect(Date.now() - began).to.be.below(500)
    })

    it('an engine that hangs is noticed, and given up', async () => {
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

  describe('of an instance among many', () => {
    it('speaks to all more seldom, and notices an engine that hangs as soon as ever', async () => {
      const adapter = breakableAdapter({ heartbeat: HEARTBEAT, echoes: true })
      const one = await house({ adapter })
      await soon(() => expect(stateOf(one)).to.equal('ready'))
      for (let i = 0; i < 1_000; i++) {
        const beat = encode(`peer-${i}`, { kind: 'beat', number: 1, period: 60_000 })
        adapter.inject('all', beat)
      }
      await soon(() => expect(one.hub.status().backplane.instances).to.equal(1_000))
      // It would beat every 1.2 s now.
      await new Promise((resolve) => setTimeout(resolve, 5 * HEARTBEAT))
      expect(stateOf(one)).to.equal('ready')
      const began = Date.now()
      adapter.mute(idOf(one))
      await soon(() => expect(stateOf(one)).to.equal('degraded'))
      expect(Date.now() - began).to.be.below(1_000)
    })
  })

  describe('of an instance that died', () => {
    it('does not wait for it for ever: it is missing first, and then gone', async () => {
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

  it('says nothing of itself after its goodbye', async () => {
    const inner = breakableAdapter({ heartbeat: HEARTBEAT })
    const slow: BreakableAdapter = {
      ...inner,
      connect(id, events) {
        const link = inner.connect(id, events)
        const publish = link.publish.bind(link)
        return Object.assign(link, {
          // Rooms are published, and that is never acknowledged.
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

  it('publishes once for each set of rooms in one turn', async () => {
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

  it('ignores and counts what is foreign, whatever topic it comes on', async () => {
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

  it('closes while the engine hangs, and says what was not sent', async () => {
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

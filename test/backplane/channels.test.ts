import { crc32 } from 'node:zlib'
import { expect } from 'chai'
import type { Adapter, AdapterEvents, AdapterLink } from '../../lib/backplane/adapter.ts'
import type { Order, Target } from '../../lib/backplane/order.ts'
import { aged, encode, type Message, type Numbered } from '../../lib/backplane/wire.ts'
import { Frame } from '../../lib/connection/frame.ts'
import {
  enterAndHold,
  expectReceived,
  type House,
  house,
  mulberry32,
  received,
} from '../support/order.ts'
import { cleanUp, eventually } from '../support/server.ts'

interface Engine {
  readonly adapter: Adapter
  /** Publishes as a client with access to this topic only. */
  inject(topic: string, payload: Buffer): void
}

/** Makes an engine that reports the topic of each arrival, like Redis. */
function tellingEngine(): Engine {
  const links = new Set<{ topics: Set<string>; events: AdapterEvents }>()
  const arrive = (topics: readonly string[], payload: Buffer): void => {
    for (const topic of topics) {
      for (const link of links) {
        if (link.topics.has(topic)) link.events.received(Buffer.from(payload), topic)
      }
    }
  }
  const connect = (_id: string, events: AdapterEvents): AdapterLink => {
    const one = { topics: new Set<string>(), events }
    links.add(one)
    setImmediate(() => events.up())
    return {
      async subscribe(topics) {
        for (const topic of topics) one.topics.add(topic)
      },
      unsubscribe(topics) {
        for (const topic of topics) one.topics.delete(topic)
      },
      async publish(topics, payload) {
        setImmediate(() => arrive(topics, payload))
      },
      async close() {
        links.delete(one)
      },
    }
  }
  return {
    adapter: { heartbeat: 200, connect },
    inject: (topic, payload) => arrive([topic], payload),
  }
}

const rooms = (...names: string[]): Target => ({
  kind: 'rooms',
  names,
  except: [],
  exceptUsers: [],
})
const all: Target = { kind: 'all', names: [], except: [], exceptUsers: [] }

function send(target: Target, text: string): Order {
  return {
    type: 'send',
    target,
    frame: Frame.encode(text, null).plain,
    pushed: false,
    volatile: false,
  }
}

/** Returns orders, as an emitter with its own name writes them. */
function orders(topics: readonly string[], ...list: Order[]): Message {
  const positions = topics.map((topic) => ({ topic, epoch: 1, next: 1, after: null }))
  return { kind: 'orders', positions, orders: list }
}

describe('the topic on which a payload arrives', () => {
  let engine: Engine
  let one: House
  let other: House

  beforeEach(async () => {
    engine = tellingEngine()
    const open = (): Promise<House> =>
      house({ adapter: engine.adapter, presence: { rooms: '*', info: () => null } })
    ;[one, other] = await Promise.all([open(), open()])
    await eventually(() => [one, other].every(({ hub }) => hub.status().backplane.instances === 1))
  })
  afterEach(cleanUp)

  it('lets a message to several rooms reach each member once', async () => {
    const a = await enterAndHold(other, { rooms: ['x'] })
    const b = await enterAndHold(other, { rooms: ['x', 'y'] })
    const c = await enterAndHold(other, { rooms: ['y', 'z'] })
    const d = await enterAndHold(other, { rooms: ['z'] })
    one.hub.room('x', 'y').send('1')
    one.hub.room('x', 'y').send('2')
    one.hub.room('y', 'z', 'x').except(d.connection.id).send('3')
    one.hub.room('z').send('4')
    one.hub.room('x', 'y', 'z', 'nowhere').send('5')
    await eventually(() => other.hub.status().backplane.lost === 0)
    await one.hub.all().count() // resolves after all earlier publishes have arrived
    await expectReceived([a], '1', '2', '3', '5')
    await expectReceived([b], '1', '2', '3', '5')
    await expectReceived([c], '1', '2', '3', '4', '5')
    await expectReceived([d], '4', '5')
  })

  it('lets orders to several rooms move and close all their members', async () => {
    const a = await enterAndHold(other, { rooms: ['x', 'y'] })
    const b = await enterAndHold(other, { rooms: ['y'] })
    await one.hub.room('x', 'y').join('w')
    await one.hub.room('x', 'y').leave('y')
    await eventually(() => [a, b].every(({ connection }) => !connection.rooms.has('y')))
    for (const { connection } of [a, b]) expect(connection.rooms.has('w')).to.equal(true)
    const closed = Promise.all([a, b].map(({ socket }) => socket.closed))
    await one.hub.room('x', 'w').close(4001)
    for (const { code } of await closed) expect(code).to.equal(4001)
  })

  it('keeps the order: a repeated message is lost after a later one arrived through another room', async () => {
    const a = await enterAndHold(other, { rooms: ['x', 'y'] })
    const b = await enterAndHold(other, { rooms: ['x'] })
    const at = (topic: string, next: number): Numbered => ({ topic, epoch: 1, next, after: null })
    const payload = (text: string, ...positions: Numbered[]): Buffer => {
      const names = positions.map(({ topic }) => topic.slice('room:'.length))
      const list = [send(rooms(...names), text)]
      return encode('stranger', { kind: 'orders', positions, orders: list })
    }
    const second = payload('2', at('room:x', 2))
    const third = payload('3', at('room:x', 3), at('room:y', 1))
    engine.inject('room:x', payload('1', at('room:x', 1)))
    // For a moment only room y is subscribed.
    engine.inject('room:y', third)
    engine.inject('room:x', aged(second, 0))
    engine.inject('room:x', aged(third, 0))
    engine.inject('room:y', aged(third, 0))
    engine.inject('room:x', payload('4', at('room:x', 4)))
    await expectReceived([a], '1', '3', '4')
    expect(other.hub.status().backplane.lost).to.equal(2)
    await expectReceived([b], '1', '4')
  })

  const seed = Math.floor(Math.random() * 2 ** 32)
  it(`delivers a message to several rooms once to every member (seed ${seed})`, async () => {
    const random = mulberry32(seed)
    const names = ['p', 'q', 'r', 's']
    const some = (): string[] => names.filter(() => random() < 0.5)
    const guests = []
    for (let i = 0; i < 8; i++) {
      const mine = some()
      guests.push({ mine, guest: await enterAndHold(other, { rooms: mine }) })
    }
    const sent = Array.from({ length: 60 }, (_, i) => ({ text: String(i), to: some() }))
    for (const { text, to } of sent) {
      one.hub.room(...to).send(text)
      if (random() < 0.3) await new Promise(setImmediate)
    }
    await one.hub.all().count()
    for (const { mine, guest } of guests) {
      const expected = sent.filter(({ to }) => to.some((name) => mine.includes(name)))
      const got = await received(guest)
      expect([...got].sort()).to.deep.equal(expected.map(({ text }) => text).sort())
    }
    expect(other.hub.status().backplane.lost).to.equal(0)
  })

  describe('with a publisher limited to one topic', () => {
    const forged: Record<string, Message> = {
      'a message to another room': orders(['room:x'], send(rooms('x'), 'forged')),
      'a message to all clients': orders(['all'], send(all, 'forged')),
      'a close of another room': orders(['room:x'], {
        type: 'close',
        target: rooms('x'),
        code: 4000,
        reason: '',
      }),
      'a close of all clients': orders(['all'], {
        type: 'close',
        target: all,
        code: 4000,
        reason: '',
      }),
      'presence of another room': orders(['room:x'], {
        type: 'presence',
        target: rooms('x'),
        text: '["x","u:ghost",1,null,"k"]',
      }),
      'a heartbeat': { kind: 'beat', number: 1, period: 1_000 },
      'a question': { kind: 'question', id: 1, question: { type: 'members', target: all } },
      'an answer': { kind: 'answer', id: 1, count: 5, members: [], more: false },
      'positions of another room': {
        kind: 'tops',
        tops: [{ topic: 'room:x', epoch: 1, next: 9, age: 1 }],
      },
      'a note': { kind: 'note', text: '{"resend":true}' },
    }
    for (const [what, message] of Object.entries(forged)) {
      it(`treats ${what} as foreign`, async () => {
        const a = await enterAndHold(one, { rooms: ['x'] })
        await enterAndHold(one, { rooms: ['y'] })
        const before = one.hub.status()
        engine.inject('room:y', encode('stranger', message))
        expect(one.hub.status().drops['foreign']).to.equal((before.drops['foreign'] ?? 0) + 1)
        expect(one.hub.status().backplane.instances).to.equal(1)
        expect(one.hub.status().backplane.lost).to.equal(0)
        await expectReceived([a])
      })
    }

    it('delivers its message to two rooms only to the members of its room', async () => {
      const a = await enterAndHold(one, { rooms: ['x'] })
      const b = await enterAndHold(one, { rooms: ['y'] })
      const c = await enterAndHold(one, { rooms: ['x', 'y'] })
      const message = encode(
        'stranger',
        orders(['room:y', 'room:x'], send(rooms('y', 'x'), 'forged')),
      )
      engine.inject('room:y', message)
      await expectReceived([a])
      await expectReceived([b], 'forged')
      await expectReceived([c], 'forged')
      engine.inject('room:x', message)
      await expectReceived([a], 'forged')
      await expectReceived([b])
      await expectReceived([c])
    })

    it('rejects its order for connections by id, which requires the topic of all instances', async () => {
      const a = await enterAndHold(one, { rooms: ['x'] })
      await enterAndHold(one, { rooms: ['y'] })
      const target: Target = { ...all, kind: 'connections', names: [a.connection.id] }
      const close: Order = { type: 'close', target, code: 4000, reason: '' }
      const payload = encode('stranger', orders(['all'], close))
      // The same order with the position of a room: kind 3 and the name "y" in place of kind 0 and
      // "".
      const origin = 8 + 1 + 'stranger'.length
      expect([...payload.subarray(origin, origin + 3)]).to.deep.equal([0, 1, 0])
      const position = Buffer.from([3, 1, 1, 'y'.charCodeAt(0)])
      const forged = Buffer.concat([
        payload.subarray(0, origin),
        position,
        payload.subarray(origin + 3),
      ])
      forged.writeUInt32BE(crc32(forged.subarray(8), forged[3]), 4)
      engine.inject('room:y', forged)
      expect(one.hub.status().drops['foreign']).to.equal(1)
      expect(a.connection.readyState).to.equal(1)
    })

    it('ignores its presence for a room other than the target', async () => {
      const a = await enterAndHold(one, { path: '/v1', rooms: ['x'] })
      await enterAndHold(one, { rooms: ['y'] })
      await received(a)
      const text = '["x","u:ghost",1,null,"k"]'
      const forgery = orders(['room:y'], { type: 'presence', target: rooms('y'), text })
      engine.inject('room:y', encode('stranger', forgery))
      await expectReceived([a])
    })
  })
})

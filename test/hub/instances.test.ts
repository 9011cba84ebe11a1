import { expect } from 'chai'
import type { Order } from '../../lib/backplane/order.ts'
import { decode } from '../../lib/backplane/wire.ts'
import type { Adapter, KoaWsOptions } from '../../lib/index.ts'
import { memoryAdapter } from '../../lib/index.ts'
import { LibTimers } from '../support/limits.ts'
import { expectReceived, type House, house, received } from '../support/order.ts'
import { cleanUp, turn } from '../support/server.ts'

/**
 * Waits until an order has arrived: it is published at the end of one turn, and carried out in
 * the next.
 */
async function arrived(): Promise<void> {
  for (let i = 0; i < 5; i++) await turn()
}

/** An adapter that records the orders that each instance receives, in the order of creation. */
function spiedAdapter(): { adapter: Adapter; orders: Order[][] } {
  const inner = memoryAdapter()
  const orders: Order[][] = []
  const connect: Adapter['connect'] = (id, events) => {
    const mine: Order[] = []
    orders.push(mine)
    return inner.connect(id, {
      ...events,
      received(payload) {
        const { message } = decode(payload)
        if (message.kind === 'orders') mine.push(...message.orders)
        events.received(payload)
      },
    })
  }
  return { adapter: { connect }, orders }
}

describe('hubs joined by memoryAdapter()', () => {
  afterEach(cleanUp)

  async function two(options: KoaWsOptions = {}): Promise<[House, House]> {
    const adapter = memoryAdapter()
    return [await house({ adapter, ...options }), await house({ adapter, ...options })]
  }

  it('are separate instances, each with a ready backplane', async () => {
    const [one, other] = await two()
    expect(one.hub.status().id).to.be.a('string').and.not.equal(other.hub.status().id)
    for (const { hub } of [one, other]) {
      const { backplane, connections } = hub.status()
      expect(connections).to.equal(0)
      expect(backplane.state).to.equal('ready')
      expect(backplane.queued).to.deep.equal({ messages: 0, bytes: 0 })
      expect(backplane.since).to.be.within(Date.now() - 60_000, Date.now())
    }
    const alone = await house()
    expect(alone.hub.status().backplane.state).to.equal('none')
  })

  it('reach rooms, users, connections and all clients of both instances', async () => {
    const [one, other] = await two()
    const a = await one.enter({ user: 'a', rooms: ['r'] })
    const b = await other.enter({ user: 'a', rooms: ['r', 's'] })
    const c = await other.enter({ user: 7 })
    const locals = [
      one.hub.room('r').send('1'),
      one.hub.room('r', 's').send('2'),
      one.hub.user('a').send('3'),
      one.hub.user(7).send(Buffer.from('4')),
      one.hub.all().send('5'),
      one.hub.connection(c.connection.id).json({ n: 6 }),
      one.hub.connection(a.connection.id).send('7'),
      a.connection.to('r').send('8'),
      one.hub.room('s').send(''),
      one.hub.room('s').send('x'.repeat(200)),
      one.hub.room('s').send('y'.repeat(70_000)),
    ]
    expect(locals.map(({ local }) => local)).to.deep.equal([1, 1, 1, 0, 1, 0, 1, 0, 0, 0, 0])
    for (const [i, { backplane, dropped, skipped }] of locals.entries()) {
      // A send to a local connection is not published.
      expect(await backplane).to.equal(i === 6 ? 'none' : 'sent')
      expect([dropped, skipped]).to.deep.equal([0, 0])
    }
    await arrived()
    await expectReceived([a], '1', '2', '3', '5', '7')
    const long = ['x'.repeat(200), 'y'.repeat(70_000)]
    await expectReceived([b], '1', '2', '3', '5', '8', '', ...long)
    await expectReceived([c], Buffer.from('4'), '5', '{"n":6}')
  })

  it('apply except() and exceptUser() on both instances', async () => {
    const [one, other] = await two()
    const a = await one.enter({ user: 'a', rooms: ['r'] })
    const b = await other.enter({ user: 'b', rooms: ['r'] })
    const c = await other.enter({ user: 'c', rooms: ['r'] })
    one.hub.room('r').except(b.connection.id).send('1')
    one.hub.room('r').except(b.connection, a.connection).send('2')
    one.hub.room('r').exceptUser('c').send('3')
    one.hub.all().exceptUser('a', 'b').send('4')
    await arrived()
    b.connection.to('r').send('5')
    await arrived()
    await expectReceived([a], '1', '3', '5')
    await expectReceived([b], '3')
    await expectReceived([c], '1', '2', '4', '5')
  })

  it('publish nothing of a local() audience', async () => {
    const [one, other] = await two()
    const a = await one.enter({ rooms: ['r'] })
    const b = await other.enter({ rooms: ['r'] })
    const room = one.hub.room('r').local()
    expect(await room.send('1').backplane).to.equal('none')
    expect(await room.except('nobody').volatile().send('2').backplane).to.equal('none')
    expect(await room.count()).to.equal(1)
    expect((await room.members()).map(({ id }) => id)).to.deep.equal([a.connection.id])
    await room.join('s')
    await room.leave('r')
    await arrived()
    expect([...a.connection.rooms]).to.deep.equal(['s'])
    expect([...b.connection.rooms]).to.deep.equal(['r'])
    await one.hub.all().local().close(4000)
    expect((await a.socket.closed).code).to.equal(4000)
    await arrived()
    await expectReceived([b])
    expect(await received(b)).to.deep.equal([])
  })

  it('push only to members that speak koaws.v1, on both instances', async () => {
    const [one, other] = await two()
    const a = await one.enter()
    const b = await other.enter({ path: '/v1' })
    const c = await other.enter()
    const { local, skipped, backplane } = one.hub.all().push('said', [1])
    expect([local, skipped, await backplane]).to.deep.equal([0, 1, 'sent'])
    await arrived()
    await expectReceived([b], '{"type":"said","data":[1]}')
    await expectReceived([a, c])
  })

  it('compress for each client that negotiated it, also what another instance sent', async () => {
    const adapter = memoryAdapter()
    const one = await house({ adapter })
    const other = await house({ adapter, perMessageDeflate: true })
    const plain = await other.enter({ client: { perMessageDeflate: false } })
    const deflate = await other.enter()
    const window = await other.enter({ client: { perMessageDeflate: { serverMaxWindowBits: 10 } } })
    const text = 'koaws '.repeat(1_000)
    one.hub.all().send(text)
    one.hub.all().send(Buffer.from(text))
    one.hub.all().send('small')
    await arrived()
    await expectReceived([plain, deflate, window], text, Buffer.from(text), 'small')
  })

  it('move and close members on both instances', async () => {
    const [one, other] = await two({ maxRooms: 3 })
    const a = await one.enter({ user: 'a' })
    const b = await other.enter({ user: 'a' })
    const c = await other.enter({ user: 'c', rooms: ['x', 'y', 'z'] })
    await one.hub.user('a').join('r', 's')
    await one.hub.all().join('t')
    await arrived()
    expect([...a.connection.rooms]).to.deep.equal(['r', 's', 't'])
    expect([...b.connection.rooms]).to.deep.equal(['r', 's', 't'])
    expect([...c.connection.rooms]).to.deep.equal(['x', 'y', 'z'])
    expect(other.hub.status().drops['maxRooms']).to.equal(1)
    await other.hub.room('r').leave('r')
    await arrived()
    expect([...a.connection.rooms]).to.deep.equal(['s', 't'])
    expect([...b.connection.rooms]).to.deep.equal(['s', 't'])
    await one.hub.user('a').close(4321, 'over')
    for (const { socket } of [a, b]) {
      expect(await socket.closed).to.deep.equal({ code: 4321, reason: 'over' })
    }
    expect(() => one.hub.all().close(1005)).to.throw(RangeError)
    await arrived()
    await expectReceived([c])
  })

  it('count and list the members of both instances', async () => {
    const [one, other] = await two()
    const a = await one.enter({ user: 'a', rooms: ['r'] })
    const b = await other.enter({ rooms: ['r', 's'] })
    await other.enter({ path: '/outside' })
    for (const { hub } of [one, other]) {
      expect(await hub.room('r').count()).to.equal(2)
      expect(await hub.room('r').exceptUser('a').count()).to.equal(1)
      expect(await hub.room('s').count()).to.equal(1)
      expect(await hub.all().count()).to.equal(2)
      expect(await hub.connection(b.connection.id).count()).to.equal(1)
      const members = await hub.all().members()
      expect(members.missing).to.deep.equal([])
      expect([...members]).to.have.deep.members([
        { id: a.connection.id, userId: 'a', info: undefined },
        { id: b.connection.id, userId: undefined, info: undefined },
      ])
    }
  })

  it('keep the order of each sender to the same rooms, to users and to all', async () => {
    const [one, other] = await two()
    const a = await one.enter({ rooms: ['r'], user: 'a' })
    const b = await other.enter({ rooms: ['r'], user: 'b' })
    const sent: Record<string, string[]> = { one: [], other: [] }
    for (let i = 0; i < 200; i++) {
      for (const [name, { hub }] of Object.entries({ one, other })) {
        const audience = [hub.room('r'), hub.all(), hub.user('a', 'b'), hub.room('r', 's')][i % 4]
        audience?.send(`${name} ${i}`)
        sent[name]?.push(`${name} ${i}`)
      }
      if (i % 7 === 0) await turn()
      if (i % 5 === 0) await Promise.resolve()
    }
    await arrived()
    for (const guest of [a, b]) {
      const seen = await received(guest)
      expect(seen).to.have.lengthOf(400)
      for (const name of ['one', 'other']) {
        const its = seen.filter((text) => String(text).startsWith(`${name} `))
        expect(its).to.have.members(sent[name] as string[])
        // Sends to all, to users and to rooms may overtake each other; the two that include room
        // `r` may not.
        for (const kinds of [[0, 3], [1], [2]]) {
          const ofKind = (text: unknown): boolean =>
            kinds.includes(Number(/\d+$/.exec(String(text))) % 4)
          expect(its.filter(ofKind)).to.deep.equal(sent[name]?.filter(ofKind))
        }
      }
    }
  })

  it('keep the order of sends, joins, leaves and closes', async () => {
    const [one, other] = await two()
    const b = await other.enter({ user: 'b' })
    const user = one.hub.user('b')
    one.hub.all().send('1')
    void user.join('r')
    one.hub.all().send('2')
    await arrived()
    one.hub.room('r').send('3')
    void user.leave('r')
    one.hub.room('r').send('not any more')
    user.send('4')
    void user.close(4000)
    user.send('late')
    const seen = []
    for (let i = 0; i < 4; i++) seen.push(await b.socket.next())
    expect(seen).to.deep.equal(['1', '2', '3', '4'])
    expect((await b.socket.closed).code).to.equal(4000)
  })

  it('receive only orders for their own members, and no orders of their own', async () => {
    const { adapter, orders } = spiedAdapter()
    const one = await house({ adapter })
    const other = await house({ adapter })
    await house({ adapter })
    const [toOne, toOther, toThird] = orders as [Order[], Order[], Order[]]
    const a = await one.enter({ rooms: ['r'], user: 'a' })
    const b = await other.enter({ rooms: ['r'], user: 'b' })
    one.hub.room('r', 'unknown').send('1')
    one.hub.user('b').send('2')
    one.hub.user('nobody').send('3')
    one.hub.room('nobody').send('4')
    await arrived()
    expect([toOne.length, toOther.length, toThird.length]).to.deep.equal([0, 2, 0])
    one.hub.all().send('5')
    one.hub.connection(b.connection.id).send('6')
    await arrived()
    expect([toOne.length, toOther.length, toThird.length]).to.deep.equal([0, 4, 2])
    await expectReceived([a], '1', '5')
    await expectReceived([b], '1', '2', '5', '6')
    // Now the other instance has no members in the room, and later no connections of the user.
    b.connection.leave('r')
    one.hub.room('r').send('7')
    await arrived()
    expect(toOther.length).to.equal(4)
    b.connection.terminate()
    await b.connection.closed
    one.hub.user('b').send('8')
    await arrived()
    expect(toOther.length).to.equal(4)
    await expectReceived([a], '7')
  })

  it('deliver to a room again when its last member has left and another has joined', async () => {
    const [one, other] = await two()
    const [b, c] = [await other.enter(), await other.enter()]
    await b.connection.join('r')
    b.connection.leave('r')
    await c.connection.join('r')
    b.connection.terminate()
    await b.connection.closed
    one.hub.room('r').send('1')
    await arrived()
    await expectReceived([c], '1')
  })

  it('publish a send to a room that is empty on the sending instance', async () => {
    const [one, other] = await two()
    const b = await other.enter()
    const joined = b.connection.join('r')
    await joined
    const { local, backplane } = one.hub.room('r').send('1')
    expect([local, await backplane]).to.deep.equal([0, 'sent'])
    await arrived()
    await expectReceived([b], '1')
  })

  it('leave out an instance that has closed', async () => {
    const { adapter, orders } = spiedAdapter()
    const one = await house({ adapter })
    const other = await house({ adapter })
    const a = await one.enter({ rooms: ['r'] })
    const b = await other.enter({ rooms: ['r'] })
    expect(await one.hub.all().count()).to.equal(2)
    await other.hub.close({ timeout: 1_000 })
    expect((await b.socket.closed).code).to.equal(1012)
    const before = orders[1]?.length
    one.hub.room('r').send('1')
    one.hub.all().send('2')
    await arrived()
    expect(orders[1]?.length).to.equal(before)
    expect(await one.hub.all().count()).to.equal(1)
    const members = await one.hub.all().members()
    expect(members.map(({ id }) => id)).to.deep.equal([a.connection.id])
    expect(members.missing).to.deep.equal([])
    await expectReceived([a], '1', '2')
  })

  it('answer at once when they have closed, so that the process can end', async () => {
    const [one, other] = await two()
    const b = await other.enter({ rooms: ['r'] })
    expect(await one.hub.room('r').count()).to.equal(1)
    await one.hub.close({ timeout: 1_000 })
    const timers = new LibTimers()
    const asked = one.hub.room('r').members()
    await turn()
    expect(timers.of('backplane/questions'), 'it waits for no answer').to.equal(0)
    timers.stop()
    const members = await asked
    expect([...members]).to.deep.equal([])
    expect(members.missing).to.deep.equal([other.hub.status().id])
    expect(b.connection.readyState).to.equal(1)
  })

  it('are apart when each has a memoryAdapter() of its own', async () => {
    const one = await house({ adapter: memoryAdapter() })
    const other = await house({ adapter: memoryAdapter() })
    const b = await other.enter({ rooms: ['r'] })
    expect(await one.hub.room('r').send('1').backplane).to.equal('sent')
    await arrived()
    await expectReceived([b])
    expect(await one.hub.all().count()).to.equal(0)
  })
})

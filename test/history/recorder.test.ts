import { expect } from 'chai'
import koaWs, { memoryAdapter } from '../../lib/index.ts'
import { house } from '../support/order.ts'
import { RemoteEngine } from '../support/remote-history.ts'
import { cleanUp, eventually, turn } from '../support/server.ts'

/** A hub over an engine outside of the process. */
async function far() {
  const engine = new RemoteEngine()
  const adapter = { ...memoryAdapter(), history: engine.open, maxQueued: { messages: 5 } }
  const hub = koaWs({ adapter, history: { rooms: 'chat:*' } })
  await eventually(() => [...engine.stores.values()].every(({ isUp }) => isUp))
  const [store] = engine.stores.values()
  if (!store) throw new Error('no store')
  return { engine, hub, store }
}

describe('recording with an engine outside of the process', () => {
  it('makes one entry of what a turn sends to a room, with a position for each message', async () => {
    const { engine, hub } = await far()
    const room = hub.room('chat:1')
    const deliveries = ['a', 'b', 'c'].map((text) => room.send(text))
    const results = await Promise.all(deliveries.map(({ recorded }) => recorded))
    const positions = results.map((one) => (typeof one === 'object' ? one.position : one))
    const { messages, position } = await room.history()
    expect(messages.map((one) => one.position)).to.deep.equal(positions)
    expect(position).to.equal(positions[2])
    expect(new Set(positions.map((one) => one.split('.')[2])).size).to.equal(1)
    const reading = engine.read('room:chat:1', null)
    expect('entries' in reading && reading.entries.length).to.equal(1)
  })

  it('tells the position in each room, asked before or after it was recorded, and for a room named twice', async () => {
    const { hub } = await far()
    const delivery = hub.room('chat:1', 'chat:2').send('a')
    const early = await delivery.recorded
    const late = await delivery.recorded
    const positions = {
      'chat:1': await hub.room('chat:1').position(),
      'chat:2': await hub.room('chat:2').position(),
    }
    expect(early).to.deep.equal({ position: positions['chat:1'], positions })
    expect(late).to.equal(early)
    const twice = hub.room('chat:3', 'chat:3').send('b')
    const last = hub.room('chat:4').send('c')
    await last.recorded
    const position = await hub.room('chat:3').position()
    expect(await twice.recorded).to.deep.equal({ position, positions: { 'chat:3': position } })
    await hub.close()
  })

  it('keeps what was sent during an outage, in order, and repeats what is uncertain once', async () => {
    const { hub, store } = await far()
    const room = hub.room('chat:1')
    const uncertain = room.send('1')
    await turn()
    store.cut()
    const waiting = room.send('2')
    expect(await waiting.backplane).to.equal('queued')
    store.heal()
    for (const { recorded } of [uncertain, waiting]) {
      expect(await recorded).to.have.property('position')
    }
    const { messages } = await room.history()
    expect(messages.map(({ data }) => data)).to.deep.equal(['1', '2'])
    await hub.close()
  })

  it('fails beyond the bounds of the queue, and at the end of the hub', async () => {
    const { hub, store } = await far()
    store.cut()
    const all = []
    for (let i = 0; i < 7; i++) {
      all.push(hub.room('chat:1').send(String(i)))
      await turn()
      await turn()
    }
    expect(await Promise.all(all.slice(5).map(({ recorded }) => recorded))).to.deep.equal([
      'failed',
      'failed',
    ])
    expect(hub.status().drops).to.include({ unrecorded: 2 })
    const left = Promise.all(all.slice(0, 5).map(({ recorded }) => recorded))
    await hub.close()
    expect(await left).to.deep.equal(Array(5).fill('failed'))
    expect(await hub.room('chat:1').send('late').recorded).to.equal('failed')
  })
})

describe('a join of a room with a history outside of the process', () => {
  afterEach(cleanUp)

  it('comes before what is sent afterwards, also before it is followed', async () => {
    const engine = new RemoteEngine(() => 2)
    const adapter = { ...memoryAdapter(), history: engine.open }
    const { hub, enter } = await house({ adapter, history: { rooms: 'chat:*' } })
    for (const name of ['chat:1', 'chat:2', 'chat:1']) {
      const { socket, connection } = await enter()
      void connection.join(name)
      hub.room(name).send('welcome')
      expect(await socket.next()).to.equal('welcome')
      connection.close()
      await connection.closed
    }
  })

  it('also during an outage', async () => {
    const engine = new RemoteEngine(() => 2)
    const adapter = { ...memoryAdapter(), history: engine.open }
    const { hub, enter } = await house({ adapter, history: { rooms: 'chat:*' } })
    const { socket, connection } = await enter()
    const [store] = engine.stores.values()
    store?.cut()
    void connection.join('chat:1')
    hub.room('chat:1').send('welcome')
    await turn()
    store?.heal()
    expect(await socket.next()).to.equal('welcome')
  })
})

describe('a change of the membership, with an engine outside of the process', () => {
  it('keeps its place among the messages', async () => {
    const engine = new RemoteEngine(() => 2)
    const adapter = { ...memoryAdapter(), history: engine.open }
    const { hub, enter } = await house({ adapter, history: { rooms: 'chat:*' } })
    const [stays, leaves, closed] = await Promise.all(
      ['stays', 'leaves', 'closed'].map(async (user) => {
        const guest = await enter({ user })
        await guest.connection.join('chat:1')
        return guest
      }),
    )
    await hub.room('chat:1').send('0').recorded
    for (const guest of [stays, leaves, closed]) expect(await guest?.socket.next()).to.equal('0')
    const room = hub.room('chat:1')
    room.send('1')
    const left = room.exceptUser('stays', 'closed').leave('chat:1')
    room.send('2')
    await left
    room.send('3')
    const ended = room.exceptUser('stays').close(4000, 'out')
    await ended
    expect(await leaves?.socket.next()).to.equal('1')
    for (const text of ['1', '2', '3']) expect(await closed?.socket.next()).to.equal(text)
    expect((await closed?.socket.closed)?.code).to.equal(4000)
    for (const text of ['1', '2', '3']) expect(await stays?.socket.next()).to.equal(text)
    await cleanUp()
  })
})

import { expect } from 'chai'
import { encodeRecords } from '../../lib/history/record.ts'
import { memoryAdapter } from '../../lib/index.ts'
import { enterAndHold, house } from '../support/order.ts'
import { comeBack, recoverySite } from '../support/recovery.ts'
import { RemoteEngine } from '../support/remote-history.ts'
import { cleanUp, eventually } from '../support/server.ts'

const history = { rooms: 'chat:*' }

/** Two instances over one engine outside of the process. */
async function two() {
  const engine = new RemoteEngine()
  const adapter = { ...memoryAdapter(), history: engine.open }
  const sites = [await house({ adapter, history }), await house({ adapter, history })] as const
  for (const { hub } of sites) await hub.room('chat:up').send('up').recorded
  return { engine, sites }
}

describe('a leave or close that is recorded', () => {
  afterEach(cleanUp)

  it('is no message of the history, and moves the position of the other members', async () => {
    const engine = new RemoteEngine()
    const adapter = { ...memoryAdapter(), history: engine.open }
    const { hub, port } = await recoverySite({ adapter, history })
    const room = hub.room('chat:1')
    await room.leave('chat:2')
    await room.push('said', 1).recorded
    const ann = await comeBack(port, 'rooms=chat:1&user=ann')
    await ann.next()
    await room.exceptUser('ann').leave('chat:1')
    await room.push('said', 2).recorded
    const { messages, complete } = await room.history()
    expect(messages.map(({ data }) => data)).to.deep.equal([1, 2])
    expect(complete).to.equal(true)
    const part = await room.history({ limit: 1 })
    expect(part.messages.map(({ data }) => data)).to.deep.equal([2])
    expect(part.complete).to.equal(false)
    const next = await room.history({ since: messages[0]?.position, limit: 1 })
    expect(next.messages.map(({ data }) => data)).to.deep.equal([2])
    const [at, said] = await ann.take(2)
    expect(at?.type).to.equal('koaws:at')
    expect(said).to.include({ type: 'said', data: 2, position: await room.position() })
    const since = messages[0]?.position as string
    await ann.leave()
    const again = await comeBack(port, 'rooms=chat:1&user=ann', { positions: { 'chat:1': since } })
    const verdict = await again.next()
    expect(verdict.data).to.include({ recovered: true, missed: 1 })
    expect((await again.take(2)).map(({ type }) => type)).to.deep.equal(['koaws:at', 'said'])
  })

  it('is carried out once: connections that enter afterwards stay', async () => {
    const { sites } = await two()
    const [one, other] = sites
    const { connection } = await enterAndHold(other, { rooms: ['chat:1'] })
    void one.hub.room('chat:1').leave('chat:1')
    await eventually(() => !connection.rooms.has('chat:1'))
    await connection.join('chat:1')
    const { socket } = await enterAndHold(other, { rooms: ['last'] })
    await one.hub.room('chat:1').send('recorded').recorded
    one.hub.room('last').send('the order has come')
    expect(await socket.next()).to.equal('the order has come')
    expect(connection.rooms.has('chat:1')).to.equal(true)
  })

  it('concerns a member of two rooms when both have come so far', async () => {
    const { sites } = await two()
    const [one, other] = sites
    const rooms = ['chat:1', 'chat:2']
    const { socket, connection } = await enterAndHold(other, { rooms })
    for (const name of rooms) one.hub.room(name).send(name)
    void one.hub.room(...rooms).close(4000)
    for (const name of rooms) one.hub.room(name).send('late')
    const got = [await socket.next(), await socket.next()]
    expect(got).to.have.members(rooms)
    await connection.closed
    expect((await socket.closed).code).to.equal(4000)
  })

  it('is carried out during an outage of the engine, too', async () => {
    const { engine, sites } = await two()
    const [one, other] = sites
    const before = await enterAndHold(other, { rooms: ['chat:1'] })
    const [here, there] = [...engine.stores.values()]
    there?.cut()
    void one.hub.room('chat:1').close(4000)
    expect((await before.socket.closed).code).to.equal(4000)
    const after = await enterAndHold(other, { rooms: ['chat:2'] })
    here?.cut()
    void one.hub.room('chat:2').close(4001)
    expect((await after.socket.closed).code).to.equal(4001)
  })

  it('does nothing, and is counted, when other software has recorded it', async () => {
    const { engine, sites } = await two()
    const [, other] = sites
    const { socket, connection } = await enterAndHold(other, { rooms: ['chat:1'] })
    const change = {
      type: 'close',
      target: { except: [], exceptUsers: [] },
      code: 4000,
      reason: '',
    }
    const contents: unknown[] = [
      null,
      { change, id: 7, logs: ['room:chat:1'] },
      { change, id: 'a', logs: ['room:chat:2'] },
      { change: { ...change, target: {} }, id: 'b', logs: ['room:chat:1'] },
      { change: { ...change, type: 'join' }, id: 'c', logs: ['room:chat:1'] },
    ]
    for (const [i, content] of contents.entries()) {
      const frame = Buffer.from(JSON.stringify(content))
      const record = {
        frame,
        pushed: false,
        except: [],
        exceptUsers: [],
        once: null,
        isChange: true,
      }
      engine.append('room:chat:1', { key: `k${i}`, count: 1, payload: encodeRecords([record]) })
    }
    other.hub.room('chat:1').send('still here')
    expect(await socket.next()).to.equal('still here')
    expect(connection.readyState).to.equal(connection.OPEN)
    expect(other.hub.status().drops).to.include({ foreign: contents.length })
  })
})

import { expect } from 'chai'
import { Served } from '../../lib/history/served.ts'
import type { Connection } from '../../lib/index.ts'
import { house } from '../support/order.ts'
import { comeBack, type Placed, recoverySite } from '../support/recovery.ts'
import { cleanUp, eventually } from '../support/server.ts'

describe('a message to several rooms', () => {
  afterEach(cleanUp)

  it('is replayed once to a connection; in another room, only the position moves', async () => {
    const { hub, port } = await recoverySite()
    const rooms = ['chat:1', 'chat:2', 'chat:3']
    const positions: Record<string, string> = {}
    for (const room of rooms) positions[room] = await hub.room(room).position()
    for (let i = 0; i < 300; i++) hub.room(...rooms).push('said', i) // more than a client remembers
    const ann = await comeBack(port, `rooms=${rooms.join()}`, { positions })
    const all = await ann.rest()
    const said = all.filter(({ type }) => type === 'said')
    expect(said.map(({ data }) => data)).to.deep.equal(Array.from({ length: 300 }, (_, i) => i))
    for (const room of rooms) {
      const placed = all.filter((one) => one.room === room || (one.data as Placed)?.room === room)
      const last = placed.at(-1) as Placed
      const { position } = last.room ? last : (last.data as Placed)
      expect(position).to.equal(await hub.room(room).position())
    }
  })

  it('is replayed to a client that did not take it, after another replay', async () => {
    const { hub, port } = await recoverySite({
      slowConsumer: 'drop',
      maxBufferedAmount: 64 * 1024,
      history: { rooms: 'chat:*', bytes: 64 * 1024 * 1024, messages: 10_000 },
    })
    const both = hub.room('chat:1', 'chat:2')
    const positions = { 'chat:1': await hub.room('chat:1').position() }
    both.push('said', 0)
    const ann = await comeBack(port, 'rooms=chat:1', { positions })
    await ann.rest()
    ann.socket.pause()
    let sent = 1
    await eventually(() => {
      for (let i = 0; i < 10; i++) both.push('said', `${sent++} ${'x'.repeat(20_000)}`)
      return (hub.status().drops['dropped'] ?? 0) > 0
    })
    ann.socket.resume()
    const numbers: number[] = []
    const position = await hub.room('chat:1').position()
    for (let last: Placed = { type: '' }; last.position !== position; ) {
      last = await ann.next()
      if (last.type === 'koaws:at') last = last.data as Placed
      else if (last.type === 'said') numbers.push(Number.parseInt(String(last.data), 10))
    }
    expect(numbers).to.deep.equal(Array.from({ length: sent - 1 }, (_, n) => n + 1))
  })

  it('is not replayed to a raw connection that has got it', async () => {
    const { hub, enter } = await house({ history: { rooms: 'chat:*' } })
    const [one, two] = [await hub.room('chat:1').position(), await hub.room('chat:2').position()]
    hub.room('chat:1', 'chat:2').send('1')
    const { socket, connection } = await enter({ rooms: ['chat:3'] })
    hub.room('chat:1', 'chat:2', 'chat:3').send('2')
    await Promise.all([connection.replay('chat:1', one), connection.replay('chat:2', two)])
    connection.send('end')
    const got: unknown[] = []
    while (got.at(-1) !== 'end') got.push(await socket.next())
    expect(got).to.deep.equal(['2', '1', 'end'])
  })
})

describe('Served', () => {
  it('remembers at most 1,024 messages of replays to a connection', () => {
    const served = new Served()
    const connection = {} as Connection
    for (let i = 0; i < 1_025; i++) {
      expect(served.isRepeat(connection, `${i}`)).to.equal(false)
      served.got(connection, `${i}`)
    }
    expect(served.isRepeat(connection, '1')).to.equal(true)
    expect(served.isRepeat(connection, '0')).to.equal(false)
    expect(served.isRepeat({} as Connection, '1')).to.equal(false)
  })
})

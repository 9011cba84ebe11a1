import { expect } from 'chai'
import { accept, type Connection, KoaWsError } from '../../lib/index.ts'
import { house } from '../support/order.ts'
import { comeBack, recoverySite } from '../support/recovery.ts'
import { cleanUp, openSocket, serve, turn } from '../support/server.ts'

const history = { rooms: 'chat:*' }

describe('connection.replay()', () => {
  afterEach(cleanUp)

  it('joins the room, and sends what was missed before all later messages', async () => {
    const { hub, enter } = await house({ history })
    const room = hub.room('chat:1')
    room.send('0')
    const since = await room.position()
    for (const n of [1, 2, 3]) room.send(`${n}`)
    const { socket, connection } = await enter()
    const replay = connection.replay('chat:1', since)
    room.send('4')
    expect(await replay).to.deep.equal({ recovered: true, missed: 3, reason: null })
    expect([...connection.rooms]).to.deep.equal(['chat:1'])
    const got: unknown[] = []
    while (got.length < 4) got.push(await socket.next())
    expect(got).to.deep.equal(['1', '2', '3', '4'])
  })

  it('works after a join in the same turn', async () => {
    const { hub, enter } = await house({ history })
    const since = await hub.room('chat:1').position()
    hub.room('chat:1').send('1')
    const { socket, connection } = await enter()
    void connection.join('chat:1')
    expect((await connection.replay('chat:1', since)).missed).to.equal(1)
    expect(await socket.next()).to.equal('1')
  })

  it('refuses with the reason, and the connection is in the room', async () => {
    const { hub, enter } = await house({ history: { ...history, messages: 1 } })
    const since = await hub.room('chat:1').position()
    for (const n of [1, 2]) hub.room('chat:1').send(`${n}`)
    const { socket, connection } = await enter()
    expect(await connection.replay('chat:1', since)).to.deep.equal({
      recovered: false,
      missed: null,
      reason: 'trimmed',
    })
    hub.room('chat:1').send('3')
    expect(await socket.next()).to.equal('3')
  })

  it('rejects when the connection has been in the room before', async () => {
    const { hub, enter } = await house({ history })
    const since = await hub.room('chat:1').position()
    const { connection } = await enter({ rooms: ['chat:1'] })
    await turn()
    await turn()
    const error = await connection.replay('chat:1', since).catch((thrown) => thrown)
    expect(error).to.be.instanceOf(KoaWsError)
    expect(error.code).to.equal('ERR_KOAWS_REPLAY')
  })

  it('rejects for a room without a history, and for what is no position', async () => {
    const { hub, enter } = await house({ history })
    const { connection } = await enter()
    const position = await hub.room('chat:1').position()
    const codes = async (room: string, since: unknown): Promise<unknown> =>
      connection.replay(room, since as string).catch((error) => error.code ?? error.name)
    expect(await codes('news', position)).to.equal('ERR_KOAWS_NO_HISTORY')
    for (const since of [undefined, null, 7, '', 'x', {}]) {
      expect(await codes('chat:1', since)).to.equal('TypeError')
    }
    expect(await codes(7 as never, position)).to.equal('TypeError')
    expect([...connection.rooms]).to.deep.equal([])
  })

  it('does not end the process when a wrong position is not awaited', async () => {
    const { enter } = await house({ history })
    const { connection } = await enter()
    const unhandled: unknown[] = []
    const heard = (error: unknown): void => void unhandled.push(error)
    const others = process.rawListeners('unhandledRejection')
    process.removeAllListeners('unhandledRejection').on('unhandledRejection', heard)
    try {
      void connection.replay('chat:1', 'of a client')
      void connection.replay('news', 'a.0.')
      await turn()
      await turn()
    } finally {
      process.off('unhandledRejection', heard)
      for (const other of others) process.on('unhandledRejection', other as never)
    }
    expect(unhandled).to.deep.equal([])
  })

  it('rejects in a hub without history, and for a connection without audiences', async () => {
    const { enter } = await house()
    const { connection } = await enter()
    const plain = await connection.replay('chat:1', 'a.0.').catch((error) => error.code)
    expect(plain).to.equal('ERR_KOAWS_NO_HISTORY')
    const outside = await house({ history })
    const guest = await outside.enter({ path: '/outside' })
    const code = await guest.connection.replay('chat:1', 'a.0.').catch((error) => error.code)
    expect(code).to.equal('ERR_KOAWS_NO_AUDIENCE')
  })

  it('settles when the client leaves', async () => {
    const arrived: Connection[] = []
    const { hub, port } = await serve(
      (app) => app.use(accept((connection) => void arrived.push(connection as Connection))),
      { history },
    )
    const since = await hub.room('chat:1').position()
    const socket = await openSocket(port)
    socket.terminate()
    const [connection] = arrived as [Connection]
    await connection.closed
    expect((await connection.replay('chat:1', since)).recovered).to.equal(false)
    const other = await openSocket(port) // the room has a member
    await (arrived[1] as Connection).join('chat:1')
    expect((await connection.replay('chat:1', since)).reason).to.equal('left')
    other.terminate()
  })

  it('rejects for a client that presents its positions, which does not join', async () => {
    const { hub, port } = await recoverySite()
    const since = await hub.room('chat:1').position()
    const ann = await comeBack(port, '')
    const connection = hub.localConnections.get(ann.id) as Connection
    const error = await connection.replay('chat:1', since).catch((thrown) => thrown)
    expect(error.code).to.equal('ERR_KOAWS_REPLAY')
    expect(error.message).to.include('join()')
    expect([...connection.rooms]).to.deep.equal([])
  })
})

import { expect } from 'chai'
import { accept, type Connection, KoaWsError } from '../../lib/index.ts'
import { expectReceived, house } from '../support/order.ts'
import { cleanUp, deferred, openSocket, rejected, serve } from '../support/server.ts'

/** Valid names that are also properties of objects, or that look like a list or a pattern. */
const STRANGE = [
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
  ' ',
  '\0',
  'a,b',
  '*',
  '😀',
]

describe('rooms', () => {
  afterEach(cleanUp)

  describe('status().rooms and status().users', () => {
    it('follow join and leave', async () => {
      const { hub, enter } = await house()
      const [a, b] = [await enter(), await enter()]
      expect(hub.status().rooms).to.equal(0)
      await a.connection.join('r', 's')
      await b.connection.join('r')
      expect(hub.status().rooms).to.equal(2)
      a.connection.leave('r', 's')
      expect(hub.status().rooms).to.equal(1)
      b.connection.leave('r')
      expect(hub.status().rooms).to.equal(0)
      await a.connection.join('r')
      expect(hub.status().rooms).to.equal(1)
      expect(hub.room('r').send('1').local).to.equal(1)
      await expectReceived([a], '1')
      await expectReceived([b])
    })

    it('follow close, terminate and lost connections', async () => {
      const { hub, enter } = await house()
      const guests = []
      for (const user of ['a', 'a', 'b', 'c'])
        guests.push(await enter({ user, rooms: ['r', user] }))
      await enter({ path: '/outside', user: 'not counted' })
      expect(hub.status()).to.include({ rooms: 4, users: 3, connections: 5 })
      const [a1, a2, b, c] = guests as [(typeof guests)[0], ...typeof guests]
      a1?.socket.close()
      await a1?.connection.closed
      expect(hub.status()).to.include({ rooms: 4, users: 3 })
      a2?.socket.terminate()
      await a2?.connection.closed
      expect(hub.status()).to.include({ rooms: 3, users: 2 })
      b?.connection.terminate()
      await b?.connection.closed
      expect(hub.status()).to.include({ rooms: 2, users: 1 })
      c?.connection.close(4000)
      await c?.connection.closed
      expect(hub.status()).to.include({ rooms: 0, users: 0, connections: 1 })
    })

    it('ignore a join by a connection that has closed', async () => {
      const { hub, enter } = await house()
      const [a, b] = [await enter(), await enter()]
      const late: unknown[] = []
      a.connection.on('close', () => late.push(a.connection.join('in the event')))
      a.socket.terminate()
      await a.connection.closed
      late.push(a.connection.join('after it'))
      expect(await Promise.all(late)).to.deep.equal([undefined, undefined])
      expect(hub.status()).to.include({ rooms: 0, connections: 1 })
      await b.connection.join('r')
      expect(hub.status().rooms).to.equal(1)
    })

    it('are 0 after the hub has closed', async () => {
      const { hub, enter } = await house()
      for (const user of ['a', 'b']) await enter({ user, rooms: ['r', user] })
      await hub.close({ timeout: 1_000 })
      expect(hub.status()).to.include({ rooms: 0, users: 0, connections: 0 })
      expect(hub.room('r').send('late').local).to.equal(0)
    })
  })

  describe('room and user names', () => {
    it('any string of 1 to 255 bytes names a room', async () => {
      const { hub, enter } = await house()
      const guest = await enter()
      const other = await enter()
      for (const name of [...STRANGE, 'x'.repeat(255), 'é'.repeat(127)]) {
        await guest.connection.join(name)
        expect(hub.room(name).send(`to ${name}`).local, name).to.equal(1)
        expect(hub.room(name).except(guest.connection).send('nobody').local, name).to.equal(0)
        expect(await hub.room(name).count()).to.equal(1)
        await expectReceived([guest], `to ${name}`)
        guest.connection.leave(name)
        expect(hub.room(name).send('nobody').local, name).to.equal(0)
      }
      await expectReceived([other])
      expect(hub.status().rooms).to.equal(0)
    })

    it('names of inherited properties match no room, user or connection', async () => {
      const { hub, enter } = await house()
      await enter()
      for (const name of STRANGE) {
        expect(hub.room(name).send('x').local, name).to.equal(0)
        expect(hub.user(name).send('x').local, name).to.equal(0)
        expect(hub.connection(name).send('x').local, name).to.equal(0)
      }
    })

    it('any string of 1 to 255 bytes names a user', async () => {
      const { hub, enter } = await house()
      for (const user of STRANGE) {
        const guest = await enter({ user })
        expect(guest.connection.userId).to.equal(user)
        expect(hub.user(user).send(user).local, user).to.equal(1)
        expect(hub.all().exceptUser(user).send('nobody').local, user).to.equal(0)
        await expectReceived([guest], user)
        guest.connection.terminate()
        await guest.connection.closed
      }
      expect(hub.status().users).to.equal(0)
    })

    it('every call that takes a room name throws for another value, and changes nothing', async () => {
      const { hub, enter } = await house()
      const { connection } = await enter({ rooms: ['r'] })
      const wrong: unknown[] = [
        '',
        'x'.repeat(256),
        'é'.repeat(128),
        '😀'.repeat(64),
        'x'.repeat(1024 * 1024),
        5,
        Number.NaN,
        null,
        undefined,
        true,
        {},
        [],
        ['r'],
        1n,
        () => 'r',
        { toString: () => 'r', length: 1 },
        Symbol('r'),
        'a\ud800',
      ]
      for (const name of wrong as string[]) {
        const what = String(name).slice(0, 20)
        const refused = [
          () => connection.join('new', name),
          () => connection.to('r', name),
          () => hub.room('r', name),
          () => hub.all().join('new', name),
          () => hub.all().leave('r', name),
        ]
        for (const call of refused) {
          expect(call, what).to.throw(
            TypeError,
            'The name of a room must be a string of 1 to 255 bytes',
          )
        }
        // leave() with an invalid name throws a TypeError or does nothing.
        try {
          connection.leave(name)
        } catch (error) {
          expect(error, what).to.be.an.instanceOf(TypeError)
        }
      }
      expect([...connection.rooms]).to.deep.equal(['r'])
      expect(hub.status().rooms).to.equal(1)
      expect(hub.status().drops['badName']).to.equal(wrong.length)
    })
  })

  it('one leave() leaves a room that was joined twice', async () => {
    const { hub, enter } = await house()
    const guest = await enter()
    const { connection } = guest
    await connection.join('r', 'r')
    await connection.join('r')
    await hub.all().join('r')
    expect([...connection.rooms]).to.deep.equal(['r'])
    expect(hub.room('r').send('once').local).to.equal(1)
    connection.leave('unknown')
    connection.leave('r', 'r', 'unknown')
    connection.leave('r')
    connection.leave()
    await connection.join()
    expect(connection.rooms.size).to.equal(0)
    expect(hub.room('r').send('nobody').local).to.equal(0)
    await expectReceived([guest], 'once')
  })

  it('join() takes effect at once, before its promise settles', async () => {
    const { hub, enter } = await house()
    const guest = await enter()
    const joined = guest.connection.join('r')
    expect(hub.room('r').send('1').local).to.equal(1)
    guest.connection.leave('r')
    expect(hub.room('r').send('2').local).to.equal(0)
    expect(await joined).to.equal(undefined)
    await expectReceived([guest], '1')
  })

  it('connection.rooms is readable in the close event, and join() has no effect from then on', async () => {
    const { hub, enter } = await house()
    const { connection, socket } = await enter({ rooms: ['r', 's'] })
    const told = deferred<string[]>()
    connection.on('close', () => {
      told.resolve([...connection.rooms])
      connection.join('from the listener')
    })
    socket.close()
    expect(await told.promise).to.deep.equal(['r', 's'])
    await connection.closed
    await connection.join('late')
    await hub.connection(connection.id).join('later')
    connection.leave('r')
    expect(connection.rooms.has('late')).to.equal(false)
    expect(connection.rooms.has('from the listener')).to.equal(false)
    expect(hub.status()).to.include({ rooms: 0, connections: 0 })
    expect(hub.room('late', 'from the listener', 'later').send('nobody').local).to.equal(0)
  })

  describe('maxRooms', () => {
    const names = (many: number): string[] => Array.from({ length: many }, (_, i) => `room ${i}`)

    /** Expects that join() throws and changes no room. */
    function expectFull(connection: Connection, ...rooms: string[]): void {
      const before = [...connection.rooms]
      expect(() => connection.join(...rooms))
        .to.throw(KoaWsError, 'maxRooms')
        .with.property('code', 'ERR_KOAWS_MAX_ROOMS')
      expect([...connection.rooms]).to.deep.equal(before)
    }

    it('is 128 by default', async () => {
      const { hub, enter } = await house()
      const { connection } = await enter()
      await connection.join(...names(128))
      expectFull(connection, 'one more')
      await connection.join('room 0', 'room 127') // already joined
      expect(hub.status()).to.include({ rooms: 128 })
      expect(hub.status().drops['maxRooms']).to.equal(1)
    })

    it('makes a join() above it throw without joining any room', async () => {
      const { hub, enter } = await house({ maxRooms: 3 })
      const { connection } = await enter()
      expectFull(connection, ...names(4))
      await connection.join('a', 'b')
      expectFull(connection, 'c', 'd')
      await connection.join('a', 'b', 'c', 'c', 'a') // three in all
      expectFull(connection, 'd')
      expectFull(connection, 'a', 'd')
      connection.leave('a')
      await connection.join('d')
      expect([...connection.rooms]).to.deep.equal(['b', 'c', 'd'])
      expect(hub.status().drops['maxRooms']).to.equal(4)
      expect(hub.status().rooms).to.equal(3)
    })

    it('can be raised or lowered by a route', async () => {
      const made: Connection[] = []
      const site = await serve(
        (app, hub) => {
          const take = (connection: Connection): unknown => made.push(connection)
          app.use(hub.route('/few', accept(take, { maxRooms: 1 })))
          app.use(hub.route('/many', accept(take, { maxRooms: 5 })))
          app.use(hub.route('/', accept(take)))
        },
        { maxRooms: 3 },
      )
      for (const path of ['/few', '/', '/many']) await openSocket(site.port, path)
      for (const [i, most] of [1, 3, 5].entries()) {
        const connection = made[i] as Connection
        expectFull(connection, ...names(most + 1))
        await connection.join(...names(most))
        expectFull(connection, 'one more')
        expect(connection.rooms.size).to.equal(most)
      }
    })

    it('counts members that audience.join() would put above it as drops, and joins the others', async () => {
      const { hub, enter } = await house({ maxRooms: 2 })
      const full = await enter({ rooms: ['a', 'b'] })
      const half = await enter({ rooms: ['a'] })
      const empty = await enter()
      expect(await hub.all().join('c')).to.equal(undefined)
      expect(hub.status().drops['maxRooms']).to.equal(1)
      expect([...full.connection.rooms]).to.deep.equal(['a', 'b'])
      expect([...half.connection.rooms]).to.deep.equal(['a', 'c'])
      expect([...empty.connection.rooms]).to.deep.equal(['c'])
      await hub.all().join('c', 'd')
      expect(hub.status().drops['maxRooms']).to.equal(3)
      expect([...empty.connection.rooms]).to.deep.equal(['c', 'd'])
      expect(await hub.room('d').count()).to.equal(1)
    })

    it('rejects the handshake with 500 when the option "rooms" exceeds it or has an invalid name', async () => {
      const handled: string[] = []
      const site = await serve(
        (app, hub) => {
          const take = ({ path }: Connection): unknown => handled.push(path)
          app.use(hub.route('/list', accept(take, { rooms: ['a', 'b', 'c'] })))
          app.use(hub.route('/function', accept(take, { rooms: () => ['a', 'b', 'c'] })))
          app.use(hub.route('/bad', accept(take, { rooms: () => ['x'.repeat(256)] })))
          app.use(hub.route('/enough', accept(take, { rooms: ['a', 'b', 'c'], maxRooms: 3 })))
        },
        { maxRooms: 2 },
      )
      for (const path of ['/list', '/function', '/bad']) {
        expect((await rejected(openSocket(site.port, path))).status, path).to.equal(500)
      }
      expect(site.errors.map(({ error }) => error.message)).to.have.lengthOf(3)
      expect(site.errors[0]?.error.message).to.include('"maxRooms" allows 2')
      expect(site.errors[1]?.error.message).to.include('"maxRooms" allows 2')
      expect(site.errors[2]?.error).to.be.an.instanceOf(TypeError)
      expect(site.hub.status()).to.include({ connections: 0, rooms: 0 })
      await openSocket(site.port, '/enough')
      expect(handled).to.deep.equal(['/enough'])
      expect(site.hub.status()).to.include({ connections: 1, rooms: 3 })
    })

    it('counts a room once when the option "rooms" names it twice', async () => {
      const made = deferred<Connection>()
      const site = await serve((app) => app.use(accept(made.resolve, { rooms: ['a', 'b', 'a'] })), {
        maxRooms: 2,
      })
      await openSocket(site.port)
      expect([...(await made.promise).rooms]).to.deep.equal(['a', 'b'])
    })
  })
})

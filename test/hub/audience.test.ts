import { once } from 'node:events'
import { expect } from 'chai'
import { KoaWsError } from '../../lib/index.ts'
import { expectReceived, type Guest, house, received } from '../support/order.ts'
import { closeFrame, handshake, rawClient } from '../support/raw.ts'
import { cleanUp, deferred, eventually, turn } from '../support/server.ts'

describe('an audience', () => {
  afterEach(cleanUp)

  describe('selection', () => {
    it('hub.connection() selects one connection by id', async () => {
      const { hub, enter } = await house()
      const [a, b] = [await enter(), await enter()]
      expect(hub.connection(a.connection.id).send('hi').local).to.equal(1)
      expect(hub.connection('nobody').send('hi').local).to.equal(0)
      await expectReceived([a], 'hi')
      await expectReceived([b])
      for (const id of ['', 'x'.repeat(256), 5, undefined, null, a.connection]) {
        expect(() => hub.connection(id as string)).to.throw(TypeError, '1 to 255 bytes')
      }
    })

    it('hub.user() selects all connections of users, given as strings or numbers', async () => {
      const { hub, enter } = await house({})
      const [a1, a2] = [await enter({ user: 'a' }), await enter({ user: 'a' })]
      const seven = await enter({ user: 7 })
      const nobody = await enter()
      expect(hub.user('a').send('1').local).to.equal(2)
      expect(hub.user(7).send('2').local).to.equal(1)
      expect(hub.user('7').send('3').local).to.equal(1)
      expect(hub.user('a', 7, '7', 'a', 'unknown').send('4').local).to.equal(3)
      expect(hub.user().send('5').local).to.equal(0)
      await expectReceived([a1, a2], '1', '4')
      await expectReceived([seven], '2', '3', '4')
      await expectReceived([nobody])
      for (const id of [
        '',
        Number.NaN,
        Number.POSITIVE_INFINITY,
        undefined,
        null,
        {},
        'é'.repeat(128),
      ]) {
        expect(() => hub.user(id as string), String(id)).to.throw(TypeError, '1 to 255 bytes')
      }
    })

    it('hub.room() selects the members of rooms, each once', async () => {
      const { hub, enter } = await house()
      const a = await enter({ rooms: ['a'] })
      const ab = await enter({ rooms: ['a', 'b'] })
      const abc = await enter({ rooms: ['a', 'b', 'c'] })
      const none = await enter()
      expect(hub.room('a').send('1').local).to.equal(3)
      expect(hub.room('b', 'a', 'c', 'b').send('2').local).to.equal(3)
      expect(hub.room('c', 'b').send('3').local).to.equal(2)
      expect(hub.room('unknown').send('4').local).to.equal(0)
      expect(hub.room().send('5').local).to.equal(0)
      expect(hub.room('c', 'unknown').send('6').local).to.equal(1)
      await expectReceived([a], '1', '2')
      await expectReceived([ab], '1', '2', '3')
      await expectReceived([abc], '1', '2', '3', '6')
      await expectReceived([none])
    })

    it('hub.all() selects every connection', async () => {
      const { hub, enter } = await house()
      expect(hub.all().send('nobody is here').local).to.equal(0)
      const guests = [await enter(), await enter({ user: 1 }), await enter({ path: '/v1' })]
      expect(hub.all().send('hi').local).to.equal(3)
      await expectReceived(guests, 'hi')
    })

    it('connection.to() selects the other members of rooms', async () => {
      const { hub, enter } = await house()
      const a = await enter({ rooms: ['a', 'b'] })
      const b = await enter({ rooms: ['b'] })
      const outside = await enter()
      expect(a.connection.to('a', 'b').send('1').local).to.equal(1)
      expect(outside.connection.to('a', 'b').send('2').local).to.equal(2)
      expect(a.connection.to('a').send('3').local).to.equal(0)
      expect(await a.connection.to('a', 'b').count()).to.equal(1)
      expect(() => a.connection.to('')).to.throw(TypeError)
      await expectReceived([a], '2')
      await expectReceived([b], '1', '2')
      await expectReceived([outside])
      expect(hub.status().rooms).to.equal(2)
    })

    it('ctx.hub sends from an ordinary HTTP request', async () => {
      const { port, hub, enter } = await house({}, undefined, (app) => {
        app.use((ctx) => {
          const { local, dropped, skipped } = ctx.hub.user('a').json({ hi: ctx.path })
          ctx.body = { local, dropped, skipped, same: ctx.hub === hub }
        })
      })
      const guest = await enter({ user: 'a' })
      const answer = await fetch(`http://127.0.0.1:${port}/notify`)
      expect(await answer.json()).to.deep.equal({ local: 1, dropped: 0, skipped: 0, same: true })
      await expectReceived([guest], '{"hi":"/notify"}')
    })

    it('no audience includes a connection that was accepted with hub: false', async () => {
      const { hub, enter } = await house()
      const outside = await enter({ path: '/outside', user: 'a' })
      const { connection } = outside
      const guest = await enter({ user: 'a', rooms: ['r'] })
      expect(hub.status().connections).to.equal(2)
      expect(hub.all().send('1').local).to.equal(1)
      expect(hub.user('a').send('2').local).to.equal(1)
      expect(hub.connection(connection.id).send('3').local).to.equal(0)
      expect(await hub.all().count()).to.equal(1)
      await hub.all().join('r')
      expect(connection.to('r').send('4').local).to.equal(1)
      await expectReceived([outside])
      await expectReceived([guest], '1', '2', '4')
      expect(connection.rooms.size).to.equal(0)
    })
  })

  describe('sending', () => {
    it('send() sends strings as text, and all else as binary', async () => {
      const { hub, port } = await house()
      const client = await rawClient(port)
      client.write(handshake('/'))
      await client.answer()
      const all = hub.all()
      const numbers = new Uint16Array([1, 2, 3, 4])
      all.send('text')
      all.send(Buffer.from('buffer'))
      all.send(new Uint8Array([1, 2, 3]).buffer)
      all.send(numbers.subarray(1, 3))
      all.send(new DataView(numbers.buffer, 2, 2))
      all.send(new Uint8Array(0))
      all.send('')
      const seen: unknown[] = []
      for (let i = 0; i < 7; i++) {
        const { opcode, payload } = await client.frame()
        seen.push([opcode, payload.toString('latin1')])
      }
      expect(seen).to.deep.equal([
        [1, 'text'],
        [2, 'buffer'],
        [2, '\x01\x02\x03'],
        [2, '\x02\x00\x03\x00'],
        [2, '\x02\x00'],
        [2, ''],
        [1, ''],
      ])
    })

    it('send() throws for values other than strings and bytes', async () => {
      const { hub, enter } = await house()
      const guest = await enter()
      for (const wrong of [5, null, undefined, {}, [1], true, 1n, new Blob(['x']), Symbol('x')]) {
        expect(() => hub.all().send(wrong as string)).to.throw(TypeError, 'json()')
      }
      await expectReceived([guest])
    })

    it('send() sends bytes as they were at the call', async () => {
      const { hub, enter } = await house()
      const guest = await enter()
      for (const size of [3, 200, 70_000]) {
        const bytes = Buffer.alloc(size, 1)
        hub.all().send(bytes)
        hub.all().send(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + size))
        bytes.fill(2)
        await expectReceived([guest], Buffer.alloc(size, 1), Buffer.alloc(size, 1))
      }
    })

    it('send() takes messages of all lengths', async () => {
      const { hub, enter } = await house()
      const guests = [await enter(), await enter()]
      for (const size of [0, 1, 125, 126, 127, 65_535, 65_536, 200_000]) {
        const text = 'x'.repeat(size)
        hub.all().send(text)
        hub.all().send(Buffer.from(text))
        await expectReceived(guests, text, Buffer.from(text))
      }
      // The length of a frame counts bytes: 125, 126, 65,535 and 65,536 of them.
      for (const text of [
        `${'é'.repeat(62)}x`,
        'é'.repeat(63),
        '€'.repeat(21_845),
        `${'€'.repeat(21_845)}x`,
        '😀'.repeat(40),
      ]) {
        hub.all().send(text)
        await expectReceived(guests, text)
      }
      // No text frame may hold a lone surrogate (RFC 6455, section 8.1).
      hub.all().send('a\ud800b')
      await expectReceived(guests, 'a\ufffdb')
    })

    it('json() throws for a value without a JSON form, and sends nothing', async () => {
      const { hub, enter } = await house()
      const guest = await enter()
      hub.all().json({ a: [1, null, 'é'], toJSON: undefined })
      hub.all().json(null)
      hub.all().json({ toJSON: () => 5 })
      const cycle: { self?: unknown } = {}
      cycle.self = cycle
      for (const wrong of [undefined, () => {}, Symbol('x'), 1n, { a: 1n }, cycle]) {
        expect(() => hub.all().json(wrong)).to.throw(TypeError)
      }
      const angry = {
        toJSON() {
          throw new RangeError('mine')
        },
      }
      expect(() => hub.all().json(angry)).to.throw(RangeError, 'mine')
      expect(() => hub.all().json({ toJSON: () => undefined })).to.throw(TypeError, 'JSON form')
      await expectReceived([guest], '{"a":[1,null,"é"]}', 'null', '5')
    })

    it('push() reaches only members that speak koaws.v1', async () => {
      const { hub, enter } = await house()
      const v1 = await enter({ path: '/v1', rooms: ['r'] })
      const other = await enter({ rooms: ['r'] })
      const third = await enter({ rooms: ['r'] })
      const { local, skipped, dropped } = hub.room('r').push('said', { text: 'hi' })
      expect([local, skipped, dropped]).to.deep.equal([1, 2, 0])
      hub.all().push('nothing')
      hub.all().push('null', null)
      hub.all().push('with "quotes"', [1])
      v1.connection.push('direct', 1)
      await expectReceived(
        [v1],
        '{"type":"said","data":{"text":"hi"}}',
        '{"type":"nothing"}',
        '{"type":"null","data":null}',
        '{"type":"with \\"quotes\\"","data":[1]}',
        '{"type":"direct","data":1}',
      )
      await expectReceived([other, third])
      expect(() => other.connection.push('said'))
        .to.throw(KoaWsError, 'koaws.v1')
        .with.property('code', 'ERR_KOAWS_NOT_NEGOTIATED')
    })

    it('push() throws for a reserved or impossible type, and for data without a JSON form', async () => {
      const { hub, enter } = await house()
      const v1 = await enter({ path: '/v1' })
      for (const target of [hub.all(), v1.connection]) {
        for (const type of ['koaws:', 'koaws:bye', '', 'x'.repeat(256), 5, null, undefined]) {
          expect(() => target.push(type as string, 1), String(type)).to.throw(TypeError)
        }
        for (const data of [() => {}, 1n, Symbol('x')]) {
          expect(() => target.push('type', data)).to.throw(TypeError)
        }
      }
      hub.all().push('koaws', 1)
      await expectReceived([v1], '{"type":"koaws","data":1}')
    })
  })

  describe('narrowing', () => {
    it('except() and exceptUser() exclude connections, ids and users', async () => {
      const { hub, enter } = await house()
      const a1 = await enter({ user: 'a', rooms: ['r'] })
      const a2 = await enter({ user: 'a', rooms: ['r'] })
      const b = await enter({ user: 'b', rooms: ['r'] })
      const seven = await enter({ user: 7, rooms: ['r'] })
      const room = hub.room('r')
      const locals = [
        room.except(a1.connection).send('1'),
        room.except(a1.connection.id).send('2'),
        room.except(a1.connection, b.connection.id, 'unknown').send('3'),
        room.except(a1.connection).except(b.connection).send('4'),
        room.exceptUser('a').send('5'),
        room.exceptUser('b', 7).send('6'),
        room.exceptUser('a').except(b.connection).send('7'),
        room.except().exceptUser().send('8'),
        hub.user('a', 'b').exceptUser('b').except(a2.connection).send('9'),
        hub.connection(b.connection.id).except(b.connection).send('10'),
        hub.all().except(a1.connection).exceptUser('b', '7').send('11'),
      ].map(({ local }) => local)
      expect(locals).to.deep.equal([3, 3, 2, 2, 2, 2, 1, 4, 1, 0, 1])
      await expectReceived([a1], '6', '8', '9')
      await expectReceived([a2], '1', '2', '3', '4', '6', '8', '11')
      await expectReceived([b], '1', '2', '5', '8')
      await expectReceived([seven], '1', '2', '3', '4', '5', '7', '8')
      for (const wrong of ['', 5, null, undefined, {}]) {
        expect(() => room.except(wrong as string), String(wrong)).to.throw(TypeError)
      }
      for (const wrong of ['', null, undefined, Number.NaN]) {
        expect(() => room.exceptUser(wrong as string), String(wrong)).to.throw(TypeError)
      }
    })

    it('each method returns a new audience, which is evaluated at each send', async () => {
      const { hub, enter } = await house()
      const room = hub.room('r')
      const a = await enter({ user: 'a' })
      const b = await enter({ user: 'b' })
      const narrowed = [
        room.except(a.connection),
        room.exceptUser('a'),
        room.local(),
        room.volatile(),
      ]
      for (const one of narrowed) expect(one).to.not.equal(room)
      expect(room.send('nobody yet').local).to.equal(0)
      a.connection.join('r')
      b.connection.join('r')
      expect(room.send('1').local).to.equal(2)
      expect(narrowed.map((one) => one.send('n').local)).to.deep.equal([1, 1, 2, 2])
      b.connection.leave('r')
      expect(room.send('2').local).to.equal(1)
      expect(narrowed.map((one) => one.send('n').local)).to.deep.equal([0, 0, 1, 1])
      await expectReceived([a], '1', 'n', 'n', '2', 'n', 'n')
      await expectReceived([b], '1', 'n', 'n', 'n', 'n')
    })

    it('local() and volatile() reach every client that keeps up', async () => {
      const { hub, enter } = await house()
      const guests = [await enter({ rooms: ['r'] }), await enter({ rooms: ['r'] })]
      const sent = hub.room('r').local().volatile().send('1')
      expect([sent.local, sent.dropped, sent.skipped]).to.deep.equal([2, 0, 0])
      expect(await sent.backplane).to.equal('none')
      expect(
        hub
          .room('r')
          .volatile()
          .except(guests[0]?.connection.id as string)
          .send('2').local,
      ).to.equal(1)
      await expectReceived(guests.slice(0, 1), '1')
      await expectReceived(guests.slice(1), '1', '2')
    })

    it('volatile() drops a message for a member that is behind, and counts it', async () => {
      const { hub, port, enter } = await house({}, (connection) => connection.join('r'))
      const guest = await enter()
      const slow = await rawClient(port)
      slow.write(handshake('/'))
      await slow.answer()
      slow.socket.pause()
      await eventually(() => hub.status().connections === 2)
      const stuck = [...hub.localConnections.values()].find((one) => one !== guest.connection)
      while (stuck?.bufferedAmount === 0) {
        stuck.send(Buffer.alloc(100_000))
        await turn()
      }
      const { local, dropped } = hub.room('r').volatile().send('1')
      expect([local, dropped]).to.deep.equal([1, 1])
      expect(hub.status().drops['volatile']).to.equal(1)
      expect(hub.room('r').send('2').local).to.equal(2)
      await expectReceived([guest], '1', '2')
    })
  })

  describe('actions', () => {
    it('join() and leave() change the rooms of its members', async () => {
      const { hub, enter } = await house()
      const a1 = await enter({ user: 'a', rooms: ['one'] })
      const a2 = await enter({ user: 'a' })
      const b = await enter({ user: 'b' })
      expect(await hub.user('a').join('two', 'three')).to.equal(undefined)
      expect([...a1.connection.rooms]).to.deep.equal(['one', 'two', 'three'])
      expect([...a2.connection.rooms]).to.deep.equal(['two', 'three'])
      expect(b.connection.rooms.size).to.equal(0)
      // The audience is the room that its members leave.
      expect(await hub.room('two').leave('two', 'one', 'unknown')).to.equal(undefined)
      expect(await hub.room('two').count()).to.equal(0)
      expect([...a1.connection.rooms]).to.deep.equal(['three'])
      // The audience is the room that its members join.
      await hub.all().join('four')
      await hub.room('four').join('four', 'five')
      expect(await hub.room('five').count()).to.equal(3)
      expect(() => hub.all().join('six', '')).to.throw(TypeError)
      expect(() => hub.all().leave(5 as never)).to.throw(TypeError)
      expect(await hub.room('six').count()).to.equal(0)
    })

    it('close() closes its members', async () => {
      const { hub, enter } = await house()
      const [a, b] = [await enter({ rooms: ['r'] }), await enter({ rooms: ['r'] })]
      const other = await enter()
      expect(await hub.room('r').close(4321, 'gründe')).to.equal(undefined)
      for (const { socket, connection } of [a, b]) {
        expect(await socket.closed).to.deep.equal({ code: 4321, reason: 'gründe' })
        expect(await connection.closed).to.deep.equal({ code: 4321, reason: 'gründe', clean: true })
      }
      await expectReceived([other])
      await hub.all().close()
      expect(await other.socket.closed).to.deep.equal({ code: 1000, reason: '' })
    })

    it('close() throws at once for a code or reason that cannot be sent, and closes no connection', async () => {
      const { hub, enter } = await house()
      const guest = await enter()
      for (const code of [
        999,
        1004,
        1005,
        1006,
        1015,
        1016,
        2999,
        5000,
        1000.5,
        '1000',
        Number.NaN,
      ]) {
        expect(() => hub.all().close(code as number), String(code)).to.throw(RangeError)
      }
      expect(() => hub.all().close(1000, 'é'.repeat(62))).to.throw(RangeError, '123 bytes')
      expect(guest.connection.readyState).to.equal(1)
      await expectReceived([guest])
      await hub.all().close(1000, `${'é'.repeat(61)}x`)
      expect((await guest.socket.closed).reason).to.equal(`${'é'.repeat(61)}x`)
    })

    it('count() and members() report the selected connections', async () => {
      const { hub, enter } = await house()
      const a = await enter({ user: 'a', rooms: ['r', 's'] })
      const b = await enter({ rooms: ['r'] })
      expect(await hub.room('r', 's').count()).to.equal(2)
      expect(await hub.room('r').exceptUser('a').count()).to.equal(1)
      expect(await hub.room('unknown').count()).to.equal(0)
      const members = await hub.room('s', 'r').members()
      expect([...members].sort((one) => (one.userId ? -1 : 1))).to.deep.equal([
        { id: a.connection.id, userId: 'a', info: undefined },
        { id: b.connection.id, userId: undefined, info: undefined },
      ])
      expect(members.missing).to.deep.equal([])
      const nobody = await hub.user('unknown').members()
      expect([nobody.length, nobody.missing]).to.deep.equal([0, []])
    })

    it('send() returns a Delivery with the counts, and "none" for the backplane', async () => {
      const { hub, enter } = await house()
      await enter()
      const delivery = hub.all().send('hi')
      expect(delivery.local).to.equal(1)
      expect(delivery.dropped).to.equal(0)
      expect(delivery.skipped).to.equal(0)
      expect(delivery.backplane).to.be.a('promise')
      expect(await delivery.backplane).to.equal('none')
    })
  })

  describe('members that leave', () => {
    it('send() leaves out a member that is closing, and does not count it', async () => {
      const { hub, port, enter } = await house({ closeTimeout: 60_000 })
      const client = await rawClient(port) // does not answer the close frame
      client.write(handshake('/?user=a&rooms=["r"]&n=raw'))
      await client.answer()
      const guest = await enter({ rooms: ['r'] })
      expect(hub.room('r').send('1').local).to.equal(2)
      const [connection] = hub.localConnections.values()
      connection?.close(4000)
      expect(hub.room('r').send('2').local).to.equal(1)
      expect(hub.user('a').send('3').local).to.equal(0)
      expect(await client.textFrame()).to.equal('1')
      expect(await client.closeCode()).to.equal(4000)
      await turn()
      expect(client.received.length).to.equal(0)
      await expectReceived([guest], '1', '2')
    })

    it('count() and members() leave out a member that is closing', async () => {
      const { hub, port, enter } = await house({ closeTimeout: 60_000 })
      const client = await rawClient(port) // does not answer the close frame
      client.write(handshake('/'))
      await client.answer()
      const [connection] = hub.localConnections.values()
      const guest = await enter()
      connection?.close(4000)
      const members = await hub.all().members()
      expect(members.map(({ id }) => id)).to.deep.equal([guest.connection.id])
      expect(await hub.all().count()).to.equal(1)
    })

    it('send() leaves out a member once its client has begun to close', async () => {
      const { hub, port } = await house()
      const client = await rawClient(port)
      client.write(handshake('/'))
      await client.answer()
      const [connection] = hub.localConnections.values()
      client.write(closeFrame(1000))
      await eventually(() => connection?.readyState !== 1)
      expect(() => hub.all().send('1')).to.not.throw()
      expect(hub.all().send('1').local).to.equal(0)
      expect(await client.closeCode()).to.equal(1000)
    })

    it('send() never throws for a member with a destroyed socket', async () => {
      const { hub, port, enter, errors } = await house()
      const stays = await enter()
      const terminated = await enter()
      const raw = await rawClient(port)
      raw.write(handshake('/'))
      await raw.answer()
      expect(hub.all().send('1').local).to.equal(3)
      terminated.connection.terminate()
      expect(hub.all().send('2').local).to.equal(2)
      raw.reset()
      hub.all().send('3')
      const sending = setInterval(() => hub.all().send('again'), 1)
      try {
        await eventually(() => hub.status().connections === 1)
      } finally {
        clearInterval(sending)
      }
      expect(hub.all().send('4').local).to.equal(1)
      const seen = (await received(stays)).filter((message) => message !== 'again')
      expect(seen).to.deep.equal(['1', '2', '3', '4'])
      expect(await terminated.socket.next()).to.equal('1')
      expect(errors).to.deep.equal([])
    })

    it('a close listener can send to the rooms of its connection, which is in no audience any more', async () => {
      const { hub, enter } = await house()
      const stays = await enter({ rooms: ['r'] })
      const leaves = await enter({ rooms: ['r'], user: 'a' })
      const { connection } = leaves
      const told = deferred<unknown>()
      connection.on('close', () => {
        const locals = [
          hub.room('r').send('1').local,
          hub.user('a').send('2').local,
          hub.connection(connection.id).send('3').local,
          connection.to(...connection.rooms).send('4').local,
          hub.all().send('5').local,
        ]
        told.resolve([locals, hub.localConnections.has(connection.id)])
      })
      leaves.socket.close()
      expect(await told.promise).to.deep.equal([[1, 0, 0, 1, 1], false])
      await expectReceived([stays], '1', '4', '5')
    })

    it('onConnect and onDisconnect can send to the other members', async () => {
      const seen: unknown[] = []
      const gone = deferred()
      const site = await house({
        onConnect(connection, ctx) {
          connection.send('welcome')
          seen.push(['in', ctx.hub.room('r').send(`${connection.userId} came`).local])
        },
        onDisconnect(connection) {
          const { hub } = site
          seen.push(['out', hub.room('r').send(`${connection.userId} left`).local])
          if (connection.userId === 'b') gone.resolve()
        },
      })
      const a = await site.enter({ user: 'a', rooms: ['r'] })
      const b = await site.enter({ user: 'b', rooms: ['r'] })
      // During onConnect the connection is in no audience.
      expect(await received(b)).to.deep.equal(['welcome'])
      b.socket.close()
      await gone.promise
      expect(seen).to.deep.equal([
        ['in', 0],
        ['in', 1],
        ['out', 1],
      ])
      await expectReceived([a], 'welcome', 'b came', 'b left')
    })

    it('close() completes when a close listener terminates the other members', async () => {
      const { hub, enter } = await house()
      const guests: Guest[] = []
      for (let i = 0; i < 4; i++) guests.push(await enter({ rooms: ['r'] }))
      for (const { connection } of guests) {
        connection.on('close', () => {
          for (const other of guests) other.connection.terminate()
        })
      }
      const ends = guests.map(({ connection }) => once(connection, 'close'))
      await hub.room('r').close(4000)
      await Promise.all(ends)
      expect(hub.status()).to.include({ connections: 0, rooms: 0 })
    })
  })
})

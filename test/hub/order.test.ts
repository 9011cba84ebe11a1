import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import { expect } from 'chai'
import type { ClientOptions } from 'ws'
import type { Connection, KoaWsOptions } from '../../lib/index.ts'
import {
  expectReceived,
  type Guest,
  type House,
  house,
  randomOrder,
  received,
} from '../support/order.ts'
import { handshake, type RawClient, rawClient } from '../support/raw.ts'
import { cleanUp, eventually, turn } from '../support/server.ts'

const WRITES = [
  'writev',
  'writeBuffer',
  'writeUtf8String',
  'writeLatin1String',
  'writeAsciiString',
  'writeUcs2String',
]

/** Counts the writes that Node hands to the kernel, for every later connection of a server. */
function countWrites(server: Server): { count: number } {
  const writes = { count: 0 }
  server.on('connection', (socket: Socket) => {
    const { _handle: handle } = socket as unknown as {
      _handle: Record<string, (...args: unknown[]) => unknown>
    }
    for (const name of WRITES) {
      const write = handle[name] as (...args: unknown[]) => unknown
      expect(write, name).to.be.a('function')
      handle[name] = (...args) => {
        writes.count++
        return write.apply(handle, args)
      }
    }
  })
  return writes
}

/** A raw client, which sees frames, and its connection. */
async function rawGuest(
  { port, hub }: House,
  path = '/?n=raw',
): Promise<{ client: RawClient; connection: Connection }> {
  const known = new Set(hub.localConnections.keys())
  const client = await rawClient(port)
  client.write(handshake(path))
  await client.answer()
  const connection = [...hub.localConnections.values()].find(({ id }) => !known.has(id))
  if (!connection) throw new Error('there is no new connection')
  return { client, connection }
}

/** Reads this many frames, each as its opcode and payload. */
async function frames(client: RawClient, many: number): Promise<string[]> {
  const seen: string[] = []
  for (let i = 0; i < many; i++) {
    const { opcode, payload } = await client.frame()
    const text = opcode === 8 ? String(payload.readUInt16BE(0)) : payload.toString()
    seen.push(`${opcode} ${text}`)
  }
  return seen
}

describe('the order of messages', () => {
  afterEach(cleanUp)

  describe('in one turn of the event loop', () => {
    it('all frames for a connection leave in one write @http1', async () => {
      const site = await house()
      const writes = countWrites(site.server)
      const { client, connection } = await rawGuest(site)
      connection.join('a', 'b')
      writes.count = 0
      for (let i = 0; i < 50; i++) site.hub.room('a').send(`a${i}`)
      site.hub.room('b').send('b')
      await frames(client, 51)
      expect(writes.count).to.equal(1)
    })

    it('direct sends, broadcasts and a close keep the order of the calls, in one write @http1', async () => {
      const site = await house()
      const writes = countWrites(site.server)
      const { client, connection } = await rawGuest(site)
      const other = await rawGuest(site, '/?n=other')
      const { hub } = site
      await connection.join('a', 'b')
      writes.count = 0
      connection.send('1')
      hub.room('a').send('2')
      hub.room('b').send(Buffer.from('3'))
      connection.json({ n: 4 })
      hub.all().except(other.connection).send('5')
      hub.room('a', 'b').except(connection).send('not for it')
      other.connection.to('a').send('6')
      connection.send(Buffer.from('7'))
      connection.send('8')
      hub.connection(connection.id).send('9')
      process.nextTick(() => {
        hub.room('a').send('10')
        queueMicrotask(() => {
          connection.send('11')
          hub.room('b').send('12')
          connection.close(4000, 'over')
          hub.room('a').send('after the end')
        })
      })
      expect(await frames(client, 13)).to.deep.equal([
        '1 1',
        '1 2',
        '2 3',
        '1 {"n":4}',
        '1 5',
        '1 6',
        '2 7',
        '1 8',
        '1 9',
        '1 10',
        '1 11',
        '1 12',
        '8 4000',
      ])
      expect(writes.count).to.equal(1)
      expect(client.received.length).to.equal(0)
    })

    it('a ping keeps its place between broadcasts @http1', async () => {
      const site = await house()
      const writes = countWrites(site.server)
      const { client, connection } = await rawGuest(site)
      const { hub } = site
      writes.count = 0
      hub.all().send('1')
      connection.ping('2')
      hub.all().send('3')
      expect(await frames(client, 3)).to.deep.equal(['1 1', '9 2', '1 3'])
      expect(writes.count).to.equal(1)
    })

    it('a ping keeps its place behind a direct send and a broadcast @http1', async () => {
      const site = await house()
      const writes = countWrites(site.server)
      const { client, connection } = await rawGuest(site)
      const { hub } = site
      writes.count = 0
      connection.send('1')
      hub.all().send('2')
      connection.ping('3')
      connection.send('4')
      hub.all().send('5')
      expect(await frames(client, 5)).to.deep.equal(['1 1', '1 2', '9 3', '1 4', '1 5'])
      expect(writes.count).to.equal(1)
    })

    it('a broadcast and a direct send behind it leave in one write @http1', async () => {
      const site = await house()
      const writes = countWrites(site.server)
      const { client, connection } = await rawGuest(site)
      writes.count = 0
      site.hub.all().send('1')
      connection.send('2')
      site.hub.all().send('3')
      connection.send('4')
      expect(await frames(client, 4)).to.deep.equal(['1 1', '1 2', '1 3', '1 4'])
      expect(writes.count).to.equal(1)
    })

    it('a broadcast and a close behind it leave in one write @http1', async () => {
      const site = await house()
      const writes = countWrites(site.server)
      const { client } = await rawGuest(site)
      writes.count = 0
      site.hub.all().send('1')
      void site.hub.all().close(4001)
      expect(await frames(client, 2)).to.deep.equal(['1 1', '8 4001'])
      expect(writes.count).to.equal(1)
    })

    it('a connection closed through an audience gets everything sent before, and nothing after', async () => {
      const site = await house()
      const one = await rawGuest(site)
      const two = await rawGuest(site, '/?n=two')
      const { hub } = site
      hub.all().send('1')
      two.connection.send('2')
      void hub.all().close(4001, 'bye')
      expect(hub.all().send('late').local).to.equal(0)
      expect(await frames(one.client, 2)).to.deep.equal(['1 1', '8 4001'])
      expect(await frames(two.client, 3)).to.deep.equal(['1 1', '1 2', '8 4001'])
      await turn()
      await turn()
      expect(one.client.received.length + two.client.received.length).to.equal(0)
    })

    it('bufferedAmount includes sent messages until the turn ends @http1', async () => {
      const site = await house()
      const guest = await site.enter()
      site.hub.all().send('four')
      expect(guest.connection.bufferedAmount).to.equal(6)
      site.hub.all().send(Buffer.alloc(200))
      expect(guest.connection.bufferedAmount).to.equal(6 + 204)
      await turn()
      expect(guest.connection.bufferedAmount).to.equal(0)
    })

    it('more than 64 KiB leaves in several writes, whole and in order @http1', async () => {
      const site = await house()
      const writes = countWrites(site.server)
      const guest = await site.enter({ rooms: ['a'] })
      const { connection } = guest
      const expected: string[] = []
      writes.count = 0
      for (let i = 0; i < 300; i++) {
        const text = `${i} ${'x'.repeat(5_000)}`
        expected.push(text)
        if (i % 10 === 9) connection.send(text)
        else site.hub.room('a').send(text)
        // `bufferedAmount` counts each byte at most once.
        expect(connection.bufferedAmount).to.be.below(5_100 * (i + 1))
      }
      const large = 'y'.repeat(1024 * 1024)
      site.hub.room('a').send(large)
      site.hub.room('a').send('end')
      await turn()
      // A write holds a batch of at most 64 KiB, and as much again that was corked before it.
      expect(writes.count).to.be.within(12, 60)
      await expectReceived([guest], ...expected, large, 'end')
    })

    it('messages sent before terminate() reach the client', async () => {
      const site = await house()
      const { socket, connection } = await site.enter()
      site.hub.all().send('1')
      connection.send('2')
      site.hub.all().send('3')
      connection.terminate()
      expect([await socket.next(), await socket.next(), await socket.next()]).to.deep.equal([
        '1',
        '2',
        '3',
      ])
      expect((await socket.closed).code).to.equal(1006)
    })
  })

  describe('with a message sent in parts', () => {
    it('broadcasts wait for its last part', async () => {
      const site = await house()
      const guest = await site.enter({ rooms: ['a'] })
      const other = await site.enter({ rooms: ['a'] })
      const room = site.hub.room('a')
      room.send('0')
      guest.connection.send('a', { fin: false })
      expect(room.send('b').local).to.equal(2)
      guest.connection.send('c', { fin: false })
      room.send(Buffer.from('d'))
      await turn()
      room.send('e')
      expect(guest.connection.bufferedAmount).to.be.above(0)
      guest.connection.send('f', { fin: true })
      room.send('g')
      await expectReceived([guest], '0', 'acf', 'b', Buffer.from('d'), 'e', 'g')
      await expectReceived([other], '0', 'b', Buffer.from('d'), 'e', 'g')
      expect(guest.connection.bufferedAmount).to.equal(0)
    })

    it('fin: undefined sends a complete message, as by default', async () => {
      const site = await house()
      const guest = await site.enter()
      guest.connection.send('1', { fin: undefined })
      site.hub.all().send('2')
      guest.connection.send('3', { fin: undefined, compress: undefined })
      site.hub.all().send('4')
      await expectReceived([guest], '1', '2', '3', '4')
    })

    it('a close between two parts reaches the client', async () => {
      const site = await house()
      const { socket, connection } = await site.enter()
      connection.send('a', { fin: false })
      site.hub.all().send('waits for an end that never comes')
      connection.close(4000, 'changed my mind')
      expect(await socket.closed).to.deep.equal({ code: 4000, reason: 'changed my mind' })
    })
  })

  it('a Blob arrives before later broadcasts', async () => {
    const site = await house()
    const guest = await site.enter()
    const { connection } = guest
    const blob = (text: string): string => new Blob([text]) as never
    site.hub.all().send('1')
    connection.send(blob('2'))
    site.hub.all().send('3')
    connection.send('4')
    site.hub.all().send(Buffer.from('5'))
    connection.send(blob('6'))
    await turn()
    site.hub.all().send('7')
    const expected = ['1', Buffer.from('2'), '3', '4', Buffer.from('5'), Buffer.from('6'), '7']
    await expectReceived([guest], ...expected)
  })

  describe('with permessage-deflate', () => {
    const far = mixed(6_000) // repeats at a distance beyond a window of 10 bits
    const large = `large ${far}${far}`
    const CLIENTS: Record<string, ClientOptions['perMessageDeflate']> = {
      none: false,
      any: true,
      window: { serverMaxWindowBits: 10 },
    }

    /** Opens one client of each kind, all in room a. */
    async function all(options: KoaWsOptions): Promise<{ site: House; guests: Guest[] }> {
      const site = await house({ maxPayload: 10_000_000, ...options })
      const guests: Guest[] = []
      for (const perMessageDeflate of Object.values(CLIENTS)) {
        const client: ClientOptions = { perMessageDeflate: perMessageDeflate as boolean }
        guests.push(await site.enter({ rooms: ['a'], client }))
      }
      return { site, guests }
    }

    const negotiated = (guests: Guest[]): (string | undefined)[] =>
      guests.map(({ socket }) => socket.handshake['sec-websocket-extensions'])

    for (const takeover of [false, true]) {
      const how = takeover ? 'with context takeover' : 'without context takeover'

      it(`all kinds of clients get the same messages in the same order, ${how}`, async () => {
        const { site, guests } = await all({
          perMessageDeflate: { serverNoContextTakeover: !takeover },
        })
        const [none, any, window] = negotiated(guests)
        expect(none).to.equal(undefined)
        expect(any).to.match(/^permessage-deflate/)
        expect(window)
          .to.match(/^permessage-deflate/)
          .and.to.include('server_max_window_bits=10')
        expect(any?.includes('server_no_context_takeover')).to.equal(!takeover)
        const room = site.hub.room('a')
        const expected: (string | Buffer)[] = []
        for (let round = 0; round < 6; round++) {
          room.send(`small ${round}`)
          room.send(`${large} ${round}`)
          for (const { connection } of guests) connection.send(`direct ${round} ${large}`)
          room.send(Buffer.from(`${round} ${large}`))
          for (const { connection } of guests) connection.send(Buffer.from(`direct ${round}`))
          room.send('')
          room.send(`small again ${round}`)
          expected.push(
            `small ${round}`,
            `${large} ${round}`,
            `direct ${round} ${large}`,
            Buffer.from(`${round} ${large}`),
            Buffer.from(`direct ${round}`),
            '',
            `small again ${round}`,
          )
          if (round % 2 === 1) await turn()
        }
        await expectReceived(guests, ...expected)
      })

      it(`a message in parts stays whole, ${how}`, async () => {
        const { site, guests } = await all({
          perMessageDeflate: { serverNoContextTakeover: !takeover, threshold: 0 },
        })
        const room = site.hub.room('a')
        for (const { connection } of guests) connection.send(large, { fin: false })
        room.send('1')
        await turn()
        for (const { connection } of guests) connection.send('middle', { fin: false })
        room.send(large)
        for (const { connection } of guests) connection.send('end')
        room.send('3')
        await expectReceived(guests, `${large}middleend`, '1', large, '3')
      })

      it(`all messages arrive before a close, ${how}`, async () => {
        const { site, guests } = await all({
          perMessageDeflate: { serverNoContextTakeover: !takeover },
        })
        const room = site.hub.room('a')
        for (const { connection } of guests) connection.send(large)
        room.send('1')
        room.send(large)
        void room.close(4000, 'over')
        for (const { socket } of guests) {
          const seen = [await socket.next(), await socket.next(), await socket.next()]
          expect(seen).to.deep.equal([large, '1', large])
          expect(await socket.closed).to.deep.equal({ code: 4000, reason: 'over' })
        }
      })
    }

    it('clients with the same compression share one frame, and small messages are not compressed', async () => {
      const site = await house({ perMessageDeflate: true })
      const bytes: Buffer[] = []
      for (const name of ['one', 'two']) {
        const client = await rawClient(site.port)
        client.write(handshake(`/?n=${name}`, { 'Sec-WebSocket-Extensions': 'permessage-deflate' }))
        await client.answer()
        site.hub.all().send('x'.repeat(2_000))
        site.hub.all().send('small')
        await client.until(() => client.received.includes('small'))
        bytes.push(client.received)
      }
      const [one, two] = bytes as [Buffer, Buffer]
      expect(one[0]).to.equal(0xc1)
      expect(one.length).to.be.below(200)
      expect(one[one.indexOf('small') - 2]).to.equal(0x81)
      expect(two.equals(one)).to.equal(true)
    })

    it('broadcasts do not overtake a direct send that is being compressed', async () => {
      const { site, guests } = await all({ perMessageDeflate: true })
      const [, guest] = guests as [Guest, Guest]
      const huge = mixed(3_000_000)
      guest.connection.send(huge)
      site.hub.room('a').send('1')
      await turn()
      site.hub.room('a').send('2')
      for (let i = 0; i < 3; i++) await turn()
      site.hub.room('a').send('3')
      await expectReceived([guest], huge, '1', '2', '3')
      await eventually(() => guest.connection.bufferedAmount === 0)
      site.hub.room('a').send('4')
      expect(await received(guest)).to.deep.equal(['4'])
    })
  })

  describe('under random interleavings', () => {
    for (const [seed, takeover] of [
      [1, false],
      [20, true],
      [4711, false],
    ] as const) {
      it(`is the order of the calls at every client (seed ${seed})`, async () => {
        const report = await randomOrder({
          seed,
          operations: 2_000,
          connections: 24,
          rooms: 8,
          takeover,
        })
        expect(report.mismatches, `seed ${seed}`).to.deep.equal([])
        expect(report.deliveries).to.be.above(5_000)
      })
    }
  })
})

/** Pseudorandom text that hardly compresses. */
function mixed(length: number): string {
  let state = 12_345
  let text = ''
  while (text.length < length) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    text += state.toString(36)
  }
  return text.slice(0, length)
}

import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { expect } from 'chai'
import type { Connection } from '../../lib/index.ts'
import type { TestSocket } from '../../lib/testing/index.ts'
import { selfSigned } from '../support/certificate.ts'
import {
  block,
  KIB,
  LibTimers,
  type LimitSite,
  limitSite,
  MIB,
  pass,
  settles,
  stuff,
  throttle,
  topUp,
  until,
} from '../support/limits.ts'
import { closeFrame, frame, handshake, rawClient } from '../support/raw.ts'
import { cleanUp, eventually, listen, openSocket, turn } from '../support/server.ts'

describe('slow consumers', () => {
  afterEach(cleanUp)

  const NO_BEAT = { heartbeat: false, closeTimeout: 200 } as const

  /** Connects a client that stops reading. */
  async function mute(site: LimitSite, path?: string) {
    const made = await site.raw(path)
    made.client.socket.pause()
    return made
  }

  /** Sends one message, and resolves when the kernel has it. */
  const sent = (connection: Connection, data: Buffer | string): Promise<Error | undefined> =>
    new Promise((resolve) => connection.send(data, (error) => resolve(error ?? undefined)))

  async function reaches(site: LimitSite, socket: TestSocket, connection: Connection) {
    connection.send('are you well?')
    expect(await settles(socket.next(), 'the neighbour')).to.equal('are you well?')
    expect(site.hub.localConnections.has(connection.id)).to.equal(true)
  }

  describe('with the default policy', () => {
    it('exclude a healthy client that receives 16 MiB at once, several times', async () => {
      const site = await limitSite(NO_BEAT)
      const { socket, connection } = await site.socket()
      for (let i = 0; i < 4; i++) {
        const taken = sent(connection, Buffer.alloc(16 * MIB, i))
        const message = (await settles(socket.next(), 'the message')) as Buffer
        expect(message.length).to.equal(16 * MIB)
        expect(message[16 * MIB - 1]).to.equal(i)
        expect(await taken).to.equal(undefined)
      }
      expect(connection.readyState).to.equal(1)
      expect(site.drops('slowConsumer')).to.equal(0)
      expect(site.drops('dropped')).to.equal(0)
    })

    it('exclude a client that reads a little every 100 ms, while far more is queued', async () => {
      const site = await limitSite(NO_BEAT)
      const { socket, connection } = await site.socket()
      const end = throttle(socket, 384 * KIB)
      const began = performance.now()
      connection.send(Buffer.alloc(15 * MIB))
      await turn()
      expect(connection.bufferedAmount).to.be.above(8 * MIB)
      const message = (await settles(socket.next(), 'the message')) as Buffer
      end()
      expect(message.length).to.equal(15 * MIB)
      expect(performance.now() - began, 'it was to be slow').to.be.above(2_500)
      expect(connection.readyState).to.equal(1)
      expect(site.drops('slowConsumer')).to.equal(0)
      connection.send('on it goes')
      expect(await socket.next()).to.equal('on it goes')
    })

    it('exclude a client that reads a little every 100 ms over TLS', async () => {
      const { key, cert } = selfSigned()
      const site = await limitSite(NO_BEAT)
      const server = createServer(
        { key: readFileSync(key), cert: readFileSync(cert) },
        site.app.callback(),
      )
      site.hub.attach(server)
      const port = await listen(server as never)
      const socket = await openSocket(`wss://127.0.0.1:${port}/`, '/', {
        rejectUnauthorized: false,
      })
      await eventually(() => site.hub.localConnections.size === 1)
      const [connection] = [...site.hub.localConnections.values()] as [Connection]
      const end = throttle(socket, 384 * KIB)
      connection.send(Buffer.alloc(15 * MIB))
      const message = (await settles(socket.next(), 'the message')) as Buffer
      end()
      expect(message.length).to.equal(15 * MIB)
      expect(connection.readyState).to.equal(1)
      expect(site.drops('slowConsumer')).to.equal(0)
    })

    it('are closed when they read nothing for about a second and more than the limit is queued', async () => {
      const site = await limitSite(NO_BEAT)
      const healthy = await site.socket()
      const { client, connection } = await mute(site)
      connection.send(Buffer.alloc(15 * MIB))
      const took = await until(() => connection.readyState !== 1, 'the close')
      expect(took).to.be.at.least(700)
      expect(site.drops('slowConsumer')).to.equal(1)
      await reaches(site, healthy.socket, healthy.connection)
      expect(await settles(connection.closed, 'closed')).to.deep.equal({
        code: 4610,
        reason: 'too slow',
        clean: false,
      })
      expect(site.drops('slowConsumer')).to.equal(1)
      expect(site.hub.localConnections.size).to.equal(1)
      client.socket.destroy()
    })

    it('receive 4610 when they read again before closeTimeout', async () => {
      const site = await limitSite({ ...NO_BEAT, closeTimeout: 10_000 })
      const { socket, connection } = await site.socket()
      socket.pause()
      connection.send(Buffer.alloc(15 * MIB))
      await until(() => connection.readyState === 2, 'the close')
      socket.resume()
      expect(await settles(socket.closed, 'the client')).to.deep.equal({
        code: 4610,
        reason: 'too slow',
      })
      expect(await connection.closed).to.include({ code: 4610, clean: true })
    })

    it('stay open with exactly the limit queued, and are closed with one message more', async () => {
      const site = await limitSite(NO_BEAT)
      const healthy = await site.socket()
      const { connection } = await mute(site)
      await stuff(connection)
      topUp(connection, MIB)
      await pass(2_500)
      expect(connection.bufferedAmount).to.equal(MIB)
      expect(connection.readyState).to.equal(1)
      expect(site.drops('slowConsumer')).to.equal(0)
      connection.send('x')
      await until(() => connection.readyState !== 1, 'the close')
      expect(site.drops('slowConsumer')).to.equal(1)
      expect(await settles(connection.closed, 'closed')).to.include({
        code: 4610,
        clean: false,
      })
      await reaches(site, healthy.socket, healthy.connection)
    })

    it('are closed at once when more than 16 times the limit is queued before a send', async () => {
      const site = await limitSite({ ...NO_BEAT, maxBufferedAmount: 256 * KIB })
      const healthy = await site.socket()
      const { connection } = await mute(site)
      await stuff(connection)
      topUp(connection, 16 * 256 * KIB)
      connection.send('x')
      expect(connection.readyState, 'exactly 16 times waited').to.equal(1)
      expect(connection.bufferedAmount).to.equal(16 * 256 * KIB + 3)
      connection.send('y')
      expect(connection.readyState).to.equal(2)
      expect(site.drops('slowConsumer')).to.equal(1)
      expect(site.drops('dropped')).to.equal(1)
      expect(await settles(connection.closed, 'closed')).to.include({
        code: 4610,
        clean: false,
      })
      await reaches(site, healthy.socket, healthy.connection)
    })

    it('are closed at once by a broadcast, which reaches the other clients', async () => {
      const site = await limitSite({ ...NO_BEAT, maxBufferedAmount: 256 * KIB })
      const healthy = await site.socket()
      const { connection } = await mute(site)
      await stuff(connection)
      topUp(connection, 16 * 256 * KIB)
      connection.send('x')
      const delivery = site.hub.all().send('all')
      expect(delivery).to.include({ local: 1, dropped: 1 })
      expect(connection.readyState).to.equal(2)
      expect(await healthy.socket.next()).to.equal('all')
      expect(site.drops('slowConsumer')).to.equal(1)
    })

    it('are closed even while they send a lot themselves', async () => {
      const site = await limitSite({ ...NO_BEAT, flood: false }, (connection) => {
        connection.on('message', () => {})
      })
      const { client, connection } = await mute(site)
      const message = frame(2, Buffer.alloc(10 * KIB))
      const timer = setInterval(() => client.write(message), 10)
      try {
        connection.send(Buffer.alloc(15 * MIB))
        const took = await until(() => connection.readyState !== 1, 'the close')
        expect(took).to.be.at.least(700)
        expect(await settles(connection.closed, 'closed')).to.include({
          code: 4610,
          clean: false,
        })
        expect(site.drops('slowConsumer')).to.equal(1)
      } finally {
        clearInterval(timer)
      }
    })

    it('are closed even while reading from them is paused', async () => {
      const site = await limitSite(NO_BEAT)
      const { connection } = await mute(site)
      connection.pause()
      connection.send(Buffer.alloc(15 * MIB))
      await until(() => connection.readyState !== 1, 'the close')
      expect(await settles(connection.closed, 'closed')).to.include({ code: 4610 })
    })

    it('are counted with 4610 even when they reset the connection afterwards', async () => {
      const site = await limitSite({ ...NO_BEAT, closeTimeout: 5_000 })
      const { client, connection } = await mute(site)
      connection.send(Buffer.alloc(15 * MIB))
      await until(() => connection.readyState !== 1, 'the close')
      client.reset()
      expect(await settles(connection.closed, 'closed')).to.include({
        code: 4610,
        clean: false,
      })
    })

    it('are judged by the limits of their route', async () => {
      const site = await limitSite({ ...NO_BEAT, maxBufferedAmount: 256 * KIB }, () => {}, {
        '/roomy': { maxBufferedAmount: 8 * MIB },
        '/drop': { slowConsumer: 'drop' },
      })
      const ends: Record<string, Connection> = {}
      for (const path of ['/plain', '/roomy', '/drop']) {
        const { connection } = await mute(site, path)
        await stuff(connection)
        topUp(connection, MIB)
        ends[path] = connection
      }
      await until(() => ends['/plain']?.readyState !== 1, 'the close')
      await pass(1_500)
      expect(ends['/roomy']?.readyState).to.equal(1)
      expect(ends['/drop']?.readyState).to.equal(1)
      expect(site.drops('slowConsumer')).to.equal(1)
      expect(await sent(ends['/drop'] as Connection, 'x')).to.have.property(
        'code',
        'ERR_KOAWS_SLOW_CONSUMER',
      )
    })

    it('exclude a client that waits because this process was blocked', async () => {
      const site = await limitSite(NO_BEAT)
      const { socket, connection } = await site.socket()
      const message = socket.next()
      connection.send(Buffer.alloc(15 * MIB))
      await turn()
      expect(connection.bufferedAmount, 'in flight').to.be.above(MIB)
      // A backlog: each timer is due when the previous one and the timer of koaws have run, and
      // each blocks. No socket gets a turn in between.
      for (let i = 1; i <= 7; i++) setTimeout(block, i * 300 - 20, 300)
      block(300)
      expect(await settles(message, 'the message')).to.have.length(15 * MIB)
      expect(connection.readyState).to.equal(1)
      expect(site.drops('slowConsumer')).to.equal(0)
    })
  })

  describe("with slowConsumer: 'drop'", () => {
    const DROP = { ...NO_BEAT, maxBufferedAmount: 256 * KIB, slowConsumer: 'drop' } as const

    it('lose messages, which are counted, stay open, and receive again once they read', async () => {
      const site = await limitSite(DROP)
      const healthy = await site.socket()
      const { client, connection } = await mute(site)
      await stuff(connection)
      topUp(connection, 512 * KIB)
      expect(site.hub.all().send('not yet')).to.include({ local: 2, dropped: 0 })
      expect(await healthy.socket.next()).to.equal('not yet')

      await until(
        () => site.hub.connection(connection.id).send('stalled?').dropped === 1,
        'the stall',
      )
      const before = site.drops('dropped')
      expect(before).to.equal(1)
      expect(site.hub.all().send('hub')).to.include({ local: 1, dropped: 1 })
      expect(await sent(connection, 'own')).to.have.property('code', 'ERR_KOAWS_SLOW_CONSUMER')
      const error = await new Promise<Error | undefined>((resolve) =>
        connection.send('own', { binary: true }, resolve),
      )
      expect(error).to.have.property('code', 'ERR_KOAWS_SLOW_CONSUMER')
      connection.json({ no: 'callback' })
      expect(site.drops('dropped')).to.equal(before + 4)
      expect(await healthy.socket.next()).to.equal('hub')
      await pass(1_500)
      expect(connection.readyState).to.equal(1)
      expect(site.drops('slowConsumer')).to.equal(0)

      client.socket.resume()
      await until(() => connection.bufferedAmount === 0, 'the taking')
      // The exact moment has a test below; here it may take until the next check.
      while ((await sent(connection, 'and again')) !== undefined) await turn()
      await client.until(() => client.text.includes('and again'))
      expect(client.text).to.include('not yet')
      expect(client.text).not.to.include('own')
      expect(client.text).not.to.include('no":"callback')
    })

    it('lose no message with exactly the limit queued', async () => {
      const site = await limitSite({ ...DROP, maxBufferedAmount: MIB })
      const { connection } = await mute(site)
      await stuff(connection)
      topUp(connection, MIB)
      await pass(2_000)
      expect(site.hub.all().send('')).to.include({ local: 1, dropped: 0 })
      expect(site.drops('dropped')).to.equal(0)
      // Now 2 bytes more than the limit are queued.
      await until(() => site.hub.all().send('').dropped === 1, 'the drop')
    })

    it('lose messages at once when more than 16 times the limit is queued', async () => {
      const site = await limitSite(DROP)
      const { connection } = await mute(site)
      await stuff(connection)
      topUp(connection, 16 * 256 * KIB)
      expect(site.hub.all().send('x')).to.include({ local: 1, dropped: 0 })
      expect(site.hub.all().send('y')).to.include({ local: 0, dropped: 1 })
      expect(connection.readyState).to.equal(1)
      expect(site.drops('dropped')).to.equal(1)
      expect(site.drops('slowConsumer')).to.equal(0)
    })

    it('receive again as soon as they read, though much is still queued', async () => {
      const site = await limitSite(DROP)
      const { socket, connection } = await site.socket()
      socket.pause()
      connection.send(Buffer.alloc(4 * MIB - 100))
      connection.send(Buffer.alloc(4 * MIB - 100))
      await until(() => site.hub.all().send('s').dropped === 1, 'the stall')
      const end = throttle(socket, 512 * KIB)
      await until(() => site.hub.all().send('r').local === 1, 'the relief')
      end()
      expect(connection.readyState).to.equal(1)
    })
  })

  it('are skipped by volatile(), which reaches healthy clients', async () => {
    const site = await limitSite(NO_BEAT)
    const healthy = await site.socket()
    const { client, connection } = await mute(site)
    expect(site.hub.all().volatile().send('both')).to.include({ local: 2, dropped: 0 })
    expect(await healthy.socket.next()).to.equal('both')
    await stuff(connection)
    expect(site.hub.all().volatile().send('skipped')).to.include({ local: 1, dropped: 1 })
    expect(site.hub.all().send('kept')).to.include({ local: 2, dropped: 0 })
    expect(await healthy.socket.next()).to.equal('skipped')
    expect(await healthy.socket.next()).to.equal('kept')
    expect(site.drops('volatile')).to.equal(1)
    expect(site.drops('dropped')).to.equal(0)
    client.socket.resume()
    await until(() => connection.bufferedAmount === 0, 'the taking')
    expect(site.hub.all().volatile().send('once more')).to.include({ local: 2, dropped: 0 })
    await client.until(() => client.text.includes('once more'))
    expect(client.text).to.include('kept').and.not.to.include('skipped')
  })

  it('do not delay a broadcast to others', async () => {
    const site = await limitSite({ ...NO_BEAT, maxBufferedAmount: 64 * MIB })
    const healthy = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const { socket } = await site.socket()
        return socket
      }),
    )
    const { connection } = await mute(site)
    await stuff(connection)
    const text = 'x'.repeat(16 * KIB)
    for (let i = 0; i < 100; i++) {
      expect(site.hub.all().send(`${i} ${text}`).local).to.equal(21)
      if (i % 10 === 0) await turn()
    }
    await settles(
      Promise.all(
        healthy.map(async (socket) => {
          for (let i = 0; i < 100; i++)
            expect(parseInt(String(await socket.next()), 10)).to.equal(i)
        }),
      ),
      'the healthy',
    )
    expect(connection.bufferedAmount).to.be.above(100 * 16 * KIB)
  })

  it('have a bufferedAmount with the batch of the turn and messages behind a fragment', async () => {
    const site = await limitSite(NO_BEAT)
    const { socket, connection } = await site.socket()
    expect(connection.bufferedAmount).to.equal(0)
    site.hub.all().send('hello')
    site.hub.all().send('abc')
    expect(connection.bufferedAmount).to.equal(12)
    await until(() => connection.bufferedAmount === 0, 'the write')
    connection.send('half', { fin: false })
    site.hub.all().send('between')
    expect(connection.bufferedAmount).to.equal(6 + 9)
    connection.send('whole')
    await until(() => connection.bufferedAmount === 0, 'the write')
    expect([await socket.next(), await socket.next()]).to.deep.equal(['hello', 'abc'])
    expect([await socket.next(), await socket.next()]).to.deep.equal(['halfwhole', 'between'])
  })

  it('get sends of hub and connection in one turn in order, and bufferedAmount counts them', async () => {
    const site = await limitSite(NO_BEAT)
    const { socket, connection } = await site.socket()
    connection.send('own')
    site.hub.all().send('of the hub')
    connection.send('own again')
    expect(connection.bufferedAmount).to.equal(5 + 12 + 11)
    expect([await socket.next(), await socket.next(), await socket.next()]).to.deep.equal([
      'own',
      'of the hub',
      'own again',
    ])
    site.hub.all().send('hub first')
    connection.send('own')
    expect(connection.bufferedAmount).to.equal(11 + 5)
    expect([await socket.next(), await socket.next()]).to.deep.equal(['hub first', 'own'])
  })

  it('recover as soon as they have read everything', async () => {
    const site = await limitSite({ ...NO_BEAT, maxBufferedAmount: 256 * KIB, slowConsumer: 'drop' })
    const { socket, connection } = await site.socket()
    const audience = site.hub.connection(connection.id)
    connection.send(Buffer.alloc(8 * MIB))
    expect(await socket.next()).to.have.length(8 * MIB)
    await until(() => connection.bufferedAmount === 0, 'the taking')
    expect(audience.volatile().send('a').dropped, 'the first').to.equal(0)
    expect(audience.volatile().send('b').dropped, 'the second').to.equal(0)
  })

  it('recover as soon as they have read everything after a stall', async () => {
    const site = await limitSite({ ...NO_BEAT, maxBufferedAmount: 256 * KIB, slowConsumer: 'drop' })
    const { socket, connection } = await site.socket()
    const audience = site.hub.connection(connection.id)
    socket.pause()
    await stuff(connection)
    topUp(connection, 512 * KIB)
    await until(() => audience.send('s').dropped === 1, 'the stall')
    socket.resume()
    await until(() => connection.bufferedAmount === 0, 'the taking')
    expect(audience.send('a').dropped, 'the first').to.equal(0)
    expect(audience.send('b').dropped, 'the second').to.equal(0)
  })

  it('are watched by one timer, which ends when all have caught up @http1', async () => {
    const timers = new LibTimers()
    try {
      const site = await limitSite(NO_BEAT)
      const healthy = await site.socket()
      healthy.connection.send('x')
      await turn()
      expect(timers.of('connection/congestion')).to.equal(0)
      const first = await mute(site)
      const second = await mute(site)
      await stuff(first.connection)
      await stuff(second.connection)
      expect(timers.of('connection/congestion')).to.equal(1)
      first.client.socket.resume()
      await until(() => first.connection.bufferedAmount === 0, 'the taking')
      expect(timers.of('connection/congestion')).to.equal(1)
      second.client.reset()
      second.connection.terminate()
      await second.connection.closed
      await until(() => timers.of('connection/congestion') === 0, 'the end of the timer')
      first.client.write(closeFrame())
      expect(await first.connection.closed).to.include({ code: 1000, clean: true })
    } finally {
      timers.stop()
    }
  })

  it('are ended when they close their side and read nothing, though ws sets no timer', async () => {
    const site = await limitSite({ heartbeat: false })
    const client = await rawClient(site.port)
    client.write(handshake('/'))
    await client.answer()
    client.socket.pause()
    const connection = [...site.hub.localConnections.values()].at(-1) as Connection
    connection.send(Buffer.alloc(12 * MIB))
    client.socket.end()
    await eventually(() => connection.readyState === connection.CLOSING, 'closing')
    await connection.closed
    expect(site.hub.status().connections).to.equal(0)
  })

  it('are judged by data that ws has still to compress, too', async () => {
    const site = await limitSite({ perMessageDeflate: true, maxBufferedAmount: 64 * 1024 })
    const { connection, socket } = await site.socket()
    const text = 'x'.repeat(600_000)
    connection.send(text)
    expect((await socket.next()) as string).to.equal(text)
    expect(connection.readyState).to.equal(connection.OPEN)
    for (let i = 0; i < 4; i++) connection.send(text) // above 16 x 64 KiB before the third
    expect((await connection.closed).code).to.equal(4610)
    expect(site.drops('slowConsumer')).to.equal(1)
  })

  it("get no incomplete message in parts with 'drop'", async () => {
    const site = await limitSite({ slowConsumer: 'drop', maxBufferedAmount: 64 * 1024 })
    const { connection, socket } = await site.socket()
    socket.pause()
    connection.send(Buffer.alloc(16 * MIB))
    await eventually(() => connection.bufferedAmount > 2 * MIB, 'what waits')
    for (const fin of [false, false, true]) connection.send('part', { fin })
    expect(site.drops('dropped')).to.equal(3)
    socket.resume()
    expect(((await socket.next()) as Buffer).length).to.equal(16 * MIB)
    await eventually(() => connection.bufferedAmount === 0, 'all taken')
    connection.send('a new message')
    expect(await socket.next()).to.equal('a new message')
  })
})

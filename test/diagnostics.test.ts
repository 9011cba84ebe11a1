import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { createServer } from 'node:http'
import { expect } from 'chai'
import {
  accept,
  type CloseEvent,
  type Connection,
  type ConnectionEvent,
  type DropEvent,
  type KoaWsOptions,
  type MessageEvent,
  memoryAdapter,
  type PongEvent,
  type PublishedEvent,
  type RecoveryEvent,
  type ShutdownEvent,
  type UpgradeEvent,
} from '../lib/index.ts'
import { frame, handshake, type RawAnswer, rawClient, textFrame } from './support/raw.ts'
import { comeBack, recoverySite } from './support/recovery.ts'
import {
  acceptStatus,
  cleanUp,
  deferred,
  eventually,
  listen,
  makeApp,
  makeHub,
  openSocket,
  serve,
  turn,
} from './support/server.ts'

/** Removes the quotes of the path; a test of its own covers the exact form. */
const unquoted = (path: string): string => path.replace(/^"(.*)"$/, '$1')

interface Events {
  upgrade: UpgradeEvent
  connection: ConnectionEvent
  message: MessageEvent
  drop: DropEvent
  close: CloseEvent
}

const FIELDS = [
  'instance',
  'path',
  'method',
  'status',
  'code',
  'reason',
  'ip',
  'origin',
  'userAgent',
  'requestId',
  'duration',
]

type Name = keyof Events
const NAMES: Name[] = ['upgrade', 'connection', 'message', 'drop', 'close']

describe('the channels of node:diagnostics_channel', () => {
  let subscribed: [name: string, listener: (event: unknown) => void][] = []
  /** The connections of the present test: those of an earlier one may close late. */
  let present = new WeakSet<object>()
  const opened = (event: unknown): void => {
    present.add((event as ConnectionEvent).connection as object)
  }
  before(() => subscribe('koaws:connection', opened))
  after(() => unsubscribe('koaws:connection', opened))

  /** Records the events that are published from now on. */
  function record(...names: Name[]): { [K in Name]: Events[K][] } & { order: Name[] } {
    const events: Record<Name, unknown[]> = {
      upgrade: [],
      connection: [],
      message: [],
      drop: [],
      close: [],
    }
    const order: Name[] = []
    for (const name of names) {
      const listener = (event: unknown): void => {
        const { connection } = event as { connection?: object }
        if (connection && !present.has(connection)) return
        events[name].push(event)
        order.push(name)
      }
      subscribe(`koaws:${name}`, listener)
      subscribed.push([`koaws:${name}`, listener])
    }
    return { ...events, order } as { [K in Name]: Events[K][] } & { order: Name[] }
  }

  function stopRecording(): void {
    for (const [name, listener] of subscribed) unsubscribe(name, listener)
    subscribed = []
  }

  afterEach(async () => {
    stopRecording()
    await cleanUp()
    present = new WeakSet()
  })

  async function answerTo(port: number, path: string, headers = {}): Promise<RawAnswer> {
    const client = await rawClient(port)
    client.write(handshake(path, headers))
    const answer = await client.answer()
    if (answer.status !== 101) await client.end()
    return answer
  }

  /** The one upgrade event, without its duration. */
  async function onlyUpgrade(
    events: UpgradeEvent[],
  ): Promise<Pick<UpgradeEvent, 'path' | 'status' | 'code'>> {
    await eventually(() => events.length > 0, 'an event')
    await turn()
    await turn()
    const told = events.map(({ path, status, code }) => `${path} ${status} ${code}`)
    expect(told, `published: ${told.join(', ')}`).to.have.lengthOf(1)
    const [event] = events.splice(0) as [UpgradeEvent]
    expect(event).to.have.all.keys(FIELDS)
    const { duration, path, status, code } = event
    expect(duration).to.be.at.least(0)
    return { path: unquoted(path), status, code }
  }

  // The first upgrade of a server without `attach` takes another path through the listener.
  for (const attach of [true, false]) {
    describe(attach ? 'koaws:upgrade' : 'koaws:upgrade, for the first request of a server', () => {
      const made = (build: Parameters<typeof serve>[0], options: KoaWsOptions = {}) =>
        serve(build, { ...options, attach })

      it('publishes the client, the request id and the reason of a rejection, without credentials', async () => {
        const { port } = await made((app) => app.use((ctx) => ctx.throw(401, 'no session')), {
          origin: 'any',
        })
        const { upgrade } = record('upgrade')
        await answerTo(port, '/chat?token=secret', {
          Origin: 'https://example.com',
          'User-Agent': 'Test\t1',
          'X-Request-Id': 'r1',
        })
        await eventually(() => upgrade.length > 0, 'an event')
        expect(upgrade[0]).to.deep.include({
          path: '/chat',
          method: 'GET',
          status: 401,
          code: undefined,
          reason: 'no session',
          ip: '127.0.0.1',
          origin: 'https://example.com',
          userAgent: 'Test\\t1',
          requestId: 'r1',
        })
        expect(JSON.stringify(upgrade[0])).not.to.contain('secret')
      })

      it('publishes the reason and the code when koaws refuses before the chain runs', async () => {
        const { port } = await made((app) => app.use(accept(() => {})))
        const { upgrade } = record('upgrade')
        await answerTo(port, '/chat', { Origin: 'https://evil.example', 'X-Request-Id': 'r2' })
        await eventually(() => upgrade.length > 0, 'an event')
        expect(upgrade[0]).to.deep.include({
          status: 403,
          code: 'ERR_KOAWS_ORIGIN',
          origin: 'https://evil.example',
          ip: '127.0.0.1',
          requestId: 'r2',
        })
        expect(upgrade[0]?.reason).to.contain('is not allowed for host')
      })

      it('publishes an accept after the chain', async () => {
        const { port } = await made((app) => app.use(accept(() => {})))
        const { upgrade } = record('upgrade')
        await answerTo(port, '/after?token=secret')
        const expected = { path: '/after', status: acceptStatus(), code: undefined }
        expect(await onlyUpgrade(upgrade)).to.deep.equal(expected)
      })

      it('publishes an accept inside the chain, with its duration', async () => {
        const { port } = await made((app) =>
          app.use(async (ctx) => {
            await new Promise((resolve) => setTimeout(resolve, 60))
            await ctx.ws?.()
            ctx.status = 200
          }),
        )
        const { upgrade } = record('upgrade')
        await answerTo(port, '/inside')
        await eventually(() => upgrade.length > 0)
        expect(upgrade[0]?.duration).to.be.at.least(55)
        const expected = { path: '/inside', status: acceptStatus(), code: undefined }
        expect(await onlyUpgrade(upgrade)).to.deep.equal(expected)
      })

      it('publishes a rejection by the chain without a code', async () => {
        const { port } = await made((app) =>
          app.use((ctx) => {
            if (ctx.path === '/thrown') ctx.throw(403)
            if (ctx.path === '/set') ctx.status = 401
          }),
        )
        for (const [path, status] of [
          ['/set', 401],
          ['/thrown', 403],
          ['/none', 404],
        ] as const) {
          const { upgrade } = record('upgrade')
          expect((await answerTo(port, path)).status).to.equal(status)
          expect(await onlyUpgrade(upgrade)).to.deep.equal({ path, status, code: undefined })
          stopRecording()
        }
      })

      it('publishes a bad WebSocket version @http1', async () => {
        const { port } = await made((app) => app.use(accept(() => {})))
        const { upgrade, connection } = record('upgrade', 'connection')
        expect((await answerTo(port, '/', { 'Sec-WebSocket-Version': '8' })).status).to.equal(426)
        const expected = { path: '/', status: 426, code: 'ERR_KOAWS_VERSION' }
        expect(await onlyUpgrade(upgrade)).to.deep.equal(expected)
        expect(connection).to.deep.equal([])
      })

      it('publishes a foreign origin', async () => {
        const { port } = await made((app) => app.use(accept(() => {})))
        const { upgrade } = record('upgrade')
        const { status } = await answerTo(port, '/page', { Origin: 'https://evil.example' })
        expect(status).to.equal(403)
        const expected = { path: '/page', status: 403, code: 'ERR_KOAWS_ORIGIN' }
        expect(await onlyUpgrade(upgrade)).to.deep.equal(expected)
      })

      it('publishes a refusal at maxConnections', async () => {
        const { port } = await made((app) => app.use(accept(() => {})), { maxConnections: 1 })
        const { upgrade } = record('upgrade')
        await answerTo(port, '/first')
        const first = { path: '/first', status: acceptStatus(), code: undefined }
        expect(await onlyUpgrade(upgrade)).to.deep.equal(first)
        expect((await answerTo(port, '/second')).status).to.equal(503)
        const expected = { path: '/second', status: 503, code: 'ERR_KOAWS_TOO_MANY' }
        expect(await onlyUpgrade(upgrade)).to.deep.equal(expected)
      })

      it('publishes an upgrade that arrives during a shutdown', async () => {
        const { port, hub } = await made((app) => app.use(accept(() => {})))
        await hub.close()
        const { upgrade } = record('upgrade')
        expect((await answerTo(port, '/late')).status).to.equal(503)
        const expected = { path: '/late', status: 503, code: 'ERR_KOAWS_DRAINING' }
        expect(await onlyUpgrade(upgrade)).to.deep.equal(expected)
      })

      it('publishes an upgrade that is pending when a shutdown begins', async () => {
        const { port, hub } = await made((app) => app.use(() => new Promise(() => {})))
        const { upgrade } = record('upgrade')
        const answer = answerTo(port, '/waits')
        await eventually(() => hub.status().pending === 1)
        await hub.close()
        expect((await answer).status).to.equal(503)
        const expected = { path: '/waits', status: 503, code: 'ERR_KOAWS_DRAINING' }
        expect(await onlyUpgrade(upgrade)).to.deep.equal(expected)
      })

      it('publishes a chain that exceeds handshakeTimeout', async () => {
        const { port } = await made((app) => app.use(() => new Promise(() => {})), {
          handshakeTimeout: 150,
        })
        const { upgrade } = record('upgrade')
        expect((await answerTo(port, '/slow')).status).to.equal(503)
        expect(upgrade[0]?.duration).to.be.at.least(145)
        const expected = { path: '/slow', status: 503, code: 'ERR_KOAWS_DEADLINE' }
        expect(await onlyUpgrade(upgrade)).to.deep.equal(expected)
      })

      for (const reset of [true, false]) {
        it(`publishes a client that leaves by ${reset ? 'RST' : 'FIN'}`, async () => {
          const { port, hub } = await made((app) => app.use(() => new Promise(() => {})))
          const { upgrade } = record('upgrade')
          const client = await rawClient(port)
          client.write(handshake('/left'))
          await eventually(() => hub.status().pending === 1)
          if (reset) client.reset()
          else client.socket.end()
          const expected = { path: '/left', status: 0, code: 'ERR_KOAWS_CLIENT_GONE' }
          expect(await onlyUpgrade(upgrade)).to.deep.equal(expected)
        })
      }

      it('publishes a rejection by close code', async () => {
        const { port } = await made((app) => app.use((ctx) => void (ctx.status = 401)), {
          reject: 'close',
        })
        const { upgrade, connection } = record('upgrade', 'connection')
        const client = await rawClient(port)
        client.write(handshake('/closed'))
        await client.answer()
        expect(await client.closeCode()).to.equal(4401)
        const { path, code } = await onlyUpgrade(upgrade)
        expect([path, code]).to.deep.equal(['/closed', undefined])
        expect(connection, 'nobody was let in').to.deep.equal([])
      })

      it('publishes the path as the client sent it, without the query', async () => {
        const { port } = await made((app) => app.use(accept(() => {})))
        for (const [url, path] of [
          ['/room/1?access_token=secret', '/room/1'],
          ['/a%20%1bb', '/a%20%1bb'],
        ] as const) {
          const { upgrade } = record('upgrade')
          await answerTo(port, url)
          expect(upgrade.map((event) => event.path)).to.deep.equal([path])
          stopRecording()
        }
      })
    })
  }

  it('koaws:upgrade has one event for a foreign origin with two plugins', async () => {
    const other = makeHub()
    const { port } = await serve(
      (app) => {
        app.use(other)
        app.use(accept(() => {}))
      },
      { attach: true },
    )
    await answerTo(port, '/warm')
    const { upgrade } = record('upgrade')
    const { status } = await answerTo(port, '/page', { Origin: 'https://evil.example' })
    expect(status).to.equal(403)
    const expected = { path: '/page', status: 403, code: 'ERR_KOAWS_ORIGIN' }
    expect(await onlyUpgrade(upgrade)).to.deep.equal(expected)
  })

  for (const proxy of [true, false]) {
    it(`koaws:upgrade has the address of ${proxy ? 'the forwarded client behind' : 'the TCP connection without'} a proxy for a bad handshake with two plugins @http1`, async () => {
      const { app } = makeApp({ proxy })
      const hubs = [makeHub(), makeHub({ property: 'two' })]
      for (const hub of hubs) app.use(hub)
      app.use(accept(() => {}))
      const server = createServer(app.callback())
      for (const hub of hubs) hub.attach(server)
      const port = await listen(server)
      await (await fetch(`http://127.0.0.1:${port}/`)).text() // each plugin learns its app from this request
      const events = record('upgrade')
      const forwarded = { 'X-Forwarded-For': '203.0.113.7, 10.0.0.1' }
      await answerTo(port, '/', { ...forwarded, 'Sec-WebSocket-Version': '12' })
      await eventually(() => events.upgrade.length > 0, 'an event')
      const [{ status, ip }] = events.upgrade as [UpgradeEvent]
      expect([status, ip]).to.deep.equal([426, proxy ? '203.0.113.7' : '127.0.0.1'])
    })
  }

  it('koaws:connection precedes onConnect, and koaws:close follows the last listener', async () => {
    const order: string[] = []
    const made = deferred<Connection>()
    const { port } = await serve(
      (app) =>
        app.use(
          accept((connection) => {
            order.push('handler')
            connection.on('close', () => order.push('close listener'))
            made.resolve(connection)
          }),
        ),
      {
        onConnect: () => void order.push('onConnect'),
        onDisconnect: () => void order.push('onDisconnect'),
      },
    )
    const { connection: opened, close } = record('connection', 'close')
    const listener = (name: string) => () => void order.push(name)
    for (const name of ['koaws:connection', 'koaws:close']) {
      const told = listener(name)
      subscribe(name, told)
      subscribed.push([name, told])
    }
    const socket = await openSocket(port)
    const connection = await made.promise
    socket.close(4123, 'enough')
    await eventually(() => order.includes('onDisconnect'))
    expect(order).to.deep.equal([
      'koaws:connection',
      'onConnect',
      'handler',
      'close listener',
      'koaws:close',
      'onDisconnect',
    ])
    expect(opened).to.have.lengthOf(1)
    expect(opened[0]).to.have.all.keys('connection')
    expect(opened[0]?.connection).to.equal(connection)
    expect(close).to.have.lengthOf(1)
    expect(close[0]).to.have.all.keys('connection', 'code', 'reason', 'clean')
    expect(close[0]?.connection).to.equal(connection)
    expect([close[0]?.code, close[0]?.reason, close[0]?.clean]).to.deep.equal([
      4123,
      'enough',
      true,
    ])
  })

  it('koaws:close has the code, the reason and whether the close was clean', async () => {
    const { port, hub } = await serve((app) =>
      app.use(
        accept((_connection, ctx) => {
          if (ctx.path === '/throws') throw new Error('boom')
        }),
      ),
    )
    const { close } = record('close')
    const told = async (): Promise<unknown[]> => {
      await eventually(() => close.length > 0)
      expect(close).to.have.lengthOf(1)
      const [{ code, reason, clean }] = close.splice(0) as [CloseEvent]
      return [code, reason, clean]
    }
    const gone = await rawClient(port)
    gone.write(handshake('/'))
    await gone.answer()
    gone.reset()
    expect(await told()).to.deep.equal([1006, '', false])
    await openSocket(port, '/throws')
    expect(await told()).to.deep.equal([1011, 'Internal Server Error', true])
    const terminated = await openSocket(port)
    for (const connection of hub.localConnections.values()) connection.terminate()
    await terminated.closed
    expect(await told()).to.deep.equal([1006, '', false])
    const bad = await rawClient(port)
    bad.write(handshake('/'))
    await bad.answer()
    bad.write(frame(3, 'x'))
    const [code] = await told()
    expect(code).to.be.oneOf([1002, 1006])
    await openSocket(port)
    await hub.close()
    const [restart, reason, clean] = await told()
    expect([restart, clean]).to.deep.equal([1012, true])
    expect(reason).to.match(/^restart, retry in \d+ ms$/)
  })

  it('koaws:message has the size in bytes, and whether the message is binary', async () => {
    const { port } = await serve((app) =>
      app.use(
        accept((connection, ctx) => {
          const { type } = ctx.query
          if (type) connection.binaryType = type as 'fragments'
          connection.on('message', () => {})
        }),
      ),
    )
    for (const type of ['', 'arraybuffer', 'fragments']) {
      const { message, connection } = record('message', 'connection')
      const client = await rawClient(port)
      client.write(handshake(`/?type=${type}`))
      await client.answer()
      client.write(textFrame('é€'))
      client.write(frame(2, Buffer.alloc(70_000)))
      client.write(textFrame(''))
      client.write(Buffer.concat([frame(2, 'abc', false), frame(0, 'de', true)]))
      await eventually(() => message.length === 4, 'four messages')
      expect(message.map(({ size, binary }) => [size, binary])).to.deep.equal([
        [5, false],
        [70_000, true],
        [0, false],
        [5, true],
      ])
      for (const event of message) {
        expect(event).to.have.all.keys('connection', 'size', 'binary')
        expect(event.connection).to.equal(connection[0]?.connection)
        expect(event.data).to.not.equal(undefined)
      }
      stopRecording()
    }
  })

  it('koaws:message has messages without a listener, and koaws:drop counts them as unheard', async () => {
    const { port, hub } = await serve((app) => app.use(accept(() => turn())))
    const { message, drop, order } = record('message', 'drop')
    const client = await rawClient(port)
    client.write(Buffer.concat([Buffer.from(handshake('/')), textFrame('a'), textFrame('b')]))
    await client.answer()
    await eventually(() => drop.length > 0)
    const [connection] = hub.localConnections.values()
    expect(message.map(({ size }) => size)).to.deep.equal([1, 1])
    expect(drop.map(({ reason, count }) => [reason, count])).to.deep.equal([['unheard', 2]])
    expect(drop[0]?.connection).to.equal(connection)
    expect(order).to.deep.equal(['message', 'message', 'drop'])
    expect(hub.status().drops).to.deep.equal({ unheard: 2 })
  })

  it('koaws:drop has the reason, the count and the connection', async () => {
    const { port, hub } = await serve((app) => app.use(accept(() => {})), {
      attach: true,
      maxRooms: 2,
      flood: { messages: 10, per: 100, close: 100 },
      heartbeat: { interval: 800, timeout: 800 },
    })
    const { drop } = record('drop')
    const told = async (reason: string): Promise<DropEvent> => {
      await eventually(() => drop.some((event) => event.reason === reason), reason)
      const event = drop.find((one) => one.reason === reason) as DropEvent
      expect(event).to.have.all.keys('reason', 'count', 'connection', 'instance')
      return event
    }
    await answerTo(port, '/', { Origin: 'https://evil.example' })
    expect(await told('origin')).to.deep.equal({
      reason: 'origin',
      count: 1,
      connection: undefined,
      instance: hub.status().id,
    })
    await answerTo(port, '/', { 'Sec-WebSocket-Version': '8' })
    expect(await told('badHandshake')).to.deep.equal({
      reason: 'badHandshake',
      count: 1,
      connection: undefined,
      instance: hub.status().id,
    })
    await openSocket(port)
    await eventually(() => hub.localConnections.size === 1)
    const [connection] = hub.localConnections.values() as Iterable<Connection>
    expect(() => connection?.join('a', 'b', 'c')).to.throw(
      'would be in 3 rooms, and "maxRooms" allows 2',
    )
    expect((await told('maxRooms')).connection).to.equal(connection)
    connection?.close()
    await eventually(() => hub.localConnections.size === 0)

    const mute = await rawClient(port) // answers no ping
    mute.write(handshake('/'))
    await mute.answer()
    const [silent] = hub.localConnections.values()
    expect((await told('heartbeat')).connection).to.equal(silent)
    await mute.end()

    const flooder = await rawClient(port)
    flooder.write(handshake('/'))
    await flooder.answer()
    const [flooding] = hub.localConnections.values()
    const flood = setInterval(
      () => flooder.write(Buffer.concat(Array.from({ length: 50 }, () => textFrame('x')))),
      5,
    )
    expect((await told('flood')).connection).to.equal(flooding)
    expect((await told('floodClosed')).connection).to.equal(flooding)
    clearInterval(flood)

    // status() counts what the events say.
    const sums: Record<string, number> = {}
    for (const { reason, count } of drop) sums[reason] = (sums[reason] ?? 0) + count
    expect(hub.status().drops).to.deep.equal(sums)
  })

  it('koaws:drop has a slow consumer', async () => {
    const made: Connection[] = []
    const { port, hub } = await serve(
      (app) => app.use(accept((connection) => void made.push(connection))),
      {
        maxBufferedAmount: 64 * 1024,
      },
    )
    const { drop, close } = record('drop', 'close')
    const client = await rawClient(port)
    client.write(handshake('/'))
    await client.answer()
    client.socket.pause()
    const [connection] = made as [Connection]
    for (let i = 0; i < 40 && drop.length === 0; i++) {
      connection.send(Buffer.alloc(512 * 1024))
      await turn()
    }
    await eventually(() => drop.some(({ reason }) => reason === 'slowConsumer'), 'slowConsumer')
    expect(drop.find(({ reason }) => reason === 'slowConsumer')).to.deep.equal({
      reason: 'slowConsumer',
      count: 1,
      connection,
      instance: hub.status().id,
    })
    client.reset()
    await eventually(() => close.length === 1)
    expect([close[0]?.code, close[0]?.clean]).to.deep.equal([4610, false])
  })

  it('publish nothing to a listener that has unsubscribed, and still publish to others', async () => {
    const { port, hub } = await serve(
      (app) => app.use(accept((connection) => connection.on('message', () => {}))),
      { attach: true },
    )
    const left = record(...NAMES)
    const once = async (): Promise<void> => {
      const socket = await openSocket(port)
      socket.send('x')
      await answerTo(port, '/', { 'Sec-WebSocket-Version': '8' })
      socket.close(1000)
      await socket.closed
      await eventually(() => hub.localConnections.size === 0)
    }
    await once()
    stopRecording()
    const before = NAMES.map((name) => left[name].length)
    expect(before).to.deep.equal([2, 1, 1, 1, 1])
    const stayed = record('close')
    await once()
    expect(NAMES.map((name) => left[name].length)).to.deep.equal(before)
    expect(stayed.close).to.have.lengthOf(1)
  })
})

describe('the channels for metrics', () => {
  let subscribed: [name: string, listener: (event: unknown) => void][] = []
  afterEach(async () => {
    await cleanUp()
    for (const [name, listener] of subscribed) unsubscribe(name, listener)
    subscribed = []
  })

  function heard<Event>(name: string): Event[] {
    const events: Event[] = []
    const listener = (event: unknown): void => {
      events.push(event as Event)
    }
    subscribe(name, listener)
    subscribed.push([name, listener])
    return events
  }

  it('koaws:upgrade names the instance that decided', async () => {
    const { port, hub } = await serve((app) => app.use(accept(() => {})), { attach: true })
    const upgrades = heard<UpgradeEvent>('koaws:upgrade')
    await openSocket(port)
    const refused = await rawClient(port)
    refused.write(handshake('/refused', { Origin: 'https://evil.example' }))
    expect((await refused.answer()).status).to.equal(403)
    await refused.end()
    await eventually(() => upgrades.length === 2)
    const { id } = hub.status()
    expect(upgrades.map(({ instance, status }) => [instance, status])).to.deep.equal([
      [id, acceptStatus()],
      [id, 403],
    ])
  })

  it('koaws:pong has the round trip of each ping', async () => {
    const { port, hub } = await serve((app) => app.use(accept(() => {})))
    const pongs = heard<PongEvent>('koaws:pong')
    await openSocket(port)
    const [connection] = hub.localConnections.values()
    connection?.ping()
    await eventually(() => pongs.some((pong) => pong.connection === connection))
    expect(pongs.find((pong) => pong.connection === connection)?.rtt).to.equal(connection?.rtt)
  })

  it('koaws:recovery has the verdict on each client that returns', async () => {
    const { hub, port } = await recoverySite({ history: { rooms: 'chat:*', messages: 2 } })
    const recoveries = heard<RecoveryEvent>('koaws:recovery')
    const room = hub.room('chat:1')
    const since = await room.position()
    room.push('said', 1)
    const first = await comeBack(port, 'rooms=chat:1', { positions: { 'chat:1': since } })
    await first.rest()
    for (const n of [2, 3, 4]) room.push('said', n)
    const second = await comeBack(port, 'rooms=chat:1', { positions: { 'chat:1': since } })
    await second.rest()
    await (await comeBack(port, 'rooms=chat:1')).rest() // asks for nothing
    const told = recoveries.map(({ room: name, recovered, missed }) => [name, recovered, missed])
    expect(told).to.deep.equal([
      ['chat:1', true, 1],
      ['chat:1', false, null],
    ])
    expect(recoveries[1]?.reason).to.be.a('string')
  })

  it('koaws:published has what the engine has taken', async () => {
    const { hub } = await serve(() => {}, { adapter: memoryAdapter() })
    const published = heard<PublishedEvent>('koaws:published')
    await eventually(() => hub.status().backplane.state === 'ready')
    for (let i = 0; i < 3; i++) hub.room('lobby').send('x')
    const mine = (): PublishedEvent[] =>
      published.filter(({ instance }) => instance === hub.status().id)
    await eventually(() => mine().length === 1)
    expect(mine()[0]).to.include({ orders: 3 })
    expect(mine()[0]?.size).to.be.above(3)
    expect(mine()[0]?.duration).to.be.at.least(0)
  })

  it('koaws:shutdown has each stage with the open connections', async () => {
    const { port, hub } = await serve((app) => app.use(accept(() => {})), { closeTimeout: 60_000 })
    const stages = heard<ShutdownEvent>('koaws:shutdown')
    const deaf = await rawClient(port)
    deaf.write(handshake('/'))
    await deaf.answer()
    await hub.close({ timeout: 150 })
    const mine = stages.filter(({ instance }) => instance === hub.status().id)
    expect(mine.map(({ stage, connections }) => [stage, connections])).to.deep.equal([
      ['delay', 1],
      ['refuse', 1],
      ['close', 1],
      ['terminate', 1],
      ['end', 0],
    ])
    await deaf.end()
  })
})

import { expect } from 'chai'
import { accept, type Connection } from '../../lib/index.ts'
import { cleanUpHttp2, connectHttp2, openOver, serveHttp2 } from '../http2/support/site.ts'
import {
  block,
  ClientThread,
  KIB,
  LibTimers,
  limitSite,
  MIB,
  pass,
  settles,
  stuff,
  throttle,
  until,
} from '../support/limits.ts'
import {
  closeFrame,
  frame,
  handshake,
  type RawClient,
  rawClient,
  textFrame,
} from '../support/raw.ts'
import { cleanUp, eventually } from '../support/server.ts'

describe('the heartbeat', () => {
  afterEach(async () => {
    await cleanUpHttp2()
    await cleanUp()
  })

  const BEAT = { interval: 400, timeout: 200 }
  const PONG = frame(10, '')
  /** Milliseconds that a busy machine may add. */
  const ALLOWANCE = 250
  const LATEST = (BEAT.interval + BEAT.timeout) * 1.1 + ALLOWANCE

  /** Counts the pings that a raw client gets. */
  function pingsOf(client: RawClient): { count: number } {
    const pings = { count: 0 }
    client.socket.on('data', (chunk: Buffer) => {
      for (let i = 0; i + 1 < chunk.length; i++) {
        if (chunk[i] !== 0x89 || chunk[i + 1] !== 0) continue
        pings.count++
      }
    })
    return pings
  }

  it('keeps clients that answer pings, as ws does by itself', async () => {
    const site = await limitSite({ heartbeat: BEAT })
    const { socket, connection } = await site.socket()
    let pings = 0
    socket.on('ping', () => pings++)
    await until(() => pings === 4, 'the pings')
    await pass(BEAT.timeout + 100)
    expect(connection.readyState).to.equal(1)
    expect(site.drops('heartbeat')).to.equal(0)
  })

  it('spreads its pings over the interval', async () => {
    const site = await limitSite({ heartbeat: { interval: 1_000, timeout: 1_000 } })
    const sockets = await Promise.all(Array.from({ length: 50 }, () => site.socket('/')))
    const times: number[] = []
    for (const { socket } of sockets) socket.on('ping', () => times.push(performance.now()))
    // A busy machine delays and bunches pings, so the test takes the rate per elapsed
    // millisecond.
    let most = 0
    let [before, looked] = [0, performance.now()]
    while (times.length < 100) {
      await pass(1)
      const now = performance.now()
      most = Math.max(most, (times.length - before) / (now - looked + 50))
      ;[before, looked] = [times.length, now]
    }
    // The rate of 50 pings in 1,000 ms is 0.05; of all 50 at once it is about 1.
    expect(most).to.be.below(0.8)
  })

  it('pings the WebSockets of an HTTP/2 session together', async () => {
    const heartbeat = { interval: 1_000, timeout: 1_000 }
    const site = await serveHttp2((app) => app.use(accept(() => {})), { heartbeat, plain: true })
    const session = await connectHttp2(site)
    let [pings, turns] = [0, 0]
    let isCounted = false
    for (let i = 0; i < 20; i++) {
      const socket = await openOver(session)
      socket.on('ping', () => {
        pings++
        if (isCounted) return
        isCounted = true
        turns++
        setImmediate(() => {
          isCounted = false
        })
      })
    }
    await until(() => pings === 40, 'the pings')
    expect(turns).to.be.below(10)
  })

  it('keeps a client that sends messages but never answers pings', async () => {
    const site = await limitSite({ heartbeat: BEAT })
    const { client, connection } = await site.raw()
    const pings = pingsOf(client)
    const timer = setInterval(() => client.write(textFrame('x')), 50)
    try {
      await pass(3 * (BEAT.interval + BEAT.timeout))
      expect(connection.readyState).to.equal(1)
      await until(() => pings.count >= 3, 'the pings')
    } finally {
      clearInterval(timer)
    }
    const took = await until(() => connection.readyState === 3, 'the verdict')
    expect(took).to.be.above(BEAT.timeout - 60)
    expect(site.drops('heartbeat')).to.equal(1)
  })

  it('keeps a client that sends the bytes of one unfinished message', async () => {
    const site = await limitSite({ heartbeat: BEAT })
    const { client, connection } = await site.raw()
    const message = frame(2, Buffer.alloc(512 * KIB))
    let at = 0
    const timer = setInterval(() => client.write(message.subarray(at, (at += 100))), 50)
    try {
      await pass(3 * (BEAT.interval + BEAT.timeout))
      expect(connection.readyState).to.equal(1)
    } finally {
      clearInterval(timer)
    }
    await until(() => connection.readyState === 3, 'the verdict')
    expect(site.drops('heartbeat')).to.equal(1)
  })

  for (const reads of [true, false]) {
    it(`ends clients that ${reads ? 'read but never' : 'neither read nor'} answer, with 4408 and not before the timeout`, async () => {
      const site = await limitSite({ heartbeat: BEAT })
      const healthy = await Promise.all(Array.from({ length: 10 }, () => site.socket('/')))
      const dead = new Map<Connection, { began: number; pings: ReturnType<typeof pingsOf> }>()
      const waits: Promise<void>[] = []
      for (let i = 0; i < 30; i++) {
        const { client, connection } = await site.raw()
        const one = { began: performance.now(), pings: pingsOf(client) }
        dead.set(connection, one)
        if (!reads) client.socket.pause()
        waits.push(
          connection.closed.then((info) => {
            const took = performance.now() - one.began
            expect(info).to.deep.equal({ code: 4408, reason: 'heartbeat missed', clean: false })
            expect(took).to.be.at.least(BEAT.timeout - 20)
            if (!reads) return
            expect(one.pings.count).to.be.at.most(1)
          }),
        )
      }
      await settles(Promise.all(waits), 'all verdicts')
      expect(site.drops('heartbeat')).to.equal(30)
      await pass(BEAT.interval)
      expect(site.drops('heartbeat')).to.equal(30)
      for (const { socket, connection } of healthy) {
        expect(connection.readyState).to.equal(1)
        expect(socket.readyState).to.equal(1)
      }
      expect(site.hub.localConnections.size).to.equal(10)
    })
  }

  it('follows the option of the route, and never pings with heartbeat: false', async () => {
    const site = await limitSite({ heartbeat: BEAT }, () => {}, {
      '/never': { heartbeat: false },
      '/rarely': { heartbeat: { interval: 60_000 } },
    })
    const made = {
      never: await site.raw('/never'),
      rarely: await site.raw('/rarely'),
      plain: await site.raw('/'),
    }
    const pings = pingsOf(made.never.client)
    await until(() => made.plain.connection.readyState === 3, 'the verdict')
    await pass(BEAT.interval + BEAT.timeout)
    expect(pings.count).to.equal(0)
    expect(made.never.connection.readyState).to.equal(1)
    expect(made.rarely.connection.readyState).to.equal(1)
    expect(site.drops('heartbeat')).to.equal(1)

    const other = await limitSite({ heartbeat: false }, () => {}, { '/beat': { heartbeat: BEAT } })
    const silent = await other.raw('/')
    const beat = await other.raw('/beat')
    await until(() => beat.connection.readyState === 3, 'the verdict')
    expect(silent.connection.readyState).to.equal(1)
    expect(other.drops('heartbeat')).to.equal(1)
  })

  describe('when the event loop is blocked', () => {
    const RULES = { heartbeat: { interval: 300, timeout: 200 } }
    let thread: ClientThread | undefined
    afterEach(async () => {
      await thread?.end()
      thread = undefined
    })

    /**
     * Runs a scenario, and again when it fails while the thread of the clients did not run for a
     * quarter of the timeout: on a busy machine their pongs are late.
     */
    async function judged(timeout: number, scenario: () => Promise<void>): Promise<void> {
      for (let attempt = 1; ; attempt++) {
        try {
          return await scenario()
        } catch (error) {
          const { stall = 0 } = (await thread?.report()) ?? {}
          if (attempt === 3 || stall < timeout / 4) throw error
          await thread?.end()
          await cleanUp()
        }
      }
    }

    async function alive(site: Awaited<ReturnType<typeof limitSite>>, count: number) {
      expect(site.drops('heartbeat')).to.equal(0)
      expect(site.hub.localConnections.size).to.equal(count)
      const { closed, pings } = await (thread as ClientThread).report()
      expect(closed).to.deep.equal([])
      expect(pings).to.be.above(count)
    }

    it('keeps healthy connections, and still closes dead ones', () =>
      judged(RULES.heartbeat.timeout, async () => {
        const site = await limitSite(RULES)
        thread = await ClientThread.open(site.port, 50)
        await until(() => site.hub.localConnections.size === 50, 'all')
        for (let i = 0; i < 3; i++) {
          await pass(137)
          block(1_500)
          await pass(700)
        }
        await alive(site, 50)
        const { connection } = await site.raw()
        await pass(50)
        block(1_500)
        expect(await settles(connection.closed, 'the dead')).to.include({ code: 4408 })
        expect(site.drops('heartbeat')).to.equal(1)
      }))

    it('keeps healthy connections in a backlog of timers that leaves sockets no turn', () =>
      judged(RULES.heartbeat.timeout, async () => {
        const site = await limitSite(RULES)
        thread = await ClientThread.open(site.port, 50)
        await until(() => site.hub.localConnections.size === 50, 'all')
        for (let round = 0; round < 3; round++) {
          await pass(400)
          // Each timer is due once the previous one and the timer of the heartbeat have run.
          for (let i = 1; i <= 40; i++) setTimeout(block, 380 + i * 20, 20)
          block(400)
          await pass(1_500)
        }
        await alive(site, 50)
      }))

    it('for nearly the timeout at a time, gives clients their whole timeout to answer @http1', () =>
      judged(500, async () => {
        const site = await limitSite({ heartbeat: { interval: 1_500, timeout: 500 } })
        thread = await ClientThread.open(site.port, 50, 100) // pongs take 100 of the 500 ms
        await until(() => site.hub.localConnections.size === 50, 'all')
        for (let i = 0; i < 8; i++) {
          block(475)
          await pass(500 + i * 65)
        }
        await pass(1_500)
        await alive(site, 50)
      }))

    it('(slow) keeps healthy connections after 15 seconds', async function () {
      this.slow(60_000)
      await judged(500, async () => {
        const site = await limitSite({ heartbeat: { interval: 1_000, timeout: 500 } })
        thread = await ClientThread.open(site.port, 200)
        await until(() => site.hub.localConnections.size === 200, 'all')
        await pass(1_300)
        block(15_000)
        await pass(2_500)
        await alive(site, 200)
      })
    })
  })

  it('pings once in each interval when the timeout equals the interval', async () => {
    const interval = 200
    const site = await limitSite({ heartbeat: { interval, timeout: interval } }, () => {}, {
      '/short': { heartbeat: { interval, timeout: 100 } },
    })
    const began = performance.now()
    const pingsAt = async (path: string): Promise<() => number> => {
      const { socket } = await site.socket(path)
      let count = 0
      socket.on('ping', () => count++)
      return () => count
    }
    const short = await pingsAt('/short')
    const pings = await Promise.all(Array.from({ length: 10 }, () => pingsAt('/')))
    await until(() => short() >= 10, 'the pings of a short timeout')
    const intervals = (performance.now() - began) / interval
    for (const count of pings) expect(count()).to.be.within(short() * 0.7, intervals + 1)
    expect(site.drops('heartbeat')).to.equal(0)
  })

  it('keeps a client while the end of a large send is in transit', async () => {
    const site = await limitSite({ heartbeat: { interval: 1_500, timeout: 200 } })
    const { socket, connection } = await site.socket()
    const end = throttle(socket, MIB)
    connection.send(Buffer.alloc(16 * MIB))
    const message = (await settles(socket.next(), 'the message')) as Buffer
    end()
    expect(message.length).to.equal(16 * MIB)
    await pass(500)
    expect(connection.readyState).to.equal(1)
    expect(site.drops('heartbeat')).to.equal(0)
  })

  it('keeps a slow reader during a large send', async () => {
    const site = await limitSite({ heartbeat: { interval: 1_500, timeout: 1_500 } })
    const { socket, connection } = await site.socket()
    const end = throttle(socket, 384 * KIB)
    const began = performance.now()
    connection.send(Buffer.alloc(16 * MIB))
    const message = (await settles(socket.next(), 'the message')) as Buffer
    end()
    expect(message.length).to.equal(16 * MIB)
    expect(performance.now() - began).to.be.above(3_000)
    await pass(1_000)
    expect(connection.readyState).to.equal(1)
    expect(site.drops('heartbeat')).to.equal(0)
  })

  it('does not time out a client while its connection is paused', async () => {
    const site = await limitSite({ heartbeat: BEAT })
    const { connection } = await site.raw()
    connection.pause()
    await pass(2 * LATEST)
    expect(connection.readyState).to.equal(1)
    expect(site.drops('heartbeat')).to.equal(0)
    connection.resume()
    const took = await until(() => connection.readyState === 3, 'the verdict')
    void took
    expect(await connection.closed).to.include({ code: 4408, clean: false })
  })

  it('does not time out a client that is held back by a flood', async () => {
    const site = await limitSite(
      { heartbeat: BEAT, flood: { messages: 100, per: 2_500 } },
      (one) => {
        one.on('message', () => {})
      },
    )
    const { client, connection } = await site.raw()
    client.write(Buffer.concat(Array.from({ length: 150 }, () => textFrame('x'))))
    await until(() => connection.isPaused, 'the pause')
    await pass(2 * (BEAT.interval + BEAT.timeout))
    expect(connection.readyState).to.equal(1)
    await until(() => connection.readyState === 3, 'the verdict after it')
    expect(site.drops('heartbeat')).to.equal(1)
  })

  it('closes a dead client although its unsent data are below maxBufferedAmount', async () => {
    const site = await limitSite({ heartbeat: { interval: 800, timeout: 600 } })
    const began = performance.now()
    const { client, connection } = await site.raw()
    client.socket.pause()
    await stuff(connection)
    expect(connection.bufferedAmount).to.be.within(1, MIB)
    await until(() => connection.readyState === 3, 'the verdict')
    expect(performance.now() - began, 'a whole timeout').to.be.at.least(580)
    expect(await connection.closed).to.deep.equal({
      code: 4408,
      reason: 'heartbeat missed',
      clean: false,
    })
    expect(site.drops('heartbeat')).to.equal(1)
    expect(site.drops('slowConsumer')).to.equal(0)
  })

  it('keeps a client that reads nothing but still sends', async () => {
    const site = await limitSite({ heartbeat: BEAT })
    const { client, connection } = await site.raw()
    client.socket.pause()
    const timer = setInterval(() => client.write(textFrame('x')), 50)
    try {
      await stuff(connection)
      await pass(2_000)
      expect(connection.readyState).to.equal(1)
      expect(site.drops('heartbeat')).to.equal(0)
    } finally {
      clearInterval(timer)
    }
  })

  it('measures the round trip as connection.rtt', async () => {
    const site = await limitSite({ heartbeat: BEAT })
    const began = performance.now()
    const { client, connection } = await site.raw()
    expect(connection.rtt).to.equal(undefined)
    const { opcode, payload } = await client.frame()
    expect([opcode, payload.length]).to.deep.equal([9, 0])
    await pass(50)
    expect(connection.rtt).to.equal(undefined)
    client.write(PONG)
    await eventually(() => connection.rtt !== undefined, 'rtt')
    expect(connection.rtt).to.be.within(45, performance.now() - began)
  })

  it('does not interfere with connection.ping()', async () => {
    const site = await limitSite({ heartbeat: BEAT })
    const { socket, connection } = await site.socket()
    const pings: string[] = []
    const pongs: string[] = []
    socket.on('ping', (data) => pings.push(String(data)))
    connection.on('pong', (data) => pongs.push(String(data)))
    const began = performance.now()
    for (let i = 0; i < 8; i++) {
      connection.ping(`mine ${i}`)
      await pass(200)
    }
    const mine = Array.from({ length: 8 }, (_, i) => `mine ${i}`)
    await until(() => pongs.includes('mine 7'), 'the last pong')
    await until(() => pings.filter((one) => one === '').length >= 3, 'pings of the heartbeat')
    expect(pings.filter((one) => one !== '')).to.deep.equal(mine)
    expect(pongs.filter((one) => one !== '')).to.deep.equal(mine)
    expect(connection.rtt).to.be.within(0.001, performance.now() - began)
    expect(site.drops('heartbeat')).to.equal(0)

    const quiet = await limitSite({ heartbeat: false })
    const other = await quiet.socket()
    other.connection.ping('x')
    await eventually(() => other.connection.rtt !== undefined, 'rtt without a heartbeat')
  })

  it('leaves alone connections that close between ping and timeout', async () => {
    const site = await limitSite({ heartbeat: BEAT, closeTimeout: 5_000 })
    const ways: Record<string, (client: RawClient, connection: Connection) => void> = {
      '1000 true': (client) => client.write(closeFrame(1000)),
      '1006 false': (client) => client.reset(),
      '4000 false': (client, connection) => {
        connection.close(4000) // the client does not answer: closeTimeout applies, not the heartbeat
        setTimeout(() => client.reset(), 2 * (BEAT.interval + BEAT.timeout))
      },
    }
    await Promise.all(
      Object.entries(ways).map(async ([verdict, leave]) => {
        const client = await rawClient(site.port)
        client.write(handshake(`/${verdict.slice(0, 4)}`))
        await client.answer()
        expect((await client.frame()).opcode).to.equal(9)
        const connection = [...site.hub.localConnections.values()].find(
          (one) => one.path === `/${verdict.slice(0, 4)}`,
        ) as Connection
        leave(client, connection)
        const { code, clean } = await settles(connection.closed, verdict)
        expect(`${code} ${clean}`).to.equal(verdict)
      }),
    )
    expect(site.drops('heartbeat')).to.equal(0)
  })

  it('has one timer for 1,000 connections, and no timer after the last', async () => {
    const timers = new LibTimers()
    try {
      const site = await limitSite({ heartbeat: { interval: 60_000, timeout: 60_000 } })
      expect(timers.of('hub/heartbeat')).to.equal(0)
      const clients: RawClient[] = []
      for (let i = 0; i < 10; i++) {
        const some = await Promise.all(
          Array.from({ length: 100 }, async () => {
            const client = await rawClient(site.port)
            client.write(handshake('/'))
            await client.answer()
            return client
          }),
        )
        clients.push(...some)
      }
      await until(() => site.hub.localConnections.size === 1_000, 'all')
      expect(timers.of('hub/heartbeat')).to.equal(1)
      const last = clients.pop() as RawClient
      for (const client of clients) client.reset()
      await until(() => site.hub.localConnections.size === 1, 'their end')
      await pass(20)
      expect(timers.of('hub/heartbeat')).to.equal(1)
      last.reset()
      await until(() => site.hub.localConnections.size === 0, 'the end')
      await until(() => timers.of('hub/heartbeat') === 0, 'the end of the timer')
      await site.raw()
      expect(timers.of('hub/heartbeat'), 'and again').to.equal(1)
    } finally {
      timers.stop()
    }
  })
})

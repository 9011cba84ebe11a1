import { expect } from 'chai'
import type { Connection } from '../../lib/index.ts'
import {
  block,
  ClientThread,
  inTime,
  KIB,
  LibTimers,
  limitSite,
  MIB,
  pass,
  stuff,
  throttle,
  within,
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

describe('the heartbeat', function () {
  this.timeout(30_000)
  afterEach(cleanUp)

  const BEAT = { interval: 400, timeout: 200 }
  const PONG = frame(10, '')
  /** For a machine with other work to do. */
  const ALLOWANCE = 250
  const LATEST = (BEAT.interval + BEAT.timeout) * 1.1 + ALLOWANCE

  /** Count the pings that a raw client gets. */
  function pingsOf(client: RawClient): { count: number; at: number[] } {
    const pings = { count: 0, at: [] as number[] }
    client.socket.on('data', (chunk: Buffer) => {
      for (let i = 0; i + 1 < chunk.length; i++) {
        if (chunk[i] !== 0x89 || chunk[i + 1] !== 0) continue
        pings.count++
        pings.at.push(performance.now())
      }
    })
    return pings
  }

  it('lets clients live that answer, which ws does by itself', async () => {
    const site = await limitSite({ heartbeat: BEAT })
    const { socket, connection } = await site.socket()
    let pings = 0
    socket.on('ping', () => pings++)
    await pass(4 * BEAT.interval + 200)
    expect(connection.readyState).to.equal(1)
    expect(pings).to.be.within(3, 5)
    expect(site.drops('heartbeat')).to.equal(0)
  })

  it('spreads its pings over the interval', async () => {
    const site = await limitSite({ heartbeat: { interval: 1_000, timeout: 1_000 } })
    const sockets = await Promise.all(Array.from({ length: 50 }, () => site.socket('/')))
    const times: number[] = []
    for (const { socket } of sockets) socket.on('ping', () => times.push(performance.now()))
    // By the turn of the loop, since a loaded machine may stretch and bunch them.
    let most = 0
    let before = 0
    const end = performance.now() + 1_100
    while (performance.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, 1))
      most = Math.max(most, times.length - before)
      before = times.length
    }
    expect(times.length).to.be.at.least(50)
    expect(times.length).to.be.at.most(110)
    expect(most, 'at once').to.be.at.most(20)
    const tenths = new Set(times.map((time) => Math.floor(time / 20)))
    expect(tenths.size, 'in so many pieces of 20 ms').to.be.at.least(8)
  })

  it('takes any message for life: a client that never answers pings', async () => {
    const site = await limitSite({ heartbeat: BEAT })
    const { client, connection } = await site.raw()
    const pings = pingsOf(client)
    const timer = setInterval(() => client.write(textFrame('x')), 50)
    try {
      await pass(3 * (BEAT.interval + BEAT.timeout))
      expect(connection.readyState).to.equal(1)
      expect(pings.count).to.be.at.least(3)
    } finally {
      clearInterval(timer)
    }
    const took = await within(LATEST + 100, () => connection.readyState === 3, 'the verdict')
    expect(took).to.be.above(BEAT.timeout - 60)
    expect(site.drops('heartbeat')).to.equal(1)
  })

  it('takes the bytes of one unfinished message for life', async () => {
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
    await within(LATEST + 100, () => connection.readyState === 3, 'the verdict')
    expect(site.drops('heartbeat')).to.equal(1)
  })

  for (const reads of [true, false]) {
    it(`finds peers that ${reads ? 'read but never' : 'neither read nor'} answer, in time and not too soon`, async () => {
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
            expect(took).to.be.within(BEAT.timeout - 20, LATEST)
            if (!reads) return
            expect(one.pings.count).to.equal(1)
            const sincePing = performance.now() - (one.pings.at[0] as number)
            expect(sincePing, 'since the ping').to.be.above(BEAT.timeout - 25)
          }),
        )
      }
      await inTime(5_000, Promise.all(waits), 'all verdicts')
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

  it('does what the route says, and never pings where it is false', async () => {
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
    await within(LATEST, () => made.plain.connection.readyState === 3, 'the verdict')
    await pass(BEAT.interval + BEAT.timeout)
    expect(pings.count).to.equal(0)
    expect(made.never.connection.readyState).to.equal(1)
    expect(made.rarely.connection.readyState).to.equal(1)
    expect(site.drops('heartbeat')).to.equal(1)

    const other = await limitSite({ heartbeat: false }, () => {}, { '/beat': { heartbeat: BEAT } })
    const silent = await other.raw('/')
    const beat = await other.raw('/beat')
    await within(LATEST, () => beat.connection.readyState === 3, 'the verdict')
    expect(silent.connection.readyState).to.equal(1)
    expect(other.drops('heartbeat')).to.equal(1)
  })

  describe('when this process hangs', () => {
    const RULES = { heartbeat: { interval: 300, timeout: 200 } }
    let thread: ClientThread | undefined
    afterEach(async () => {
      await thread?.end()
      thread = undefined
    })

    async function alive(site: Awaited<ReturnType<typeof limitSite>>, count: number) {
      expect(site.drops('heartbeat')).to.equal(0)
      expect(site.hub.localConnections.size).to.equal(count)
      const { closed, pings } = await (thread as ClientThread).report()
      expect(closed).to.deep.equal([])
      expect(pings).to.be.above(count)
    }

    it('ends no healthy connection, and still finds the dead', async () => {
      const site = await limitSite(RULES)
      thread = await ClientThread.open(site.port, 50)
      await within(5_000, () => site.hub.localConnections.size === 50, 'all')
      for (let i = 0; i < 3; i++) {
        await pass(137)
        block(1_500)
        await pass(700)
      }
      await alive(site, 50)
      const { connection } = await site.raw()
      await pass(50)
      block(1_500)
      expect(await inTime(2_000, connection.closed, 'the dead')).to.include({ code: 4408 })
      expect(site.drops('heartbeat')).to.equal(1)
    })

    it('in a backlog of timers, between which no socket gets a turn', async () => {
      const site = await limitSite(RULES)
      thread = await ClientThread.open(site.port, 50)
      await within(5_000, () => site.hub.localConnections.size === 50, 'all')
      for (let round = 0; round < 3; round++) {
        await pass(400)
        // Each is due when the one before it and the heartbeat's own timer have run.
        for (let i = 1; i <= 40; i++) setTimeout(block, 380 + i * 20, 20)
        block(400)
        await pass(1_500)
      }
      await alive(site, 50)
    })

    it('for 95 ms at a time: clients have their whole timeout to answer @http1', async () => {
      const site = await limitSite({ heartbeat: { interval: 300, timeout: 100 } })
      thread = await ClientThread.open(site.port, 50, 30) // pongs take 30 of the 100 ms
      await within(5_000, () => site.hub.localConnections.size === 50, 'all')
      for (let i = 0; i < 15; i++) {
        block(95)
        await pass(100 + i * 7)
      }
      await pass(300)
      await alive(site, 50)
    })

    it('(slow) for 15 seconds: ends no healthy connection', async function () {
      this.timeout(60_000).slow(60_000)
      const site = await limitSite({ heartbeat: { interval: 1_000, timeout: 500 } })
      thread = await ClientThread.open(site.port, 200)
      await within(5_000, () => site.hub.localConnections.size === 200, 'all')
      await pass(1_300)
      block(15_000)
      await pass(2_500)
      await alive(site, 200)
    })
  })

  it('pings once in each interval, also when the timeout is as long', async () => {
    const site = await limitSite({ heartbeat: { interval: 200, timeout: 200 } })
    const pings = await Promise.all(
      Array.from({ length: 10 }, async () => {
        const { socket } = await site.socket()
        let count = 0
        socket.on('ping', () => count++)
        return () => count
      }),
    )
    await pass(2_000)
    for (const count of pings) expect(count()).to.be.within(8, 11)
    expect(site.drops('heartbeat')).to.equal(0)
  })

  it('does not take it for death that the end of a large send is still on its way', async () => {
    const site = await limitSite({ heartbeat: { interval: 1_500, timeout: 200 } })
    const { socket, connection } = await site.socket()
    const end = throttle(socket, MIB)
    connection.send(Buffer.alloc(16 * MIB))
    const message = (await inTime(25_000, socket.next(), 'the message')) as Buffer
    end()
    expect(message.length).to.equal(16 * MIB)
    await pass(500)
    expect(connection.readyState).to.equal(1)
    expect(site.drops('heartbeat')).to.equal(0)
  })

  it('does not take a large send to a slow reader for death', async () => {
    const site = await limitSite({ heartbeat: { interval: 1_500, timeout: 1_500 } })
    const { socket, connection } = await site.socket()
    const end = throttle(socket, 384 * KIB)
    const began = performance.now()
    connection.send(Buffer.alloc(16 * MIB))
    const message = (await inTime(25_000, socket.next(), 'the message')) as Buffer
    end()
    expect(message.length).to.equal(16 * MIB)
    expect(performance.now() - began).to.be.above(3_000)
    await pass(1_000)
    expect(connection.readyState).to.equal(1)
    expect(site.drops('heartbeat')).to.equal(0)
  })

  it('does not judge a client that we do not read from, until we do', async () => {
    const site = await limitSite({ heartbeat: BEAT })
    const { connection } = await site.raw()
    connection.pause()
    await pass(2 * LATEST)
    expect(connection.readyState).to.equal(1)
    expect(site.drops('heartbeat')).to.equal(0)
    connection.resume()
    const took = await within(LATEST, () => connection.readyState === 3, 'the verdict')
    void took
    expect(await connection.closed).to.include({ code: 4408, clean: false })
  })

  it('does not judge a client that is held back by a flood', async () => {
    const site = await limitSite(
      { heartbeat: BEAT, flood: { messages: 100, per: 2_500 } },
      (one) => {
        one.on('message', () => {})
      },
    )
    const { client, connection } = await site.raw()
    client.write(Buffer.concat(Array.from({ length: 150 }, () => textFrame('x'))))
    await within(2_000, () => connection.isPaused, 'the pause')
    await pass(2 * (BEAT.interval + BEAT.timeout))
    expect(connection.readyState).to.equal(1)
    await within(4_000, () => connection.readyState === 3, 'the verdict after it')
    expect(site.drops('heartbeat')).to.equal(1)
  })

  it('finds a dead peer that data waits for, less than makes it a slow consumer', async () => {
    const site = await limitSite({ heartbeat: { interval: 800, timeout: 600 } })
    const { client, connection } = await site.raw()
    client.socket.pause()
    await stuff(connection) // 250 ms of taking nothing
    expect(connection.bufferedAmount).to.be.within(1, MIB)
    const took = await within(6_000, () => connection.readyState === 3, 'the verdict')
    expect(took).to.be.within(200, 800 + 2 * 600 + 300 + ALLOWANCE)
    expect(await connection.closed).to.deep.equal({
      code: 4408,
      reason: 'heartbeat missed',
      clean: false,
    })
    expect(site.drops('heartbeat')).to.equal(1)
    expect(site.drops('slowConsumer')).to.equal(0)
  })

  it('lets a client live that takes nothing, and still sends', async () => {
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

  it('measures the round trip', async () => {
    const site = await limitSite({ heartbeat: BEAT })
    const { client, connection } = await site.raw()
    expect(connection.rtt).to.equal(undefined)
    const { opcode, payload } = await client.frame()
    expect([opcode, payload.length]).to.deep.equal([9, 0])
    await pass(50)
    expect(connection.rtt).to.equal(undefined)
    client.write(PONG)
    await eventually(() => connection.rtt !== undefined, 'rtt')
    expect(connection.rtt).to.be.within(45, 1_000)
  })

  it('and ping() of the user work side by side', async () => {
    const site = await limitSite({ heartbeat: BEAT })
    const { socket, connection } = await site.socket()
    const pings: string[] = []
    const pongs: string[] = []
    socket.on('ping', (data) => pings.push(String(data)))
    connection.on('pong', (data) => pongs.push(String(data)))
    for (let i = 0; i < 8; i++) {
      connection.ping(`mine ${i}`)
      await pass(200)
    }
    const mine = Array.from({ length: 8 }, (_, i) => `mine ${i}`)
    expect(pings.filter((one) => one !== '')).to.deep.equal(mine)
    expect(pongs.filter((one) => one !== '')).to.deep.equal(mine)
    expect(pings.filter((one) => one === '').length).to.be.at.least(3)
    expect(connection.rtt).to.be.within(0.001, 1_000)
    expect(site.drops('heartbeat')).to.equal(0)

    const quiet = await limitSite({ heartbeat: false })
    const other = await quiet.socket()
    other.connection.ping('x')
    await eventually(() => other.connection.rtt !== undefined, 'rtt without a heartbeat')
  })

  it('does not touch connections that have closed between ping and verdict', async () => {
    const site = await limitSite({ heartbeat: BEAT, closeTimeout: 5_000 })
    const ways: Record<string, (client: RawClient, connection: Connection) => void> = {
      '1000 true': (client) => client.write(closeFrame(1000)),
      '1006 false': (client) => client.reset(),
      '4000 false': (client, connection) => {
        connection.close(4000) // not answered: for closeTimeout it is not the heartbeat's
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
        const { code, clean } = await inTime(5_000, connection.closed, verdict)
        expect(`${code} ${clean}`).to.equal(verdict)
      }),
    )
    expect(site.drops('heartbeat')).to.equal(0)
  })

  it('has one timer for 1,000 connections, and none after the last', async () => {
    const timers = new LibTimers()
    try {
      const site = await limitSite({ heartbeat: { interval: 5_000, timeout: 5_000 } })
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
      await within(5_000, () => site.hub.localConnections.size === 1_000, 'all')
      expect(timers.of('hub/heartbeat')).to.equal(1)
      const last = clients.pop() as RawClient
      for (const client of clients) client.reset()
      await within(5_000, () => site.hub.localConnections.size === 1, 'their end')
      await pass(20)
      expect(timers.of('hub/heartbeat')).to.equal(1)
      last.reset()
      await within(5_000, () => site.hub.localConnections.size === 0, 'the end')
      await within(1_000, () => timers.of('hub/heartbeat') === 0, 'the end of the timer')
      await site.raw()
      expect(timers.of('hub/heartbeat'), 'and again').to.equal(1)
    } finally {
      timers.stop()
    }
  })
})

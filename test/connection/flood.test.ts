import { once } from 'node:events'
import { expect } from 'chai'
import type { Connection, KoaWsOptions } from '../../lib/index.ts'
import {
  KIB,
  LibTimers,
  type LimitSite,
  limitSite,
  MIB,
  pass,
  type Routes,
  settles,
  until,
} from '../support/limits.ts'
import { closeFrame, frame, pingFrame, type RawClient, textFrame } from '../support/raw.ts'
import { cleanUp, deferred } from '../support/server.ts'

describe('a flood', () => {
  afterEach(cleanUp)

  interface Made {
    site: LimitSite
    client: RawClient
    connection: Connection
    /** The messages that have arrived. */
    seen: string[]
    /** The arrival of each message. */
    times: number[]
    /** Before the first message, and so before the first window. */
    began: number
  }

  async function flooded(
    options: KoaWsOptions = {},
    routes: Routes = {},
    path?: string,
  ): Promise<Made> {
    const seen: string[] = []
    const times: number[] = []
    const site = await limitSite(
      { heartbeat: false, closeTimeout: 500, ...options },
      (connection) => {
        connection.on('message', (data) => {
          seen.push(String(data))
          times.push(performance.now())
        })
      },
      routes,
    )
    const raw = await site.raw(path)
    return { site, seen, times, began: performance.now(), ...raw }
  }

  /** Returns this many numbered messages in one buffer. */
  function many(count: number, from = 0, size = 0): Buffer {
    return Buffer.concat(
      Array.from({ length: count }, (_, i) => textFrame(String(from + i).padEnd(size, ' '))),
    )
  }

  function expectInOrder(seen: string[], count: number): void {
    expect(seen.map((text) => parseInt(text, 10))).to.deep.equal(
      Array.from({ length: count }, (_, i) => i),
    )
  }

  it('starts above 500 messages: a burst of exactly 500 passes', async () => {
    const { site, client, connection, seen } = await flooded()
    client.write(many(500))
    let paused = false
    await until(() => ((paused ||= connection.isPaused), seen.length === 500), 'all')
    await pass(150)
    expect(paused || connection.isPaused).to.equal(false)
    expect(site.drops('flood')).to.equal(0)
    expectInOrder(seen, 500)
    client.write(many(500, 500))
    await until(() => seen.length === 1000, 'the second burst')
    expect(site.drops('flood')).to.equal(0)
  })

  it('of 600 messages pauses reading, and all arrive in order', async () => {
    const { site, client, connection, seen } = await flooded()
    const neighbour = await site.socket()
    client.write(many(600))
    await until(() => connection.isPaused, 'the pause')
    expect(site.drops('flood')).to.equal(1)
    neighbour.socket.send('0')
    await until(() => seen.length === 601, 'all')
    await until(() => !connection.isPaused, 'the end of the pause')
    expect(neighbour.connection.isPaused).to.equal(false)
    client.write(many(1, 600))
    await until(() => seen.length === 602, 'one more')
    expect(connection.readyState).to.equal(1)
    expect(site.drops('flood')).to.equal(1)
    expectInOrder(
      seen.filter((_, i) => i !== seen.indexOf('0', 1)),
      601,
    )
  })

  it('may consist of pings or pongs', async () => {
    for (const opcode of [9, 10]) {
      const { site, client, connection, seen } = await flooded({
        flood: { messages: 40, per: 300 },
      })
      const frames = Array.from({ length: 40 }, () => frame(opcode, ''))
      client.write(Buffer.concat(frames.with(0, textFrame('forty'))))
      await until(() => seen.length === 1, 'the forty')
      await pass(50)
      expect(site.drops('flood')).to.equal(0)
      // In one piece: on a busy machine a piece of its own may come in the next window.
      const other = await site.raw()
      other.client.write(Buffer.concat([...frames, textFrame('one too many')]))
      await until(() => site.drops('flood') === 1, `the pause, opcode ${opcode}`)
      expect(connection.isPaused).to.equal(false)
      await until(() => !other.connection.isPaused, 'the end of the pause')
      for (const one of [connection, other.connection]) expect(one.readyState).to.equal(1)
      await cleanUp()
    }
  })

  it('does not count a pong that answers a ping of the server', async () => {
    const { site, client, connection, seen } = await flooded({
      flood: { messages: 3, per: 60_000 },
    })
    for (let pings = 0; pings < 10; pings++) {
      connection.ping()
      const pong = once(connection, 'pong')
      client.write(frame(10, ''))
      await pong
    }
    client.write(Buffer.concat([frame(10, ''), frame(10, ''), textFrame('the third')]))
    await until(() => seen.length === 1, 'the third')
    expect(site.drops('flood')).to.equal(0)
    // This pong has no ping.
    client.write(frame(10, ''))
    await until(() => site.drops('flood') === 1, 'the pause')
    connection.terminate()
  })

  it('of 600 pings ends the connection or the pause, and leaves no timer', async () => {
    const timers = new LibTimers()
    try {
      const { site, client, connection } = await flooded()
      client.write(Buffer.concat(Array.from({ length: 600 }, () => pingFrame())))
      // ws ends a client with more than 60 pending pongs (maxPendingAutoPongs), unless the flood
      // limit pauses it first. Both outcomes free everything.
      await until(() => connection.readyState === 3 || !connection.isPaused, 'an outcome')
      await until(() => timers.of('connection/flood') === 0, 'the end of the timer')
      if (connection.readyState === 3) expect(site.hub.localConnections.size).to.equal(0)
    } finally {
      timers.stop()
    }
  })

  it('of long duration is throttled to the rate, and loses no message', async () => {
    const { site, client, seen, times, began } = await flooded({
      flood: { messages: 200, per: 100 },
    })
    const size = 500
    const total = 4_000
    client.write(many(total, 0, size))
    await until(() => seen.length === total, 'all')
    expectInOrder(seen, total)
    // A read from the kernel arrives whole, and so does a read that has already begun.
    const slack = 2 * Math.ceil((64 * KIB) / (size + 8))
    for (const [i, time] of times.entries()) {
      const windows = Math.floor((time - began + 2) / 100) + 1
      expect(i + 1, `after ${time - began} ms`).to.be.at.most(200 * windows + slack)
    }
    const whole = (times.at(-1) as number) - began
    expect(whole).to.be.at.least(1_500)
    expect(site.drops('flood')).to.be.at.least(5)
    expect(site.drops('floodClosed')).to.equal(0)
  })

  it('of small messages is throttled to the rate, because messages of one read count for later windows', async () => {
    const { client, seen, times, began } = await flooded({
      flood: { messages: 1_000, per: 100 },
    })
    const total = 30_000
    client.write(many(total))
    await until(() => seen.length === total, 'all')
    expectInOrder(seen, total)
    const slack = 2 * Math.ceil((64 * KIB) / 7)
    const whole = (times.at(-1) as number) - began
    expect(whole).to.be.at.least(((total - slack) / 1_000) * 100 - 200)
  })

  it('of large messages is throttled by bytes, and loses no message', async () => {
    const size = 10 * KIB
    const { site, client, connection, seen, times, began } = await flooded({
      flood: { bytes: 100 * KIB, per: 100 },
    })
    let paused = false
    client.write(many(60, 0, size))
    await until(() => ((paused ||= connection.isPaused), seen.length === 60), 'all')
    expectInOrder(seen, 60)
    expect(paused).to.equal(true)
    expect(site.drops('flood')).to.be.at.least(1)
    // A busy machine only prolongs this: five windows, minus one read.
    expect((times.at(-1) as number) - began).to.be.above(250)
  })

  it('allows one message of maxPayload per window by default', async () => {
    const { site, client, seen } = await flooded({ maxPayload: 3 * MIB })
    client.write(many(1, 0, 3 * MIB))
    await until(() => seen.length === 1, 'the message')
    await pass(150)
    expect(site.drops('flood')).to.equal(0)
  })

  it('with a byte limit below one message delivers each message, and pauses after it', async () => {
    const { site, client, seen } = await flooded({ flood: { bytes: KIB, per: 100 } })
    client.write(many(2, 0, 3 * KIB))
    await until(() => seen.length === 2, 'both')
    expectInOrder(seen, 2)
    expect(site.drops('flood')).to.be.at.least(1)
  })

  it('of large messages is read in slices, one per turn, so that other clients are read meanwhile', async () => {
    const turns: number[] = []
    let turn = 0
    let counting = true
    const count = (): void => {
      turn++
      if (counting) setImmediate(count)
    }
    const site = await limitSite({ heartbeat: false, flood: { bytes: 64 * MIB } }, (connection) => {
      connection.on('message', () => turns.push(turn))
    })
    const { client } = await site.raw()
    const size = 60 * KIB
    setImmediate(count)
    client.write(many(100, 0, size))
    await until(() => turns.length === 100, 'all')
    counting = false
    const inOneTurn = Math.max(...turns.map((one) => turns.filter((other) => other === one).length))
    // 64 KiB, plus the read that is under way.
    expect(inOneTurn).to.be.at.most(4)
    expect(site.drops('flood')).to.equal(0)
  })

  it('closes the connection with 1008 when it lasts longer than `close`', async () => {
    const { site, client, connection, began } = await flooded({
      flood: { messages: 100, per: 100, close: 600 },
    })
    const neighbour = await site.socket()
    const timer = setInterval(() => client.write(many(50, 0, 100)), 10)
    try {
      await until(() => connection.readyState !== 1, 'the close')
      expect(performance.now() - began).to.be.at.least(550)
    } finally {
      clearInterval(timer)
    }
    expect(site.drops('floodClosed')).to.equal(1)
    client.write(closeFrame(1008, 'too many messages'))
    expect(await settles(connection.closed, 'closed')).to.deep.equal({
      code: 1008,
      reason: 'too many messages',
      clean: true,
    })
    neighbour.socket.send('still here')
    expect(neighbour.connection.readyState).to.equal(1)
    expect(site.drops('floodClosed')).to.equal(1)
  })

  it('that continues after the close frame is cut off after closeTimeout', async () => {
    const { site, client, connection, seen } = await flooded({
      flood: { messages: 100, per: 100, close: 300 },
    })
    const timer = setInterval(() => client.write(many(100, 0, 100)), 10)
    try {
      await until(() => connection.readyState !== 1, 'the close')
      const heard = seen.length
      expect(await settles(connection.closed, 'closed')).to.include({
        code: 1008,
        clean: false,
      })
      expect(seen.length, 'heard after the close').to.equal(heard)
      expect(site.drops('floodClosed')).to.equal(1)
    } finally {
      clearInterval(timer)
    }
  })

  it('with rests keeps the connection open', async () => {
    const { site, client, connection, seen } = await flooded({
      flood: { messages: 100, per: 700, close: 1_500 },
    })
    for (let i = 0; i < 4; i++) {
      client.write(many(150, 150 * i))
      await until(() => seen.length === 150 * (i + 1) && !connection.isPaused, 'the burst')
      await pass(1_000)
    }
    expect(connection.readyState).to.equal(1)
    expect(site.drops('flood')).to.equal(4)
    expect(site.drops('floodClosed')).to.equal(0)
    expectInOrder(seen, 600)
  })

  it('keeps the connection open without `close`, and when it is shorter than `close`', async () => {
    for (const close of [undefined, 60_000]) {
      const { site, client, connection } = await flooded({
        flood: { messages: 50, per: 100, close },
      })
      const timer = setInterval(() => client.write(many(20, 0, 100)), 10)
      await until(() => site.drops('flood') > 4, 'several floods')
      clearInterval(timer)
      expect(connection.readyState).to.equal(1)
      expect(site.drops('floodClosed')).to.equal(0)
      await cleanUp()
    }
  })

  it('is ignored with flood: false; a route may set its own limit', async () => {
    const routes: Routes = { '/strict': { flood: { messages: 10, per: 100 } } }
    const { site, client, connection, seen } = await flooded({ flood: false }, routes)
    let paused = false
    client.write(many(20_000))
    await until(() => ((paused ||= connection.isPaused), seen.length === 20_000), 'all')
    expect(paused).to.equal(false)
    expect(site.drops('flood')).to.equal(0)
    expectInOrder(seen, 20_000)
    const strict = await site.raw('/strict')
    strict.client.write(many(10))
    await until(() => seen.length === 20_010, 'ten')
    await pass(50)
    expect(site.drops('flood')).to.equal(0)
    strict.client.write(many(64))
    await until(() => site.drops('flood') === 1, 'the flood')
    await until(() => !strict.connection.isPaused, 'the end')
  })

  it('keeps reading paused when the application calls resume()', async () => {
    const { client, connection, seen, times, began } = await flooded({
      flood: { messages: 100, per: 1_000 },
    })
    client.write(many(300))
    await until(() => connection.isPaused, 'the pause')
    connection.pause()
    connection.resume()
    expect(connection.isPaused).to.equal(true)
    await until(() => seen.length >= 300, 'what had been read')
    client.write(many(1, 300))
    await until(() => seen.length === 301, 'the rest')
    // 300 are three windows of 100: two must be waited for.
    expect((times.at(-1) as number) - began).to.be.at.least(1_900)
    expectInOrder(seen, 301)
  })

  it('leaves a pause() of the application in place when it ends', async () => {
    const timers = new LibTimers()
    const { client, connection, seen } = await flooded()
    client.write(many(600))
    await until(() => connection.isPaused, 'the pause')
    connection.pause()
    client.write(many(1, 600))
    await until(() => timers.of('connection/flood') === 0, 'the end of the flood')
    timers.stop()
    await pass(50)
    expect(connection.isPaused).to.equal(true)
    expect(seen.length).to.be.at.most(600)
    connection.resume()
    expect(connection.isPaused).to.equal(false)
    await until(() => seen.length === 601, 'the rest')
    expectInOrder(seen, 601)
  })

  it('and a slow loop over the messages together lose no message', async () => {
    const seen: string[] = []
    const done = deferred()
    const site = await limitSite(
      { heartbeat: false, flood: { messages: 100, per: 100 } },
      async (connection) => {
        for await (const message of connection) {
          seen.push(String(message))
          if (seen.length % 50 === 0) await pass(10)
          if (seen.length === 1_000) done.resolve()
        }
      },
    )
    const { client, connection } = await site.raw()
    const began = performance.now()
    client.write(many(1_000, 0, 1_000))
    await settles(done.promise, 'all')
    expect(performance.now() - began).to.be.above(600)
    expectInOrder(seen, 1_000)
    expect(site.drops('flood')).to.be.at.least(3)
    await until(() => !connection.isPaused, 'the end')
  })

  describe('that is paused while the connection ends', () => {
    const RULES = { flood: { messages: 100, per: 60_000 } } as const
    let timers: LibTimers
    beforeEach(() => {
      timers = new LibTimers()
    })
    afterEach(() => timers.stop())

    it('by close() lets the client answer, and leaves no timer', async () => {
      const { client, connection, seen } = await flooded(RULES)
      client.write(many(150))
      await until(() => connection.isPaused && seen.length === 150, 'the pause')
      expect(timers.of('connection/flood')).to.equal(1)
      connection.close(4000, 'enough')
      expect(await client.closeCode()).to.equal(4000)
      client.write(closeFrame(4000, 'enough'))
      expect(await settles(connection.closed, 'closed')).to.deep.equal({
        code: 4000,
        reason: 'enough',
        clean: true,
      })
      await until(() => timers.of('connection/flood') === 0, 'the end of the timer')
    })

    it('by terminate() leaves no timer', async () => {
      const { client, connection, seen } = await flooded(RULES)
      client.write(many(150))
      await until(() => connection.isPaused && seen.length === 150, 'the pause')
      connection.terminate()
      expect(await settles(connection.closed, 'closed')).to.include({ code: 1006 })
      await until(() => timers.of('connection/flood') === 0, 'the end of the timer')
    })

    it("by the client's close frame delivers all messages first", async () => {
      const { client, connection, seen, site } = await flooded({
        flood: { messages: 100, per: 300 },
      })
      let atClose = 0
      connection.on('close', () => {
        atClose = seen.length
      })
      client.write(Buffer.concat([many(250), closeFrame(4001, 'bye')]))
      expect(await settles(connection.closed, 'closed')).to.deep.equal({
        code: 4001,
        reason: 'bye',
        clean: true,
      })
      expect(atClose).to.equal(250)
      expectInOrder(seen, 250)
      expect(site.drops('flood')).to.be.at.least(1)
      await until(() => timers.of('connection/flood') === 0, 'the end of the timer')
    })

    it("by the client's close frame and FIN delivers the unread messages too", async () => {
      const { client, connection, seen } = await flooded({ flood: { messages: 100, per: 200 } })
      client.write(Buffer.concat([many(500, 0, 1_000), closeFrame(4001, 'bye')]))
      client.socket.end()
      expect(await settles(connection.closed, 'closed')).to.include({ code: 4001 })
      expectInOrder(seen, 500)
      await until(() => timers.of('connection/flood') === 0, 'the end of the timer')
    })

    it('by a TCP reset leaves no timer', async () => {
      const { client, connection, seen } = await flooded({ flood: { messages: 100, per: 300 } })
      client.write(many(150))
      await until(() => connection.isPaused && seen.length === 150, 'the pause')
      client.reset()
      expect(await settles(connection.closed, 'closed')).to.include({
        code: 1006,
        clean: false,
      })
      await until(() => timers.of('connection/flood') === 0, 'the end of the timer')
    })
  })

  it('counts pings, which ws still answers with pongs', async () => {
    const { client, connection } = await flooded()
    for (let i = 0; i < 20; i++) client.write(pingFrame(String(i)))
    for (let i = 0; i < 20; i++) {
      expect(await client.frame()).to.deep.include({ opcode: 10, payload: Buffer.from(String(i)) })
    }
    expect(connection.isPaused).to.equal(false)
  })
})

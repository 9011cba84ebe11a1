import { expect } from 'chai'
import type { Connection, KoaWsOptions } from '../../lib/index.ts'
import {
  inTime,
  KIB,
  LibTimers,
  type LimitSite,
  limitSite,
  pass,
  type Routes,
  within,
} from '../support/limits.ts'
import { closeFrame, frame, pingFrame, type RawClient, textFrame } from '../support/raw.ts'
import { cleanUp, deferred } from '../support/server.ts'

describe('a flood', function () {
  this.timeout(20_000)
  afterEach(cleanUp)

  interface Made {
    site: LimitSite
    client: RawClient
    connection: Connection
    /** The messages that have arrived. */
    seen: string[]
    /** When each of them did. */
    times: number[]
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
    return { site, seen, times, ...(await site.raw(path)) }
  }

  /** So many numbered messages in one piece. */
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

  it('is not what a burst of exactly 500 messages is', async () => {
    const { site, client, connection, seen } = await flooded()
    client.write(many(500))
    let paused = false
    await within(3_000, () => ((paused ||= connection.isPaused), seen.length === 500), 'all')
    await pass(150)
    expect(paused || connection.isPaused).to.equal(false)
    expect(site.drops('flood')).to.equal(0)
    expectInOrder(seen, 500)
    client.write(many(500, 500))
    await within(3_000, () => seen.length === 1000, 'the second burst')
    expect(site.drops('flood')).to.equal(0)
  })

  it('of 600 is delivered whole and in order; reading stops, and goes on by itself', async () => {
    const { site, client, connection, seen } = await flooded()
    const neighbour = await site.socket()
    client.write(many(600))
    await within(3_000, () => connection.isPaused, 'the pause')
    expect(site.drops('flood')).to.equal(1)
    neighbour.socket.send('0')
    await within(3_000, () => seen.length === 601, 'all')
    await within(3_000, () => !connection.isPaused, 'the end of the pause')
    expect(neighbour.connection.isPaused).to.equal(false)
    client.write(many(1, 600))
    await within(3_000, () => seen.length === 602, 'one more')
    expect(connection.readyState).to.equal(1)
    expect(site.drops('flood')).to.equal(1)
    expectInOrder(
      seen.filter((_, i) => i !== seen.indexOf('0', 1)),
      601,
    )
  })

  it('may be one of pings, or of pongs', async () => {
    for (const opcode of [9, 10]) {
      const { site, client, connection } = await flooded({ flood: { messages: 40, per: 300 } })
      client.write(Buffer.concat(Array.from({ length: 40 }, () => frame(opcode, ''))))
      await pass(50)
      expect(site.drops('flood')).to.equal(0)
      client.write(textFrame('one too many'))
      await within(3_000, () => site.drops('flood') === 1, `the pause, opcode ${opcode}`)
      await within(3_000, () => !connection.isPaused, 'the end of the pause')
      expect(connection.readyState).to.equal(1)
      await cleanUp()
    }
  })

  it('of pings that ws gives up on ends the connection, and leaves nothing behind', async () => {
    const timers = new LibTimers()
    try {
      const { site, client, connection } = await flooded()
      client.write(Buffer.concat(Array.from({ length: 600 }, () => pingFrame())))
      // ws ends a client with more than 60 pongs under way (maxPendingAutoPongs); whoever is held back
      // before that lives on. Either way nothing stays.
      await within(3_000, () => connection.readyState === 3 || !connection.isPaused, 'an outcome')
      await within(3_000, () => timers.of('connection/flood') === 0, 'the end of the timer')
      if (connection.readyState === 3) expect(site.hub.localConnections.size).to.equal(0)
    } finally {
      timers.stop()
    }
  })

  it('that is long is held to the rate, and loses nothing', async () => {
    const { site, client, seen, times } = await flooded({ flood: { messages: 200, per: 100 } })
    const size = 500
    const total = 4_000
    client.write(many(total, 0, size))
    await within(15_000, () => seen.length === total, 'all')
    expectInOrder(seen, total)
    // What one read from the kernel holds arrives whole, and one that was begun before that.
    const slack = 2 * Math.ceil((64 * KIB) / (size + 8))
    const began = times[0] as number
    for (const [i, time] of times.entries()) {
      const windows = Math.floor((time - began + 2) / 100) + 1
      expect(i + 1, `after ${time - began} ms`).to.be.at.most(200 * windows + slack)
    }
    const whole = (times.at(-1) as number) - began
    expect(whole).to.be.within(1_500, 8_000)
    expect(site.drops('flood')).to.be.at.least(5)
    expect(site.drops('floodClosed')).to.equal(0)
  })

  it('of small messages is held to the rate: what one read holds counts for the time to come', async () => {
    const { client, seen, times } = await flooded({ flood: { messages: 1_000, per: 100 } })
    const total = 30_000
    client.write(many(total))
    await within(15_000, () => seen.length === total, 'all')
    expectInOrder(seen, total)
    const slack = 2 * Math.ceil((64 * KIB) / 7)
    const began = times[0] as number
    const whole = (times.at(-1) as number) - began
    expect(whole).to.be.within(((total - slack) / 1_000) * 100 - 200, 9_000)
  })

  it('ends with 1008 after `close`, when it goes on without a rest', async () => {
    const { site, client, connection, times } = await flooded({
      flood: { messages: 100, per: 100, close: 600 },
    })
    const neighbour = await site.socket()
    const timer = setInterval(() => client.write(many(50, 0, 100)), 10)
    try {
      await within(8_000, () => connection.readyState !== 1, 'the close')
      expect(performance.now() - (times[0] as number)).to.be.within(550, 4_000)
    } finally {
      clearInterval(timer)
    }
    expect(site.drops('floodClosed')).to.equal(1)
    client.write(closeFrame(1008, 'too many messages'))
    expect(await inTime(4_000, connection.closed, 'closed')).to.deep.equal({
      code: 1008,
      reason: 'too many messages',
      clean: true,
    })
    neighbour.socket.send('still here')
    expect(neighbour.connection.readyState).to.equal(1)
    expect(site.drops('floodClosed')).to.equal(1)
  })

  it('that goes on after the close frame is not read for ever', async () => {
    const { site, client, connection, seen } = await flooded({
      flood: { messages: 100, per: 100, close: 300 },
    })
    const timer = setInterval(() => client.write(many(100, 0, 100)), 10)
    try {
      await within(8_000, () => connection.readyState !== 1, 'the close')
      const heard = seen.length
      expect(await inTime(5_000, connection.closed, 'closed')).to.include({
        code: 1008,
        clean: false,
      })
      expect(seen.length, 'heard after the close').to.equal(heard)
      expect(site.drops('floodClosed')).to.equal(1)
    } finally {
      clearInterval(timer)
    }
  })

  it('that rests is not closed, however often it comes', async () => {
    const { site, client, connection, seen } = await flooded({
      flood: { messages: 100, per: 100, close: 500 },
    })
    for (let i = 0; i < 4; i++) {
      client.write(many(150, 150 * i))
      await within(4_000, () => seen.length === 150 * (i + 1) && !connection.isPaused, 'the burst')
      await pass(250)
    }
    expect(connection.readyState).to.equal(1)
    expect(site.drops('flood')).to.equal(4)
    expect(site.drops('floodClosed')).to.equal(0)
    expectInOrder(seen, 600)
  })

  it('is never closed where `close` is not set, and where it is shorter than that', async () => {
    for (const close of [undefined, 60_000]) {
      const { site, client, connection } = await flooded({
        flood: { messages: 50, per: 100, close },
      })
      const timer = setInterval(() => client.write(many(20, 0, 100)), 10)
      await pass(1_500)
      clearInterval(timer)
      expect(connection.readyState).to.equal(1)
      expect(site.drops('flood')).to.be.above(3)
      expect(site.drops('floodClosed')).to.equal(0)
      await cleanUp()
    }
  })

  it('is nothing where flood is false; a route may say otherwise', async () => {
    const routes: Routes = { '/strict': { flood: { messages: 10, per: 100 } } }
    const { site, client, connection, seen } = await flooded({ flood: false }, routes)
    let paused = false
    client.write(many(20_000))
    await within(8_000, () => ((paused ||= connection.isPaused), seen.length === 20_000), 'all')
    expect(paused).to.equal(false)
    expect(site.drops('flood')).to.equal(0)
    expectInOrder(seen, 20_000)
    const strict = await site.raw('/strict')
    strict.client.write(many(10))
    await within(3_000, () => seen.length === 20_010, 'ten')
    await pass(50)
    expect(site.drops('flood')).to.equal(0)
    strict.client.write(many(64))
    await within(3_000, () => site.drops('flood') === 1, 'the flood')
    await within(3_000, () => !strict.connection.isPaused, 'the end')
  })

  it('is held although the user resumes', async () => {
    const { client, connection, seen } = await flooded({ flood: { messages: 100, per: 1_000 } })
    client.write(many(300))
    await within(3_000, () => connection.isPaused, 'the pause')
    await within(3_000, () => seen.length >= 300, 'what had been read')
    connection.pause()
    connection.resume()
    expect(connection.isPaused).to.equal(true)
    client.write(many(1, 300))
    await pass(300)
    expect(connection.isPaused).to.equal(true)
    expect(seen.length).to.equal(300)
    await within(4_000, () => seen.length === 301, 'the rest')
    expectInOrder(seen, 301)
  })

  it('that is over does not end the pause of the user', async () => {
    const { client, connection, seen } = await flooded()
    client.write(many(600))
    await within(3_000, () => connection.isPaused, 'the pause')
    connection.pause()
    client.write(many(1, 600))
    await pass(500)
    expect(connection.isPaused).to.equal(true)
    expect(seen.length).to.be.at.most(600)
    connection.resume()
    expect(connection.isPaused).to.equal(false)
    await within(3_000, () => seen.length === 601, 'the rest')
    expectInOrder(seen, 601)
  })

  it('and a busy loop over the messages together lose nothing', async () => {
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
    await inTime(10_000, done.promise, 'all')
    expect(performance.now() - began).to.be.above(600)
    expectInOrder(seen, 1_000)
    expect(site.drops('flood')).to.be.at.least(3)
    await within(3_000, () => !connection.isPaused, 'the end')
  })

  describe('that is held back while the connection ends', () => {
    const RULES = { flood: { messages: 100, per: 60_000 } } as const
    let timers: LibTimers
    beforeEach(() => {
      timers = new LibTimers()
    })
    afterEach(() => timers.stop())

    it('by our close(): the client may answer, and no timer stays', async () => {
      const { client, connection, seen } = await flooded(RULES)
      client.write(many(150))
      await within(3_000, () => connection.isPaused && seen.length === 150, 'the pause')
      expect(timers.of('connection/flood')).to.equal(1)
      connection.close(4000, 'enough')
      expect(await client.closeCode()).to.equal(4000)
      client.write(closeFrame(4000, 'enough'))
      expect(await inTime(3_000, connection.closed, 'closed')).to.deep.equal({
        code: 4000,
        reason: 'enough',
        clean: true,
      })
      await within(1_000, () => timers.of('connection/flood') === 0, 'the end of the timer')
    })

    it('by our terminate()', async () => {
      const { client, connection, seen } = await flooded(RULES)
      client.write(many(150))
      await within(3_000, () => connection.isPaused && seen.length === 150, 'the pause')
      connection.terminate()
      expect(await inTime(3_000, connection.closed, 'closed')).to.include({ code: 1006 })
      await within(1_000, () => timers.of('connection/flood') === 0, 'the end of the timer')
    })

    it('by its own close frame: all messages come first', async () => {
      const { client, connection, seen, site } = await flooded({
        flood: { messages: 100, per: 300 },
      })
      let atClose = 0
      connection.on('close', () => {
        atClose = seen.length
      })
      client.write(Buffer.concat([many(250), closeFrame(4001, 'bye')]))
      expect(await inTime(5_000, connection.closed, 'closed')).to.deep.equal({
        code: 4001,
        reason: 'bye',
        clean: true,
      })
      expect(atClose).to.equal(250)
      expectInOrder(seen, 250)
      expect(site.drops('flood')).to.be.at.least(1)
      await within(1_000, () => timers.of('connection/flood') === 0, 'the end of the timer')
    })

    it('by its own close frame and end, of which more is unread', async () => {
      const { client, connection, seen } = await flooded({ flood: { messages: 100, per: 200 } })
      client.write(Buffer.concat([many(500, 0, 1_000), closeFrame(4001, 'bye')]))
      client.socket.end()
      expect(await inTime(8_000, connection.closed, 'closed')).to.include({ code: 4001 })
      expectInOrder(seen, 500)
      await within(1_000, () => timers.of('connection/flood') === 0, 'the end of the timer')
    })

    it('by RST', async () => {
      const { client, connection, seen } = await flooded({ flood: { messages: 100, per: 300 } })
      client.write(many(150))
      await within(3_000, () => connection.isPaused && seen.length === 150, 'the pause')
      client.reset()
      expect(await inTime(3_000, connection.closed, 'closed')).to.include({
        code: 1006,
        clean: false,
      })
      await within(1_000, () => timers.of('connection/flood') === 0, 'the end of the timer')
    })
  })

  it('counts pings that ws answers: the client gets its pongs', async () => {
    const { client, connection } = await flooded()
    for (let i = 0; i < 20; i++) client.write(pingFrame(String(i)))
    for (let i = 0; i < 20; i++) {
      expect(await client.frame()).to.deep.include({ opcode: 10, payload: Buffer.from(String(i)) })
    }
    expect(connection.isPaused).to.equal(false)
  })
})

import { once } from 'node:events'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect } from 'chai'
import { awaitExpiry, forgetExpiry } from '../../lib/connection/expiry.ts'
import { accept } from '../../lib/index.ts'
import { cleanUp, eventually, openSocket, rejected, serve } from '../support/server.ts'
import { connected } from './support/connected.ts'

describe('a connection', () => {
  afterEach(cleanUp)

  describe('with an authorization that expires', () => {
    it('closes with 4401 at expiresAt', async () => {
      const started = Date.now()
      const { socket } = await connected(() => {}, { expiresAt: () => Date.now() + 300 })
      expect(await socket.closed).to.deep.equal({ code: 4401, reason: 'expired' })
      expect(Date.now() - started).to.be.at.least(280)
    })

    it('reads exp of koa-jwt in seconds by default', async () => {
      const exp = Math.ceil(Date.now() / 1000) + 1
      const { port } = await serve((app) => {
        app.use((ctx, next) => ((ctx.state['user'] = { exp }), next()))
        app.use(accept(() => {}))
      })
      const socket = await openSocket(port)
      expect((await socket.closed).code).to.equal(4401)
      expect(Date.now()).to.be.at.least(exp * 1000)
    })

    it('survives an expiry that exceeds the longest timer, and null never expires', async () => {
      const year = 365 * 24 * 3600 * 1000
      for (const expiresAt of [Date.now() + 100 * year, new Date(Date.now() + year), null]) {
        const { socket, connection } = await connected(() => {}, { expiresAt })
        // A timer that overflows fires after 1 ms, so before this pause ends.
        await new Promise((resolve) => setTimeout(resolve, 30))
        connection.ping()
        await once(connection, 'pong')
        expect(socket.readyState).to.equal(1)
        expect(connection.expiresAt).to.equal(expiresAt === null ? null : Number(expiresAt))
      }
    })

    it('rejects with 401 when the expiry precedes the handshake', async () => {
      const { port } = await serve((app) =>
        app.use(accept(() => {}, { expiresAt: () => Date.now() - 1 })),
      )
      expect((await rejected(openSocket(port))).status).to.equal(401)
    })

    it('throws for an expiry in seconds', () => {
      expect(() => accept(() => {}, { expiresAt: 1_700_000_000 })).to.throw('seconds')
    })

    it('takes a new expiry and state by refresh(), and closes with 4403 for another user', async () => {
      const { socket, connection } = await connected(() => {}, {
        user: 'ann',
        expiresAt: () => Date.now() + 60_000,
      })
      connection.refresh({ expiresAt: Date.now() + 200 })
      connection.refresh({ expiresAt: Date.now() + 60_000, userId: 'ann', state: { fresh: true } })
      // This connection ends later than the replaced expiry.
      const other = await connected(() => {}, { expiresAt: () => Date.now() + 200 })
      expect((await other.socket.closed).code).to.equal(4401)
      connection.ping()
      await once(connection, 'pong')
      expect(socket.readyState).to.equal(1)
      expect(connection.state).to.deep.equal({ fresh: true })
      expect(() => connection.refresh({ expiresAt: 5 })).to.throw('seconds')
      connection.refresh({ userId: 'bob', state: { stolen: true } })
      expect((await socket.closed).code).to.equal(4403)
      expect(connection.state).to.deep.equal({ fresh: true })
    })
  })
})

/** Time that a test moves by hand: `Date.now()` and the timers of this process. All is synchronous. */
class Hand {
  now = 1_796_000_000_000
  readonly timers = new Map<object, { due: number; run: () => void }>()

  /** Returns what `run` returns, called under this time. */
  use<T>(run: () => T): T {
    const { setTimeout, clearTimeout } = globalThis
    const { now } = Date
    Object.assign(globalThis, {
      setTimeout: (callback: (...args: unknown[]) => void, delay: number, ...args: unknown[]) => {
        if (delay > 2 ** 31 - 1) throw new Error('a timer that is too long fires at once')
        const timer = { unref: () => timer }
        this.timers.set(timer, { due: this.now + delay, run: () => callback(...args) })
        return timer
      },
      clearTimeout: (timer: object) => this.timers.delete(timer),
    })
    Date.now = () => this.now
    try {
      return run()
    } finally {
      Object.assign(globalThis, { setTimeout, clearTimeout })
      Date.now = now
    }
  }

  /** Moves on, and runs what is due on the way. Each timer is late by `late` milliseconds. */
  pass(duration: number, late = 0): void {
    const end = this.now + duration
    this.use(() => {
      for (;;) {
        const next = [...this.timers].sort(([, a], [, b]) => a.due - b.due)[0]
        if (!next || next[1].due + late > end) break
        this.timers.delete(next[0])
        this.now = Math.max(this.now, next[1].due + late)
        next[1].run()
      }
      this.now = end
    })
  }
}

const HOUR = 3_600_000

describe('what expires', () => {
  it('waits with one timer for each minute, and expires at its time', () => {
    const hand = new Hand()
    const log: number[] = []
    const all = Array.from({ length: 1000 }, (_, i) => {
      const expiresAt = hand.now + HOUR + i * 100
      return { expiresAt, expired: () => log.push(hand.now - expiresAt) }
    })
    hand.use(() => all.forEach(awaitExpiry))
    expect(hand.timers.size).to.be.within(2, 3) // 100 seconds
    hand.pass(HOUR - 60_000)
    expect(log).to.deep.equal([])
    hand.pass(3 * 60_000)
    expect(log).to.deep.equal(Array(1000).fill(0))
    expect(hand.timers.size).to.equal(0)
  })

  it('is exact when the timers are late, up to the next minute', () => {
    const hand = new Hand()
    const log: number[] = []
    const expiresAt = hand.now + HOUR + 59_000
    hand.use(() => awaitExpiry({ expiresAt, expired: () => log.push(hand.now - expiresAt) }))
    hand.pass(2 * HOUR, 500)
    expect(log).to.have.length(1)
    expect(log[0]).to.be.within(0, 500)
  })

  it('leaves its minute when it is forgotten, and the last one ends the timer', () => {
    const hand = new Hand()
    const log: string[] = []
    const far = (name: string) => ({
      expiresAt: hand.now + HOUR,
      expired: () => void log.push(name),
    })
    const [a, b, near] = [far('a'), far('b'), { ...far('near'), expiresAt: hand.now + 1000 }]
    hand.use(() => [a, b, near].forEach(awaitExpiry))
    expect(hand.timers.size).to.equal(2)
    hand.use(() => [near, a, a].forEach(forgetExpiry))
    expect(hand.timers.size).to.equal(1)
    hand.use(() => forgetExpiry(b))
    expect(hand.timers.size).to.equal(0)
    hand.pass(2 * HOUR)
    expect(log).to.deep.equal([])
  })

  it('is forgotten in its last minute too', () => {
    const hand = new Hand()
    const one = { expiresAt: hand.now + HOUR, expired: () => expect.fail('was forgotten') }
    hand.use(() => awaitExpiry(one))
    hand.pass(HOUR - 100)
    expect(hand.timers.size).to.equal(1)
    hand.use(() => forgetExpiry(one))
    expect(hand.timers.size).to.equal(0)
  })

  it('waits longer than a timer can', () => {
    const hand = new Hand()
    const log: number[] = []
    const expiresAt = hand.now + 1000 * 24 * HOUR
    hand.use(() => awaitExpiry({ expiresAt, expired: () => log.push(hand.now - expiresAt) }))
    hand.pass(999 * 24 * HOUR)
    expect(log).to.deep.equal([])
    hand.pass(24 * HOUR)
    expect(log).to.deep.equal([0])
  })

  it('waits on when the clock is set back, in the last minute and before it', () => {
    for (const before of [90_000, 1000]) {
      const hand = new Hand()
      const log: number[] = []
      const expiresAt = hand.now + HOUR
      hand.use(() => awaitExpiry({ expiresAt, expired: () => log.push(hand.now - expiresAt) }))
      hand.pass(HOUR - before)
      hand.now -= HOUR
      // The timers count on: they fire too early by the clock.
      for (const timer of hand.timers.values()) timer.due -= HOUR
      hand.pass(HOUR + before - 1)
      expect(log).to.deep.equal([])
      hand.pass(1)
      expect(log).to.deep.equal([0])
    }
  })

  it('keeps no connection that has closed', async () => {
    setFlagsFromString('--expose-gc')
    const gc = runInNewContext('gc') as () => void
    const gone = await (async () => {
      const { socket, connection } = await connected(() => {}, {
        expiresAt: () => Date.now() + HOUR,
      })
      socket.close()
      await connection.closed
      return new WeakRef(connection)
    })()
    await cleanUp()
    await eventually(() => (gc(), gone.deref() === undefined), 'the end of the connection')
  })
})

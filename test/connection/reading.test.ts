import { expect } from 'chai'
import type { Connection, Handler } from '../../lib/index.ts'
import { inTime, limitSite, pass, within } from '../support/limits.ts'
import { closeFrame, textFrame } from '../support/raw.ts'
import { cleanUp, deferred } from '../support/server.ts'

describe('reading from a client', function () {
  this.timeout(20_000)
  afterEach(cleanUp)

  const many = (count: number, from = 0): Buffer =>
    Buffer.concat(Array.from({ length: count }, (_, i) => textFrame(String(from + i))))

  async function made(handler: Handler, flood: { messages: number; per: number } | false = false) {
    const site = await limitSite({ heartbeat: false, flood, closeTimeout: 1_000 }, handler)
    return { site, ...(await site.raw()) }
  }

  const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => String(i))

  /** A handler that begins to listen when it is told. */
  function late(): { handler: Handler; seen: string[]; listen: () => void } {
    const seen: string[] = []
    const begin = deferred()
    return {
      seen,
      listen: begin.resolve,
      handler: async (connection) => {
        await begin.promise
        connection.on('message', (data) => seen.push(String(data)))
      },
    }
  }

  it('stops when the user pauses, and goes on when he resumes, once for any number', async () => {
    const seen: string[] = []
    const { client, connection } = await made((one) => {
      one.on('message', (data) => seen.push(String(data)))
    })
    expect(connection.isPaused).to.equal(false)
    connection.pause()
    connection.pause()
    expect(connection.isPaused).to.equal(true)
    client.write(many(3))
    await pass(150)
    expect(seen).to.deep.equal([])
    connection.resume()
    expect(connection.isPaused).to.equal(false)
    await within(3_000, () => seen.length === 3, 'the messages')
    connection.resume()
    client.write(many(1, 3))
    await within(3_000, () => seen.length === 4, 'one more')
    expect(seen).to.deep.equal(numbers(4))
  })

  it('stops when 64 messages wait for a listener, and not below; resume() does not help', async () => {
    const { handler, seen, listen } = late()
    const { client, connection } = await made(handler)
    client.write(many(63))
    await pass(150)
    expect(connection.isPaused).to.equal(false)
    client.write(many(1, 63))
    await within(3_000, () => connection.isPaused, 'the pause')
    connection.resume()
    expect(connection.isPaused).to.equal(true)
    client.write(many(10, 64))
    await pass(150)
    expect(connection.isPaused).to.equal(true)
    listen()
    await within(3_000, () => seen.length === 74, 'all')
    expect(connection.isPaused).to.equal(false)
    expect(seen).to.deep.equal(numbers(74))
  })

  it('stays stopped by the user when a listener has come', async () => {
    const { handler, seen, listen } = late()
    const { client, connection } = await made(handler)
    client.write(many(64))
    await within(3_000, () => connection.isPaused, 'the pause')
    connection.pause()
    listen()
    await within(3_000, () => seen.length === 64, 'what waited')
    client.write(many(1, 64))
    await pass(150)
    expect(connection.isPaused).to.equal(true)
    expect(seen.length).to.equal(64)
    connection.resume()
    await within(3_000, () => seen.length === 65, 'the rest')
    expect(seen).to.deep.equal(numbers(65))
  })

  it('stops while a loop is busy, whatever the user does, and goes on for each of the two', async () => {
    const seen: string[] = []
    const go = deferred()
    const { client, connection } = await made(async (one) => {
      for await (const message of one) {
        seen.push(String(message))
        if (seen.length === 1) await go.promise
      }
    })
    client.write(many(1))
    await within(3_000, () => seen.length === 1, 'the first')
    client.write(many(15, 1))
    await pass(150)
    expect(connection.isPaused, '15 wait').to.equal(false)
    client.write(many(1, 16))
    await within(3_000, () => connection.isPaused, 'the pause')
    connection.resume()
    expect(connection.isPaused).to.equal(true)
    connection.pause()
    go.resolve()
    await within(3_000, () => seen.length === 17, 'what waited')
    client.write(many(1, 17))
    await pass(150)
    expect(connection.isPaused).to.equal(true)
    expect(seen.length).to.equal(17)
    connection.resume()
    await within(3_000, () => seen.length === 18, 'the rest')
    expect(seen).to.deep.equal(numbers(18))
  })

  it('goes on when a loop that was behind is left', async () => {
    const seen: string[] = []
    const left = deferred()
    const go = deferred()
    const { client, connection } = await made(async (one) => {
      for await (const _ of one) {
        await go.promise
        break
      }
      one.on('message', (data) => seen.push(String(data)))
      left.resolve()
    })
    client.write(many(30))
    await within(3_000, () => connection.isPaused, 'the pause')
    go.resolve()
    await left.promise
    expect(connection.isPaused).to.equal(false)
    client.write(textFrame('after'))
    await within(3_000, () => seen.includes('after'), 'the next')
  })

  it('goes on only when user, inbox, loop and flood have all let go', async () => {
    const seen: string[] = []
    const listen = deferred()
    const consume = deferred()
    const { site, client, connection } = await made(
      async (one) => {
        await listen.promise
        for await (const message of one) {
          seen.push(String(message))
          if (seen.length === 1) await consume.promise
        }
      },
      { messages: 96, per: 1_500 },
    )
    const began = performance.now()
    client.write(many(300))
    await within(3_000, () => site.drops('flood') === 1, 'the flood')
    connection.pause()
    expect(connection.isPaused).to.equal(true)
    listen.resolve()
    await within(3_000, () => seen.length === 1, 'the loop')
    expect(connection.isPaused).to.equal(true)
    consume.resolve()
    await within(3_000, () => seen.length === 300, 'what waited')
    expect(connection.isPaused).to.equal(true)
    client.write(many(1, 300))
    // 300 are four windows of 96: three must be waited for.
    await pass(Math.max(0, 4_500 + 400 - (performance.now() - began)))
    expect(connection.isPaused, 'only the user is left').to.equal(true)
    expect(seen.length).to.equal(300)
    connection.resume()
    expect(connection.isPaused).to.equal(false)
    await within(3_000, () => seen.length === 301, 'the rest')
    expect(seen).to.deep.equal(numbers(301))
  })

  it('of a handler that never listens goes on when it ends, unless the user has paused', async () => {
    for (const paused of [false, true]) {
      const end = deferred()
      const seen: string[] = []
      const { site, client, connection } = await made(() => end.promise)
      client.write(many(100))
      await within(3_000, () => connection.isPaused, 'the pause')
      if (paused) connection.pause()
      end.resolve()
      await within(3_000, () => site.drops('unheard') >= 64, 'the discarding')
      connection.on('message', (data) => seen.push(String(data)))
      client.write(textFrame('later'))
      if (paused) {
        await pass(150)
        expect(connection.isPaused).to.equal(true)
        expect(seen).not.to.include('later')
        connection.resume()
      }
      await within(3_000, () => seen.includes('later'), 'the message')
      await cleanUp()
    }
  })

  describe('that is stopped while we close', () => {
    const stops: Record<string, (connection: Connection) => void> = {
      'by the user': (connection) => connection.pause(),
      'by nobody': () => {},
    }
    for (const [who, stop] of Object.entries(stops)) {
      it(`${who}: the close frame of the client is seen`, async () => {
        const { client, connection } = await made((one) => {
          one.on('message', () => {})
        })
        stop(connection)
        client.write(many(10))
        connection.close(4000, 'bye')
        expect(await client.closeCode()).to.equal(4000)
        client.write(closeFrame(4000, 'bye'))
        expect(await inTime(800, connection.closed, 'closed')).to.deep.equal({
          code: 4000,
          reason: 'bye',
          clean: true,
        })
      })
    }

    it('by an inbox, with messages that nobody heard', async () => {
      const { client, connection } = await made(() => new Promise(() => {}))
      client.write(many(500))
      await within(3_000, () => connection.isPaused, 'the pause')
      connection.close(4000, 'bye')
      expect(await client.closeCode()).to.equal(4000)
      client.write(closeFrame(4000, 'bye'))
      expect(await inTime(800, connection.closed, 'closed')).to.include({ code: 4000, clean: true })
    })

    it('by pause() after close(): the close frame is seen all the same', async () => {
      const { client, connection } = await made((one) => {
        one.on('message', () => {})
      })
      connection.close(4000, 'bye')
      connection.pause()
      expect(await client.closeCode()).to.equal(4000)
      client.write(closeFrame(4000, 'bye'))
      expect(await inTime(3_000, connection.closed, 'closed')).to.include({ code: 4000 })
    })
  })
})

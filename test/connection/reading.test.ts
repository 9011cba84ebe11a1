import { expect } from 'chai'
import type { Connection, Handler } from '../../lib/index.ts'
import { LibTimers, limitSite, pass, settles, until } from '../support/limits.ts'
import { closeFrame, textFrame } from '../support/raw.ts'
import { cleanUp, deferred } from '../support/server.ts'

describe('reading from a client', () => {
  afterEach(cleanUp)

  const many = (count: number, from = 0): Buffer =>
    Buffer.concat(Array.from({ length: count }, (_, i) => textFrame(String(from + i))))

  async function made(handler: Handler, flood: { messages: number; per: number } | false = false) {
    const site = await limitSite({ heartbeat: false, flood, closeTimeout: 1_000 }, handler)
    return { site, ...(await site.raw()) }
  }

  const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => String(i))

  /** Returns a handler that starts to listen on demand. */
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

  it('stops with pause() and continues with resume(), after any number of calls', async () => {
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
    await until(() => seen.length === 3, 'the messages')
    connection.resume()
    client.write(many(1, 3))
    await until(() => seen.length === 4, 'one more')
    expect(seen).to.deep.equal(numbers(4))
  })

  it('stops at 64 messages without a listener, and resume() does not override that', async () => {
    const { handler, seen, listen } = late()
    const { client, connection } = await made(handler)
    client.write(many(63))
    await pass(150)
    expect(connection.isPaused).to.equal(false)
    client.write(many(1, 63))
    await until(() => connection.isPaused, 'the pause')
    connection.resume()
    expect(connection.isPaused).to.equal(true)
    client.write(many(10, 64))
    await pass(150)
    expect(connection.isPaused).to.equal(true)
    listen()
    await until(() => seen.length === 74, 'all')
    expect(connection.isPaused).to.equal(false)
    expect(seen).to.deep.equal(numbers(74))
  })

  it('stays paused by the application after a listener is added', async () => {
    const { handler, seen, listen } = late()
    const { client, connection } = await made(handler)
    client.write(many(64))
    await until(() => connection.isPaused, 'the pause')
    connection.pause()
    listen()
    await until(() => seen.length === 64, 'what waited')
    client.write(many(1, 64))
    await pass(150)
    expect(connection.isPaused).to.equal(true)
    expect(seen.length).to.equal(64)
    connection.resume()
    await until(() => seen.length === 65, 'the rest')
    expect(seen).to.deep.equal(numbers(65))
  })

  it('stops while a loop is behind, independently of pause() and resume() of the application', async () => {
    const seen: string[] = []
    const go = deferred()
    const { client, connection } = await made(async (one) => {
      for await (const message of one) {
        seen.push(String(message))
        if (seen.length === 1) await go.promise
      }
    })
    client.write(many(1))
    await until(() => seen.length === 1, 'the first')
    client.write(many(15, 1))
    await pass(150)
    expect(connection.isPaused, '15 wait').to.equal(false)
    client.write(many(1, 16))
    await until(() => connection.isPaused, 'the pause')
    connection.resume()
    expect(connection.isPaused).to.equal(true)
    connection.pause()
    go.resolve()
    await until(() => seen.length === 17, 'what waited')
    client.write(many(1, 17))
    await pass(150)
    expect(connection.isPaused).to.equal(true)
    expect(seen.length).to.equal(17)
    connection.resume()
    await until(() => seen.length === 18, 'the rest')
    expect(seen).to.deep.equal(numbers(18))
  })

  it('continues when a loop that is behind breaks', async () => {
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
    await until(() => connection.isPaused, 'the pause')
    go.resolve()
    await left.promise
    expect(connection.isPaused).to.equal(false)
    client.write(textFrame('after'))
    await until(() => seen.includes('after'), 'the next')
  })

  it('continues only when application, inbox, loop and flood limit all allow it', async () => {
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
    const timers = new LibTimers()
    client.write(many(300))
    await until(() => site.drops('flood') === 1, 'the flood')
    connection.pause()
    expect(connection.isPaused).to.equal(true)
    listen.resolve()
    await until(() => seen.length === 1, 'the loop')
    expect(connection.isPaused).to.equal(true)
    consume.resolve()
    await until(() => seen.length === 300, 'what waited')
    expect(connection.isPaused).to.equal(true)
    client.write(many(1, 300))
    // 300 messages are four windows of 96: three windows pass first.
    await until(() => timers.of('connection/flood') === 0, 'the end of the flood')
    timers.stop()
    expect(connection.isPaused, 'only the user is left').to.equal(true)
    expect(seen.length).to.equal(300)
    connection.resume()
    expect(connection.isPaused).to.equal(false)
    await until(() => seen.length === 301, 'the rest')
    expect(seen).to.deep.equal(numbers(301))
  })

  it('continues after a handler that never listened, unless the application has paused', async () => {
    for (const paused of [false, true]) {
      const end = deferred()
      const seen: string[] = []
      const { site, client, connection } = await made(() => end.promise)
      client.write(many(100))
      await until(() => connection.isPaused, 'the pause')
      if (paused) connection.pause()
      end.resolve()
      await until(() => site.drops('unheard') >= 64, 'the discarding')
      connection.on('message', (data) => seen.push(String(data)))
      client.write(textFrame('later'))
      if (paused) {
        await pass(150)
        expect(connection.isPaused).to.equal(true)
        expect(seen).not.to.include('later')
        connection.resume()
      }
      await until(() => seen.includes('later'), 'the message')
      await cleanUp()
    }
  })

  describe('during close()', () => {
    const stops: Record<string, (connection: Connection) => void> = {
      'while paused': (connection) => connection.pause(),
      'while reading': () => {},
    }
    for (const [who, stop] of Object.entries(stops)) {
      it(`sees the close frame of the client ${who}`, async () => {
        const { client, connection } = await made((one) => {
          one.on('message', () => {})
        })
        stop(connection)
        client.write(many(10))
        connection.close(4000, 'bye')
        expect(await client.closeCode()).to.equal(4000)
        client.write(closeFrame(4000, 'bye'))
        expect(await settles(connection.closed, 'closed')).to.deep.equal({
          code: 4000,
          reason: 'bye',
          clean: true,
        })
      })
    }

    it('sees the close frame of the client behind a full inbox', async () => {
      const { client, connection } = await made(() => new Promise(() => {}))
      client.write(many(500))
      await until(() => connection.isPaused, 'the pause')
      connection.close(4000, 'bye')
      expect(await client.closeCode()).to.equal(4000)
      client.write(closeFrame(4000, 'bye'))
      expect(await settles(connection.closed, 'closed')).to.include({ code: 4000, clean: true })
    })

    it('sees the close frame of the client when pause() follows close()', async () => {
      const { client, connection } = await made((one) => {
        one.on('message', () => {})
      })
      connection.close(4000, 'bye')
      connection.pause()
      expect(await client.closeCode()).to.equal(4000)
      client.write(closeFrame(4000, 'bye'))
      expect(await settles(connection.closed, 'closed')).to.include({ code: 4000 })
    })
  })
})

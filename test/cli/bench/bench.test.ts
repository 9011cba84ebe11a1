import { createServer, type Server } from 'node:http'
import { expect } from 'chai'
import type { BenchResult } from '../../../lib/cli/bench/bench.ts'
import { accept, messages } from '../../../lib/index.ts'
import { cleanUp, listen, serve } from '../../support/server.ts'
import { run } from '../support/run.ts'

/** Runs `koaws bench --json`. */
async function measure(
  url: string,
  ...options: string[]
): Promise<BenchResult & { code: number; bounds: unknown }> {
  const { code, out, err } = await run(['bench', '--json', url, ...options])
  if (err !== '') throw new Error(err)
  return { code, ...JSON.parse(out) }
}

describe('koaws bench', () => {
  afterEach(cleanUp)

  it('measures echoes, and never holds more sockets than its bound', async () => {
    let [open, most, total] = [0, 0, 0]
    const { port, server } = await serve((app) => {
      app.use(
        accept((connection) => {
          connection.on('message', (data) => connection.send(data.toString()))
        }),
      )
    })
    server.on('connection', (socket) => {
      total++
      most = Math.max(most, ++open)
      socket.on('close', () => open--)
    })
    const result = await measure(`ws://127.0.0.1:${port}/`, '--clients=30', '--seconds=1')
    expect(result).to.include({ code: 0, opened: 30, trip: 'echo', interrupted: false })
    expect(result.bounds).to.deep.equal({ clients: 30, seconds: 1, rate: 10 })
    expect(result.failures).to.deep.equal({})
    expect(result.connect.count).to.equal(30)
    expect(result.trips.count).to.be.within(1, 30 * 11)
    expect(result.trips.p50).to.be.above(0)
    expect(result.trips.p99).to.be.at.least(result.trips.p50)
    expect(result.trips.max).to.be.at.least(result.trips.p50)
    expect(result.connectRate).to.be.above(0)
    expect([total, most]).to.deep.equal([30, 30])
  })

  it('measures pings where the server echoes no text, and sends no message with --ping', async () => {
    let messagesSeen = 0
    const { port } = await serve((app) => {
      app.use(accept((connection) => connection.on('message', () => messagesSeen++)))
    })
    const url = `ws://127.0.0.1:${port}/`
    expect(await measure(url, '--clients=3', '--seconds=0.2')).to.include({ code: 0, trip: 'ping' })
    expect(messagesSeen).to.equal(1)
    const quiet = await measure(url, '--clients=3', '--seconds=0.2', '--ping')
    expect(quiet.trips.count).to.be.above(0)
    expect(messagesSeen).to.equal(1)
    const { out } = await run(['bench', url, '--clients=2', '--seconds=0.2'])
    expect(out).to.match(/at most 2 sockets at a time, 0\.2 s, 10 round trips/)
    expect(out).to.match(/Ping {11}\d+ round trips.*\(the server echoes no text\)/)
  })

  it('offers a subprotocol, and the origin of the address', async () => {
    const { port } = await serve((app) => app.use(accept(messages())))
    const url = `ws://127.0.0.1:${port}/`
    const spoken = await measure(url, '--clients=2', '--seconds=0.2', '--protocol=koaws.v1')
    expect(spoken).to.include({ code: 0, opened: 2, trip: 'ping' })
    const foreign = await measure(url, '--clients=2', '--seconds=0.2', '--origin=https://a.example')
    expect(foreign).to.deep.include({ code: 1, opened: 0, failures: { 'status 403': 2 } })
  })

  it('counts failures by reason', async () => {
    let seen = 0
    const { port } = await serve((app) => {
      app.use((ctx, next) => {
        if (++seen % 2 === 0) ctx.throw(503)
        return next()
      })
      app.use(accept((connection) => connection.on('ping', () => connection.close(4000, 'enough'))))
    })
    const result = await measure(
      `ws://127.0.0.1:${port}/`,
      '--clients=10',
      '--seconds=60',
      '--ping',
    )
    expect(result).to.include({ code: 1, opened: 5 })
    expect(result.failures).to.deep.equal({ 'status 503': 5, 'closed with 4000': 5 })
    await cleanUp()
    const down = await measure(`ws://127.0.0.1:${port}/`, '--clients=3', '--seconds=0.2')
    expect(down).to.deep.include({ code: 1, opened: 0, failures: { ECONNREFUSED: 3 } })
    expect(down.trips).to.deep.equal({ count: 0, p50: 0, p99: 0, max: 0 })
  })

  it('closes its clients with 1000, and prints the figures, at SIGINT', async () => {
    const codes: number[] = []
    let interrupt = (): void => {}
    const { port } = await serve((app) => {
      app.use(
        accept((connection) => {
          connection.on('close', (code) => codes.push(code))
          // The first round trip comes when every client is open.
          connection.on('ping', () => interrupt())
        }),
      )
    })
    const { code, out } = await run(
      ['bench', `ws://127.0.0.1:${port}/`, '--clients=5', '--seconds=600', '--ping'],
      {
        onInterrupt: (listener) => {
          interrupt = listener
          return () => {}
        },
      },
    )
    expect(code).to.equal(0)
    expect(out).to.match(/Opened {9}5 clients/)
    expect(out).to.include('by Ctrl+C')
    expect(codes).to.deep.equal([1000, 1000, 1000, 1000, 1000])
  })

  it('stops at SIGINT while handshakes hang', async () => {
    const server: Server = createServer()
    let hanging = 0
    let interrupt = (): void => {}
    server.on('upgrade', (_req, socket) => {
      socket.on('error', () => {}).on('end', () => socket.destroy())
      socket.resume()
      if (++hanging === 20) interrupt()
    })
    const port = await listen(server)
    const { out } = await run(['bench', `ws://127.0.0.1:${port}/`, '--clients=50'], {
      onInterrupt: (listener) => {
        interrupt = listener
        return () => {}
      },
    })
    expect(out).to.match(/Opened {9}0 clients/)
    expect(hanging).to.equal(20)
  })

  it('rejects a wrong bound', async () => {
    for (const option of [
      '--clients=0',
      '--clients=10001',
      '--clients=1.5',
      '--seconds=0',
      '--rate=x',
    ]) {
      const { code, err } = await run(['bench', 'ws://127.0.0.1:1/', option])
      expect(code, option).to.equal(2)
      expect(err).to.include(option.split('=')[0])
    }
  })
})

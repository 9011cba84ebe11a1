import { expect } from 'chai'
import { createWebSocketStream } from 'ws'
import type { Connection, KoaWsOptions } from '../../lib/index.ts'
import type { TestSocket } from '../../lib/testing/index.ts'
import { KIB, type LimitSite, limitSite, MIB, pass, stuff } from '../support/limits.ts'
import { cleanUp, eventually, turn } from '../support/server.ts'

const DROP = {
  heartbeat: false,
  flood: false,
  closeTimeout: 500,
  maxBufferedAmount: 16 * KIB,
  slowConsumer: 'drop',
} as const

/**
 * Above this many bytes, whole messages are dropped, and a message in parts ends the connection.
 */
const LAST_LIMIT = 16 * DROP.maxBufferedAmount
/** The upper limit for messages in parts of the property test, in bytes. */
const MOST_IN_PARTS = 100_000

/** Returns reproducible numbers from 0 to 1 for a seed. */
function random(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x6d2b79f5) >>> 0
    return ((state ^ (state >>> 13)) >>> 0) / 2 ** 32
  }
}

/** Counts the calls of each callback. */
class Callbacks {
  readonly calls: number[] = []

  next(): (error?: Error | null) => void {
    const index = this.calls.push(0) - 1
    return () => {
      this.calls[index] = (this.calls[index] as number) + 1
    }
  }

  /** Expects that every callback was called exactly once. */
  async settled(): Promise<void> {
    await eventually(() => this.calls.every((calls) => calls > 0), 'a callback')
    await turn()
    expect(this.calls.filter((calls) => calls !== 1)).to.deep.equal([])
  }
}

describe("a connection with slowConsumer: 'drop'", () => {
  afterEach(cleanUp)

  const kinds: [string, KoaWsOptions][] = [
    ['uncompressed', {}],
    ['compressed with context takeover', { perMessageDeflate: true }],
    [
      'compressed without context takeover',
      { perMessageDeflate: { serverNoContextTakeover: true, threshold: 10 } },
    ],
  ]

  async function stalled(site: LimitSite): Promise<{ socket: TestSocket; connection: Connection }> {
    const made = await site.socket()
    made.socket.pause()
    // Above 16 times the limit at once: a client that takes nothing for long gets no more.
    await stuff(made.connection, 16 * DROP.maxBufferedAmount + 1)
    expect(made.connection.bufferedAmount).to.be.above(16 * DROP.maxBufferedAmount)
    return made
  }

  async function recover(socket: TestSocket, connection: Connection): Promise<void> {
    socket.resume()
    await eventually(() => connection.bufferedAmount === 0, 'the taking')
  }

  /** Reads until this text arrives, and returns the earlier messages. */
  async function readUntil(socket: TestSocket, last: string): Promise<(string | Buffer)[]> {
    const all: (string | Buffer)[] = []
    for (;;) {
      const message = (await socket.next()) as string | Buffer
      if (message === last) return all
      all.push(message)
    }
  }

  it('calls back for each pong, and stays open for a client that recovers after 200 pings', async () => {
    const site = await limitSite(DROP)
    const { socket, connection } = await stalled(site)
    let pings = 0
    connection.on('ping', () => pings++)
    for (let i = 1; i <= 200; i++) {
      socket.ping(String(i))
      if (i % 20 === 0) await eventually(() => pings === i, 'the pings')
    }
    expect(connection.readyState).to.equal(1)
    await recover(socket, connection)
    const pong = new Promise<string>((resolve) => {
      socket.on('pong', (data) => String(data) === 'recovered' && resolve('recovered'))
    })
    socket.ping('recovered')
    expect(await pong).to.equal('recovered')
    expect(connection.readyState).to.equal(1)
  })

  it('passes ERR_KOAWS_SLOW_CONSUMER to the callbacks of pong() and ping(), in each form of their arguments', async () => {
    const site = await limitSite(DROP)
    const { connection } = await stalled(site)
    const errors = await Promise.all([
      new Promise((resolve) => connection.pong('a', false, resolve)),
      new Promise((resolve) => connection.pong('b', resolve as never)),
      new Promise((resolve) => connection.pong(resolve as never)),
      new Promise((resolve) => connection.ping('c', false, resolve)),
      new Promise((resolve) => connection.ping(resolve as never)),
    ])
    for (const error of errors) expect(error).to.have.property('code', 'ERR_KOAWS_SLOW_CONSUMER')
  })

  for (const [what, control] of [
    [
      'a ping from the client',
      async (socket: TestSocket, connection: Connection) => {
        const pinged = new Promise((resolve) => connection.once('ping', resolve))
        socket.ping('between')
        await pinged
      },
    ],
    ['a ping from the server', (_socket: TestSocket, connection: Connection) => connection.ping()],
    ['a pong from the server', (_socket: TestSocket, connection: Connection) => connection.pong()],
  ] as const) {
    it(`drops all parts of a message with ${what} in the middle`, async () => {
      const site = await limitSite(DROP)
      const { socket, connection } = await stalled(site)
      connection.send('first,', { fin: false })
      await control(socket, connection)
      await recover(socket, connection)
      connection.send('second,', { fin: false })
      connection.send('third', { fin: true })
      connection.send('whole')
      connection.send('end')
      const texts = (await readUntil(socket, 'end')).filter((one) => typeof one === 'string')
      expect(texts).to.deep.equal(['whole'])
    })
  }

  it('counts broadcasts that are queued behind a message in parts, and dropped when it ends', async () => {
    const site = await limitSite({ ...DROP, maxBufferedAmount: MIB })
    const { socket, connection } = await site.socket()
    socket.pause()
    connection.send('begun,', { fin: false })
    expect(site.hub.all().send('held').local).to.equal(1)
    connection.send(Buffer.alloc(12 * MIB), { fin: false })
    await eventually(() => site.hub.all().send('stalled?').dropped === 1, 'the stall')
    const before = site.drops('dropped')
    connection.send('end', { fin: true })
    expect(connection.readyState).to.equal(1)
    expect(site.drops('dropped')).to.be.above(before)
  })

  for (const [kind, options] of kinds) {
    it(`closes with 4610 when a message in parts exceeds 16 times the limit: ${kind}`, async () => {
      const site = await limitSite({ ...DROP, ...options })
      const { socket, connection } = await site.socket()
      socket.pause()
      const part = Buffer.alloc(MIB)
      // ws compresses until the first result arrives; then all parts are in its queue.
      for (let i = 0; i < 64 && connection.readyState === 1; i++) {
        connection.send(part, { fin: false })
      }
      socket.resume()
      expect((await connection.closed).code).to.equal(4610)
      expect(site.drops('slowConsumer')).to.equal(1)
    })
  }

  for (const [kind, options] of kinds.slice(1)) {
    it(`stays open when whole messages await compression, and drops the rest: ${kind}`, async () => {
      const site = await limitSite({ ...DROP, ...options })
      const { socket, connection } = await site.socket()
      for (let i = 0; i < 20; i++) connection.send(String(i).padEnd(40_000))
      expect(site.drops('dropped')).to.equal(13) // the eighth comes after 280,000 bytes
      await eventually(() => connection.bufferedAmount === 0, 'the taking')
      connection.send('end')
      const texts = (await readUntil(socket, 'end')).map((one) => Number(one))
      expect(texts).to.deep.equal([0, 1, 2, 3, 4, 5, 6])
      expect(connection.readyState).to.equal(1)
    })
  }

  it('emits the error on a stream of createWebSocketStream, and calls each callback once', async () => {
    const site = await limitSite(DROP)
    const { connection } = await stalled(site)
    const stream = createWebSocketStream(connection)
    const callbacks = new Callbacks()
    const failed = new Promise<Error>((resolve) => stream.on('error', resolve))
    for (let i = 0; i < 5; i++) stream.write(`part ${i}`, callbacks.next())
    expect(await failed).to.have.property('code', 'ERR_KOAWS_SLOW_CONSUMER')
    await callbacks.settled()
  })

  const seeds = [Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))]
  for (const [kind, options] of kinds) {
    for (const seed of seeds) {
      for (const end of ['close', 'terminate'] as const) {
        it(`settles every callback once and delivers whole messages in order: ${kind}, ${end}, seed ${seed}`, async () => {
          // On a busy machine too, the client gets the close frame in time.
          const site = await limitSite({ ...DROP, closeTimeout: 60_000, ...options })
          await play(site, seed, end)
        })
      }
    }
  }

  /** Plays random sends, pings, pongs and parts, while the client stalls and recovers. */
  async function play(site: LimitSite, seed: number, end: 'close' | 'terminate'): Promise<void> {
    const chance = random(seed)
    const { socket, connection } = await site.socket()
    const callbacks = new Callbacks()
    const sent = new Map<string, number>()
    const received: string[] = []
    socket.on('message', (data, binary) => {
      if ((data as Buffer).length < MIB) received.push(`${binary ? 'b' : 't'}${String(data)}`)
    })
    let number = 0
    let parts: { name: string; text: string; binary: boolean } | null = null
    // Returns text that barely compresses.
    const filler = (size: number): string => {
      let text = ''
      while (text.length < size) text += chance().toString(36).slice(2)
      return text
    }
    const remember = (text: string, binary: boolean): void => {
      sent.set(`${binary ? 'b' : 't'}${text}`, number++)
    }
    const step = (): void => {
      const dice = chance()
      const size = chance() < 0.2 ? 40_000 : chance() * 300
      if (dice < 0.1) connection.ping(String(number), false, callbacks.next())
      else if (dice < 0.2) connection.pong(String(number), false, callbacks.next())
      else if (dice < 0.35) socket.ping(String(number))
      else if (parts === null && dice < 0.7) {
        const binary = chance() < 0.5
        const text = `${number}:${filler(size)}`
        remember(text, binary)
        connection.send(binary ? Buffer.from(text) : text, callbacks.next())
      } else if (parts === null) {
        const binary = chance() < 0.5
        const text = `${number}:${filler(size)},`
        // Whether this fits is open: compression may be far behind, even for a client that reads.
        const room = LAST_LIMIT - connection.bufferedAmount
        if (room >= 0 && room < MOST_IN_PARTS) return
        parts = { name: String(number), text, binary }
        connection.send(text, { fin: false, binary }, callbacks.next())
      } else {
        const text = `${parts.name}:${filler(size)},`
        const fin = chance() < 0.5 || parts.text.length > MOST_IN_PARTS / 2
        parts.text += text
        connection.send(text, { fin, binary: parts.binary }, callbacks.next())
        if (!fin) return
        remember(parts.text, parts.binary)
        parts = null
      }
    }
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 20; i++) {
        step()
        if (chance() < 0.2) await turn()
      }
      while (parts !== null) step()
      socket.pause()
      // More than the kernel buffers; the client ignores it.
      connection.send(Buffer.alloc(8 * MIB), { compress: false }, callbacks.next())
      await turn()
      for (let i = 0; i < 80 && connection.readyState === 1; i++) {
        step()
        if (chance() < 0.3) await turn()
      }
      if (chance() < 0.5) await pass(300)
      socket.resume()
      // Several stalls at once would exceed the last limit.
      await eventually(() => connection.bufferedAmount === 0, 'the taking')
    }
    while (parts !== null) step()
    if (end === 'close') {
      await eventually(() => connection.bufferedAmount === 0, 'the taking')
      const last = 'the end'
      remember(last, false)
      connection.send(last, callbacks.next())
      connection.close(4000)
      expect((await socket.closed).code).to.equal(4000)
      expect(received.at(-1)).to.equal('tthe end')
    } else {
      connection.terminate()
      expect((await socket.closed).code).to.equal(1006)
    }
    expect(site.drops('dropped'), 'it was to drop').to.be.above(0)
    const numbers = received.map((one) => sent.get(one))
    expect(numbers, 'only whole messages').not.to.include(undefined)
    expect(numbers).to.deep.equal([...(numbers as number[])].sort((a, b) => a - b))
    expect(new Set(numbers).size).to.equal(numbers.length)
    await callbacks.settled()
  }
})

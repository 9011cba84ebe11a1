import { expect } from 'chai'
import { WebSocket } from 'ws'
import { type Client, type ClientState, connect } from '../../lib/client/index.ts'
import { accept, type Hub, messages } from '../../lib/index.ts'
import { cleanUp, serve } from '../support/server.ts'
import { SlowLink } from '../support/slow-link.ts'

const MIB = 2 ** 20
const LARGE = MIB - 100
/** 1 MiB takes about 8 s. The client pings after 1 s of silence, and waits 5 s for the answer. */
const RATE = { bytes: 3_300, every: 25 }
/** Scaled like the rate: by default the server pings every 25 s, and 20 KB/s take 52 s. */
const HEARTBEAT = { interval: 550, timeout: 220 }

interface Line {
  readonly client: Client<Record<string, object>>
  readonly hub: Hub
  readonly link: SlowLink
  /** How each connection ended on the server. */
  readonly gone: unknown[]
  /** Resolves with the next message of a type; rejects when the connection ends. */
  next(type: string): Promise<unknown>
  reached(status: ClientState['status']): Promise<ClientState>
}

/** All scenarios run at the same time, each on its own link. */
const scenarios: Record<string, (line: Line) => Promise<void>> = {
  'carries a push of 1 MiB': async ({ client, next }) => {
    client.push('more', LARGE)
    expect(await next('file')).to.have.lengthOf(LARGE)
  },
  'carries a push of 1 MiB to a room': async ({ client, next }) => {
    client.push('room', LARGE)
    expect(await next('file')).to.have.lengthOf(LARGE)
  },
  'carries a reply of 1 MiB': async ({ client }) => {
    expect(await client.request('fetch', LARGE)).to.have.lengthOf(LARGE)
  },
  'carries a request of 1 MiB from the server': async ({ client }) => {
    client.on('take', (data) => (data as string).length)
    expect(await client.request('ask', LARGE)).to.equal(LARGE)
  },
  'carries an upload of 1 MiB': async ({ client }) => {
    expect(await client.request('put', 'x'.repeat(LARGE))).to.equal(LARGE)
  },
}

/** In each of these scenarios the link dies, and both ends detect it. */
const deaths: Record<string, (line: Line) => Promise<void>> = {
  'dies while idle, and both ends close': async () => {},
  'dies in the middle of a message from the server, and both ends close': async ({
    client,
    link,
  }) => {
    client.push('more', 40 * 1024)
    while (link.passed.down < 10_000) await tick()
  },
  'dies in the middle of an upload, and both ends close': async ({ client, link }) => {
    client.push('put', 'x'.repeat(40 * 1024))
    while (link.passed.up < 10_000) await tick()
  },
}

function tick(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 5))
}

describe('a slow link', function () {
  this.timeout(120_000)
  const ends: (() => void)[] = []
  const running = new Map<string, Promise<void>>()

  before(() => {
    for (const [name, play] of Object.entries(scenarios)) {
      running.set(
        name,
        start().then((line) => carry(line, play)),
      )
    }
    for (const [name, play] of Object.entries(deaths)) {
      running.set(
        name,
        start().then((line) => die(line, play)),
      )
    }
    for (const run of running.values()) run.catch(() => {}) // each test awaits its own
  })
  after(async () => {
    for (const end of ends.splice(0)) end()
    await cleanUp()
  })

  for (const name of [...Object.keys(scenarios), ...Object.keys(deaths)]) {
    it(`${name}`, () => running.get(name))
  }

  async function carry(line: Line, play: (line: Line) => Promise<void>): Promise<void> {
    const ended = line.reached('waiting').then((state) => {
      throw new Error(`the connection ended: ${JSON.stringify(state)}`)
    })
    await Promise.race([play(line), ended])
    expect(await line.client.request('put', 'still here')).to.equal(10)
    expect(line.gone).to.deep.equal([])
  }

  async function die(line: Line, play: (line: Line) => Promise<void>): Promise<void> {
    await play(line)
    line.link.goDead()
    expect(await line.reached('waiting')).to.include({ code: 1006, reason: 'no answer to a ping' })
    while (line.gone.length === 0) await tick()
    expect(line.gone).to.deep.include({ code: 4408, reason: 'heartbeat missed', clean: false })
  }

  async function start(): Promise<Line> {
    const gone: unknown[] = []
    const chat = messages({ maxMessage: 2 * MIB })
      .on('more', ({ connection, data }) => connection.push('file', 'x'.repeat(data as number)))
      .on('ask', ({ connection, data }) =>
        connection.request('take', 'x'.repeat(data as number), { timeout: 100_000 }),
      )
      .on('fetch', ({ data }) => 'x'.repeat(data as number))
      .on('put', ({ data }) => (data as string).length)
      .on('room', ({ connection, data }) => {
        connection.join('all')
        chat.room(hub, 'all').push('file', 'x'.repeat(data as number))
      })
    const { hub, port } = await serve((app) => app.use(accept(chat)), {
      heartbeat: HEARTBEAT,
      maxPayload: 4 * MIB,
      onDisconnect: (_connection, info) => gone.push(info),
    })
    const link = new SlowLink(port, RATE)
    const client = connect(`ws://127.0.0.1:${await link.listen()}/`, {
      WebSocket,
      timeout: 100_000,
      maxMessage: 2 * MIB,
      minDelay: 100_000,
      maxDelay: 100_001,
    })
    ends.push(client.close, () => link.close())
    const reached: Line['reached'] = (status) =>
      new Promise((resolve) => {
        const look = (): void => {
          if (client.state.status === status) resolve(client.state)
        }
        client.subscribe(look)
        look()
      })
    const next: Line['next'] = (type) => new Promise((resolve) => client.on(type, resolve))
    await reached('open')
    return { client, hub, link, gone, next, reached }
  }
})

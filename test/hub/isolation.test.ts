import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect } from 'chai'
import { accept, type Connection, type Hub, type KoaWsOptions } from '../../lib/index.ts'
import type { TestSocket } from '../../lib/testing/index.ts'
import {
  closeFrame,
  frame,
  handshake,
  pingFrame,
  type RawClient,
  type RawFrame,
  rawClient,
  textFrame,
} from '../support/raw.ts'
import { cleanUp, eventually, openSocket, type Site, serve, turn } from '../support/server.ts'

/** One place where application code can fail. */
interface Place {
  name: string
  handler?: (connection: Connection, hub: Hub) => unknown
  hooks?: Pick<KoaWsOptions, 'onConnect' | 'onDisconnect'>
  /** Runs in the chain, with an accept inside of it. */
  inside?: () => unknown
  /** Makes the application code fail, once the connection is open. */
  provoke?: (client: RawClient) => void
  /** The close code that the client gets. */
  code: number
}

const ROUNDS = 20
const BYSTANDERS = 3

function fail(): never {
  throw new Error('boom')
}
async function failLater(): Promise<never> {
  await turn()
  fail()
}
const say = (client: RawClient): void => client.write(textFrame('go'))
const leave = (client: RawClient): void => client.write(closeFrame(1000))
/** A frame with a reserved opcode. */
const misbehave = (client: RawClient): void => client.write(frame(3, 'x'))

const places: Place[] = [
  { name: 'the handler', handler: fail, code: 1011 },
  { name: 'the async handler', handler: failLater, code: 1011 },
  {
    name: 'the async handler, which rejects with undefined',
    handler: () => Promise.reject(undefined),
    code: 1011,
  },
  { name: 'the chain after an accept inside', inside: fail, code: 1011 },
  { name: 'the chain a while after an accept inside', inside: failLater, code: 1011 },
  {
    name: 'a loop over messages',
    handler: async (connection) => {
      for await (const _ of connection) fail()
    },
    provoke: say,
    code: 1011,
  },
  ...listenerPlaces('message', say, 1011),
  ...listenerPlaces('ping', (client) => client.write(pingFrame('x')), 1011),
  ...listenerPlaces('pong', (client) => client.write(frame(10, 'x')), 1011),
  // The client began the closing handshake, so its code stays.
  ...listenerPlaces('close', leave, 1000),
  // The close frame reports the bad frame, not the error of the listener.
  ...listenerPlaces('error', misbehave, 1002),
  {
    name: 'a listener of addEventListener',
    handler: (connection) => connection.addEventListener('message', fail),
    provoke: say,
    code: 1011,
  },
  {
    name: 'an async onmessage',
    handler: (connection) => {
      connection.onmessage = failLater
    },
    provoke: say,
    code: 1011,
  },
  {
    name: 'toJSON during a broadcast',
    handler: (connection, hub) => {
      connection.on('message', () => hub.room('hall').json({ toJSON: fail }))
    },
    provoke: say,
    code: 1011,
  },
  {
    name: 'toJSON of a push to one connection',
    handler: (connection, hub) => {
      connection.on('message', () => hub.connection(connection.id).push('x', { toJSON: fail }))
    },
    provoke: say,
    code: 1011,
  },
  {
    name: 'the name of a room',
    handler: (connection) => connection.on('message', () => connection.join('')),
    provoke: say,
    code: 1011,
  },
  { name: 'onConnect', hooks: { onConnect: fromLoser(fail) }, code: 1011 },
  { name: 'the async onConnect', hooks: { onConnect: fromLoser(failLater) }, code: 1011 },
  {
    name: 'onDisconnect',
    hooks: { onDisconnect: fromLoser(fail) },
    provoke: leave,
    code: 1000,
  },
  {
    name: 'the async onDisconnect',
    hooks: { onDisconnect: fromLoser(failLater) },
    provoke: leave,
    code: 1000,
  },
]

function listenerPlaces(
  event: 'message' | 'ping' | 'pong' | 'close' | 'error',
  provoke: (client: RawClient) => void,
  code: number,
): Place[] {
  return [
    {
      name: `the "${event}" listener`,
      handler: (connection) => connection.on(event, fail),
      provoke,
      code,
    },
    {
      name: `the async "${event}" listener`,
      handler: (connection) => connection.on(event, failLater),
      provoke,
      code,
    },
  ]
}

/** A hook that fails on the path /loser, and for no bystander. */
function fromLoser(act: () => unknown) {
  return (connection: Connection): unknown => (connection.path === '/loser' ? act() : undefined)
}

/** Sends a message to a room in each turn of the event loop. */
class Stream {
  sent = 0
  #running = true
  readonly #done: Promise<void>

  constructor(hub: Hub) {
    this.#done = this.#run(hub)
  }

  async stop(): Promise<void> {
    this.#running = false
    await this.#done
  }

  async #run(hub: Hub): Promise<void> {
    while (this.#running) {
      hub.room('hall').send(`news ${this.sent++}`)
      await turn()
    }
  }
}

/** The next frame that is neither news, a ping nor a pong. */
async function ownFrame(client: RawClient): Promise<RawFrame> {
  for (;;) {
    const one = await client.frame()
    const news = one.opcode === 1 && one.payload.toString().startsWith('news ')
    if (!news && one.opcode !== 9 && one.opcode !== 10) return one
  }
}

async function assertHeardAll(socket: TestSocket, sent: number): Promise<void> {
  for (let i = 0; i < sent; i++) expect(await socket.next()).to.equal(`news ${i}`)
}

describe('an application that throws', () => {
  afterEach(cleanUp)

  /** Serves bystanders and failing connections, all in one room. */
  async function room({ handler, hooks, inside }: Place): Promise<Site> {
    return serve(
      (app, hub) => {
        const options = { rooms: ['hall'] }
        const loser = accept((connection) => handler?.(connection, hub), options)
        const bystander = accept((connection) => {
          connection.on('message', (data) => connection.send(`echo ${data}`))
        }, options)
        app.use(async (ctx, next) => {
          if (ctx.path !== '/loser') return bystander(ctx, next)
          if (!inside) return loser(ctx, next)
          await ctx.ws?.(options)
          await inside()
        })
      },
      { ...hooks, heartbeat: false },
    )
  }

  for (const place of places) {
    it(`in ${place.name} affects only its own connection`, async () => {
      const { port, hub, errors } = await room(place)
      const bystanders = await Promise.all(
        Array.from({ length: BYSTANDERS }, () => openSocket(port)),
      )
      await eventually(() => hub.localConnections.size === BYSTANDERS)
      const stream = new Stream(hub)
      const losers = Array.from({ length: ROUNDS }, async () => {
        const client = await rawClient(port)
        client.write(handshake('/loser'))
        expect((await client.answer()).status).to.equal(101)
        place.provoke?.(client)
        const { opcode, payload } = await ownFrame(client)
        expect([opcode, payload.readUInt16BE(0)]).to.deep.equal([8, place.code])
        if (place.provoke !== leave) client.write(closeFrame(place.code))
        await client.end()
        expect(client.received.length, 'bytes behind the close frame').to.equal(0)
      })
      await Promise.all(losers)
      await eventually(() => hub.localConnections.size === BYSTANDERS, 'only bystanders')
      await eventually(() => errors.length >= ROUNDS, `${ROUNDS} errors, not ${errors.length},`)
      await stream.stop()
      expect(stream.sent).to.be.above(0)
      for (const socket of bystanders) {
        socket.send('hello')
        await assertHeardAll(socket, stream.sent)
        expect(await socket.next()).to.equal('echo hello')
        expect(socket.readyState).to.equal(socket.OPEN)
      }
      expect(errors.length, 'errors').to.equal(ROUNDS)
      for (const { error } of errors) {
        expect(error).to.be.an.instanceOf(Error)
        if (error.message !== 'boom') {
          expect(place.name).to.be.oneOf([
            'the async handler, which rejects with undefined',
            'the name of a room',
          ])
        }
      }
    })
  }

  it('in json() or push() sends nothing', async () => {
    const { port, hub } = await room({ name: '', code: 0 })
    const socket = await openSocket(port)
    await eventually(() => hub.localConnections.size === 1)
    for (const value of [{ toJSON: fail }, 1n, undefined, () => {}, circular()]) {
      expect(() => hub.room('hall').json(value)).to.throw()
      expect(() => hub.all().push('x', value === undefined ? 1n : value)).to.throw()
    }
    hub.room('hall').send('only this')
    expect(await socket.next()).to.equal('only this')
  })

  it('on the first message of a burst gets no further message, and is reported once', async () => {
    let heard = 0
    const { port, hub, errors } = await room({
      name: '',
      handler: (connection) => connection.on('message', () => (heard++, fail())),
      code: 1011,
    })
    const client = await rawClient(port)
    client.write(handshake('/loser'))
    await client.answer()
    client.write(Buffer.concat(Array.from({ length: 50 }, () => textFrame('go'))))
    expect((await ownFrame(client)).payload.readUInt16BE(0)).to.equal(1011)
    client.write(closeFrame(1011))
    await client.end()
    await eventually(() => hub.localConnections.size === 0)
    expect([heard, errors.length]).to.deep.equal([1, 1])
    expect(hub.status().drops).to.deep.equal({ unheard: 49 })
  })

  it('in a subscriber of node:diagnostics_channel causes an uncaught exception, as Node documents', async () => {
    const program = `
      import { subscribe } from 'node:diagnostics_channel'
      import Koa from 'koa'
      import { WebSocket } from 'ws'
      import koaWs, { accept } from './lib/index.ts'
      const uncaught = []
      process.on('uncaughtException', (error) => uncaught.push(error.message))
      for (const name of ['upgrade', 'connection', 'message', 'drop', 'close']) {
        subscribe('koaws:' + name, () => { throw new Error(name) })
      }
      const app = new Koa()
      const hub = koaWs()
      const errors = []
      app.on('error', (error) => errors.push(error.message))
      app.use(hub)
      app.use(accept((connection) => {
        connection.once('message', (data) => connection.send(data.toString()))
      }))
      const server = app.listen(0, '127.0.0.1', () => {
        const socket = new WebSocket('ws://127.0.0.1:' + server.address().port)
        socket.on('open', () => socket.send('hello'))
        socket.on('message', () => socket.close(1000))
        socket.on('close', async (code) => {
          await hub.close({ server: true })
          console.log(JSON.stringify({ code, uncaught, errors, left: hub.status().connections }))
        })
      })`
    const child = spawn(process.execPath, ['--import=tsx', '--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let output = ''
    child.stdout.on('data', (data) => (output += data))
    const [code] = await once(child, 'close')
    expect(code).to.equal(0)
    expect(JSON.parse(output)).to.deep.equal({
      code: 1000,
      uncaught: ['upgrade', 'connection', 'message', 'close'],
      errors: [],
      left: 0,
    })
  })
})

function circular(): object {
  const value: Record<string, unknown> = {}
  value['self'] = value
  return value
}

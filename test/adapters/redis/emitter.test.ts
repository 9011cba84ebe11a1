import { expect } from 'chai'
import { Redis } from 'ioredis'
import { createClient } from 'redis'
import {
  type Emission,
  type Emitter,
  type PublishingClient,
  redisAdapter,
  redisEmitter,
} from '../../../lib/adapters/redis/index.ts'
import { AdapterError, OptionsError } from '../../../lib/index.ts'
import { enterAndHold, type Guest, type House, house, received } from '../../support/order.ts'
import { needs } from '../../support/programs.ts'
import { startRedis, stopRedis, type TestRedis } from '../../support/redis.ts'
import { cleanUp, eventually } from '../../support/server.ts'
import { libraries } from './clients.ts'

/** Expects exactly these messages after all earlier publishes have arrived. */
async function expectGot(guest: Guest, ...messages: (string | Buffer)[]): Promise<void> {
  const all: unknown[] = []
  const deadline = Date.now() + 5_000
  while (all.length < messages.length && Date.now() < deadline) all.push(...(await received(guest)))
  all.push(...(await received(guest)))
  expect(all).to.deep.equal(messages)
}

async function rejection(emission: Promise<Emission>): Promise<Error & { code?: unknown }> {
  return emission.then(
    () => {
      throw new Error('it was taken')
    },
    (error: Error) => error,
  )
}

describe('redisEmitter()', () => {
  needs('redis-server')
  const rejections: unknown[] = []
  const note = (reason: unknown): void => void rejections.push(reason)
  let redis: TestRedis

  before(async () => {
    process.on('unhandledRejection', note)
    redis = await startRedis()
  })
  afterEach(async () => {
    await cleanUp()
    expect(rejections.splice(0)).to.deep.equal([])
  })
  after(async () => {
    process.off('unhandledRejection', note)
    await stopRedis()
  })

  for (const library of libraries) {
    describe(`with ${library.name}`, () => {
      let client: PublishingClient
      let end: () => unknown
      let emitter: Emitter
      let one: House
      let other: House

      beforeEach(async () => {
        ;({ client, end } = await library.connected(redis.port))
        ended = false
        emitter = redisEmitter({ client, prefix: 'emitted:' })
        const open = (): Promise<House> =>
          house({
            adapter: redisAdapter({ client: library.client(redis.port), prefix: 'emitted:' }),
          })
        ;[one, other] = await Promise.all([open(), open()])
        await eventually(() =>
          [one, other].every(({ hub }) => hub.status().backplane.instances === 1),
        )
      })
      let ended: boolean
      afterEach(() => ended || end())

      it('reaches rooms, users, connections and all clients on both instances', async () => {
        const a = await enterAndHold(one, { user: 'u', rooms: ['r'] })
        const b = await enterAndHold(other, { user: 'u', rooms: ['r', 's'] })
        const c = await other.enter({ user: 7 })
        const bytes = Buffer.from([1, 2, 3])
        const emissions = [
          emitter.room('r').send('1'),
          emitter.room('r', 's').send('2'), // b is in both
          emitter.user('u').json({ n: 3 }),
          emitter.user(7).send(bytes),
          emitter.connection(c.connection.id).send('5'),
          emitter.all().volatile().send('6'),
          emitter.room('nobody').send('7'),
          emitter.room().send('8'),
        ]
        const receivers = (await Promise.all(emissions)).map((each) => each.receivers)
        expect(receivers).to.deep.equal([2, 3, 2, 1, 2, 2, 0, 0])
        await expectGot(a, '1', '2', '{"n":3}', '6')
        await expectGot(b, '1', '2', '{"n":3}', '6')
        await expectGot(c, bytes, '5', '6')
        for (const { hub } of [one, other]) {
          expect(hub.status().backplane.lost).to.equal(0)
          expect(hub.status().drops['foreign']).to.equal(undefined)
          expect(hub.status().backplane.instances).to.equal(1)
        }
      })

      it('pushes only to clients of koaws.v1', async () => {
        const plain = await enterAndHold(one, { rooms: ['r'] })
        const modern = await enterAndHold(other, { path: '/v1', rooms: ['r'] })
        await emitter.room('r').push('news', { n: 1 })
        await emitter.room('r').send('end')
        await expectGot(plain, 'end')
        await expectGot(modern, '{"type":"news","data":{"n":1}}', 'end')
      })

      it('excludes connections and users', async () => {
        const a = await enterAndHold(one, { user: 'u', rooms: ['r'] })
        const b = await enterAndHold(other, { user: 'v', rooms: ['r'] })
        const c = await enterAndHold(other, { user: 7, rooms: ['r'] })
        const room = emitter.room('r')
        await room.except(a.connection.id).send('not a')
        await room.exceptUser('v', 7).send('only a')
        await room.except(b.connection.id).exceptUser('u').send('only c')
        await room.send('end')
        await expectGot(a, 'only a', 'end')
        await expectGot(b, 'not a', 'end')
        await expectGot(c, 'not a', 'only c', 'end')
      })

      it('moves members between rooms, and closes them', async () => {
        const a = await one.enter({ user: 'u' })
        const b = await other.enter({ user: 'u' })
        await emitter.user('u').join('r', 's')
        await eventually(() => [a, b].every(({ connection }) => connection.rooms.has('s')))
        await eventually(() => other.hub.status().rooms === 2)
        await one.hub.room('r').join('t') // resolves when both have subscribed
        await emitter.room('r').send('1')
        await emitter.room('r').leave('s')
        await eventually(() => [a, b].every(({ connection }) => !connection.rooms.has('s')))
        await expectGot(a, '1')
        await expectGot(b, '1')
        const closed = Promise.all([a, b].map(({ socket }) => socket.closed))
        await emitter.room('r').close(4001, 'over')
        for (const { code, reason } of await closed) {
          expect([code, reason]).to.deep.equal([4001, 'over'])
        }
      })

      it('rejects after its client is closed', async () => {
        end()
        ended = true
        for (const emission of [emitter.room('r').send('1'), emitter.all().close()]) {
          const error = await rejection(emission)
          expect(error).to.be.instanceOf(AdapterError)
          expect(error.code).to.equal('ERR_KOAWS_BACKPLANE')
          expect(error.message).to.match(/^Redis did not confirm the emission to (room:r|all): /)
          expect(error.cause).to.be.instanceOf(Error)
        }
      })

      it('is isolated from other prefixes', async () => {
        const a = await enterAndHold(one, { rooms: ['r'] })
        const emission = await redisEmitter({ client }).room('r').send('1')
        expect(emission).to.deep.equal({ receivers: 0 })
        await expectGot(a)
      })

      it('shares its channels with foreign payloads, which instances count and ignore: another version, garbage, a truncated payload', async () => {
        const payloads: Buffer[] = []
        const spy: PublishingClient = {
          publish: async (_channel, payload) => payloads.push(payload),
        }
        await redisEmitter({ client: spy }).room('r').send('1')
        const [whole] = payloads as [Buffer]
        const newer = Buffer.from(whole)
        newer[2] = (newer[2] as number) + 1
        const a = await enterAndHold(one, { rooms: ['r'] })
        for (const payload of [newer, Buffer.from('hello'), whole.subarray(0, -1), whole]) {
          await client.publish('emitted:room:r', payload)
        }
        await expectGot(a, '1')
        expect(one.hub.status().drops['foreign']).to.equal(3)
      })
    })
  }

  it('rejects during an outage when the client has no offline queue', async () => {
    const short = await startRedis()
    const [one, other] = [
      createClient({
        socket: { host: '127.0.0.1', port: short.port, reconnectStrategy: () => 5_000 },
        disableOfflineQueue: true,
      }).on('error', () => {}),
      new Redis({
        host: '127.0.0.1',
        port: short.port,
        lazyConnect: true,
        enableOfflineQueue: false,
        maxRetriesPerRequest: 0,
        retryStrategy: () => 5_000,
      }).on('error', () => {}),
    ]
    await Promise.all([one.connect(), other.connect()])
    try {
      const emitters = [redisEmitter({ client: one }), redisEmitter({ client: other })]
      const emit = (): Promise<Emission>[] => emitters.map((emitter) => emitter.all().send('1'))
      expect(await Promise.all(emit())).to.deep.equal([{ receivers: 0 }, { receivers: 0 }])
      short.stop()
      const underway = emit().map(rejection)
      await short.kill()
      await eventually(() => !one.isReady && other.status !== 'ready')
      for (const error of await Promise.all([...underway, ...emit().map(rejection)])) {
        expect(error).to.be.instanceOf(AdapterError)
      }
    } finally {
      one.destroy()
      other.disconnect()
    }
  })

  describe('the checks', () => {
    const client: PublishingClient = { publish: async () => 0 }

    it('throw OptionsError for invalid options', () => {
      const wrong: [unknown, RegExp][] = [
        [undefined, /takes an object of options/],
        [{}, /needs the option "client"/],
        [{ client: undefined }, /needs the option "client"/],
        [{ client: null }, /"client" must be a client of node-redis or ioredis, not null/],
        [{ client: {} }, /"client" must be a client of node-redis or ioredis, not an object/],
        [{ client, prefix: '' }, /"prefix"/],
        [{ client, prefix: 1 }, /"prefix"/],
        [{ client, prefx: 'a' }, /Did you mean "prefix"/],
      ]
      for (const [options, message] of wrong) {
        expect(() => redisEmitter(options as never), String(message)).to.throw(
          OptionsError,
          message,
        )
      }
    })

    it('throw for an invalid target or message', () => {
      const emitter = redisEmitter({ client })
      const room = emitter.room('r')
      for (const act of [
        () => emitter.room(''),
        () => emitter.room('x'.repeat(256)),
        () => emitter.room(1 as never),
        () => emitter.user(Number.NaN),
        () => emitter.connection(undefined as never),
        () => room.except(''),
        () => room.exceptUser(null as never),
        () => room.join(''),
        () => room.leave(7 as never),
        () => room.send(1 as never),
        () => room.json(undefined),
        () => room.push(''),
        () => room.push('a', 1n),
      ]) {
        expect(act, String(act)).to.throw(TypeError)
      }
      expect(() => room.close(1005)).to.throw(RangeError)
      expect(() => room.close(1000, 'x'.repeat(124))).to.throw(RangeError)
    })

    it('reject with AdapterError when the client throws', async () => {
      const thrown = new Error('not now')
      const emitter = redisEmitter({
        client: {
          publish() {
            throw thrown
          },
        },
      })
      const error = await rejection(emitter.room('r', 's').send('1'))
      expect(error).to.be.instanceOf(AdapterError)
      expect(error.cause).to.equal(thrown)
      expect(error.message).to.equal('Redis did not confirm the emission to 2 topics: "not now"')
    })
  })
})

describe('redisAdapter()', () => {
  it('throws OptionsError for invalid options', () => {
    const client = libraries[0]?.client(1)
    const wrong: [unknown, RegExp][] = [
      [undefined, /takes an object of options/],
      [{}, /needs the option "client"/],
      [{ client: undefined }, /needs the option "client"/],
      [{ client: 'redis://127.0.0.1' }, /must be a client of node-redis or ioredis/],
      [{ client: { duplicate() {} } }, /of an unsupported library/],
      [{ client, prefix: '' }, /"prefix"/],
      [{ client, heartbeat: 5 }, /"heartbeat"/],
      [{ client, maxQueued: { mesages: 1 } }, /Did you mean "messages"/],
      [{ client, maxQueued: { bytes: -1 } }, /"bytes"/],
      [{ client, heartBeat: 1_000 }, /Did you mean "heartbeat"/],
    ]
    for (const [options, message] of wrong) {
      expect(() => redisAdapter(options as never), String(message)).to.throw(OptionsError, message)
    }
  })
})

import { type ChildProcess, spawn } from 'node:child_process'
import { expect } from 'chai'
import { redisAdapter, redisEmitter } from '../../../lib/adapters/redis/index.ts'
import { OptionsError } from '../../../lib/index.ts'
import { enterAndHold, expectReceived, type House, house, received } from '../../support/order.ts'
import { startProxy, startRedis, stopRedis, type TestRedis } from '../../support/redis.ts'
import { startRewriter } from '../../support/redis-rewriter.ts'
import { cleanUp, PATIENCE } from '../../support/server.ts'
import { type ClientSettings, type Library, libraries } from './clients.ts'
import { slowly } from './patience.ts'

describe('a Redis that refuses commands', function () {
  this.timeout(120_000)

  const rejections: unknown[] = []
  const note = (reason: unknown): void => void rejections.push(reason)
  const children: ChildProcess[] = []
  let redis: TestRedis

  before(async () => {
    process.on('unhandledRejection', note)
    redis = await startRedis()
  })
  afterEach(async () => {
    await cleanUp()
    for (const child of children.splice(0)) child.kill('SIGKILL')
    expect(rejections.splice(0)).to.deep.equal([])
  })
  after(async () => {
    process.off('unhandledRejection', note)
    await stopRedis()
  })

  let prefixes = 0
  const open = (
    library: Library,
    port: number,
    prefix: string,
    settings?: ClientSettings,
    heartbeat = 200,
  ): Promise<House> =>
    house({ adapter: redisAdapter({ client: library.client(port, settings), prefix, heartbeat }) })
  /** Starts two instances with their own prefix. */
  const pair = async (
    library: Library,
    port: number,
    settings?: ClientSettings,
  ): Promise<[House, House]> => {
    const prefix = `t${prefixes++}:`
    return [
      await open(library, port, prefix, settings),
      await open(library, port, prefix, settings),
    ]
  }
  const backplaneOf = ({ hub }: House) => hub.status().backplane
  const whyOf = (one: House): string => backplaneOf(one).why
  const isReady = (one: House): boolean => backplaneOf(one).state === 'ready'
  const acquainted = (houses: readonly House[]): Promise<void> =>
    slowly(
      () => houses.every((one) => isReady(one) && backplaneOf(one).instances === houses.length - 1),
      () => houses.map(backplaneOf),
    )
  const each = <T>(act: (library: Library) => Promise<T>): Promise<T[]> =>
    Promise.all(libraries.map(act))
  const user = (...rules: string[]): Promise<string> =>
    redis.command('acl', 'setuser', 'app', 'reset', 'on', '>secret', '~*', ...rules)
  const app: ClientSettings = { username: 'app', password: 'secret' }

  describe('because of its role', () => {
    it('is unused while it is a replica, and used after its promotion', async () => {
      const replica = await startRedis([`replicaof 127.0.0.1 ${redis.port}`])
      const houses = await each((library) => open(library, replica.port, 'replica:'))
      await slowly(
        () => houses.every((one) => /is a replica.*connect to the primary/.test(whyOf(one))),
        () => houses.map(whyOf),
      )
      for (const one of houses) {
        expect(backplaneOf(one).state).to.equal('connecting')
        expect(await one.hub.all().send('1').backplane).to.equal('queued')
      }
      await replica.command('replicaof', 'no', 'one')
      await acquainted(houses)
    })

    it('is replaced at the next heartbeat when it becomes a replica, and no message is lost', async () => {
      await each(async (library) => {
        const first = await startRedis()
        const second = await startRedis([`replicaof 127.0.0.1 ${first.port}`])
        const proxy = await startProxy(first.port)
        const [one, other] = await pair(library, proxy.port)
        await acquainted([one, other])
        const b = await enterAndHold(other, { rooms: ['r'] })
        const all: string[] = []
        const say = async (): Promise<string> => {
          all.push(String(all.length))
          return one.hub.room('r').send(all.at(-1) as string).backplane
        }
        await say()
        // A failover: connections to the old primary stay open.
        await second.command('replicaof', 'no', 'one')
        await first.command('replicaof', '127.0.0.1', String(second.port))
        await slowly(
          () => [one, other].every((each) => /is a replica/.test(whyOf(each))),
          () => [one, other].map(backplaneOf),
        )
        expect([one, other].map((each) => backplaneOf(each).state)).to.deep.equal([
          'degraded',
          'degraded',
        ])
        expect(await say()).to.equal('queued')
        proxy.heal(second.port)
        await acquainted([one, other])
        await say()
        await slowly(
          () => backplaneOf(one).queued.messages === 0,
          () => backplaneOf(one),
        )
        await one.hub.all().count() // resolves after all earlier publishes have arrived
        expect(await received(b)).to.deep.equal(all)
      })
    })

    it('may be a replica in a Redis Cluster, which forwards each publish to all nodes', async () => {
      const lines = ['cluster-enabled yes', 'cluster-node-timeout 2000']
      const [master, replica] = [await startRedis(lines), await startRedis(lines)]
      await master.command('cluster', 'addslotsrange', '0', '16383')
      const [, id] = /\r\n(\w{40})/.exec(await master.command('cluster', 'myid')) ?? []
      await replica.command('cluster', 'meet', '127.0.0.1', String(master.port))
      await until(async () =>
        (await replica.command('cluster', 'replicate', String(id))).startsWith('+OK'),
      )
      await until(async () => (await replica.command('info', 'replication')).includes('role:slave'))
      await each(async (library) => {
        const prefix = `cluster${prefixes++}:`
        const [one, other] = [
          await open(library, replica.port, prefix),
          await open(library, master.port, prefix),
        ]
        await acquainted([one, other])
        const b = await enterAndHold(other, { rooms: ['r'] })
        expect(await one.hub.room('r').send('1').backplane).to.equal('sent')
        expect(await one.hub.all().count()).to.equal(1)
        await expectReceived([b], '1')
      })
    })

    for (const [what, rules] of [
      ['with ROLE when INFO is forbidden', ['+@all', '-info']],
      ['no more when both are forbidden', ['+@all', '-info', '-role']],
    ] as const) {
      it(`is asked for its role ${what}, once per forbidden command`, async () => {
        const replica = await startRedis([`replicaof 127.0.0.1 ${redis.port}`])
        for (const one of [redis, replica]) {
          await one.command('acl', 'setuser', 'app', 'reset', 'on', '>secret', '~*', '&*', ...rules)
          await one.command('acl', 'log', 'reset')
        }
        await each(async (library) => {
          // Without INFO, ioredis warns that it cannot tell whether Redis is loading.
          const houses = await pair(library, redis.port, app)
          await acquainted(houses)
        })
        const refused = (await redis.command('acl', 'log')).match(/\$4\r\nrole\r\n/g) ?? []
        expect(refused.length).to.be.at.most(rules.length === 3 ? 1 : 0) // the log groups them
        const onReplica = await each((library) => open(library, replica.port, 'x:', app))
        await slowly(
          () =>
            onReplica.every((one) =>
              rules.length === 3 ? isReady(one) : /is a replica/.test(whyOf(one)),
            ),
          () => onReplica.map(backplaneOf),
        )
      })
    }

    it('logs with NODE_DEBUG that the role is unknown', async () => {
      await user('&*', '+@all', '-info', '-role')
      const child = spawn(
        process.execPath,
        [
          '--import=tsx',
          '--input-type=module',
          '-e',
          `
          import { libraries } from './test/adapters/redis/clients.ts'
          import { redisAdapter } from './lib/adapters/redis/index.ts'
          const events = { received() {}, up() {}, down() {}, gone() {} }
          const auth = { username: 'app', password: 'secret' }
          for (const library of libraries) {
            const client = library.client(${redis.port}, auth)
            const link = redisAdapter({ client }).connect('me', events)
            link.subscribe(['all', 'instance:me']).catch(() => {})
          }
          setInterval(() => {}, 1_000)
          `,
        ],
        {
          stdio: ['ignore', 'pipe', 'pipe'],
          env: { ...process.env, NODE_DEBUG: 'koaws:backplane' },
        },
      )
      children.push(child)
      let text = ''
      child.stderr.on('data', (data) => {
        text += data
      })
      await slowly(
        () => (text.match(/a replica is not detected: allow/g) ?? []).length === 4,
        () => text,
      )
    })
  })

  describe('with PUBLISH', () => {
    it('degrades the hub on NOPERM, with the reason, until it is allowed', async () => {
      await user('&*', '+@all', '-publish')
      const houses = await each((library) => open(library, redis.port, 'noperm:', app))
      await slowly(
        () => houses.every((one) => /NOPERM/.test(whyOf(one))),
        () => houses.map(backplaneOf),
      )
      for (const one of houses) {
        expect(backplaneOf(one).state).to.equal('degraded')
        await enterAndHold(one, { rooms: ['r'] })
        expect(await one.hub.room('r').send('1').backplane).to.equal('failed')
        expect(one.hub.status().drops['backplane']).to.equal(1)
      }
      await user('&*', '+@all')
      await acquainted(houses)
      expect(await (houses[0] as House).hub.all().count()).to.equal(houses.length)
    })

    it('degrades the hub while one room is forbidden, and other topics work', async () => {
      await user('&room:*', '&*', 'resetchannels', '&part:all', '&part:instance:*', '+@all')
      const houses = await each((library) => open(library, redis.port, 'part:', app))
      await acquainted(houses)
      for (const { hub } of houses) {
        expect(await hub.room('r').send('1').backplane).to.equal('failed')
        expect(await hub.all().send('2').backplane).to.equal('sent')
        expect(hub.status().backplane.state).to.equal('degraded')
        expect(hub.status().backplane.why).to.match(/NOPERM/)
      }
      await user('&*', '+@all')
      await acquainted(houses)
    })

    for (const error of [
      'READONLY You can not write against a read only replica.',
      'MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to "no".',
      'LOADING Redis is loading the dataset in memory',
      'MISCONF Redis is configured to save RDB snapshots',
      'OOM command not allowed when used memory > "maxmemory".',
      'CLUSTERDOWN The cluster is down',
      'NOREPLICAS Not enough good replicas to write.',
      'BUSY Redis is busy running a script.',
      'TRYAGAIN Multiple keys request during rehashing of slot',
    ]) {
      const [code] = error.split(' ') as [string]
      it(`queues on ${code}, which is temporary, and delivers in order afterwards`, async () => {
        await each(async (library) => {
          const rewriter = await startRewriter(redis.port)
          const [one, other] = await pair(library, rewriter.port)
          await acquainted([one, other])
          const b = await enterAndHold(other, { rooms: ['r'] })
          rewriter.failPublish(error)
          const verdicts = [one.hub.room('r').send('1'), one.hub.room('r').send('2')]
          for (const { backplane } of verdicts) expect(await backplane).to.equal('queued')
          await slowly(
            () => whyOf(one).includes(code),
            () => backplaneOf(one),
          )
          expect(backplaneOf(one).queued.messages).to.equal(2)
          rewriter.failPublish(null)
          await acquainted([one, other])
          one.hub.room('r').send('3')
          await slowly(
            () => backplaneOf(one).queued.messages === 0,
            () => backplaneOf(one),
          )
          await one.hub.all().count()
          await expectReceived([b], '1', '2', '3')
          expect(one.hub.status().drops['backplane']).to.equal(undefined)
        })
      })
    }

    it('fails messages on an unknown command, which is permanent, and degrades the hub', async () => {
      await each(async (library) => {
        const rewriter = await startRewriter(redis.port)
        const [one] = await pair(library, rewriter.port)
        await slowly(
          () => isReady(one),
          () => backplaneOf(one),
        )
        rewriter.failPublish("ERR unknown command 'PUBLISH'")
        expect(await one.hub.room('r').send('1').backplane).to.equal('failed')
        expect(backplaneOf(one).state).to.equal('degraded')
        expect(whyOf(one)).to.include("ERR unknown command 'PUBLISH'")
        expect(one.hub.status().drops['backplane']).to.equal(1)
        rewriter.failPublish(null)
        await slowly(
          () => isReady(one),
          () => backplaneOf(one),
        )
      })
    })

    it('accepts publishes with too few replicas, full memory or a failing disk', async () => {
      const strict = await startRedis(['min-replicas-to-write 3', 'maxmemory 1mb'])
      await each(async (library) => {
        const [one, other] = await pair(library, strict.port)
        await acquainted([one, other])
        const b = await enterAndHold(other, { rooms: ['r'] })
        expect(await one.hub.room('r').send('1').backplane).to.equal('sent')
        await one.hub.all().count()
        await expectReceived([b], '1')
      })
    })
  })

  describe('with SUBSCRIBE', () => {
    it('degrades the hub for one forbidden channel, names it, and keeps all others', async () => {
      const prefix = 'sub:'
      const channels = ['&sub:all', '&sub:instance:*', '&sub:room:*']
      await user('resetchannels', ...channels, '+@all')
      // A busy process takes its Redis for hung and queues; the message still arrives.
      const houses = await each((library) => open(library, redis.port, prefix, app, 5_000))
      await acquainted(houses)
      const guests = await Promise.all(
        houses.map((one) => enterAndHold(one, { user: 'u', rooms: ['r'] })),
      )
      for (const one of houses) {
        await slowly(
          () => /subscription to sub:user:u: NOPERM/.test(whyOf(one)),
          () => backplaneOf(one),
        )
        expect(backplaneOf(one).state).to.equal('degraded')
      }
      expect(await (houses[0] as House).hub.room('r').send('1').backplane).to.be.oneOf([
        'sent',
        'queued',
      ])
      for (const { socket } of guests) expect(await socket.next()).to.equal('1')
      await user('resetchannels', ...channels, '&sub:user:*', '+@all')
      await acquainted(houses)
      expect(await (houses[0] as House).hub.user('u').send('2').backplane).to.be.oneOf([
        'sent',
        'queued',
      ])
      for (const { socket } of guests) expect(await socket.next()).to.equal('2')
    })

    it('recovers when the last member of a forbidden channel leaves', async () => {
      await user('resetchannels', '&sub:all', '&sub:instance:*', '&sub:room:*', '+@all')
      const houses = await each((library) => open(library, redis.port, 'sub:', app))
      await acquainted(houses)
      const guests = await Promise.all(houses.map((one) => enterAndHold(one, { user: 'u' })))
      await slowly(
        () => houses.every((one) => /NOPERM/.test(whyOf(one))),
        () => houses.map(backplaneOf),
      )
      for (const { socket } of guests) socket.close()
      await acquainted(houses)
    })

    it('finds the forbidden channels among thousands of others', async () => {
      await user('resetchannels', '&many:all', '&many:instance:*', '&many:room:*', '+@all')
      await each(async (library) => {
        const refused: string[] = []
        const turns: string[] = []
        const client = library.client(redis.port, app)
        const link = redisAdapter({ client, prefix: 'many:' }).connect('me', {
          received() {},
          up: () => void turns.push('up'),
          down: () => void turns.push('down'),
          gone() {},
          impaired: (reason) => void refused.push(String(reason?.message)),
        })
        const topics = Array.from({ length: 3_000 }, (_, i) => `room:${i}`)
        topics[1_234] = 'user:a'
        topics[2_345] = 'user:b'
        await link.subscribe(['all', 'instance:me', ...topics]).catch(() => {})
        await slowly(
          () => turns.includes('up'),
          () => turns,
        )
        expect(refused.at(-1)).to.match(/many:user:[ab]: NOPERM/)
        const error = await link.subscribe(['user:a']).catch((reason: unknown) => reason)
        expect(error).to.have.property('code', 'ERR_KOAWS_BACKPLANE_REFUSED')
        await link.subscribe(['room:1', 'room:2999'])
        await link.close()
      })
    })

    it('keeps the hub connecting when the channel of all instances is forbidden, with the reason', async () => {
      await user('resetchannels', '&sub:room:*', '+@all')
      const houses = await each((library) => open(library, redis.port, 'sub:', app))
      await slowly(
        () => houses.every((one) => /subscription to sub:(all|instance).*NOPERM/.test(whyOf(one))),
        () => houses.map(backplaneOf),
      )
      for (const one of houses) expect(backplaneOf(one).state).to.equal('connecting')
      await user('&*', '+@all')
      await acquainted(houses)
    })
  })

  describe('to separate applications', () => {
    it('lets a user of one channel reach only its room', async () => {
      const command = ['acl', 'setuser', 'guest', 'reset', 'on', '>secret', 'resetchannels']
      await redis.command(
        ...command,
        '&koaws:room:y',
        '-@all',
        '+publish',
        '+hello',
        '+auth',
        '+info',
      )
      for (const library of libraries) {
        const one = await house({ adapter: redisAdapter({ client: library.client(redis.port) }) })
        await acquainted([one])
        const a = await enterAndHold(one, { rooms: ['x'] })
        const b = await enterAndHold(one, { rooms: ['y'] })
        const guest = await library.connected(redis.port, { username: 'guest', password: 'secret' })
        const refusal = await redisEmitter({ client: guest.client })
          .room('x')
          .send('not allowed')
          .catch((error: unknown) => error)
        expect(String(refusal)).to.include('NOPERM')
        // The payloads of other topics, published on the one channel that is allowed.
        const forge = redisEmitter({
          client: { publish: (_channel, payload) => guest.client.publish('koaws:room:y', payload) },
        })
        await forge.room('x').send('forged')
        await forge.all().close(4000)
        await forge.room('x').close(4000)
        await forge.user('u').send('forged')
        await forge.room('y').send('mine')
        expect(await b.socket.next()).to.equal('mine')
        expect(one.hub.status().drops['foreign']).to.equal(4)
        await expectReceived([a])
        await expectReceived([b])
        guest.end()
        expect([a, b].map(({ connection }) => connection.readyState)).to.deep.equal([1, 1])
        await one.hub.close()
      }
    })

    it('rejects a prefix that overlaps with channels of another application', () => {
      const client = libraries[0]?.client(1) as never
      const publisher = { publish: async () => 0 }
      for (const prefix of [
        'koaws:room:',
        'user:',
        'app:instance:',
        'a/room:b:',
        'koaws:user:x:',
      ]) {
        const message = /"prefix" is ".*begins the channels of/
        expect(() => redisAdapter({ client, prefix }), prefix).to.throw(OptionsError, message)
        expect(() => redisEmitter({ client: publisher, prefix }), prefix).to.throw(
          OptionsError,
          message,
        )
      }
      for (const prefix of ['\ud800:', 'a\udc00']) {
        expect(() => redisAdapter({ client, prefix })).to.throw(OptionsError, /surrogate/)
        expect(() => redisEmitter({ client: publisher, prefix })).to.throw(OptionsError)
      }
      for (const prefix of ['koaws:', 'chatroom:', 'myuser:', 'rooms:', 'app-1', 'é:', '😀:']) {
        redisAdapter({ client, prefix })
        redisEmitter({ client: publisher, prefix })
      }
    })

    it('ignores a keyPrefix of the client, which never applies to channels', async () => {
      await each(async (library) => {
        const [one, other] = await pair(library, redis.port, { keyPrefix: 'keys:' })
        await acquainted([one, other])
        const b = await enterAndHold(other, { rooms: ['r'] })
        one.hub.room('r').send('1')
        await one.hub.all().count()
        await expectReceived([b], '1')
        expect(other.hub.status().drops['foreign']).to.equal(undefined)
      })
    })
  })
})

async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + PATIENCE
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error('it did not come')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

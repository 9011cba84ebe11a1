import { type ChildProcess, spawn } from 'node:child_process'
import { channel } from 'node:diagnostics_channel'
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'chai'
import { redisAdapter } from '../../../lib/adapters/redis/index.ts'
import type { AdapterEvents, EchoingLink } from '../../../lib/backplane/adapter.ts'
import type { BackplaneEvent } from '../../../lib/index.ts'
import {
  enterAndHold,
  expectReceived,
  type Guest,
  type House,
  house,
  received,
} from '../../support/order.ts'
import { needs } from '../../support/programs.ts'
import {
  startProxy,
  startRedis,
  startRedisCluster,
  stopRedis,
  type TestRedis,
} from '../../support/redis.ts'
import { cleanUp, PATIENCE } from '../../support/server.ts'
import { type Library, libraries } from './clients.ts'
import { slowly as eventually } from './patience.ts'

const HEARTBEAT = 150

/** A link, and the events that it has emitted. */
interface Observed {
  readonly link: EchoingLink
  readonly payloads: string[]
  readonly turns: ('up' | 'down')[]
}

describe('a link to Redis', function () {
  needs('redis-server')
  this.timeout(120_000)

  const rejections: unknown[] = []
  const note = (reason: unknown): void => void rejections.push(reason)
  const links: EchoingLink[] = []
  const children: ChildProcess[] = []
  /** The nodes of a Redis Cluster. */
  let nodes: [TestRedis, TestRedis, TestRedis]

  before(() => void process.on('unhandledRejection', note))
  afterEach(async () => {
    await cleanUp()
    await Promise.all(links.splice(0).map((link) => link.close()))
    for (const child of children.splice(0)) child.kill('SIGKILL')
    expect(rejections.splice(0)).to.deep.equal([])
  })
  after(async () => {
    process.off('unhandledRejection', note)
    await stopRedis()
    if (process.env['FIGURES']) console.log(figures.join('\n'))
  })

  /** Starts two instances that share one Redis. */
  function pair(library: Library, port: number, heartbeat = 1_000): Promise<[House, House]> {
    const open = (): Promise<House> =>
      house({ adapter: redisAdapter({ client: library.client(port), heartbeat }) })
    return Promise.all([open(), open()])
  }

  const stateOf = ({ hub }: House): string => hub.status().backplane.state

  /** Waits until each instance is ready and knows the others. */
  function acquainted(houses: readonly House[]): Promise<void> {
    return eventually(() =>
      houses.every(({ hub }) => {
        const { state, instances } = hub.status().backplane
        return state === 'ready' && instances === houses.length - 1
      }),
    )
  }

  function watch(library: Library, port: number, events: Partial<AdapterEvents> = {}): Observed {
    const payloads: string[] = []
    const turns: ('up' | 'down')[] = []
    const link = redisAdapter({ client: library.client(port) }).connect('me', {
      received: (payload) => void payloads.push(payload.toString()),
      up: () => void turns.push('up'),
      down: () => void turns.push('down'),
      gone() {},
      ...events,
    }) as EchoingLink
    links.push(link)
    return { link, payloads, turns }
  }

  /** Starts a program in a separate process; its first lines import the adapter. */
  function program(text: string, env: object = {}): ChildProcess {
    const start = `
      import { libraries } from './test/adapters/redis/clients.ts'
      import { redisAdapter } from './lib/adapters/redis/index.ts'
      const events = { received() {}, up() { console.log('up') }, down() {}, gone() {} }
      const connect = (client) => redisAdapter({ client }).connect('me', events)
      process.on('unhandledRejection', (error) => { console.error('unhandled', error); process.exit(3) })
    `
    const args = ['--import=tsx', '--input-type=module', '-e', start + text]
    const child = spawn(process.execPath, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    })
    children.push(child)
    return child
  }

  for (const library of libraries) {
    describe(`of ${library.name}`, () => {
      let redis: TestRedis
      before(async () => {
        redis = await startRedis()
      })
      after(() => redis.kill())

      it('waits for a Redis that starts later', async () => {
        await redis.kill()
        const [one, other] = await pair(library, redis.port)
        const b = await enterAndHold(other, { rooms: ['r'] })
        const { backplane } = one.hub.room('r').send('early')
        expect(await backplane).to.equal('queued')
        expect([stateOf(one), stateOf(other)]).to.deep.equal(['connecting', 'connecting'])
        await redis.start()
        await acquainted([one, other])
        expect(await one.hub.room('r').send('late').backplane).to.equal('sent')
        // The other instance was not subscribed during the first send.
        await soonReceived(b, (messages) => messages.at(-1) === 'late')
      })

      it('recovers when Redis is killed and restarted', async () => {
        const [one, other] = await pair(library, redis.port)
        await acquainted([one, other])
        const b = await enterAndHold(other, { rooms: ['r'] })
        const states: string[] = []
        const hear = (event: unknown): void => void states.push((event as BackplaneEvent).state)
        channel('koaws:backplane').subscribe(hear)
        try {
          one.hub.room('r').send('1')
          await arrived(b, '1')
          await redis.kill()
          await eventually(() => stateOf(one) === 'degraded' && stateOf(other) === 'degraded')
          expect(await one.hub.room('r').send('2').backplane).to.equal('queued')
          await enterAndHold(other, { rooms: ['s'] })
          await redis.start()
          const began = Date.now()
          await acquainted([one, other])
          figure(`${library.name}: after a kill`, began)
          one.hub.room('r').send('3')
          await arrived(b, '2', '3')
          // A reconnect attempt may change the reason without the state.
          expect(states.slice(-2)).to.deep.equal(['ready', 'ready'])
          expect(new Set(states.slice(0, -2))).to.deep.equal(new Set(['degraded']))
          const delivery = one.hub.room('s').send('4')
          expect(await delivery.backplane).to.equal('sent')
        } finally {
          channel('koaws:backplane').unsubscribe(hear)
        }
      })

      it('queues for a hanging Redis, and delivers each message once when it continues', async () => {
        const [one, other] = await pair(library, redis.port, HEARTBEAT)
        await acquainted([one, other])
        const b = await enterAndHold(other, { rooms: ['r'] })
        redis.stop()
        const first = one.hub.room('r').send('1') // in the buffer of its socket
        expect(await first.backplane).to.equal('queued')
        expect(stateOf(one)).to.equal('degraded')
        expect(await one.hub.room('r').send('2').backplane).to.equal('queued')
        await eventually(() => stateOf(other) === 'degraded')
        redis.go()
        await acquainted([one, other])
        one.hub.room('r').send('3')
        await arrived(b, '1', '2', '3')
        expect(one.hub.status().backplane.queued).to.deep.equal({ messages: 0, bytes: 0 })
      })

      for (const type of ['pubsub', 'normal']) {
        it(`reconnects when Redis closes only connections of the type ${type}`, async () => {
          const [one, other] = await pair(library, redis.port)
          await acquainted([one, other])
          const b = await enterAndHold(other, { rooms: ['r'] })
          one.hub.room('r').send('1')
          await arrived(b, '1')
          const { since } = one.hub.status().backplane
          await redis.command('client', 'kill', 'type', type)
          await eventually(() => one.hub.status().backplane.since > since)
          await acquainted([one, other])
          one.hub.room('r').send('2')
          await arrived(b, '2')
        })
      }

      it('receives a topic again after unsubscribe and subscribe in the same turn', async () => {
        const { link, payloads, turns } = watch(library, redis.port)
        await eventually(() => turns.length > 0)
        const stranger = await library.connected(redis.port)
        for (let i = 0; i < 20; i++) {
          await link.subscribe(['room:r'])
          link.unsubscribe(['room:r'])
          await new Promise(process.nextTick) // it has told Redis
          if (i % 2) {
            void link.subscribe(['room:r'])
            await new Promise(process.nextTick)
            link.unsubscribe(['room:r'])
            await new Promise(process.nextTick)
          }
          await link.subscribe(['room:r'])
          await link.publish(['room:r'], Buffer.from(String(i)))
          await eventually(() => payloads.includes(String(i)), `payload ${i}`)
          link.unsubscribe(['room:r'])
          await new Promise(process.nextTick)
        }
        await link.subscribe(['room:end'])
        expect(await stranger.client.publish('koaws:room:r', Buffer.from('no'))).to.equal(0)
        stranger.end()
      })

      it('restores 20,000 subscriptions after a cut', async () => {
        const proxy = await startProxy(redis.port)
        const { link, payloads, turns } = watch(library, proxy.port)
        await eventually(() => turns.length > 0)
        const topics = Array.from({ length: 20_000 }, (_, i) => `room:${i}`)
        await link.subscribe(topics)
        proxy.cut()
        await eventually(() => turns.length === 2)
        proxy.heal()
        const began = Date.now()
        await eventually(() => turns.length === 3)
        figure(`${library.name}: 20,000 topics`, began)
        for (const topic of ['room:0', 'room:19999'])
          await link.publish([topic], Buffer.from(topic))
        await eventually(() => payloads.length === 2)
        expect(payloads).to.deep.equal(['room:0', 'room:19999'])
      })

      it('fails publishes without permission, and recovers when permission is granted', async () => {
        const rules = ['on', '>secret', '~*', '&*', '+@all', '-publish']
        await redis.command('acl', 'setuser', 'listener', 'reset', ...rules)
        const client = library.client(redis.port, { username: 'listener', password: 'secret' })
        const one = await house({ adapter: redisAdapter({ client, heartbeat: HEARTBEAT }) })
        await eventually(() => stateOf(one) === 'degraded')
        const a = await enterAndHold(one, { rooms: ['r'] })
        const deliveries = [one.hub.room('r').send('1'), one.hub.room('r', 's').send('2')]
        for (const { backplane } of deliveries) expect(await backplane).to.equal('failed')
        await expectReceived([a], '1', '2')
        expect(one.hub.status().drops['backplane']).to.equal(2)
        expect(stateOf(one)).to.equal('degraded')
        expect(one.hub.status().backplane.why).to.match(/NOPERM/)
        await redis.command('acl', 'setuser', 'listener', '+publish')
        await eventually(() => stateOf(one) === 'ready')
        expect(await one.hub.room('r').send('3').backplane).to.equal('sent')
      })
    })
  }

  describe('of any library', () => {
    let redis: TestRedis
    before(async () => {
      redis = await startRedis()
      nodes = (await startRedisCluster()) as typeof nodes
    })

    /** Calls this once per library. */
    const each = <T>(act: (library: Library) => Promise<T>): Promise<T[]> =>
      Promise.all(libraries.map(act))

    it('retries at most once a second when SUBSCRIBE is forbidden or the password is wrong', async () => {
      await redis.command('acl', 'setuser', 'speaker', 'on', '>secret', '&*', '+@all', '-subscribe')
      const count = async (): Promise<number> =>
        Number(/connections_received:(\d+)/.exec(await redis.command('info', 'stats'))?.[1])
      const open = (library: Library, password: string): Promise<House> => {
        const client = library.client(redis.port, { username: 'speaker', password })
        return house({ adapter: redisAdapter({ client }) })
      }
      const houses = await Promise.all(
        libraries.flatMap((library) => [open(library, 'secret'), open(library, 'wrong')]),
      )
      await sleep(2_000) // the first attempts are closer together
      const [before, began] = [await count(), Date.now()]
      await sleep(2_000)
      // An attempt makes two connections; each of these counts makes one.
      const attempts = ((await count()) - before - 1) / 2
      const seconds = (Date.now() - began) / 1_000
      expect(attempts / houses.length).to.be.below(seconds + 1)
      expect(attempts).to.be.above(0)
      expect(new Set(houses.map(stateOf))).to.deep.equal(new Set(['connecting']))
      await redis.command('acl', 'setuser', 'speaker', '+subscribe', '>wrong')
      await eventually(() => houses.every((one) => stateOf(one) === 'ready'))
    })

    it('restarts and closes while Redis hangs for longer than the timeout of an attempt', async () => {
      const open = async (library: Library): Promise<Observed> => {
        const observed = watch(library, redis.port)
        await eventually(() => observed.turns.length > 0)
        await observed.link.subscribe(['room:r'])
        return observed
      }
      const stay = await each(open)
      const leave = await each(open)
      redis.stop()
      const lost = stay.map(({ link }) =>
        link.publish(['room:r'], Buffer.from('1')).catch((error: Error) => error),
      )
      await sleep(20) // the publish has left
      for (const { link } of stay) link.restart()
      for (const { link } of stay) link.restart()
      let began = Date.now()
      for (const error of await Promise.all(lost)) {
        expect(error).to.have.property('code', 'ERR_KOAWS_BACKPLANE')
      }
      const connecting = libraries.map((library) => watch(library, redis.port))
      await sleep(100)
      for (const { link } of [...leave, ...connecting])
        await Promise.all([link.close(), link.close()])
      await sleep(3_500) // longer than the timeout of an attempt
      redis.go()
      began = Date.now()
      await eventually(() => stay.every(({ turns }) => turns.length === 2))
      figure('all ready after a hang of 3.6 s', began)
      for (const { link, payloads } of stay) {
        await link.publish(['room:r'], Buffer.from('2'))
        await eventually(() => payloads.includes('2'))
      }
      for (const { turns } of stay) expect(turns).to.deep.equal(['up', 'up'])
      for (const { turns } of leave) expect(turns).to.deep.equal(['up'])
      for (const { turns } of connecting) expect(turns).to.deep.equal([])
    })

    it('lets its process exit after close() while Redis hangs', async () => {
      const [node] = nodes
      redis.stop()
      node.stop()
      // Closes at once, in each of the first turns, while sockets connect, and while they await an
      // answer.
      const child = program(`
        const open = () => libraries.flatMap((library) => [
          connect(library.client(${redis.port})),
          connect(library.cluster(${node.port})),
          connect(library.client(1)),
        ])
        const close = (links) => Promise.all(links.map((link) => link.close()))
        const turn = () => new Promise((resolve) => setImmediate(resolve))
        await close(open())
        for (let turns = 0; turns < 5; turns++) {
          const links = open()
          await new Promise((resolve) => setTimeout(resolve, 1))
          for (let i = 0; i < turns; i++) await turn()
          await close(links)
        }
        const links = open()
        setTimeout(async () => {
          await close(links)
          console.log('closed')
        }, 300)
      `)
      const ended = once(child, 'exit')
      let errors = ''
      child.stderr?.on('data', (data) => {
        errors += data
      })
      try {
        const early = ended.then(([code]) => {
          throw new Error(`it ended with ${code}: ${errors}`)
        })
        await Promise.race([once(child.stdout as Readable, 'data'), early])
        const began = Date.now()
        expect(await ended).to.deep.equal([0, null])
        figure('the process ends after close', began)
      } finally {
        redis.go()
        node.go()
      }
    })

    it('logs the reason of a failed start with NODE_DEBUG', async () => {
      await redis.command('acl', 'setuser', 'mute', 'on', '>secret', '&*', '+@all', '-subscribe')
      const child = program(
        `
        const auth = { username: 'mute', password: 'secret' }
        for (const library of libraries) {
          connect(library.client(${redis.port}, auth)).subscribe(['all']).catch(() => {})
        }
        setInterval(() => {}, 1_000)
      `,
        { NODE_DEBUG: 'koaws:backplane' },
      )
      let text = ''
      child.stderr?.on('data', (data) => {
        text += data
      })
      await eventually(() => (text.match(/KOAWS:BACKPLANE.*Redis.*NOPERM/g) ?? []).length > 7)
      expect(text).not.to.include('secret')
    })

    it('waits for a Redis that is loading', async () => {
      const slow = await startRedis([
        'key-load-delay 400',
        'loading-process-events-interval-bytes 1024',
        'enable-debug-command yes',
      ])
      await slow.command('debug', 'populate', '4000')
      await slow.command('save')
      await slow.kill()
      const links = libraries.map((library) => watch(library, slow.port))
      const started = slow.start()
      let loading = ''
      await eventually(() => {
        slow.command('ping').then(
          (answer) => {
            loading ||= answer
          },
          () => {},
        )
        return loading !== ''
      })
      figure(loading, 0)
      expect(loading).to.match(/^-LOADING/)
      await started
      const began = Date.now()
      await eventually(() => links.every(({ turns }) => turns.length > 0))
      figure('all ready after loading', began)
    })

    it('follows to the promoted replica, and keeps the order', async () => {
      await each(async (library) => {
        const primary = await startRedis()
        const replica = await startRedis([`replicaof 127.0.0.1 ${primary.port}`])
        const proxy = await startProxy(primary.port)
        const [one, other] = await pair(library, proxy.port)
        await acquainted([one, other])
        const b = await enterAndHold(other, { rooms: ['r'] })
        one.hub.room('r').send('1')
        await arrived(b, '1')
        proxy.cut()
        await primary.kill()
        await eventually(() => stateOf(one) === 'degraded')
        one.hub.room('r').send('2')
        await replica.command('replicaof', 'no', 'one')
        const began = Date.now()
        proxy.heal(replica.port)
        one.hub.room('r').send('3')
        await acquainted([one, other])
        figure(`${library.name}: after a promotion`, began)
        one.hub.room('r').send('4')
        await arrived(b, '2', '3', '4')
      })
    })
  })

  describe('to a Redis Cluster', () => {
    const open = (library: Library, node: TestRedis): Promise<House> =>
      house({
        adapter: redisAdapter({ client: library.cluster(node.port), heartbeat: 1_000 }),
        flood: false,
        maxBufferedAmount: 64 * 1024 * 1024,
      })

    for (const library of libraries) {
      it(`connects instances over different nodes, and keeps the order, with ${library.name}`, async () => {
        const houses = await Promise.all(nodes.map((node) => open(library, node)))
        const [one, other, last] = houses as [House, House, House]
        await acquainted(houses)
        const guests = [
          await enterAndHold(other, { rooms: ['r'] }),
          await enterAndHold(last, { rooms: ['r'] }),
        ]
        const texts = Array.from({ length: 5_000 }, (_, i) => String(i))
        for (const text of texts) {
          one.hub.room('r').send(text)
          if (Number(text) % 10 === 0) await new Promise(setImmediate)
        }
        for (const guest of guests) await arrived(guest, ...texts)
      })
    }

    it('moves to another node when its node is killed', async () => {
      const [first, second, third] = nodes
      const houses = await Promise.all(
        libraries.flatMap((library) => [first, second].map((node) => open(library, node))),
      )
      while (!(await third.command('client', 'list', 'type', 'pubsub')).includes('addr=')) {
        houses.push(await open(libraries[houses.length % 4] as Library, first))
        await eventually(() => houses.every((each) => stateOf(each) === 'ready'))
      }
      await acquainted(houses)
      const guests = await Promise.all(houses.map((each) => enterAndHold(each, { rooms: ['r'] })))
      const degraded: unknown[] = []
      const hear = (event: unknown): void => void degraded.push(event)
      channel('koaws:backplane').subscribe(hear)
      await third.kill()
      const began = Date.now()
      await eventually(
        () => degraded.length > 0 && houses.every((each) => stateOf(each) === 'ready'),
      )
      channel('koaws:backplane').unsubscribe(hear)
      figure(`${degraded.length / 2} of ${houses.length} ready after a node was killed`, began)
      await acquainted(houses)
      for (const [i, { hub }] of houses.entries()) {
        hub.room('r').send(String(i))
        for (const guest of guests) await arrived(guest, String(i))
      }
    })
  })

  const figures: string[] = []
  function figure(what: string, since: number): void {
    figures.push(since ? `${what}: ${Date.now() - since} ms` : what)
  }
})

/** Expects exactly these messages, each once and in order. */
async function arrived(guest: Guest, ...messages: string[]): Promise<void> {
  const all: unknown[] = []
  const deadline = Date.now() + PATIENCE
  while (all.length < messages.length && Date.now() < deadline) {
    all.push(...(await received(guest)))
    await sleep(5)
  }
  all.push(...(await received(guest)))
  expect(all).to.deep.equal(messages)
}

async function soonReceived(
  guest: Guest,
  enough: (messages: readonly unknown[]) => boolean,
): Promise<void> {
  const all: unknown[] = []
  const deadline = Date.now() + PATIENCE
  while (!enough(all)) {
    expect(Date.now()).to.be.below(deadline)
    all.push(...(await received(guest)))
    await sleep(5)
  }
}

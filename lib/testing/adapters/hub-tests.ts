// Tests of hubs over an adapter.
import { strict as assert } from 'node:assert'
import { channel } from 'node:diagnostics_channel'
import type { LostEvent } from '../../diagnostics.ts'
import { accept, type Hub, type KoaWsOptions, koaWs } from '../../index.ts'
import { type TestApp, type TestSocket, testApp } from '../test-app.ts'
import type { AdapterSubject, AdapterTest, MakeSubject } from './subject.ts'
import { faultsOf, testOf, until } from './support.ts'

/** Payloads that koaws did not write, or that another version wrote. */
const FOREIGN = [
  Buffer.alloc(0),
  Buffer.from('hello'),
  Buffer.from('{"type":"said"}'),
  Buffer.from([0x4b, 0x57, 1, 0, 0, 0, 0, 0]),
  Buffer.from([0x4b, 0x57, 99, 0, 0, 0, 0, 0, 1, 2, 3]),
  Buffer.alloc(70_000, 0xff),
]

/** One instance: an app that reads the user and the rooms of a client from the query. */
class Instance {
  readonly hub: Hub
  readonly #app: TestApp
  #guests = 0

  private constructor(hub: Hub, app: TestApp) {
    this.hub = hub
    this.#app = app
  }

  static async start(subject: AdapterSubject, options: KoaWsOptions = {}): Promise<Instance> {
    // Tests of a page load `koaws/testing` too, and koa may be absent there.
    const { default: Koa } = await import('koa')
    const app = new Koa()
    app.silent = true
    const hub = koaWs({ adapter: subject.adapter(), ...options })
    app.use(hub)
    app.use(
      accept(
        async (connection, ctx) => {
          await connection.join(
            ...String(ctx.query['rooms'] ?? '')
              .split(',')
              .filter(Boolean),
          )
          connection.json({ id: connection.id })
        },
        { user: (ctx) => ctx.query['user'] as string | undefined },
      ),
    )
    return new Instance(hub, testApp(app))
  }

  /** Connects a client that is in the given rooms. */
  async enter(rooms = '', user = `u${this.#guests++}`): Promise<TestSocket & { id: string }> {
    const socket = await this.#app.connect(`/?rooms=${rooms}&user=${user}`)
    const { id } = (await socket.nextJson()) as { id: string }
    return Object.assign(socket, { id })
  }

  async close(): Promise<void> {
    await this.hub.close({ timeout: 500 })
    await this.#app.close()
  }
}

/** Returns instances that know each other. */
function instances(
  subject: AdapterSubject,
  after: (undo: () => unknown) => void,
  count: 2,
): Promise<[Instance, Instance]>
function instances(
  subject: AdapterSubject,
  after: (undo: () => unknown) => void,
  count: 3,
): Promise<[Instance, Instance, Instance]>
async function instances(
  subject: AdapterSubject,
  after: (undo: () => unknown) => void,
  count: number,
): Promise<Instance[]> {
  const all = await Promise.all(Array.from({ length: count }, () => Instance.start(subject)))
  for (const one of all) after(() => one.close())
  await acquainted(all)
  return all
}

async function acquainted(all: readonly Instance[]): Promise<void> {
  await until('every instance is ready and knows the others', () =>
    all.every(({ hub }) => {
      const { state, instances } = hub.status().backplane
      return state === 'ready' && instances === all.length - 1
    }),
  )
}

/** Expects exactly these messages, followed by a marker. */
async function expectNext(sockets: readonly TestSocket[], ...texts: string[]): Promise<void> {
  for (const socket of sockets) {
    for (const text of texts) assert.equal(String(await socket.next()), text)
  }
}

/** Returns the tests of hubs over an adapter. */
export function hubTests(make: MakeSubject): AdapterTest[] {
  return [
    testOf(
      make,
      'a question of the application reaches every instance, and each answers',
      async (subject, after) => {
        const all = await instances(subject, after, 3)
        for (const { hub } of all) hub.answer('echo', (data) => ({ data, id: hub.status().id }))
        const [one] = all
        const answers = await one.hub.ask('echo', { text: 'é'.repeat(5_000) }, { timeout: 10_000 })
        assert.deepEqual(answers.missing, [])
        const data = { text: 'é'.repeat(5_000) }
        const expected = all.map(({ hub }) => ({ data, id: hub.status().id }))
        const byId = (a: { id: string }, b: { id: string }): number => (a.id < b.id ? -1 : 1)
        const told = answers.map((answer) => answer.data as { data: unknown; id: string })
        assert.deepEqual(told.sort(byId), expected.sort(byId))
      },
    ),
    testOf(
      make,
      'an audience of rooms, users, connections or all spans all instances',
      async (subject, after) => {
        const [one, two, three] = await instances(subject, after, 3)
        const a = await one.enter('r', 'a')
        const b = await two.enter('r,s', 'b')
        const c = await three.enter('s', 'a')
        assert.equal(await one.hub.room('r', 's').send('1').backplane, 'sent')
        one.hub.user('a').send('2')
        await expectNext([a, c], '1', '2')
        await expectNext([b], '1')
        // Two instances publish: the engine orders the messages only after an acknowledgement.
        await one.hub.connection(c.id).send('3').backplane
        two.hub.room('s').except(b.id).send('4')
        await expectNext([c], '3', '4')
        three.hub.all().exceptUser('a').send('5')
        await expectNext([b], '5')
        one.hub.all().local().send('6')
        await expectNext([a], '6')
        assert.equal(await two.hub.all().count(), 3)
        assert.equal(await one.hub.room('s').count(), 2)
        const members = await three.hub.room('r').members()
        assert.deepEqual([...members.map(({ id }) => id)].sort(), [a.id, b.id].sort())
        assert.deepEqual(members.missing, [])
        for (const socket of [a, b, c]) socket.send('x')
        for (const { hub } of [one, two, three]) hub.all().local().send('end')
        await expectNext([a, b, c], 'end')
      },
    ),

    testOf(make, 'any instance can move and close members', async (subject, after) => {
      const [one, two] = await instances(subject, after, 2)
      const a = await one.enter('', 'a')
      const b = await two.enter('', 'b')
      await one.hub.user('b').join('late')
      await until(
        'the connection is in the room',
        async () => (await one.hub.room('late').count()) === 1,
      )
      await until('a message to the room arrives', async () => {
        one.hub.room('late').send('in')
        return (await Promise.race([b.next(), pause(50)])) === 'in'
      })
      await one.hub.room('late').leave('late')
      await until(
        'the connection has left the room',
        async () => (await one.hub.room('late').count()) === 0,
      )
      await one.hub.user('b').close(4321, 'over')
      assert.deepEqual(await b.closed, { code: 4321, reason: 'over' })
      one.hub.all().send('here')
      await expectNext([a], 'here')
    }),

    testOf(
      make,
      'messages of each sender arrive once and in order, also at its own members',
      async (subject, after) => {
        const all = await instances(subject, after, 3)
        const guests = await Promise.all(all.map((one) => one.enter('r')))
        for (let i = 0; i < 300; i++) {
          for (const [n, { hub }] of all.entries()) hub.room('r').send(`${n} ${i}`)
          if (i % 10 === 0) await new Promise(setImmediate)
        }
        for (const guest of guests) {
          const next = all.map(() => 0)
          for (let i = 0; i < 300 * all.length; i++) {
            const [n, number] = String(await guest.next())
              .split(' ')
              .map(Number) as [number, number]
            assert.equal(number, next[n], `the messages of instance ${n}`)
            next[n] = number + 1
          }
        }
        for (const { hub } of all) assert.equal(hub.status().backplane.lost, 0)
      },
    ),

    testOf(
      make,
      'foreign messages are ignored and counted',
      async (subject, after) => {
        const { inject } = faultsOf(subject)
        const [one, two] = await instances(subject, after, 2)
        const a = await one.enter('r')
        const before = one.hub.status().drops['foreign'] ?? 0
        for (const bytes of FOREIGN) await inject('room:r', bytes)
        for (const bytes of FOREIGN) await inject('all', bytes)
        await until('all foreign messages are counted', () => {
          return one.hub.status().drops['foreign'] === before + 2 * FOREIGN.length
        })
        two.hub.room('r').send('still here')
        await expectNext([a], 'still here')
      },
      ['inject'],
    ),

    testOf(
      make,
      'during an outage local members are served, and other members get the messages in order afterwards',
      async (subject, after) => {
        const { cut, heal } = faultsOf(subject)
        const [one, two] = await instances(subject, after, 2)
        const a = await one.enter('r')
        const b = await two.enter('r')
        await cut()
        await until('the outage is noticed', () =>
          [one, two].every(({ hub }) => hub.status().backplane.state === 'degraded'),
        )
        for (let i = 0; i < 20; i++) {
          const { local, backplane } = one.hub.room('r').send(String(i))
          assert.equal(local, 1)
          assert.equal(await backplane, 'queued')
        }
        assert.equal(await one.hub.room('r').volatile().send('volatile').backplane, 'failed')
        assert.ok(one.hub.status().backplane.queued.messages > 0)
        assert.ok(one.hub.status().backplane.queued.bytes > 0)
        const { missing } = await one.hub.room('r').members()
        assert.deepEqual(missing, [two.hub.status().id])
        const texts = Array.from({ length: 20 }, (_, i) => String(i))
        await expectNext([a], ...texts, 'volatile')
        await heal()
        await acquainted([one, two])
        await expectNext([b], ...texts)
        await until('the queue is empty', () => one.hub.status().backplane.queued.messages === 0)
        const c = await two.enter('late')
        one.hub.room('late', 'r').send('after')
        await expectNext([a, b, c], 'after')
        assert.equal(await one.hub.all().count(), 3)
      },
      ['cut'],
    ),

    testOf(
      make,
      'messages beyond the limits of the queue fail, and members that missed them are notified',
      async (subject, after) => {
        const { cut, heal } = faultsOf(subject)
        const [one, two] = [
          await Instance.start({
            adapter: () => ({ ...bound(subject), maxQueued: { messages: 5 } }),
          }),
          await Instance.start(subject),
        ]
        for (const each of [one, two]) after(() => each.close())
        await acquainted([one, two])
        const b = await two.enter('r')
        one.hub.room('r').send('before')
        await expectNext([b], 'before')
        const lost: LostEvent[] = []
        const hear = (event: unknown): void => void lost.push(event as LostEvent)
        channel('koaws:lost').subscribe(hear)
        after(() => channel('koaws:lost').unsubscribe(hear))
        await cut()
        await until('the outage is noticed', () => one.hub.status().backplane.state === 'degraded')
        const verdicts: string[] = []
        for (let i = 0; i < 8; i++) {
          verdicts.push(await one.hub.room('r').send(String(i)).backplane)
        }
        assert.deepEqual(verdicts, [...Array(5).fill('queued'), ...Array(3).fill('failed')])
        assert.equal(one.hub.status().drops['backplane'], 3)
        await heal()
        await acquainted([one, two])
        await until('the queue is empty', () => one.hub.status().backplane.queued.messages === 0)
        one.hub.room('r').send('after')
        await expectNext([b], '0', '1', '2', '3', '4', 'after')
        assert.equal(two.hub.status().backplane.lost, 3)
        const missed = lost.filter(({ direction }) => direction === 'in')
        assert.equal(
          missed.reduce((sum, { count }) => sum + count, 0),
          3,
        )
        assert.equal(missed[0]?.topic, 'room:r')
      },
      ['cut'],
    ),

    testOf(make, 'an instance that closes is gone at once', async (subject, after) => {
      const all = await instances(subject, after, 3)
      const [one, two, three] = all
      const a = await one.enter('r')
      const b = await two.enter('r')
      await two.close()
      assert.equal((await b.closed).code, 1012)
      await acquainted([one, three])
      assert.equal(await three.hub.room('r').count(), 1)
      assert.deepEqual((await one.hub.all().members()).missing, [])
      three.hub.room('r').send('on')
      await expectNext([a], 'on')
      const next = await Instance.start(subject)
      after(() => next.close())
      await acquainted([one, three, next])
    }),
  ]
}

/** Returns an adapter with bounds of its own. */
function bound(subject: AdapterSubject): ReturnType<AdapterSubject['adapter']> {
  const adapter = subject.adapter()
  return { ...adapter, connect: (...given) => adapter.connect(...given) }
}

function pause(ms: number): Promise<undefined> {
  return new Promise((resolve) => setTimeout(resolve, ms, undefined))
}

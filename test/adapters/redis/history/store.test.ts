import { expect } from 'chai'
import { APPEND } from '../../../../lib/adapters/redis/history/scripts.ts'
import { AdapterError } from '../../../../lib/errors.ts'
import { type Place, REMEMBERED } from '../../../../lib/history/store.ts'
import { needs } from '../../../support/programs.ts'
import { startProxy, startRedis, stopRedis, type TestRedis } from '../../../support/redis.ts'
import { type Library, libraries } from '../clients.ts'
import { slowly } from '../patience.ts'
import {
  closeStores,
  entryOf,
  openStore,
  type StoreSettings,
  TestStore,
  textsOf,
} from './stores.ts'

describe('the history in Redis', function () {
  needs('redis-server')
  this.timeout(120_000)

  let redis: TestRedis
  let tests = 0
  let prefix = ''
  before(async () => {
    redis = await startRedis()
  })
  beforeEach(() => {
    prefix = `t${tests++}:`
  })
  afterEach(closeStores)
  after(stopRedis)

  const open = (library: Library, settings: Partial<StoreSettings> = {}): Promise<TestStore> =>
    openStore(library, { port: redis.port, prefix, ...settings })
  const [first] = libraries as [Library]
  const start = (epoch: string): Place => ({ epoch, offset: 0, key: '' })
  const meta = (log: string): string => `${prefix}log:{${log}}:meta`
  const list = (log: string): string => `${prefix}log:{${log}}:list`

  for (const library of libraries) {
    describe(`with ${library.name}`, () => {
      it('gives what one instance records to another, in order, and reads it', async () => {
        const [one, other] = [await open(library), await open(library)]
        await other.store.follow('room:r')
        const texts = Array.from({ length: 20 }, (_, i) => `m${i}`)
        const place = await one.append('room:r', ...texts)
        expect(place.offset).to.equal(20)
        await slowly(() => other.heard.length === 20)
        expect(textsOf(other.heard)).to.deep.equal(texts)
        expect(other.heard.map(({ offset }) => offset)).to.deep.equal(texts.map((_, i) => i + 1))
        expect(other.heard.map(({ previous }) => previous)).to.deep.equal([
          '',
          ...other.heard.slice(0, -1).map(({ key }) => key),
        ])
        expect(await other.all('room:r')).to.deep.equal(texts)
        expect(await other.top('room:r')).to.deep.equal(place)
        const { epoch, key } = other.heard[4] as { epoch: string; key: string }
        expect(await one.after('room:r', { epoch, offset: 5, key })).to.deep.equal(texts.slice(5))
      })

      it('keeps every byte of a payload, and names with braces and spaces', async () => {
        const one = await open(library)
        const payload = Buffer.from(Array.from({ length: 512 }, (_, i) => i % 256))
        for (const log of ['room:e}f', 'room:{g', 'user:h{i} j', 'room:é\n😀']) {
          await one.store.follow(log)
          await one.store.append(log, { key: 'k', count: 3, payload })
          const reading = await one.read(log)
          if ('missing' in reading) throw new Error(reading.missing)
          expect(reading.entries.map((entry) => entry.payload)).to.deep.equal([payload])
          expect(reading.top.offset).to.equal(3)
          await slowly(() => one.heard.at(-1)?.log === log)
          expect(one.heard.at(-1)?.payload).to.deep.equal(payload)
          expect(one.heard.at(-1)?.count).to.equal(3)
        }
      })

      it('records an entry once when its outcome was unknown, in the order of the first attempt', async () => {
        const proxy = await startProxy(redis.port)
        const [one, other] = [await open(library, { port: proxy.port }), await open(library)]
        await one.append('room:r', '0')
        const entries = ['1', '2', '3'].map((text) => entryOf(text))
        proxy.lag(500) // the answers are on their way when the connection is cut
        const attempts = entries.map((entry) => one.store.append('room:r', entry))
        const results = Promise.allSettled(attempts)
        while ((await other.all('room:r')).length < 4) await other.top('room:r')
        proxy.cut()
        const codes = (await results).map((one) =>
          one.status === 'rejected' ? (one.reason as AdapterError).code : 'recorded',
        )
        expect(codes).to.deep.equal(entries.map(() => 'ERR_KOAWS_BACKPLANE'))
        expect(one.turns.at(-1)).to.equal('down')
        await other.append('room:r', 'between')
        proxy.lag(0)
        proxy.heal()
        await one.up(2)
        const places = await Promise.all(entries.map((entry) => one.store.append('room:r', entry)))
        expect(places.map(({ offset }) => offset)).to.deep.equal([2, 3, 4])
        await one.append('room:r', '4')
        expect(await other.all('room:r')).to.deep.equal(['0', '1', '2', '3', 'between', '4'])
      })

      it('goes on after Redis was killed: the log begins anew, and places of before are refused', async () => {
        const own = await startRedis()
        const one = await open(library, { port: own.port })
        const silent = await one.top('room:silent')
        const place = await one.append('room:r', '1', '2')
        await one.append('room:silent', 'lost')
        await own.kill()
        await one.down(/./)
        const error = await one.append('room:r', '3').catch((error: unknown) => error)
        expect(error).to.be.instanceOf(AdapterError)
        expect((error as AdapterError).code).to.equal('ERR_KOAWS_BACKPLANE')
        await own.start()
        await one.up(2)
        expect(await one.after('room:r', place)).to.equal('epoch')
        expect(await one.after('room:silent', silent)).to.equal('epoch')
        const anew = await one.append('room:r', '3')
        expect(anew.offset).to.equal(1)
        expect(anew.epoch > place.epoch).to.equal(true)
        expect(await one.after('room:r', place)).to.equal('epoch')
        expect(await one.after('room:r', start(anew.epoch))).to.deep.equal(['3'])
        await own.kill()
      })

      it('is up again after CLIENT KILL, and records the rest in order', async () => {
        const [one, other] = [await open(library), await open(library)]
        await other.store.follow('room:r')
        const kills: Promise<string>[] = []
        const kill = (type: string): void => {
          kills.push(redis.command('client', 'kill', 'type', type))
        }
        const waiting = Array.from({ length: 200 }, (_, i) => entryOf(String(i)))
        for (let i = 0; waiting.length > 0; i++) {
          const attempts = waiting.slice(0, 20).map((entry) => one.store.append('room:r', entry))
          if (i === 3) kill('normal')
          if (i === 5) kill('pubsub')
          const results = await Promise.allSettled(attempts)
          const failed = results.findIndex(({ status }) => status === 'rejected')
          const done = failed < 0 ? results.length : failed
          expect(results.slice(done).every(({ status }) => status === 'rejected')).to.equal(true)
          waiting.splice(0, done)
          await one.up()
        }
        await Promise.all(kills)
        await Promise.all([one.up(2), other.up(2)])
        const all = Array.from({ length: 200 }, (_, i) => String(i))
        expect(await one.all('room:r')).to.deep.equal(all.slice(100))
        expect((await one.top('room:r')).offset).to.equal(200)
        const order = other.heard.map(({ offset }) => offset)
        expect(order).to.deep.equal(order.toSorted((a, b) => a - b))
      })
    })
  }

  it('records what is appended in one turn in few scripts, each log in order', async () => {
    const own = await startRedis()
    for (const library of libraries) {
      const one = await openStore(library, { port: own.port, prefix: `${library.name}:` })
      await own.command('config', 'resetstat')
      const logs = Array.from({ length: 150 }, (_, i) => `room:${i % 50}`)
      const places = await Promise.all(logs.map((log, i) => one.append(log, String(i))))
      expect(places.map(({ offset }) => offset)).to.deep.equal(
        logs.map((_, i) => 1 + Math.floor(i / 50)),
      )
      expect(await own.command('info', 'commandstats')).to.match(/cmdstat_evalsha:calls=3,/)
      expect(await one.all('room:7')).to.deep.equal(['7', '57', '107'])
      const large = 'x'.repeat(100_000)
      await Promise.all(
        ['room:a', 'room:b', 'room:c', 'room:d'].map((log) => one.append(log, large)),
      )
      expect(await one.all('room:d')).to.deep.equal([large])
      one.close()
    }
    await own.kill()
  })

  it('records each log by itself on the only node of a Redis Cluster', async () => {
    const own = await startRedis(['cluster-enabled yes'])
    await own.command('cluster', 'addslotsrange', '0', '16383')
    await slowlyUntil(async () =>
      (await own.command('cluster', 'info')).includes('cluster_state:ok'),
    )
    const one = await open(first, { port: own.port })
    const logs = Array.from({ length: 10 }, (_, i) => `room:${i}`)
    const places = await Promise.all(logs.map((log) => one.append(log, log)))
    expect(places.map(({ offset }) => offset)).to.deep.equal(logs.map(() => 1))
    expect(await one.all('room:9')).to.deep.equal(['room:9'])
    expect(one.turns).to.deep.equal(['up'])
    await own.kill()
  })

  describe('limits a log', () => {
    it('by messages, exactly where entries begin', async () => {
      const one = await open(first, { limits: { messages: 10 } })
      const places: Place[] = []
      for (let i = 0; i < 12; i++) places.push(await one.append('room:r', `m${i}`))
      expect(await one.all('room:r')).to.have.length(10)
      expect(await one.after('room:r', places[1] as Place)).to.have.length(10)
      expect(await one.after('room:r', places[0] as Place)).to.equal('trimmed')
      expect(await one.after('room:r', start((places[0] as Place).epoch))).to.equal('trimmed')
      const entry = { key: 'seven', count: 7, payload: Buffer.from('7') }
      const place = await one.store.append('room:r', entry)
      expect(place.offset).to.equal(19)
      expect(await one.all('room:r')).to.deep.equal(['m9', 'm10', 'm11', '7'])
      await one.append('room:r', 'm19', 'm20', 'm21')
      expect(await one.all('room:r')).to.deep.equal(['7', 'm19', 'm20', 'm21'])
      await one.append('room:r', 'm22')
      expect(await one.all('room:r')).to.deep.equal(['m19', 'm20', 'm21', 'm22'])
      expect(await one.after('room:r', place)).to.deep.equal(['m19', 'm20', 'm21', 'm22'])
    })

    it('by bytes of payload, and by maxTotal if that is less', async () => {
      for (const limits of [{ bytes: 250 }, { maxTotal: 250 }]) {
        const one = await open(first, { limits, prefix: `${prefix}${Object.keys(limits)}:` })
        for (let i = 0; i < 5; i++) await one.append('room:r', String(i).repeat(100))
        expect(await one.all('room:r')).to.deep.equal(['3'.repeat(100), '4'.repeat(100)])
      }
    })

    it('to nothing when an entry exceeds a limit alone: it is given to followers, and not kept', async () => {
      const one = await open(first, { limits: { bytes: 250 } })
      await one.store.follow('room:r')
      const before = await one.append('room:r', 'small')
      const place = await one.append('room:r', 'x'.repeat(251))
      await slowly(() => one.heard.length === 2)
      expect(await one.all('room:r')).to.deep.equal([])
      expect(await one.after('room:r', before)).to.equal('trimmed')
      expect(await one.after('room:r', place)).to.deep.equal([])
      await one.append('room:r', 'next')
      expect(await one.after('room:r', place)).to.deep.equal(['next'])
    })

    it('by age, at a read and at the next entry', async () => {
      const one = await open(first, { limits: { ttl: 300 } })
      const place = await one.append('room:r', '1')
      const empty = start(place.epoch)
      await new Promise((resolve) => setTimeout(resolve, 150))
      await one.append('room:r', '2')
      // The first is too old before the second is, unless this process is slow.
      await slowlyUntil(async () => (await one.all('room:r')).length < 2)
      expect(await one.after('room:r', empty)).to.equal('expired')
      await slowlyUntil(async () => (await one.all('room:r')).length === 0)
      expect(await one.after('room:r', empty)).to.equal('expired')
      expect(await one.after('room:r', place)).to.equal('expired')
      const third = await one.append('room:r', '3')
      expect(third.offset).to.equal(3)
      expect(await one.all('room:r')).to.deep.equal(['3'])
      expect(await one.after('room:r', place)).to.equal('expired')
      expect(await redis.command('llen', list('room:r'))).to.equal(':1\r\n')
      await slowlyUntil(async () => (await redis.command('exists', list('room:r'))) === ':0\r\n')
      expect(await one.after('room:r', place)).to.equal('expired')
      expect(await one.after('room:r', third)).to.deep.equal([])
      expect((await one.append('room:r', '4')).offset).to.equal(4)
      expect(await one.after('room:r', third)).to.deep.equal(['4'])
      expect(await one.after('room:r', place)).to.equal('expired')
    })

    it('which recognizes a repetition of the last 64 instances that recorded to it', async () => {
      const one = await open(first)
      const append = async (origin: number): Promise<void> => {
        const limits = [
          `origin${String(origin).padStart(2, '0')}`,
          '1000',
          '1000',
          '60000',
          '60000',
        ]
        const entry = ['x', 'channel', `key${origin}`, '1', '1', '1', '0']
        const words = [meta('room:r'), list('room:r'), ...limits, ...entry]
        await redis.command('eval', APPEND.text, '2', ...words)
        await new Promise((resolve) => setTimeout(resolve, 2)) // another time
      }
      for (let i = 0; i < 70; i++) await append(i)
      for (let i = 6; i < 70; i++) await append(i)
      expect((await one.top('room:r')).offset).to.equal(70)
      await append(0)
      expect((await one.top('room:r')).offset).to.equal(71)
    })

    it('which keeps its epoch and top for a day after its last message', async () => {
      const one = await open(first)
      await one.append('room:r', '1')
      const left = async (): Promise<number> =>
        Number((await redis.command('pttl', meta('room:r'))).slice(1))
      expect(await left()).to.be.within(REMEMBERED - 60_000, REMEMBERED)
      await redis.command('pexpire', meta('room:r'), '100000')
      await one.top('room:r')
      expect(await left()).to.be.above(REMEMBERED - 60_000)
      await redis.command('pexpire', meta('room:r'), '100000')
      await one.all('room:r')
      expect(await left()).to.be.above(REMEMBERED - 60_000)
    })
  })

  describe('judges a place', () => {
    it('by its epoch, offset and key', async () => {
      const one = await open(first)
      const a = await one.append('room:r', 'a')
      const b = await one.append('room:r', 'b')
      expect(await one.after('room:r', { ...a, key: 'other' })).to.equal('epoch')
      expect(await one.after('room:r', { ...b, key: 'other' })).to.equal('epoch')
      expect(await one.after('room:r', { ...b, epoch: '000000000x' })).to.equal('epoch')
      expect(await one.after('room:r', { ...b, offset: 3 })).to.equal('ahead')
      expect(await one.after('room:r', { ...b, offset: 0 })).to.equal('epoch')
      expect(await one.after('room:other', b)).to.equal('epoch')
    })

    it('of a client that makes up an epoch', async () => {
      const one = await open(first)
      const { epoch } = await one.append('room:r', '1')
      const upper = `${epoch.slice(0, 8)}A`
      for (const made of ['all', 'top', '*all', 'none', upper, epoch.slice(0, 9).toUpperCase()]) {
        for (const log of ['room:r', 'room:none']) {
          expect(await one.after(log, start(made)), made).to.equal('epoch')
        }
      }
    })

    it('by the key of an entry that is removed, if it is the last one', async () => {
      const one = await open(first, { limits: { messages: 1 } })
      const a = await one.append('room:r', 'a')
      await one.append('room:r', 'b')
      expect(await one.after('room:r', a)).to.deep.equal(['b'])
      expect(await one.after('room:r', { ...a, key: 'other' })).to.equal('epoch')
    })

    it('within an entry of several messages: the whole entry follows it', async () => {
      const one = await open(first)
      await one.append('room:r', 'a')
      const place = await one.store.append('room:r', {
        key: 'three',
        count: 3,
        payload: Buffer.from('bcd'),
      })
      await one.append('room:r', 'e')
      expect(await one.after('room:r', { ...place, offset: 2 })).to.deep.equal(['bcd', 'e'])
      expect(await one.after('room:r', { ...place, offset: 3 })).to.deep.equal(['bcd', 'e'])
      expect(await one.after('room:r', place)).to.deep.equal(['e'])
      expect(await one.after('room:r', { ...place, offset: 5 })).to.equal('epoch')
    })

    it('that was given while the log did not exist, until a day has passed', async () => {
      const one = await open(first)
      const unborn = await one.top('room:r')
      expect(unborn).to.include({ offset: 0, key: '' })
      expect(unborn.epoch).to.match(/^[0-9a-z]{9}$/)
      expect(await redis.command('keys', `${prefix}*room:r*`)).to.equal('*0\r\n')
      await until(one, unborn)
      expect(await one.after('room:r', unborn)).to.deep.equal([])
      const at = (ms: number): Place =>
        start((Number.parseInt(unborn.epoch, 36) + ms).toString(36).padStart(9, '0'))
      expect(await one.after('room:r', at(-REMEMBERED))).to.equal('epoch')
      expect(await one.after('room:r', at(1_000_000))).to.equal('epoch')
      const place = await one.append('room:r', '1', '2')
      expect(place.epoch.slice(0, 9) >= unborn.epoch).to.equal(true)
      expect(await one.after('room:r', unborn)).to.deep.equal(['1', '2'])
      await until(one, start(place.epoch.slice(0, 9)))
      expect(await one.after('room:r', await one.top('room:later'))).to.equal('epoch')
      expect(await one.after('room:r', at(1_000_000))).to.equal('epoch')
    })

    it('that was given while the log did not exist as unknown after the data are lost', async () => {
      const own = await startRedis()
      const one = await open(first, { port: own.port })
      const before = await one.top('room:r')
      await until(one, before)
      expect(await one.after('room:r', before)).to.deep.equal([])
      await one.append('room:r', 'lost')
      await own.command('flushall')
      expect(await one.after('room:r', before)).to.equal('epoch')
      await one.append('room:r', '1')
      expect(await one.after('room:r', before)).to.equal('epoch')
      await own.kill()
    })

    it('that was given while the log did not exist as unknown after keys were evicted', async () => {
      const own = await startRedis(['maxmemory-policy volatile-ttl'])
      const one = await open(first, { port: own.port })
      const before = await one.top('room:r')
      await until(one, before)
      await one.append('room:r', 'lost')
      // Redis evicts the list, which expires first, and then what fills its memory.
      await own.command('config', 'set', 'maxmemory', '4mb')
      for (let i = 0; i < 50; i++) {
        await own.command('set', `fill${i}`, 'x'.repeat(100_000), 'px', '1000000')
      }
      await own.command('del', `${prefix}log:{room:r}:meta`)
      expect(await own.command('exists', `${prefix}log:{probe:0}:since`)).to.equal(':1\r\n')
      expect(await one.after('room:r', before)).to.equal('epoch')
      await own.kill()
    })

    /** Waits until Redis has known for longer than the age of a place that its data are complete. */
    async function until(one: TestStore, place: Place): Promise<void> {
      await slowlyUntil(async () => (await one.top('room:new')).epoch > place.epoch)
    }
  })

  describe('after an eviction', () => {
    it('says trimmed without the list, and goes on', async () => {
      const one = await open(first)
      const places = [await one.append('room:r', '1'), await one.append('room:r', '2')]
      await redis.command('del', list('room:r'))
      expect(await one.all('room:r')).to.deep.equal([])
      expect(await one.after('room:r', places[0] as Place)).to.equal('trimmed')
      expect(await one.after('room:r', places[1] as Place)).to.deep.equal([])
      const third = await one.append('room:r', '3')
      expect(third).to.include({ offset: 3, epoch: (places[0] as Place).epoch })
      expect(await one.after('room:r', places[0] as Place)).to.equal('trimmed')
      expect(await one.after('room:r', places[1] as Place)).to.deep.equal(['3'])
    })

    it('begins a new epoch without the meta, and does not use the list of before', async () => {
      const one = await open(first)
      const unborn = await one.top('room:r')
      const before = await one.append('room:r', '1', '2')
      await redis.command('del', meta('room:r'))
      expect(await one.after('room:r', before)).to.equal('epoch')
      const anew = await one.append('room:r', '3')
      expect(anew.offset).to.equal(1)
      expect(anew.epoch > before.epoch).to.equal(true)
      expect(await one.all('room:r')).to.deep.equal(['3'])
      expect(await one.after('room:r', before)).to.equal('epoch')
      expect(await one.after('room:r', unborn)).to.equal('epoch')
      expect(await one.after('room:r', start(anew.epoch))).to.deep.equal(['3'])
    })

    it('or with other data in the keys, refuses the entry alone among those of a turn', async () => {
      const one = await open(first)
      await redis.command('set', list('room:2'), 'foreign')
      const logs = [1, 2, 3, 2, 1].map((n) => `room:${n}`)
      const results = await Promise.allSettled(logs.map((log) => one.append(log, log)))
      expect(results.map(({ status }) => status)).to.deep.equal(
        logs.map((log) => (log === 'room:2' ? 'rejected' : 'fulfilled')),
      )
      expect(await one.all('room:1')).to.deep.equal(['room:1', 'room:1'])
      expect(await one.all('room:3')).to.deep.equal(['room:3'])
      expect(one.turns).to.deep.equal(['up'])
    })

    it('or with other data in the keys, refuses the entry, and other logs go on', async () => {
      const one = await open(first)
      await redis.command('set', list('room:r'), 'foreign')
      const error = await one.append('room:r', '1').catch((error: unknown) => error)
      expect((error as AdapterError).code).to.equal('ERR_KOAWS_BACKPLANE_REFUSED')
      await one.append('room:other', '1')
      expect(one.turns).to.deep.equal(['up'])
      await redis.command('set', meta('room:other'), 'foreign')
      expect((await one.append('room:other', '2')).offset).to.equal(1)
    })
  })

  describe('renews a log', () => {
    it('that does not hold what an instance has seen, once, and with a later epoch', async () => {
      const [one, other] = [await open(first), await open(first)]
      const seen = { ...(await one.append('room:r', '1', '2')), offset: 7, key: 'lost' }
      await Promise.all([one.store.renew('room:r', seen), other.store.renew('room:r', seen)])
      const top = await one.top('room:r')
      expect(top).to.include({ offset: 0, key: '' })
      expect(top.epoch > seen.epoch).to.equal(true)
      expect(await one.all('room:r')).to.deep.equal([])
      await one.append('room:r', '3')
      await other.store.renew('room:r', seen)
      expect(await one.after('room:r', top)).to.deep.equal(['3'])
    })

    it('with another entry at this offset, and with an older epoch', async () => {
      const one = await open(first)
      const places: Place[] = []
      for (const text of ['1', '2', '3']) places.push(await one.append('room:r', text))
      const [a, , c] = places as [Place, Place, Place]
      const epochs = [a.epoch]
      for (const seen of [
        { ...c, key: 'x' },
        { ...a, key: 'x' },
      ]) {
        await one.store.renew('room:r', { ...seen, epoch: epochs.at(-1) as string })
        epochs.push((await one.top('room:r')).epoch)
        for (const text of ['1', '2', '3']) await one.append('room:r', text)
      }
      const later = `${(Date.now() + 5_000).toString(36).padStart(9, '0')}abc`
      await one.store.renew('room:r', { epoch: later, offset: 1, key: 'x' })
      epochs.push((await one.top('room:r')).epoch)
      expect(epochs).to.deep.equal([...new Set(epochs)].sort())
      expect((epochs.at(-1)?.slice(0, 9) as string) > later.slice(0, 9)).to.equal(true)
    })

    it('not when it holds the entry, has removed it, is later, or has never existed', async () => {
      const one = await open(first, { limits: { messages: 3 } })
      const unborn = await one.top('room:none')
      await one.store.renew('room:none', unborn)
      expect((await one.top('room:none')).epoch).to.have.length(9)
      const places: Place[] = []
      for (const text of ['1', '2', '3', '4', '5']) places.push(await one.append('room:r', text))
      const top = await one.top('room:r')
      const later = { epoch: '000000000old', offset: 9, key: 'x' }
      for (const seen of [
        ...places,
        start(top.epoch),
        { ...places[0], key: 'x' } as Place,
        later,
      ]) {
        await one.store.renew('room:r', seen)
        expect(await one.top('room:r')).to.deep.equal(top)
      }
    })

    it('that Redis has lost', async () => {
      const one = await open(first)
      const seen = await one.append('room:r', '1')
      const unborn = await one.top('room:other')
      await redis.command('del', meta('room:r'), list('room:r'))
      await one.store.renew('room:r', seen)
      const top = await one.top('room:r')
      expect(top.epoch > seen.epoch && top.epoch.length > 9).to.equal(true)
      expect(await one.after('room:r', unborn)).to.equal('epoch')
    })

    it('and records an entry of an unknown outcome once, also across the epochs', async () => {
      const proxy = await startProxy(redis.port)
      const [one, other] = [await open(first, { port: proxy.port }), await open(first)]
      const entry = entryOf('1')
      proxy.lag(500)
      const attempt = one.store.append('room:r', entry)
      const failed = Promise.resolve(attempt).catch((error: unknown) => error)
      while ((await other.all('room:r')).length === 0) await other.top('room:r')
      proxy.cut()
      expect(await failed).to.be.instanceOf(AdapterError)
      const seen = await other.top('room:r')
      await other.store.renew('room:r', { ...seen, offset: 5, key: 'lost' })
      proxy.lag(0)
      proxy.heal()
      await one.up(2)
      const { epoch } = await other.top('room:r')
      expect(await one.store.append('room:r', entry)).to.deep.equal(start(epoch))
      expect(await one.all('room:r')).to.deep.equal([])
    })
  })

  it('loses a tail in a failover, and finds the fork by the key', async () => {
    const [primary, replica] = [
      await startRedis(['repl-diskless-sync-delay 0']),
      await startRedis(),
    ]
    const proxy = await startProxy(primary.port)
    const one = await open(first, { port: proxy.port })
    await replica.command('replicaof', '127.0.0.1', String(primary.port))
    const common = await one.append('room:r', '1', '2')
    await slowlyUntil(async () =>
      (await replica.command('lrange', list('room:r'), '0', '-1')).includes('\n2'),
    )
    await replica.command('replicaof', 'no', 'one')
    const lost = await one.append('room:r', 'lost')
    await primary.kill()
    proxy.heal(replica.port)
    await one.up(2)
    expect(await one.after('room:r', lost)).to.equal('ahead')
    await one.append('room:r', '3')
    expect(await one.after('room:r', lost)).to.equal('epoch')
    expect(await one.after('room:r', common)).to.deep.equal(['3'])
    await one.store.renew('room:r', lost)
    expect((await one.top('room:r')).epoch > lost.epoch).to.equal(true)
    await replica.kill()
  })

  it('rejects everything that waits when it is closed, and reports nothing afterwards', async () => {
    const own = await startRedis()
    const one = await open(first, { port: own.port })
    await one.store.follow('room:r')
    own.stop()
    const waiting = [
      one.append('room:r', '1'),
      one.read('room:r'),
      one.top('room:r'),
      one.store.renew('room:r', start('000000000x')),
    ]
    const results = Promise.allSettled(waiting)
    const turns = [...one.turns]
    one.close()
    expect((await results).map(({ status }) => status)).to.deep.equal(waiting.map(() => 'rejected'))
    own.go()
    await own.kill()
    expect(one.turns).to.deep.equal(turns)
    const error = await one.append('room:r', '1').catch((error: unknown) => error)
    expect(error).to.be.instanceOf(AdapterError)
  })

  it('is down when Redis hangs, also without a hub that waits for its own messages', async () => {
    const own = await startRedis()
    const one = new TestStore(first, { port: own.port, heartbeat: 100 })
    await one.up()
    own.stop()
    const attempt = one.append('room:r', '1').catch((error: unknown) => error)
    await one.down(/did not answer/)
    expect(await attempt).to.be.instanceOf(AdapterError)
    own.go()
    await one.up(2)
    await own.kill()
  })

  it('follows nothing after unfollow, and ignores payloads of other software', async () => {
    const one = await open(first)
    await one.store.follow('room:r')
    for (const text of [
      '',
      'x',
      'e 1 1 1 1 k',
      'e 1 1 1 1 k \n',
      'é 1 1 1 1 k p\npayload',
      'e -1 1 1 1 k p\n',
    ]) {
      await redis.command('publish', `${prefix}log:room:r`, text)
    }
    await one.append('room:r', '1')
    await slowly(() => one.heard.at(-1)?.payload.toString() === '1')
    expect(textsOf(one.heard)).to.deep.equal(['', '1'])
    one.store.unfollow('room:r')
    await one.store.follow('room:other')
    await one.append('room:r', '2')
    await one.append('room:other', '3')
    await slowly(() => one.heard.at(-1)?.payload.toString() === '3')
    expect(textsOf(one.heard)).to.deep.equal(['', '1', '3'])
  })

  async function slowlyUntil(holds: () => Promise<boolean>): Promise<void> {
    const deadline = Date.now() + 60_000
    while (!(await holds())) {
      if (Date.now() > deadline) throw new Error('it did not come about')
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }
})

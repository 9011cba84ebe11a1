import { expect } from 'chai'
import { redisAdapter } from '../../../../lib/adapters/redis/index.ts'
import type { AdapterError } from '../../../../lib/errors.ts'
import { house } from '../../../support/order.ts'
import { needs } from '../../../support/programs.ts'
import { startProxy, startRedis, stopRedis, type TestRedis } from '../../../support/redis.ts'
import { cleanUp } from '../../../support/server.ts'
import { type ClientSettings, type Library, libraries } from '../clients.ts'
import { slowly } from '../patience.ts'
import { closeStores, entryOf, openStore, type StoreSettings, TestStore } from './stores.ts'

/** The rights that docs/guides/redis.md names. */
const LINK = [
  '+publish',
  '+subscribe',
  '+unsubscribe',
  '+ping',
  '+hello',
  '+auth',
  '+client',
  '+info',
]
const HISTORY = [
  '+evalsha',
  '+script|load',
  '+time',
  '+get',
  '+set',
  '+del',
  '+pttl',
  '+pexpire',
  '+rpush',
  '+lpop',
  '+ltrim',
  '+llen',
  '+lindex',
  '+lrange',
]

describe('a session of the history in Redis', function () {
  needs('redis-server')
  this.timeout(120_000)

  let redis: TestRedis
  let tests = 0
  let prefix = ''
  before(async () => {
    redis = await startRedis()
  })
  beforeEach(() => {
    app = { username: `app${tests}`, password: 'secret' }
    prefix = `t${tests++}:`
  })
  afterEach(async () => {
    closeStores()
    await cleanUp()
  })
  after(stopRedis)

  const open = (library: Library, settings: Partial<StoreSettings> = {}): Promise<TestStore> =>
    openStore(library, { port: redis.port, prefix, ...settings })
  const [first] = libraries as [Library]
  /** A user for each test: connections of an earlier one may still be refused, and logged. */
  let app: ClientSettings = { username: 'app', password: 'secret' }
  const allow = (...rules: string[]): Promise<string> =>
    redis.command('acl', 'setuser', String(app.username), 'reset', 'on', '>secret', ...rules)
  const names = (): string[] => [`~${prefix}log:*`, `&${prefix}*`]
  const codeOf = (attempt: Promise<unknown>): Promise<string> =>
    attempt.then(
      () => 'none',
      (error: AdapterError) => error.code,
    )

  describe('with a restricted user', () => {
    it('works with the rights of the guide', async () => {
      await redis.command('acl', 'log', 'reset')
      const test = String(app.username)
      for (const library of libraries) {
        prefix = `${prefix}x`
        // Stores of the libraries before are still open, with rights to their own prefix.
        app = { ...app, username: `${app.username}x` }
        expect(await allow('-@all', ...names(), ...LINK, ...HISTORY)).to.match(/^\+OK/)
        const one = await open(library, { user: app, limits: { messages: 2, ttl: 500 } })
        await one.store.follow('room:r')
        const unborn = await one.top('room:r')
        for (const text of ['1', '2', '3']) await one.append('room:r', text)
        expect(await one.all('room:r')).to.deep.equal(['2', '3'])
        expect(await one.after('room:r', unborn)).to.equal('trimmed')
        await one.store.renew('room:r', { ...unborn, epoch: 'zzzzz', offset: 1, key: 'x' })
        await slowly(() => one.heard.length === 3)
        expect(one.turns).to.deep.equal(['up'])
      }
      const log = await redis.command('acl', 'log')
      expect(log).to.not.include(`${test}x`) // it would name the refused user
    })

    for (const right of [...HISTORY, '+publish']) {
      const word = right.slice(1).replace('|', '.')
      const name = `'${word}' command|\\(${word.toUpperCase()}\\)$`
      it(`is down without ${right}, names it, writes nothing, and works when it is allowed`, async () => {
        const rights = [...LINK, ...HISTORY].filter((one) => one !== right)
        await allow('-@all', ...names(), ...rights)
        const one = new TestStore(first, { port: redis.port, prefix, user: app })
        await one.down(new RegExp(name))
        expect(await codeOf(one.append('room:r', '1'))).to.equal('ERR_KOAWS_BACKPLANE')
        expect(one.turns).to.deep.equal(['down'])
        expect(await redis.command('keys', `${prefix}log:{room*`)).to.equal('*0\r\n')
        await allow('-@all', ...names(), ...LINK, ...HISTORY)
        await one.up()
        await one.append('room:r', '1')
      })
    }

    it('is down without the keys or the channels, and says so', async () => {
      await allow('+@all', `&${prefix}*`)
      const one = new TestStore(first, { port: redis.port, prefix, user: app })
      await one.down(
        /refuses a right of the history \(~.*log:\* &.*log:\*\): .* access one of the keys/,
      )
      await allow('+@all', '~*', `&${prefix}room:*`)
      const other = new TestStore(first, { port: redis.port, prefix, user: app })
      await other.down(/refuses a right of the history .* publish to the channel/)
      await allow('+@all', ...names())
      await Promise.all([one.up(), other.up()])
    })

    it('does not disturb the backplane of the hub', async () => {
      await allow('+@all', '~none', `&${prefix}*`)
      const adapter = redisAdapter({ client: first.client(redis.port, app), prefix })
      const { hub } = await house({ adapter })
      const reasons: string[] = []
      const id = 'other'
      const store = adapter.history?.(
        id,
        { messages: 1, bytes: 1, ttl: 1, maxTotal: 1 },
        {
          recorded() {},
          up: () => void reasons.push('up'),
          down: (reason) => void reasons.push(reason.message),
        },
      )
      await slowly(() => reasons.length > 0 && hub.status().backplane.state === 'ready')
      expect(reasons).to.have.length(1)
      expect(reasons[0]).to.match(/NOPERM/)
      await store?.close()
    })

    it('takes back an entry that Redis could not publish: it is recorded, and the store is down', async () => {
      await allow('+@all', ...names())
      const [one, other] = [await open(first, { user: app }), await open(first)]
      await one.append('room:r', '1')
      await allow('+@all', `~${prefix}*`, 'resetchannels', `&${prefix}log:probe*`)
      await one.append('room:r', '2')
      await one.down(/refuses a publish/)
      expect(await other.all('room:r')).to.deep.equal(['1', '2'])
    })

    it('repairs what a refusal in the middle of a script has left', async () => {
      await allow('+@all', ...names())
      const [one, other] = [await open(first, { user: app }), await open(first)]
      const place = await one.append('room:r', '1')
      await allow('+@all', '-set', ...names())
      expect(await codeOf(one.append('room:r', '2'))).to.equal('ERR_KOAWS_BACKPLANE')
      await one.down(/can't run this command/)
      // The list has the entry; the meta, which decides, has not.
      expect(await redis.command('llen', `${prefix}log:{room:r}:list`)).to.equal(':2\r\n')
      expect(await other.top('room:r')).to.deep.equal(place)
      expect(await other.all('room:r')).to.deep.equal([])
      const third = await other.append('room:r', '3')
      expect(third.offset).to.equal(2)
      expect(await other.all('room:r')).to.deep.equal(['3'])
      expect(await other.after('room:r', place)).to.deep.equal(['3'])
    })
  })

  for (const library of libraries) {
    it(`ends when the scripts are gone, and what waits is recorded in order: ${library.name}`, async () => {
      const [one, other] = [await open(library), await open(library)]
      await other.store.follow('room:r')
      const waiting = Array.from({ length: 60 }, (_, i) => entryOf(String(i)))
      for (let round = 0; waiting.length > 0; round++) {
        const attempts = waiting.slice(0, 20).map((entry) => one.store.append('room:r', entry))
        if (round < 2) {
          const flushed = redis.command('script', 'flush')
          await new Promise(setImmediate)
          attempts.push(...waiting.slice(20, 40).map((entry) => one.store.append('room:r', entry)))
          await flushed
        }
        const results = await Promise.allSettled(attempts)
        const failed = results.findIndex(({ status }) => status === 'rejected')
        waiting.splice(0, failed < 0 ? results.length : failed)
        await one.up()
      }
      const reader = await open(library) // it has loaded the scripts
      expect(await reader.all('room:r')).to.deep.equal(
        Array.from({ length: 60 }, (_, i) => String(i)),
      )
      // The check of either finds that they are gone, if nothing is recorded, and loads them again.
      const ends = (): number => one.reasons.length + other.reasons.length + reader.reasons.length
      const before = ends()
      let flushes = 0
      // A session that opens at this moment loads them before anything has seen that they were gone.
      await slowly(() => {
        if (flushes++ % 200 === 0) void redis.command('script', 'flush').catch(() => {})
        return ends() > before
      })
      await Promise.all([one.up(), other.up(), reader.up()])
      expect(`${one.reasons} ${other.reasons} ${reader.reasons}`).to.match(/NOSCRIPT/)
    })
  }

  describe('of a server that does not take writes', () => {
    it('refuses an entry when the memory is full, writes nothing, and records the next', async () => {
      for (const library of libraries) {
        const full = await startRedis(['maxmemory-policy noeviction'])
        const one = await open(library, { port: full.port })
        await one.store.follow('room:r')
        const place = await one.append('room:r', '1')
        await full.command('config', 'set', 'maxmemory', '1')
        const attempts = ['2', '3', '4'].map((text) => one.append('room:r', text))
        const other = one.append('room:new', '1')
        for (const attempt of [...attempts, other]) {
          expect(await codeOf(attempt)).to.equal('ERR_KOAWS_BACKPLANE_REFUSED')
        }
        expect(await one.all('room:r')).to.deep.equal(['1'])
        expect(await full.command('keys', '*room:new*')).to.equal('*0\r\n')
        await full.command('config', 'set', 'maxmemory', '0')
        expect((await one.append('room:r', '5', '6')).offset).to.equal(3)
        expect(await one.after('room:r', place)).to.deep.equal(['5', '6'])
        await slowly(() => one.heard.length === 3)
        expect(one.turns).to.deep.equal(['up'])
        // The meta was evicted: the list is not removed first, or Redis would let the rest pass.
        await full.command('del', `${prefix}log:{room:r}:meta`)
        await full.command('config', 'set', 'maxmemory', '1')
        expect(await codeOf(one.append('room:r', '7'))).to.equal('ERR_KOAWS_BACKPLANE_REFUSED')
        expect(await full.command('llen', `${prefix}log:{room:r}:list`)).to.equal(':3\r\n')
        await full.kill()
      }
    })

    it('starts with a full memory', async () => {
      const full = await startRedis(['maxmemory 1', 'maxmemory-policy noeviction'])
      const one = await open(first, { port: full.port })
      expect(await codeOf(one.append('room:r', '1'))).to.equal('ERR_KOAWS_BACKPLANE_REFUSED')
      await full.kill()
    })

    it('is down with too few replicas, keeps the backplane, and records in order afterwards', async () => {
      const strict = await startRedis()
      const adapter = redisAdapter({ client: first.client(strict.port), prefix })
      const { hub } = await house({ adapter })
      const one = await open(first, { port: strict.port })
      await strict.command('config', 'set', 'min-replicas-to-write', '3')
      const entries = ['1', '2'].map((text) => entryOf(text))
      const attempts = entries.map((entry) =>
        codeOf(Promise.resolve(one.store.append('room:r', entry))),
      )
      expect(await Promise.all(attempts)).to.deep.equal([
        'ERR_KOAWS_BACKPLANE',
        'ERR_KOAWS_BACKPLANE',
      ])
      await one.down(/NOREPLICAS/)
      expect(await hub.room('r').send('1').backplane).to.equal('sent')
      await strict.command('config', 'set', 'min-replicas-to-write', '0')
      await one.up(2)
      for (const entry of entries) await one.store.append('room:r', entry)
      expect(await one.all('room:r')).to.deep.equal(['1', '2'])
      await strict.kill()
    })

    it('leaves a server that has become a replica, like the link', async () => {
      const [primary, second] = [await startRedis(), await startRedis()]
      const proxy = await startProxy(primary.port)
      const one = await open(first, { port: proxy.port })
      await one.append('room:r', '1')
      await primary.command('replicaof', '127.0.0.1', String(second.port))
      const attempt = one.append('room:r', '2')
      expect(await codeOf(attempt)).to.equal('ERR_KOAWS_BACKPLANE')
      await one.down(/READONLY|replica/)
      proxy.heal(second.port)
      await one.up(2)
      await one.append('room:r', '2')
      expect(await one.all('room:r')).to.deep.equal(['2'])
      await Promise.all([primary.kill(), second.kill()])
    })
  })

  for (const library of libraries) {
    it(`never takes an entry while an earlier one has to be sent again: ${library.name}`, async () => {
      const own = await startRedis()
      const proxy = await startProxy(own.port)
      const one = await open(library, { port: proxy.port })
      const entries = Array.from({ length: 40 }, (_, i) => entryOf(String(i)))
      // Each turn arrives alone, and all are on their way before the first answer is back.
      proxy.lag(5)
      const attempts: Promise<string>[] = []
      const changes: Promise<string>[] = []
      const need = (replicas: string): void => {
        changes.push(own.command('config', 'set', 'min-replicas-to-write', replicas))
      }
      for (const [i, entry] of entries.entries()) {
        attempts.push(codeOf(Promise.resolve(one.store.append('room:r', entry))))
        await new Promise((resolve) => setTimeout(resolve, 1))
        if (i === 10) need('3')
        if (i === 20) need('0')
      }
      const codes = await Promise.all(attempts)
      await Promise.all(changes)
      proxy.lag(0)
      await one.up()
      for (const [i, code] of codes.entries()) {
        if (code !== 'none') await one.store.append('room:r', entries[i] as never)
      }
      expect(await one.all('room:r')).to.deep.equal(entries.map((_, i) => String(i)))
      await own.kill()
    })
  }

  it('records the others in order when some are refused', async () => {
    const full = await startRedis(['maxmemory-policy noeviction'])
    const one = await open(first, { port: full.port })
    const texts = Array.from({ length: 600 }, (_, i) => String(i))
    const results: Promise<string>[] = []
    const recorded: string[] = []
    for (const [i, text] of texts.entries()) {
      const attempt = one.append('room:r', text)
      results.push(
        codeOf(attempt).then((code) => {
          if (code === 'none') recorded.push(text)
          return code
        }),
      )
      if (i % 120 === 0) await full.command('config', 'set', 'maxmemory', '1')
      if (i % 120 === 1) expect(await codeOf(attempt)).to.equal('ERR_KOAWS_BACKPLANE_REFUSED')
      if (i % 120 === 60) void full.command('config', 'set', 'maxmemory', '0')
      if (i % 10 === 0) await new Promise(setImmediate)
    }
    const codes = new Set(await Promise.all(results))
    expect([...codes].sort()).to.deep.equal(['ERR_KOAWS_BACKPLANE_REFUSED', 'none'])
    await full.command('config', 'set', 'maxmemory', '0')
    await one.append('room:r', 'end')
    const kept = await one.all('room:r')
    expect(kept).to.deep.equal([...recorded, 'end'].slice(-kept.length))
    expect((await one.top('room:r')).offset).to.equal(recorded.length + 1)
    expect(recorded).to.deep.equal(recorded.toSorted((a, b) => Number(a) - Number(b)))
    await full.kill()
  })
})

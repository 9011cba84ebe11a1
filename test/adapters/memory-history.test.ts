import { expect } from 'chai'
import { memoryHistory } from '../../lib/adapters/memory-history.ts'
import { AdapterError, OptionsError } from '../../lib/errors.ts'
import { isUnborn, timeOf, unborn } from '../../lib/history/place.ts'
import {
  type HistoryEvents,
  type HistoryLimits,
  type HistoryStore,
  type NewEntry,
  type Place,
  REMEMBERED,
  type Reading,
} from '../../lib/history/store.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { HistoryModel, readingOf } from '../support/history-model.ts'
import { mulberry32 } from '../support/order.ts'
import { turn } from '../support/server.ts'

const LIMITS: HistoryLimits = { messages: 100, bytes: 10_000, ttl: 60_000, maxTotal: 1_000_000 }
const SILENT: HistoryEvents = { recorded() {}, up() {}, down() {} }

let keys = 0
const entry = (bytes = 10) => ({
  key: String(keys++).padStart(8, 'k'),
  count: 1,
  payload: Buffer.alloc(bytes),
})

/** Returns the number of entries after a place, or why they cannot be given. */
function answer(store: HistoryStore, log: string, since: Place | null): number | string {
  const reading = store.read(log, since)
  if (!('top' in reading)) throw new Error('the store is not local')
  return 'entries' in reading ? reading.entries.length : reading.missing
}

const topOf = (store: HistoryStore, log: string): Place => store.top(log) as Place

describe('memoryHistory()', () => {
  describe('for several hubs', () => {
    it('shares the logs, and keeps them while no hub has opened it', () => {
      const open = memoryHistory()
      const [first, second] = [open('1', LIMITS, SILENT), open('2', LIMITS, SILENT)]
      const place = first.append('room:a', entry())
      expect(second.top('room:a')).to.deep.equal(place)
      first.close()
      second.close()
      const third = open('3', LIMITS, SILENT)
      expect(third.top('room:a')).to.deep.equal(place)
      expect(answer(third, 'room:a', null)).to.equal(1)
      third.close()
    })

    it('throws for limits that differ from those of an open hub', () => {
      const open = memoryHistory()
      const first = open('1', LIMITS, SILENT)
      for (const name of ['messages', 'bytes', 'ttl', 'maxTotal'] as const) {
        const other = { ...LIMITS, [name]: LIMITS[name] - 1 }
        expect(() => open('2', other, SILENT))
          .to.throw(OptionsError)
          .with.property('message')
          .that.includes(`"history.${name}" is ${LIMITS[name]} in one hub`)
      }
      open('2', { ...LIMITS }, SILENT).close()
      first.close()
    })

    it('applies new limits when it is opened again', () => {
      const open = memoryHistory()
      const first = open('1', LIMITS, SILENT)
      for (let i = 0; i < 10; i++) first.append('room:a', entry())
      first.close()
      const second = open('2', { ...LIMITS, messages: 3 }, SILENT)
      expect(answer(second, 'room:a', null)).to.equal(3)
      second.close()
    })

    it('gives every follower the same order when a follower records at once', () => {
      const open = memoryHistory()
      const orders: string[][] = []
      const stores = [0, 1, 2].map((n) => {
        const order: string[] = []
        orders.push(order)
        const store = open(String(n), LIMITS, {
          ...SILENT,
          recorded(_log, _epoch, [recorded]) {
            order.push(`${recorded?.offset}`)
            if (n > 0 && order.length < 5) {
              const place = store.append('room:a', entry()) as Place
              expect(order, 'nothing arrives within').to.not.include(`${place.offset}`)
            }
          },
        })
        store.follow('room:a')
        return store
      })
      stores[0]?.append('room:a', entry())
      const expected = Array.from({ length: 9 }, (_, i) => `${i + 1}`)
      expect(orders).to.deep.equal([expected, expected, expected])
      for (const store of stores) store.close()
    })

    it('gives nothing to a hub that unfollows or closes while entries arrive', () => {
      const open = memoryHistory()
      let seen = 0
      const count = { ...SILENT, recorded: () => seen++ }
      const unfollows = open('2', LIMITS, count)
      const closes = open('3', LIMITS, count)
      const first = open('1', LIMITS, {
        ...SILENT,
        recorded() {
          unfollows.unfollow('room:a')
          closes.close()
        },
      })
      for (const store of [first, unfollows, closes]) store.follow('room:a')
      first.append('room:a', entry())
      first.append('room:a', entry())
      expect(seen).to.equal(0)
      for (const store of [first, unfollows]) store.close()
    })
  })

  it('is up in a later turn, unless it was closed before', async () => {
    const ups: string[] = []
    const open = memoryHistory()
    const first = open('1', LIMITS, { ...SILENT, up: () => ups.push('first') })
    open('2', LIMITS, { ...SILENT, up: () => ups.push('second') }).close()
    expect(ups).to.deep.equal([])
    await turn()
    expect(ups).to.deep.equal(['first'])
    first.close()
  })

  it('rejects what is recorded after it was closed', async () => {
    const open = memoryHistory()
    const [store, other] = [open('1', LIMITS, SILENT), open('2', LIMITS, SILENT)]
    store.close()
    store.follow('room:a')
    const error = await Promise.resolve(store.append('room:a', entry())).catch((e: unknown) => e)
    expect(error).to.be.instanceOf(AdapterError).with.property('code', 'ERR_KOAWS_BACKPLANE')
    expect(answer(other, 'room:a', null)).to.equal(0)
    other.close()
  })

  describe('forgets', () => {
    let clock: FakeClock
    let store: HistoryStore

    const open = (limits: Partial<HistoryLimits> = {}): void => {
      clock = new FakeClock()
      store = memoryHistory(clock)('1', { ...LIMITS, ...limits }, SILENT)
    }
    afterEach(() => {
      store.close()
      expect(clock.timers.size).to.equal(0)
    })

    it('entries exactly `ttl` after they were recorded', () => {
      open()
      const first = store.append('room:a', entry()) as Place
      clock.pass(1)
      const second = store.append('room:a', entry()) as Place
      clock.pass(LIMITS.ttl - 2)
      expect(answer(store, 'room:a', null)).to.equal(2)
      clock.pass(1)
      expect(answer(store, 'room:a', first)).to.equal(1)
      expect(answer(store, 'room:a', { ...first, offset: 0, key: '' })).to.equal('expired')
      clock.pass(1)
      expect(answer(store, 'room:a', first)).to.equal('expired')
      expect(answer(store, 'room:a', second)).to.equal(0)
    })

    it('a log a day after its last message, unless it is followed', () => {
      open()
      const unborn = topOf(store, 'room:a')
      const place = store.append('room:a', entry()) as Place
      clock.pass(REMEMBERED - 1)
      expect(store.top('room:a')).to.deep.equal(place)
      expect(answer(store, 'room:a', unborn)).to.equal('expired')
      store.follow('room:a')
      clock.pass(10 * REMEMBERED)
      expect(store.top('room:a')).to.deep.equal(place)
      store.unfollow('room:a')
      clock.pass(REMEMBERED + LIMITS.ttl)
      expect(topOf(store, 'room:a').offset).to.equal(0)
      expect(answer(store, 'room:a', place)).to.equal('epoch')
      const next = store.append('room:a', entry()) as Place
      expect(next.offset).to.equal(1)
      expect(next.epoch > place.epoch).to.equal(true)
    })

    it('nothing before it exists, and has one timer only while something expires', () => {
      open()
      expect(clock.timers.size).to.equal(0)
      store.follow('room:a')
      store.top('room:a')
      expect(clock.timers.size).to.equal(0)
      for (let i = 0; i < 10; i++) store.append(`room:${i % 2 === 0 ? 'a' : 'b'}`, entry())
      expect(clock.timers.size).to.equal(1)
      clock.pass(LIMITS.ttl)
      expect(clock.timers.size, 'the log b is remembered').to.equal(1)
      store.follow('room:b')
      expect(clock.timers.size, 'both are followed, and empty').to.equal(0)
      store.append('room:b', entry())
      expect(clock.timers.size).to.equal(1)
    })

    it('places of logs that did not exist after a day', () => {
      open()
      const unborn = topOf(store, 'room:a')
      clock.pass(REMEMBERED - 1)
      expect(answer(store, 'room:a', unborn)).to.equal(0)
      store.append('room:a', entry())
      expect(answer(store, 'room:a', unborn)).to.equal(1)
      clock.pass(1)
      expect(answer(store, 'room:a', unborn)).to.equal('epoch')
      expect(answer(store, 'room:b', unborn)).to.equal('epoch')
    })

    it('places of an earlier process', () => {
      open()
      const before = topOf(store, 'room:a')
      clock.pass(10)
      const later = memoryHistory(clock)('2', LIMITS, SILENT)
      expect(answer(later, 'room:a', before)).to.equal('epoch')
      expect(answer(later, 'room:a', topOf(later, 'room:a'))).to.equal(0)
      const future = { epoch: unborn(clock.date() + 1), offset: 0, key: '' }
      expect(answer(later, 'room:a', future), 'its clock was ahead').to.equal('epoch')
      later.close()
    })

    it('nothing when the date is set back', () => {
      open()
      clock.skew = 10 * REMEMBERED
      const before = topOf(store, 'room:a')
      clock.skew = 0
      const place = store.append('room:a', entry()) as Place
      expect(place.epoch > before.epoch).to.equal(true)
      expect(answer(store, 'room:a', before)).to.equal(1)
      clock.pass(REMEMBERED + LIMITS.ttl)
      expect(answer(store, 'room:a', before), 'the log was forgotten').to.equal('epoch')
      const next = store.append('room:a', entry()) as Place
      expect(next.epoch > place.epoch).to.equal(true)
    })
  })

  describe('within `maxTotal`', () => {
    const maxTotal = 40_000
    let clock: FakeClock
    let store: HistoryStore

    beforeEach(() => {
      clock = new FakeClock()
      store = memoryHistory(clock)('1', { ...LIMITS, maxTotal }, SILENT)
    })
    afterEach(() => store.close())

    /** Returns how many entries of 1,000 bytes are kept of each log. */
    const kept = (...logs: string[]): (number | string)[] =>
      logs.map((log) => answer(store, log, null))

    it('removes entries of the log that was recorded to longest ago', () => {
      for (let i = 0; i < 8; i++) store.append('room:a', entry(1_000))
      for (let i = 0; i < 8; i++) store.append('room:b', entry(1_000))
      store.append('room:a', entry(1_000))
      expect(kept('room:a', 'room:b')).to.deep.equal([9, 8])
      const before = topOf(store, 'room:b')
      const start = { ...before, offset: 0, key: '' }
      const left = new Set<unknown>()
      for (let i = 0; i < 25 && kept('room:b')[0] !== 0; i++) {
        expect(kept('room:a')).to.deep.equal([9])
        store.append(`room:c${i % 5}`, entry(1_000))
        left.add(kept('room:b')[0])
      }
      expect([...left].toSorted()).to.deep.equal([0, 1, 2, 3, 4, 5, 6, 7, 8])
      expect(answer(store, 'room:b', start)).to.equal('trimmed')
      expect(store.top('room:b')).to.deep.equal(before)
      for (let i = 0; i < 10; i++) store.append(`room:d${i % 2}`, entry(1_000))
      expect(kept('room:a')[0]).to.be.below(9)
    })

    it('remembers at most a quarter of empty logs, and then refuses older places', () => {
      const unborn = topOf(store, 'room:none')
      clock.pass(10)
      const first = store.append('room:0', entry()) as Place
      for (let i = 1; i < 30; i++) store.append(`room:${i}`, entry())
      expect(answer(store, 'room:none', unborn)).to.equal(0)
      expect(store.top('room:0')).to.deep.equal(first)
      for (let i = 30; i < 200; i++) store.append(`room:${i}`, entry())
      expect(answer(store, 'room:none', unborn)).to.equal('epoch')
      expect(answer(store, 'room:0', first)).to.equal('epoch')
      const now = topOf(store, 'room:none')
      expect(answer(store, 'room:none', now)).to.equal(0)
      expect(now.epoch > first.epoch, 'a follower of an old log sees that it ended').to.equal(true)
      const next = store.append('room:0', entry()) as Place
      expect(next.epoch > first.epoch).to.equal(true)
      const remembered = Array.from({ length: 200 }, (_, i) => topOf(store, `room:${i}`))
      const count = remembered.filter(({ offset }) => offset > 0).length
      expect(count).to.be.within(20, 36)
    })

    it('never forgets a followed log', () => {
      const places = Array.from({ length: 40 }, (_, i) => {
        store.follow(`room:${i}`)
        return store.append(`room:${i}`, entry()) as Place
      })
      for (let i = 0; i < 200; i++) store.append(`user:${i}`, entry())
      for (const [i, place] of places.entries()) {
        expect(store.top(`room:${i}`)).to.deep.equal(place)
        expect(answer(store, `room:${i}`, place)).to.equal(0)
      }
    })

    it('counts nothing twice, and everything back', () => {
      for (let round = 0; round < 50; round++) {
        for (let i = 0; i < 5; i++) store.append('room:a', entry(1_000))
        store.renew('room:a', { ...topOf(store, 'room:a'), key: 'other' })
        store.append('room:b', entry(1_000))
        clock.pass(LIMITS.ttl)
      }
      for (let i = 0; i < 9; i++) store.append('room:c', entry(1_000))
      for (let i = 0; i < 9; i++) store.append('room:d', entry(1_000))
      expect(kept('room:c', 'room:d')).to.deep.equal([9, 9])
    })
  })

  it('keeps no process alive', () => {
    const timers = (): number =>
      process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
    const store = memoryHistory()('1', LIMITS, SILENT)
    const before = timers()
    store.append('room:a', entry())
    expect(timers()).to.equal(before)
    store.close()
  })

  describe('under random steps', () => {
    for (const seed of [0, 1, 2].map(() => Math.floor(Math.random() * 2 ** 31))) {
      it(`answers as arrays do (seed ${seed})`, () => compareWithModel(seed, 2_000))
      it(`never says wrongly that nothing was missed (seed ${seed})`, () =>
        checkAnswers(seed, 4_000))
    }
  })
})

const LOGS = ['room:a', 'room:b', 'user:c']

/** Random steps in a history, with the places that it gave. */
class RandomSteps {
  readonly clock = new FakeClock()
  readonly store: HistoryStore
  readonly int: (below: number) => number
  readonly #places: Place[] = []
  readonly #sent: NewEntry[] = []

  constructor(seed: number, limits: HistoryLimits) {
    const random = mulberry32(seed)
    this.int = (below) => Math.floor(random() * below)
    this.store = memoryHistory(this.clock)('1', limits, SILENT)
  }

  pick<T>(from: readonly T[]): T {
    return from[this.int(from.length)] as T
  }

  /** Returns a new entry; at times an entry that was sent before. */
  entry(): NewEntry {
    if (this.int(10) === 0 && this.#sent.length > 0) return this.pick(this.#sent.slice(-4))
    const made = { ...entry(this.int(300)), count: 1 + this.int(4) }
    this.#sent.push(made)
    return made
  }

  keep(place: Place): void {
    this.#places.push(place)
  }

  /** Returns a place that was given, perhaps long ago, perhaps changed. */
  place(): Place {
    const places = this.int(2) === 0 ? this.#places.slice(-8) : this.#places
    const place = this.pick(places)
    switch (this.int(8)) {
      case 0:
        return { ...place, offset: Math.max(0, place.offset - this.int(4)) }
      case 1:
        return { ...place, offset: place.offset + 1 + this.int(4) }
      case 2:
        return { ...place, key: this.#sent.length > 0 ? this.pick(this.#sent).key : 'another' }
      case 3:
        return { ...place, offset: 0, key: '' }
      default:
        return place
    }
  }
}

function compareWithModel(seed: number, count: number): void {
  const limits = { messages: 12, bytes: 1_500, ttl: 1_000, maxTotal: 10_000_000 }
  const steps = new RandomSteps(seed, limits)
  const { clock, store } = steps
  const model = new HistoryModel(limits)
  const born = clock.date()
  const isRecent = (epoch: string): boolean =>
    isUnborn(epoch) && timeOf(epoch) >= born && timeOf(epoch) <= clock.date()
  let compared = 0
  steps.keep(topOf(store, 'room:a'))
  for (let i = 0; i < count; i++) {
    const log = steps.pick(LOGS)
    const step = `step ${i} of seed ${seed}`
    if (steps.int(2) === 0) {
      clock.pass(steps.int(steps.int(20) === 0 ? 1_500 : 60))
      model.expire(clock.elapsed())
    }
    switch (steps.int(16)) {
      case 0:
        store.follow(log)
        break
      case 1:
        store.unfollow(log)
        break
      case 2: {
        const seen = steps.place()
        const before = model.top(log)
        store.renew(log, seen)
        const { epoch } = topOf(store, log)
        if (model.renew(log, seen, epoch)) {
          expect(epoch > seen.epoch && epoch > (before?.epoch ?? ''), step).to.equal(true)
        }
        break
      }
      case 3:
        steps.keep(topOf(store, log))
        break
      case 4:
      case 5:
      case 6:
      case 7:
      case 8: {
        const made = steps.entry()
        const place = store.append(log, made) as Place
        const offset = model.append(log, made, clock.elapsed(), place.epoch)
        expect(place, step).to.deep.include({ offset, key: made.key })
        steps.keep(place)
        break
      }
      default: {
        const since = steps.int(10) === 0 ? null : steps.place()
        const reading = store.read(log, since) as Reading
        const expected = model.read(log, since, isRecent)
        expect(readingOf(reading), `${step}: ${log} since ${JSON.stringify(since)}`).to.deep.equal(
          expected,
        )
        compared += Number(typeof expected === 'object' && expected.length > 0)
      }
    }
    const top = model.top(log)
    if (top) expect(store.top(log), step).to.deep.equal(top)
    else expect(topOf(store, log).offset, step).to.equal(0)
    expect(clock.timers.size, step).to.be.at.most(1)
  }
  expect(compared, 'reads with entries').to.be.above(0)
  store.close()
  expect(clock.timers.size).to.equal(0)
}

/**
 * Keeps every entry beside the history, with logs that are forgotten and a date that jumps: what is
 * given after a place must be everything that was recorded after it.
 */
function checkAnswers(seed: number, count: number): void {
  const limits = { messages: 12, bytes: 3_000, ttl: 1_000, maxTotal: 12_000 }
  const steps = new RandomSteps(seed, limits)
  const { clock, store } = steps
  const all = new Map<string, string[]>()
  const given: { log: string; place: Place; recorded: number }[] = []
  let whole = 0
  const recordedIn = (log: string): string[] => {
    const keys = all.get(log) ?? []
    all.set(log, keys)
    return keys
  }
  for (let i = 0; i < count; i++) {
    const log = `room:${steps.int(20)}`
    const keys = recordedIn(log)
    clock.pass(steps.int(steps.int(200) === 0 ? 2 * REMEMBERED : 40))
    if (steps.int(20) === 0) clock.skew = steps.int(4 * REMEMBERED)
    switch (steps.int(8)) {
      case 0:
        given.push({ log, place: topOf(store, log), recorded: keys.length })
        break
      case 1:
        if (steps.int(4) > 0) store.follow(log)
        else store.unfollow(log)
        break
      case 2:
        if (steps.int(10) === 0) store.renew(log, { ...topOf(store, log), key: 'another' })
        break
      case 3:
      case 4:
      case 5: {
        const made = entry(steps.int(300))
        keys.push(made.key)
        given.push({ log, place: store.append(log, made) as Place, recorded: keys.length })
        break
      }
      default: {
        if (given.length === 0) break
        const one = steps.pick(steps.int(2) === 0 ? given.slice(-20) : given)
        const reading = store.read(one.log, one.place) as Reading
        if (!('entries' in reading)) break
        whole++
        const read = reading.entries.map(({ key }) => key)
        const owed = recordedIn(one.log).slice(one.recorded)
        expect(read, `step ${i} of seed ${seed}: ${JSON.stringify(one)}`).to.deep.equal(owed)
      }
    }
    const size = [...all.keys()].reduce((sum, name) => {
      const reading = store.read(name, null) as Reading
      return 'entries' in reading
        ? sum + reading.entries.reduce((bytes, { payload }) => bytes + payload.length + 400, 0)
        : sum
    }, 0)
    expect(size).to.be.at.most(limits.maxTotal)
  }
  expect(whole, 'answers with everything').to.be.above(0)
  store.close()
}

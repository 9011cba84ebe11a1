import { existsSync, readdirSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { ClusterHistory } from '../../../../lib/adapters/cluster/history/store.ts'
import { AdapterError } from '../../../../lib/errors.ts'
import type { Entry, Place } from '../../../../lib/history/store.ts'
import { closeMesh, meshFolder, pause, Sockets, until } from '../support/mesh.ts'

const LIMITS = { messages: 100_000, bytes: 1e8, ttl: 600_000, maxTotal: 1e9 }
const LOG = 'room:a'
const opened: RecordedHistory[] = []

/** A history that records its events. */
class RecordedHistory {
  readonly store: ClusterHistory
  readonly events: string[] = []
  readonly entries: Entry[] = []
  readonly places: Promise<Place>[] = []
  readonly name: string
  #appended = 0

  constructor(name: string, { most = 16 * 1024 * 1024, doubt = 10_000 } = {}) {
    this.name = name
    opened.push(this)
    this.store = new ClusterHistory({ folder: folder(), interval: 100, most, doubt }, LIMITS, {
      recorded: (_log, _epoch, entries) => void this.entries.push(...entries),
      up: () => void this.events.push('up'),
      down: ({ message }) => void this.events.push(message),
    })
  }

  get isUp(): boolean {
    return this.events.at(-1) === 'up'
  }

  append(log = LOG): Promise<Place> {
    const text = `${this.name} ${++this.#appended}`
    const key = `${this.name}${String(this.#appended).padStart(7, '0')}`
    const place = this.store.append(log, { key, count: 1, payload: Buffer.from(text) })
    this.places.push(place)
    return place
  }

  async texts(log = LOG): Promise<string[]> {
    const reading = await this.store.read(log, null)
    return 'entries' in reading ? reading.entries.map(({ payload }) => String(payload)) : []
  }
}

function folder(): string {
  return join(meshFolder(), 'app')
}

async function open(names: string[], options = {}): Promise<RecordedHistory[]> {
  const all = names.map((name) => new RecordedHistory(name, options))
  await until('all are up', () => all.every(({ isUp }) => isUp))
  return all
}

/** Checks that the log has all entries of each, once and in order. */
async function checkLog(all: RecordedHistory[]): Promise<string[]> {
  for (const { places } of all) await Promise.all(places)
  const [first, ...others] = await Promise.all(all.map((one) => one.texts()))
  for (const texts of others) expect(texts).to.deep.equal(first)
  const texts = first ?? []
  expect(texts).to.have.length(all.reduce((sum, { places }) => sum + places.length, 0))
  for (const { name } of all) {
    const own = texts.filter((text) => text.startsWith(name))
    expect(own).to.deep.equal(own.map((_, i) => `${name} ${i + 1}`))
  }
  return texts
}

describe('the history of the instances of one machine', () => {
  afterEach(async () => {
    await Promise.all(opened.splice(0).map(({ store }) => store.close()))
    await closeMesh()
  })

  it('loses no entry when streams break off', async () => {
    const sockets = new Sockets()
    try {
      const all = await open(['a', 'b', 'c'])
      for (const { store } of all) await store.follow(LOG)
      for (let round = 0; round < 10; round++) {
        for (let i = 0; i < 20; i++) {
          for (const one of all) void one.append()
          await pause(1)
        }
        for (const socket of sockets.open) socket.destroy()
      }
      const texts = await checkLog(all)
      for (const { entries, events } of all) {
        await until('all have arrived', () => entries.length >= texts.length)
        expect(entries.map(({ payload }) => String(payload))).to.deep.equal(texts)
        expect(events).to.deep.equal(['up'])
      }
    } finally {
      sockets.stop()
    }
  })

  /** Removes the file of an instance, and breaks all streams: other instances cannot reach it. */
  function hide(sockets: Sockets): void {
    const path = join(folder(), 'h1')
    // The instance with the smaller id makes the stream, and finds no file.
    const [, second] = readdirSync(path).toSorted()
    // The other instance may have removed the new file too, as that of an ended instance.
    if (second !== undefined) unlinkSync(join(path, second))
    for (const socket of sockets.open) socket.destroy()
  }

  it('does not take an instance for ended because its file was removed', async () => {
    const sockets = new Sockets()
    try {
      const all = await open(['a', 'b'])
      for (const { store } of all) await store.follow(LOG)
      const path = join(folder(), 'h1')
      const before = readdirSync(path).toSorted()
      for (let round = 0; round < 5; round++) {
        for (const one of all) await one.append()
        hide(sockets)
        for (let i = 0; i < 10; i++) for (const one of all) void one.append()
        const isThere = (): boolean => readdirSync(path).length === 2
        await until('the file is there again', isThere)
      }
      const texts = await checkLog(all)
      const isSame = (): boolean => readdirSync(path).toSorted().join() === before.join()
      await until('the files have the same names', isSame)
      for (const { entries, events } of all) {
        await until('all have arrived', () => entries.length >= texts.length)
        expect(entries.map(({ payload }) => String(payload))).to.deep.equal(texts)
        expect(events).to.deep.equal(['up'])
      }
    } finally {
      sockets.stop()
    }
  })

  it('goes on under another id when others took it for ended after all', async () => {
    const sockets = new Sockets()
    let calls: NodeJS.Timeout | undefined
    try {
      const all = await open(['a', 'b'], { doubt: 0 })
      for (const { store } of all) await store.follow(LOG)
      for (const one of all) await one.append()
      const path = join(folder(), 'h1')
      const before = readdirSync(path).toSorted()
      calls = setInterval(() => {
        for (const one of all) void one.append()
      }, 10)
      const isOutcast = (): boolean => all.some(({ events }) => events.join().includes('took'))
      while (!isOutcast()) {
        // The file may be there again before the other instance has looked for it twice.
        if (readdirSync(path).length === 2) hide(sockets)
        for (let i = 0; i < 100 && !isOutcast(); i++) await pause(5)
      }
      await until('it is up again', () => all.every(({ isUp }) => isUp))
      clearInterval(calls)
      await checkLog(all)
      const files = (): string[] => readdirSync(path).toSorted()
      await until('both have a file', () => files().length === 2)
      expect(files()).to.not.deep.equal(before)
      await Promise.all(all.map((one) => one.append()))
      const ends = (await checkLog(all)).slice(-2)
      await until('followers get later entries', () =>
        all.every(({ entries }) => ends.includes(String(entries.at(-1)?.payload))),
      )
    } finally {
      clearInterval(calls)
      sockets.stop()
    }
  })

  it('refuses an entry when too much waits, and records the waiting ones when it is up', async () => {
    const one = new RecordedHistory('a', { most: 1_000 })
    const payload = Buffer.alloc(600)
    const first = one.store.append(LOG, { key: 'first', count: 1, payload })
    const error = await one.store
      .append(LOG, { key: 'second', count: 1, payload })
      .catch((reason: unknown) => reason)
    expect(error).to.be.instanceOf(AdapterError)
    expect(error).to.have.property('code', 'ERR_KOAWS_BACKPLANE_REFUSED')
    const again = one.store.append(LOG, { key: 'first', count: 1, payload })
    expect(await again).to.deep.equal(await first)
    expect(await first).to.include({ offset: 1, key: 'first' })
    expect(await one.store.append(LOG, { key: 'third', count: 1, payload })).to.include({
      offset: 2,
    })
  })

  it('can be closed before it is up, rejects what waits, and calls no event afterwards', async () => {
    const one = new RecordedHistory('a')
    const append = one.append().catch((reason: unknown) => reason)
    const top = one.store.top(LOG).catch((reason: unknown) => reason)
    await one.store.close()
    for (const error of [await append, await top]) {
      expect(error).to.be.instanceOf(AdapterError)
      expect(error).to.have.property('code', 'ERR_KOAWS_BACKPLANE')
    }
    for (const call of [
      () => one.append(),
      () => one.store.top(LOG),
      () => one.store.read(LOG, null),
      () => one.store.follow(LOG),
    ]) {
      expect(await call().catch((reason: unknown) => reason)).to.be.instanceOf(AdapterError)
    }
    one.store.unfollow(LOG)
    await one.store.close()
    await pause(300)
    expect(one.events).to.deep.equal([])
  })

  it('leaves nothing behind in the folder', async () => {
    const [one, other] = (await open(['a', 'b'])) as [RecordedHistory, RecordedHistory]
    await one.append()
    await one.store.close()
    expect(await other.texts()).to.deep.equal(['a 1'])
    expect(readdirSync(join(folder(), 'h1'))).to.have.length(1)
    await other.store.close()
    expect(existsSync(folder())).to.equal(false)
  })
})

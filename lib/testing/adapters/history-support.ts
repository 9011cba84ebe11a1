// Helpers of the history tests: an instance that records, reads and follows.
import { strict as assert } from 'node:assert'
import type { Adapter, AdapterLink } from '../../backplane/adapter.ts'
import { newId } from '../../connection/id.ts'
import type {
  Entry,
  HistoryLimits,
  HistoryStore,
  Missing,
  NewEntry,
  Place,
} from '../../history/store.ts'
import type { AdapterSubject, AdapterTest, MakeSubject } from './subject.ts'
import { testOf, until } from './support.ts'

/** Limits that a test does not reach. */
export const AMPLE: HistoryLimits = {
  messages: 10_000,
  bytes: 16 * 1024 * 1024,
  ttl: 600_000,
  maxTotal: 64 * 1024 * 1024,
}

/** An entry that arrived at a follower. */
export interface Arrival {
  readonly log: string
  readonly epoch: string
  readonly entry: Entry
}

/** Returns a function that makes tests for adapters with a history. */
export function historyTestOf(
  make: MakeSubject,
): (name: string, body: Parameters<typeof testOf>[2], needs?: AdapterTest['needs']) => AdapterTest {
  return (name, body, needs = []) => testOf(make, name, body, ['history', ...needs])
}

/** Returns a new entry with a text as its payload. */
export function entryOf(text: string, count = 1): NewEntry {
  return { key: newId().slice(0, 8), count, payload: Buffer.from(text) }
}

/** One instance with a history. */
export class Historian {
  readonly id: string = newId()
  readonly store: HistoryStore
  readonly events: ('up' | 'down')[] = []
  readonly arrivals: Arrival[] = []
  readonly #link: AdapterLink

  constructor(adapter: Adapter, limits: HistoryLimits) {
    assert.ok(
      adapter.history,
      'the adapter has no history: add it, or exclude these tests with "without"',
    )
    this.#link = adapter.connect(this.id, { received() {}, up() {}, down() {}, gone() {} })
    this.store = adapter.history(this.id, limits, {
      recorded: (log, epoch, entries) => {
        for (const entry of entries) this.arrivals.push({ log, epoch, entry })
      },
      up: () => this.events.push('up'),
      down: () => this.events.push('down'),
    })
    assert.deepEqual(this.events, [], 'history() called an event before it returned')
  }

  get isUp(): boolean {
    return this.events.at(-1) === 'up'
  }

  /** The arrived entries of a log, without repetitions, which a store is allowed. */
  arrived(log: string): Entry[] {
    const found = new Map<string, Entry>()
    for (const { log: name, epoch, entry } of this.arrivals) {
      const id = `${epoch} ${entry.offset}`
      if (name === log && !found.has(id)) found.set(id, entry)
    }
    return [...found.values()]
  }

  async append(log: string, text: string, count = 1): Promise<Place> {
    return await this.store.append(log, entryOf(text, count))
  }

  /** Returns the entries after a place. @throws AssertionError if the store cannot give them */
  async entries(log: string, since: Place | null): Promise<readonly Entry[]> {
    const reading = await this.store.read(log, since)
    assert.ok('entries' in reading, `${log} since ${show(since)}: ${JSON.stringify(reading)}`)
    return reading.entries
  }

  /** Returns the texts of the entries after a place. */
  async texts(log: string, since: Place | null): Promise<string[]> {
    return (await this.entries(log, since)).map(({ payload }) => String(payload))
  }

  /** Returns why the entries after a place cannot be given. @throws AssertionError if they can */
  async missing(log: string, since: Place): Promise<Missing> {
    const reading = await this.store.read(log, since)
    assert.ok('missing' in reading, `${log} since ${show(since)}: ${show(reading)}`)
    return reading.missing
  }

  async close(): Promise<void> {
    await this.store.close()
    await this.#link.close()
  }
}

/** Returns instances with a history that is up. */
export function historians(
  subject: AdapterSubject,
  after: (undo: () => unknown) => void,
  count: 1,
  limits?: Partial<HistoryLimits>,
): Promise<[Historian]>
export function historians(
  subject: AdapterSubject,
  after: (undo: () => unknown) => void,
  count: 2,
  limits?: Partial<HistoryLimits>,
): Promise<[Historian, Historian]>
export function historians(
  subject: AdapterSubject,
  after: (undo: () => unknown) => void,
  count: 3,
  limits?: Partial<HistoryLimits>,
): Promise<[Historian, Historian, Historian]>
export async function historians(
  subject: AdapterSubject,
  after: (undo: () => unknown) => void,
  count: number,
  limits: Partial<HistoryLimits> = {},
): Promise<Historian[]> {
  const all: Historian[] = []
  for (let i = 0; i < count; i++) {
    const one = new Historian(subject.adapter(), { ...AMPLE, ...limits })
    after(() => one.close())
    all.push(one)
  }
  await until('every history is up', () => all.every((one) => one.isUp))
  return all
}

/** Checks the offsets of entries, and the key of the entry before each. */
export function assertLinked(
  entries: readonly Entry[],
  since: { offset: number; key: string },
): void {
  let { offset, key } = since
  for (const entry of entries) {
    assert.equal(entry.offset, offset + entry.count, `the offset after ${offset}`)
    assert.equal(entry.previous, key, `the key before ${entry.offset}`)
    offset = entry.offset
    key = entry.key
  }
}

/** Returns what identifies an entry, for a comparison. */
export function idOf({ offset, key, count, previous, payload }: Entry): string {
  return `${offset} ${key} ${count} ${previous} ${payload.toString('base64')}`
}

function show(value: unknown): string {
  return JSON.stringify(value)
}

import { expect } from 'chai'
import { memoryHistory } from '../../lib/adapters/memory-history.ts'
import type { Entry, HistoryStore, NewEntry, Place, Reading } from '../../lib/history/store.ts'
import { type Adapter, memoryAdapter } from '../../lib/index.ts'
import { adapterSuite } from '../../lib/testing/index.ts'

/** Changes a store of the memory engine, so that it breaks the contract. */
type Flaw = (store: HistoryStore) => Partial<HistoryStore>

/** Runs one test of the suite with an adapter that has a flaw in its history. */
async function run(name: string, flaw: Flaw): Promise<void> {
  const tests = adapterSuite(() => {
    const adapter = flawed(flaw)
    return { adapter: () => adapter }
  })
  const test = tests.find((one) => one.name === name)
  if (!test) throw new Error(`no test "${name}"`)
  expect(test.needs).to.include('history')
  await test.run()
}

function flawed(flaw: Flaw): Adapter {
  const open = memoryHistory()
  return {
    ...memoryAdapter(),
    history(id, limits, events) {
      const store = open(id, limits, events)
      return {
        local: true,
        append: (log, entry) => store.append(log, entry),
        read: (log, since) => store.read(log, since),
        top: (log) => store.top(log),
        follow: (log) => store.follow(log),
        unfollow: (log) => store.unfollow(log),
        renew: (log, seen) => store.renew(log, seen),
        close: () => store.close(),
        ...flaw(store),
      }
    },
  }
}

const changeEntries =
  (change: (entries: readonly Entry[], since: Place | null) => readonly Entry[]): Flaw =>
  (store) => ({
    read(log, since) {
      const reading = store.read(log, since) as Reading
      return 'entries' in reading
        ? { ...reading, entries: change(reading.entries, since) }
        : reading
    },
  })

/** Answers a place that does not fit as if nothing was missed. */
const insteadOf =
  (why: string): Flaw =>
  (store) => ({
    read(log, since) {
      const reading = store.read(log, since) as Reading
      const isHidden = 'missing' in reading && reading.missing === why
      return isHidden ? { top: reading.top, entries: [] } : reading
    },
  })

let keys = 0
const again = (entry: NewEntry): NewEntry => ({ ...entry, key: String(keys++).padStart(8, 'k') })

const FLAWS: [what: string, test: string, flaw: Flaw][] = [
  [
    'records an entry twice',
    'an entry is recorded once, however often it is sent',
    (store) => ({ append: (log, entry) => store.append(log, again(entry)) }),
  ],
  [
    'leaves out the entry in whose middle a place is',
    'a read gives what follows a place that fits',
    changeEntries((entries, since) =>
      entries.filter(({ offset, count }) => offset - count >= (since?.offset ?? 0)),
    ),
  ],
  [
    'gives the entry of the place itself',
    'a read gives what follows a place that fits',
    (store) => ({ read: (log) => store.read(log, null) }),
  ],
  [
    'does not say `ahead`',
    'a read says why nothing follows a place that does not fit',
    insteadOf('ahead'),
  ],
  [
    'does not say `epoch`',
    'a read says why nothing follows a place that does not fit',
    insteadOf('epoch'),
  ],
  ['does not say `trimmed`', 'a log keeps exactly `messages` messages', insteadOf('trimmed')],
  [
    'does not say `expired`',
    'entries expire after `ttl`, and the numbers go on',
    insteadOf('expired'),
  ],
  [
    'counts entries in place of messages',
    'a log keeps exactly `messages` messages',
    (store) => ({ append: (log, entry) => store.append(log, { ...entry, count: 1 }) }),
  ],
  [
    'keeps fewer bytes than it could',
    'a log keeps exactly `bytes` bytes',
    changeEntries((entries) => entries.slice(-2)),
  ],
  [
    'creates a log when it is followed',
    'a read, a question and a follower create no log',
    (store) => ({
      follow(log) {
        store.append(log, again({ key: '', count: 1, payload: Buffer.alloc(1) }))
        return store.follow(log)
      },
    }),
  ],
  [
    'refuses places of logs that did not exist',
    'nothing follows a place in a log that does not exist, and then everything',
    (store) => ({
      read: (log, since) =>
        store.read(log, since?.epoch.length === 9 ? { ...since, epoch: 'x' } : since),
    }),
  ],
  [
    'never renews an epoch',
    'a renewal with an entry beyond its top begins a new epoch without entries',
    () => ({ renew() {} }),
  ],
  [
    'renews an epoch without comparing',
    'a renewal with an entry that the log has does nothing',
    (store) => ({
      renew: (log, { offset }) =>
        store.renew(log, { ...(store.top(log) as Place), offset: offset + 1_000 }),
    }),
  ],
  [
    'renews an epoch for each claim',
    'instances that see the same fork begin one new epoch',
    (store) => ({
      renew: (log, { offset }) =>
        store.renew(log, { ...(store.top(log) as Place), offset: offset + 1_000 }),
    }),
  ],
  [
    'does not give an instance its own entries',
    'an instance gets its own entries too, within the append if the store is local',
    (store) => ({
      append(log, entry) {
        store.unfollow(log)
        const place = store.append(log, entry)
        store.follow(log)
        return place
      },
    }),
  ],
  [
    'answers late although it is local',
    'an instance gets its own entries too, within the append if the store is local',
    (store) => ({ top: async (log) => store.top(log) }),
  ],
  ['stays open', 'a closed history calls no more events', () => ({ close() {} })],
]

describe('adapterSuite() for a history', () => {
  for (const [what, test, flaw] of FLAWS) {
    it(`fails a store that ${what}`, async () => {
      const error = await run(test, flaw).catch((reason: unknown) => reason)
      expect(error).to.have.property('name', 'AssertionError')
      await run(test, () => ({}))
    }).timeout(30_000)
  }

  it('fails an adapter without a history, unless this is declared', async () => {
    const make = () => ({ adapter: () => ({ connect: memoryAdapter().connect }) })
    const failing = adapterSuite(make).find(({ needs }) => needs.includes('history'))
    const error = await failing?.run().catch((reason: unknown) => reason)
    expect(error).to.have.property('message').that.includes('exclude these tests with "without"')
    const declared = adapterSuite(make, ['history'])
    expect(declared.filter(({ needs }) => needs.includes('history'))).to.deep.equal([])
    await declared.find(({ name }) => name === 'the adapter has no history')?.run()
  })

  it('fails an adapter that declares no history, but has one', async () => {
    const tests = adapterSuite(() => ({ adapter: () => memoryAdapter() }), ['history'])
    const test = tests.find(({ name }) => name === 'the adapter has no history')
    const error = await test?.run().catch((reason: unknown) => reason)
    expect(error).to.have.property('name', 'AssertionError')
  })
})

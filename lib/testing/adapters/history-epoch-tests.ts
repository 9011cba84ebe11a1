// Tests of the history of an adapter: logs that do not exist yet, and new epochs.
import { strict as assert } from 'node:assert'
import { type Place, REMEMBERED } from '../../history/store.ts'
import { type Historian, historians, historyTestOf } from './history-support.ts'
import type { AdapterTest, MakeSubject } from './subject.ts'
import { until } from './support.ts'

const LOG = 'room:a'
const OTHER = 'room:b'
/** The epoch of a log that does not exist: a time. */
const UNBORN = /^[0-9a-z]{9}$/
const EPOCH = /^[0-9a-z]{9}[\w-]{1,23}$/

/** Returns the time in an epoch, moved by some milliseconds. */
function moved(epoch: string, by: number): string {
  const time = Number.parseInt(epoch.slice(0, 9), 36) + by
  return time.toString(36).padStart(9, '0') + epoch.slice(9)
}

/** Returns a place in a log that does not exist, given later than an epoch. */
async function unbornAfter(one: Historian, log: string, epoch: string): Promise<Place> {
  let place = await one.store.top(log)
  await until('the time goes on', async () => {
    place = await one.store.top(log)
    return place.epoch > epoch.slice(0, 9)
  })
  return place
}

/** Returns the tests of the beginnings of a log. */
export function epochTests(make: MakeSubject): AdapterTest[] {
  const historyTest = historyTestOf(make)
  return [
    historyTest(
      'nothing follows a place in a log that does not exist, and then everything',
      async (subject, after) => {
        const [one, other] = await historians(subject, after, 2)
        const place = await one.store.top(LOG)
        assert.match(place.epoch, UNBORN)
        assert.deepEqual(place, { epoch: place.epoch, offset: 0, key: '' })
        for (const { store } of [one, other]) {
          const reading = await store.read(LOG, place)
          assert.deepEqual('entries' in reading && reading.entries, [])
          assert.match(reading.top.epoch, UNBORN)
        }
        const first = await one.append(LOG, 'a', 2)
        assert.match(first.epoch, EPOCH)
        assert.ok(first.epoch > place.epoch, 'the epoch sorts after the place')
        await one.append(LOG, 'b')
        for (const reader of [one, other]) {
          assert.deepEqual(await reader.texts(LOG, place), ['a', 'b'])
        }
      },
    ),

    historyTest('a read, a question and a follower create no log', async (subject, after) => {
      const [one, other] = await historians(subject, after, 2)
      const place = await one.store.top(LOG)
      await other.store.follow(LOG)
      await other.store.renew(LOG, place)
      await one.store.read(LOG, null)
      await one.store.read(LOG, place)
      await one.store.read(LOG, { epoch: `${place.epoch}abcd`, offset: 7, key: 'abcdefgh' })
      other.store.unfollow(LOG)
      const later = await unbornAfter(one, LOG, place.epoch)
      assert.match(later.epoch, UNBORN)
      assert.deepEqual(await one.texts(LOG, place), [])
    }),

    historyTest(
      'a place from before a log is trimmed when the first entries are',
      async (subject, after) => {
        const [one, other] = await historians(subject, after, 2, { messages: 2 })
        const place = await one.store.top(LOG)
        for (const text of ['a', 'b']) await one.append(LOG, text)
        assert.deepEqual(await other.texts(LOG, place), ['a', 'b'])
        await one.append(LOG, 'c')
        assert.equal(await other.missing(LOG, place), 'trimmed')
      },
    ),

    historyTest(
      'a place of a log that does not exist is refused when it is too old, or later than the log',
      async (subject, after) => {
        const [one, other] = await historians(subject, after, 2)
        const place = await one.store.top(LOG)
        const old = { ...place, epoch: moved(place.epoch, -REMEMBERED - 60_000) }
        await one.append(OTHER, 'a')
        for (const log of [LOG, OTHER]) assert.equal(await other.missing(log, old), 'epoch')
        const { epoch } = await one.append(LOG, 'a')
        const late = await unbornAfter(one, 'room:none', epoch)
        assert.equal(await other.missing(LOG, late), 'epoch')
        for (const wrong of [
          { ...place, offset: 1 },
          { ...place, key: 'abcdefgh' },
        ]) {
          assert.equal(await other.missing(LOG, wrong), 'epoch')
        }
      },
    ),

    historyTest('a renewal with an entry that the log has does nothing', async (subject, after) => {
      const [one, other] = await historians(subject, after, 2, { messages: 4 })
      const first = await one.append(LOG, 'a', 2)
      const second = await one.append(LOG, 'b', 2)
      const third = await one.append(LOG, 'c', 2)
      const { epoch } = third
      for (const seen of [
        third,
        { ...third, offset: 5 },
        second,
        { ...second, offset: 3 },
        first,
        { ...first, offset: 1 },
        { ...first, offset: 1, key: third.key },
        { epoch, offset: 0, key: '' },
        { epoch: epoch.slice(0, 9), offset: 0, key: '' },
        { ...third, epoch: moved(epoch, -1) },
        { ...third, epoch: moved(epoch, -1), offset: 900 },
      ]) {
        await other.store.renew(LOG, seen)
        assert.deepEqual(await one.store.top(LOG), third, JSON.stringify(seen))
      }
      assert.deepEqual(await other.texts(LOG, null), ['b', 'c'])
    }),

    ...(
      [
        ['an entry beyond its top', (top: Place) => ({ ...top, offset: top.offset + 1 })],
        ['another entry at its top', (top: Place) => ({ ...top, key: 'abcdefgh' })],
        ['another entry below its top', (top: Place) => ({ ...top, offset: 2, key: 'abcdefgh' })],
        [
          'an entry of a later epoch',
          (top: Place) => ({ ...top, epoch: moved(top.epoch, 60_000) }),
        ],
      ] as const
    ).map(([what, seenOf]) =>
      historyTest(
        `a renewal with ${what} begins a new epoch without entries`,
        async (subject, after) => {
          const [one, other] = await historians(subject, after, 2)
          const unborn = await one.store.top(LOG)
          for (const text of ['a', 'b', 'c']) await one.append(LOG, text)
          const before = await one.store.top(LOG)
          const seen = seenOf(before)
          await other.store.follow(LOG)
          await other.store.renew(LOG, seen)
          const top = await one.store.top(LOG)
          assert.match(top.epoch, EPOCH)
          assert.deepEqual(top, { epoch: top.epoch, offset: 0, key: '' })
          assert.ok(top.epoch > before.epoch, 'it sorts after the epoch of the log')
          assert.ok(top.epoch > seen.epoch, 'it sorts after the epoch that was seen')
          assert.deepEqual(await one.texts(LOG, null), [])
          assert.deepEqual(await one.texts(LOG, top), [])
          // Entries of the epoch before were missed, so an empty answer would be wrong.
          for (const place of [before, seen, unborn]) {
            assert.equal(await other.missing(LOG, place), 'epoch', JSON.stringify(place))
          }
          const first = await one.append(LOG, 'd', 2)
          assert.equal(first.epoch, top.epoch)
          assert.equal(first.offset, 2)
          assert.deepEqual(await other.texts(LOG, top), ['d'])
          assert.equal(await other.missing(LOG, unborn), 'epoch')
          await until('the entry arrives', () => other.arrivals.at(-1)?.epoch === top.epoch)
          assert.equal(other.arrivals.at(-1)?.entry.previous, '')
        },
      ),
    ),

    historyTest('a log that was lost altogether begins a new epoch', async (subject, after) => {
      const [one, other] = await historians(subject, after, 2)
      const unborn = await one.store.top(LOG)
      const { epoch } = await one.append(OTHER, 'a')
      const seen = { epoch, offset: 7, key: 'abcdefgh' }
      await one.store.renew(LOG, seen)
      const top = await other.store.top(LOG)
      assert.ok(top.epoch > epoch, 'it sorts after the epoch that was seen')
      assert.equal(top.offset, 0)
      assert.equal(await other.missing(LOG, unborn), 'epoch')
      assert.equal(await other.missing(LOG, seen), 'epoch')
      await one.append(LOG, 'b')
      assert.equal(await other.missing(LOG, unborn), 'epoch')
      assert.deepEqual(await other.texts(LOG, null), ['b'])
    }),

    historyTest('instances that see the same fork begin one new epoch', async (subject, after) => {
      const all = await historians(subject, after, 3)
      const top = await all[0].append(LOG, 'a')
      const seen = { ...top, offset: 5, key: 'abcdefgh' }
      for (let i = 0; i < 3; i++) {
        await Promise.all(all.map(async ({ store }) => store.renew(LOG, seen)))
        if (i === 0) await all[0].append(LOG, 'b')
      }
      const { epoch, offset } = await all[1].store.top(LOG)
      assert.ok(epoch > top.epoch)
      assert.equal(offset, 1)
      assert.deepEqual(await all[2].texts(LOG, null), ['b'])
    }),
  ]
}

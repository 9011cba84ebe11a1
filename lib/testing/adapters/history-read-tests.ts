// Tests of the history of an adapter: what a read gives, and how long.
import { strict as assert } from 'node:assert'
import { AdapterError } from '../../errors.ts'
import { entryOf, historians, historyTestOf } from './history-support.ts'
import type { AdapterTest, MakeSubject } from './subject.ts'
import { until } from './support.ts'

const LOG = 'room:a'

/** Returns the tests of reads and limits. */
export function readTests(make: MakeSubject): AdapterTest[] {
  const historyTest = historyTestOf(make)
  return [
    historyTest('a read gives what follows a place that fits', async (subject, after) => {
      const [one, other] = await historians(subject, after, 2)
      const first = await one.append(LOG, 'one')
      const second = await one.append(LOG, 'three', 3)
      const third = await one.append(LOG, 'two', 2)
      assert.deepEqual([first.offset, second.offset, third.offset], [1, 4, 6])
      const { epoch } = first
      const start = { epoch, offset: 0, key: '' }
      assert.deepEqual(await other.texts(LOG, null), ['one', 'three', 'two'])
      assert.deepEqual(await other.texts(LOG, start), ['one', 'three', 'two'])
      assert.deepEqual(await other.texts(LOG, first), ['three', 'two'])
      for (const offset of [2, 3]) {
        const inside = { ...second, offset }
        assert.deepEqual(await other.texts(LOG, inside), ['three', 'two'], `inside, at ${offset}`)
      }
      assert.deepEqual(await other.texts(LOG, second), ['two'])
      assert.deepEqual(await other.texts(LOG, { ...third, offset: 5 }), ['two'])
      assert.deepEqual(await other.texts(LOG, third), [])
      assert.deepEqual((await other.store.read(LOG, third)).top, third)
    }),

    historyTest(
      'a read says why nothing follows a place that does not fit',
      async (subject, after) => {
        const [one, other] = await historians(subject, after, 2)
        const first = await one.append(LOG, 'one')
        const second = await one.append(LOG, 'three', 3)
        const { epoch } = first
        for (const [place, why] of [
          [{ ...second, offset: 5 }, 'ahead'],
          [{ ...second, offset: 9_007_199_254_740_991 }, 'ahead'],
          [{ ...second, key: first.key }, 'epoch'],
          [{ ...first, key: second.key }, 'epoch'],
          [{ ...second, offset: 2, key: first.key }, 'epoch'],
          [{ ...first, key: '' }, 'epoch'],
          [{ ...first, offset: 0 }, 'epoch'],
          [
            { ...second, epoch: `${epoch.slice(0, -1)}${epoch.endsWith('a') ? 'b' : 'a'}` },
            'epoch',
          ],
          [{ ...second, epoch: `000000000${epoch.slice(9)}` }, 'epoch'],
          [{ ...second, epoch: `zzzzzzzzz${epoch.slice(9)}` }, 'epoch'],
          [{ ...second, epoch: 'x' }, 'epoch'],
          [{ epoch: `000000000${epoch.slice(9)}`, offset: 0, key: '' }, 'epoch'],
        ] as const) {
          assert.equal(await other.missing(LOG, place), why, JSON.stringify(place))
        }
        assert.deepEqual((await other.store.read(LOG, { ...second, epoch: 'x' })).top, second)
        for (const place of [second, { epoch, offset: 0, key: '' }]) {
          assert.equal(await other.missing('room:none', place), 'epoch', JSON.stringify(place))
        }
      },
    ),

    historyTest('a log keeps exactly `messages` messages', async (subject, after) => {
      const [one, other] = await historians(subject, after, 2, { messages: 5 })
      const a = await one.append(LOG, 'a', 2)
      const b = await one.append(LOG, 'b', 2)
      const c = await one.append(LOG, 'c')
      assert.deepEqual(await other.texts(LOG, null), ['a', 'b', 'c'])
      const d = await one.append(LOG, 'd')
      assert.deepEqual(await other.texts(LOG, null), ['b', 'c', 'd'])
      assert.deepEqual(await other.texts(LOG, a), ['b', 'c', 'd'])
      assert.deepEqual(await other.texts(LOG, b), ['c', 'd'])
      assert.equal(await other.missing(LOG, { ...a, offset: 0, key: '' }), 'trimmed')
      assert.equal(await other.missing(LOG, { ...a, offset: 1 }), 'trimmed')
      assert.equal(await other.missing(LOG, { ...a, key: b.key }), 'epoch')
      for (let i = 0; i < 20; i++) await one.append(LOG, String(i))
      assert.deepEqual(await other.texts(LOG, null), ['15', '16', '17', '18', '19'])
      for (const place of [b, c, d]) assert.equal(await other.missing(LOG, place), 'trimmed')
      assert.equal((await other.store.top(LOG)).offset, 26)
    }),

    historyTest('a log keeps exactly `bytes` bytes', async (subject, after) => {
      const [one, other] = await historians(subject, after, 2, { bytes: 1_000 })
      const text = (name: string, bytes: number): string => name.padEnd(bytes, '.')
      const a = await one.append(LOG, text('a', 400))
      await one.append(LOG, text('b', 599))
      const c = await one.append(LOG, text('c', 1))
      assert.equal((await other.entries(LOG, null)).length, 3)
      await one.append(LOG, text('d', 401))
      assert.equal((await other.entries(LOG, null)).length, 2)
      assert.equal(await other.missing(LOG, a), 'trimmed')
      assert.deepEqual(await other.texts(LOG, c), [text('d', 401)])
      await one.append(LOG, text('e', 1_000))
      assert.deepEqual(await other.texts(LOG, null), [text('e', 1_000)])
    }),

    historyTest(
      'an entry that exceeds the limits alone is not kept, and the numbers go on',
      async (subject, after) => {
        const [one, other] = await historians(subject, after, 2, { bytes: 1_000, messages: 3 })
        await other.store.follow(LOG)
        const a = await one.append(LOG, 'a')
        for (const entry of [entryOf('x'.repeat(1_001)), entryOf('many', 4)]) {
          const before = await other.store.top(LOG)
          const place = await Promise.resolve(one.store.append(LOG, entry)).catch(
            (error: unknown) => error,
          )
          if (place instanceof AdapterError) {
            assert.equal(place.code, 'ERR_KOAWS_BACKPLANE_REFUSED')
            assert.deepEqual(await other.store.top(LOG), before)
            continue
          }
          assert.deepEqual(await other.store.top(LOG), place)
          assert.equal(await other.missing(LOG, before), 'trimmed')
          assert.deepEqual(await other.texts(LOG, null), [])
          await until('it arrives', () => other.arrived(LOG).at(-1)?.key === entry.key)
        }
        const top = await other.store.top(LOG)
        const b = await one.append(LOG, 'b')
        assert.equal(b.offset, top.offset + 1)
        assert.equal(b.epoch, a.epoch)
        assert.deepEqual(await other.texts(LOG, top), ['b'])
      },
    ),

    historyTest('entries expire after `ttl`, and the numbers go on', async (subject, after) => {
      const [one, other] = await historians(subject, after, 2, { ttl: 400 })
      const a = await one.append(LOG, 'a')
      const b = await one.append(LOG, 'b', 2)
      await until('all have expired', async () => (await other.texts(LOG, null)).length === 0)
      assert.equal(await other.missing(LOG, a), 'expired')
      assert.deepEqual(await other.texts(LOG, b), [])
      assert.deepEqual(await other.store.top(LOG), b)
      await until('a new entry is read, and the old ones are not', async () => {
        const before = await other.store.top(LOG)
        await one.append(LOG, 'c')
        const reading = await other.store.read(LOG, before)
        const all = await other.store.read(LOG, null)
        assert.equal(await other.missing(LOG, a), 'expired')
        return [reading, all].every((one) => 'entries' in one && one.entries.length === 1)
      })
      assert.equal((await other.store.top(LOG)).epoch, a.epoch)
    }),
  ]
}

// Tests of the history of an adapter: the order of entries, and followers.
import { strict as assert } from 'node:assert'
import { AdapterError } from '../../errors.ts'
import type { Entry, NewEntry, Place } from '../../history/store.ts'
import { isThenable } from '../../thenable.ts'
import { epochTests } from './history-epoch-tests.ts'
import { readTests } from './history-read-tests.ts'
import {
  AMPLE,
  assertLinked,
  entryOf,
  Historian,
  historians,
  historyTestOf,
  idOf,
} from './history-support.ts'
import type { AdapterTest, MakeSubject } from './subject.ts'
import { faultsOf, testOf, until } from './support.ts'

/** Names with characters that an engine may treat specially. */
const ODD = ['room:*', 'room:a b', 'room:{x}', 'user:é😀', 'room:a:b', 'room:[a-z]?', 'room:\n']
const LOG = 'room:a'

/** Returns a test that fails if the adapter has a history after all. */
export function withoutHistory(make: MakeSubject): AdapterTest {
  return testOf(make, 'the adapter has no history', async (subject) => {
    const { history } = subject.adapter()
    assert.equal(history, undefined, 'the adapter has a history: remove "history" from "without"')
  })
}

/** Returns the tests of the history of an adapter. */
export function historyTests(make: MakeSubject): AdapterTest[] {
  return [...orderTests(make), ...readTests(make), ...epochTests(make)]
}

function orderTests(make: MakeSubject): AdapterTest[] {
  const historyTest = historyTestOf(make)
  return [
    historyTest(
      'entries have one order on all instances, numbered without holes',
      async (subject, after) => {
        const all = await historians(subject, after, 3)
        for (const { store } of all) await store.follow(LOG)
        const calls: { text: string; place: Promise<Place> }[] = []
        for (let i = 0; i < 120; i++) {
          for (const [n, one] of all.entries()) {
            calls.push({ text: `${n} ${i}`, place: one.append(LOG, `${n} ${i}`, 1 + (i % 3)) })
          }
          if (i % 10 === 0) await new Promise(setImmediate)
        }
        const places = await Promise.all(calls.map(({ place }) => place))
        const entries = await all[0].entries(LOG, null)
        assert.equal(entries.length, calls.length)
        assertLinked(entries, { offset: 0, key: '' })
        for (const [n] of all.entries()) {
          const ofOne = (text: string): boolean => text.startsWith(`${n} `)
          const sent = calls.map(({ text }) => text).filter(ofOne)
          const kept = entries.map(({ payload }) => String(payload)).filter(ofOne)
          assert.deepEqual(kept, sent, 'the order of the calls')
        }
        for (const [i, { text }] of calls.entries()) {
          const entry = entries.find(({ key }) => key === places[i]?.key)
          assert.equal(String(entry?.payload), text)
          assert.equal(entry?.offset, places[i]?.offset)
        }
        for (const one of all) {
          await until('all have arrived', () => one.arrived(LOG).length === entries.length)
          assert.deepEqual(one.arrived(LOG).map(idOf), entries.map(idOf))
          assert.deepEqual((await one.entries(LOG, null)).map(idOf), entries.map(idOf))
          const { offset, key } = await one.store.top(LOG)
          assert.deepEqual([offset, key], [entries.at(-1)?.offset, entries.at(-1)?.key])
        }
      },
    ),

    historyTest('payloads with any bytes are kept unchanged', async (subject, after) => {
      const [one, other] = await historians(subject, after, 2)
      await other.store.follow(LOG)
      const every = Buffer.from(Array.from({ length: 256 }, (_, i) => i))
      const payloads = [Buffer.from('x'), every, Buffer.alloc(512 * 1024, every)]
      for (const payload of payloads) await one.store.append(LOG, { ...entryOf(''), payload })
      await until('all have arrived', () => other.arrived(LOG).length === payloads.length)
      for (const entries of [other.arrived(LOG), await other.entries(LOG, null)]) {
        entries.forEach(({ payload }, i) => {
          assert.ok(payload.equals(payloads[i] as Buffer), `payload ${i}`)
        })
      }
    }),

    historyTest(
      'an instance gets its own entries too, within the append if the store is local',
      async (subject, after) => {
        const [one] = await historians(subject, after, 1)
        await one.store.follow(LOG)
        const place = one.store.append(LOG, entryOf('x'))
        if (one.store.local) {
          assert.equal(one.arrived(LOG).length, 1, 'the entry arrives within the append')
          for (const answer of [place, one.store.top(LOG), one.store.read(LOG, null)]) {
            assert.ok(!isThenable(answer), 'a local store answers at once')
          }
        }
        await place
        await until('the entry arrives', () => one.arrived(LOG).length === 1)
      },
    ),

    historyTest(
      'only followed logs arrive, matched by their exact names',
      async (subject, after) => {
        const [one, other] = await historians(subject, after, 2)
        for (const name of ['room:end', ...ODD]) await other.store.follow(name)
        const near = ['room:', 'room', 'room:ab', 'room:x', 'user:e', 'user:a:b']
        for (const name of [...ODD, ...near, 'room:end']) await one.append(name, name)
        // Entries of different logs may take different ways.
        await until('an entry of each arrives', () =>
          [...ODD, 'room:end'].every((name) => other.arrived(name).length === 1),
        )
        const names = new Set(other.arrivals.map(({ log }) => log))
        assert.deepEqual([...names].sort(), [...ODD, 'room:end'].sort())
        for (const name of [...ODD, ...near])
          assert.deepEqual(await other.texts(name, null), [name])
        const long = `room:${'é'.repeat(127)}`
        await other.store.follow(long)
        await one.append(long, 'long')
        await until('a long name works', () => other.arrived(long).length === 1)
      },
    ),

    historyTest('a log can be unfollowed, and followed again at once', async (subject, after) => {
      const [one, other] = await historians(subject, after, 2)
      const last = (): string => String(other.arrived(LOG).at(-1)?.payload)
      await other.store.follow(LOG)
      for (let i = 0; i < 30; i++) {
        other.store.unfollow(LOG)
        await other.store.follow(LOG)
        await one.append(LOG, String(i))
        await until('the entry arrives', () => last() === String(i))
      }
      other.store.unfollow(LOG)
      await other.store.follow('room:end')
      await until('no entry arrives any more', async () => {
        const before = other.arrived(LOG).length
        await one.append(LOG, 'late')
        await one.append('room:end', 'end')
        const ends = (await one.store.top('room:end')).offset
        await until('the end arrives', () => other.arrived('room:end').length === ends)
        return other.arrived(LOG).length === before
      })
    }),

    historyTest(
      'a follower gets every entry after the top that it asks for',
      async (subject, after) => {
        const [one, other] = await historians(subject, after, 2)
        const calls: Promise<unknown>[] = []
        let top = await other.store.top(LOG)
        for (let i = 0; i < 200; i++) {
          calls.push(one.append(LOG, String(i), 1 + (i % 2)))
          if (i % 10 === 0) await new Promise(setImmediate)
          if (i === 100) {
            await other.store.follow(LOG)
            top = await other.store.top(LOG)
          }
        }
        await Promise.all(calls)
        const owed = await other.entries(LOG, top)
        assert.ok(owed.length > 0)
        const later = (): Entry[] => other.arrived(LOG).filter(({ offset }) => offset > top.offset)
        await until('all have arrived', () => later().length === owed.length)
        assert.deepEqual(later().map(idOf), owed.map(idOf))
        assertLinked(later(), top)
      },
    ),

    historyTest('an entry is recorded once, however often it is sent', async (subject, after) => {
      const [one, other] = await historians(subject, after, 2)
      await other.store.follow(LOG)
      const entries = [entryOf('a'), entryOf('b', 2), entryOf('c')]
      const record = (): Promise<Place[]> =>
        Promise.all(entries.map(async (entry) => one.store.append(LOG, entry)))
      const places = await record()
      assert.deepEqual(await record(), places)
      assert.deepEqual(await one.store.append(LOG, entries[2] as NewEntry), places[2])
      await one.append(LOG, 'end')
      assert.deepEqual(await other.texts(LOG, null), ['a', 'b', 'c', 'end'])
      await until('the end arrives', () => other.arrived(LOG).length === 4)
      assertLinked(other.arrived(LOG), { offset: 0, key: '' })
    }),

    historyTest('a closed history calls no more events', async (subject, after) => {
      const [one, other] = await historians(subject, after, 2)
      await other.store.follow(LOG)
      const late = new Historian(subject.adapter(), AMPLE)
      await late.close()
      await other.close()
      const before = [other.arrivals.length, other.events.length, late.events.length]
      await one.append(LOG, 'x')
      await new Promise((resolve) => setTimeout(resolve, 50))
      await one.append(LOG, 'y')
      assert.deepEqual([other.arrivals.length, other.events.length, late.events.length], before)
      await other.store.close()
      assert.deepEqual(await one.texts(LOG, null), ['x', 'y'])
    }),

    historyTest(
      'entries that are sent again after an outage are recorded once and in order',
      async (subject, after) => {
        const { cut, heal } = faultsOf(subject)
        const [one, other] = await historians(subject, after, 2)
        await other.store.follow(LOG)
        const sent = Array.from({ length: 100 }, (_, i) => entryOf(String(i)))
        let waiting = [...sent]
        const attempt = async (): Promise<void> => {
          const results = await Promise.allSettled(
            waiting.map(async (entry) => one.store.append(LOG, entry)),
          )
          waiting = waiting.filter((_, i) => results[i]?.status === 'rejected')
          for (const result of results) {
            if (result.status === 'fulfilled') continue
            assert.ok(result.reason instanceof AdapterError, String(result.reason))
            assert.notEqual(result.reason.code, 'ERR_KOAWS_BACKPLANE_REFUSED')
          }
        }
        const during = attempt()
        await cut()
        await until('down', () => !one.isUp && !other.isUp)
        await heal()
        await during
        await until('all are recorded', async () => {
          await until('up', () => one.isUp && other.isUp)
          await attempt()
          return waiting.length === 0
        })
        const kept = await other.entries(LOG, null)
        assert.deepEqual(
          kept.map(({ key }) => key),
          sent.map(({ key }) => key),
        )
        assertLinked(kept, { offset: 0, key: '' })
        const end = await one.append(LOG, 'end')
        await until('the last entry arrives', () => other.arrived(LOG).at(-1)?.key === end.key)
        const ids = new Set([...kept, ...other.arrived(LOG).slice(-1)].map(idOf))
        for (const entry of other.arrived(LOG)) assert.ok(ids.has(idOf(entry)), 'it was recorded')
        const offsets = other.arrived(LOG).map(({ offset }) => offset)
        assert.deepEqual(
          offsets,
          offsets.toSorted((a, b) => a - b),
        )
      },
      ['cut'],
    ),
  ]
}

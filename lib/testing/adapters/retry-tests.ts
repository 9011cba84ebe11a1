// Tests of the record of requests that clients send again.
import { strict as assert } from 'node:assert'
import type { Adapter, AdapterLink } from '../../backplane/adapter.ts'
import { newId } from '../../connection/id.ts'
import type { Claim, Known, RetryStore } from '../../retry/store.ts'
import type { AdapterSubject, AdapterTest, MakeSubject } from './subject.ts'
import { faultsOf, testOf, until } from './support.ts'

/** Returns a test that fails if the adapter has a record of requests after all. */
export function withoutRetries(make: MakeSubject): AdapterTest {
  return testOf(make, 'the adapter has no record of requests', async (subject) => {
    const { retries } = subject.adapter()
    assert.equal(retries, undefined, 'the adapter has "retries": remove it from "without"')
  })
}

/** Returns the tests of the record of requests. */
export function retryTests(make: MakeSubject): AdapterTest[] {
  const retryTest = (
    name: string,
    body: Parameters<typeof testOf>[2],
    needs: AdapterTest['needs'] = [],
  ): AdapterTest => testOf(make, name, body, ['retries', ...needs])
  return [
    retryTest('one of many claims of a request is the first', async (subject, after) => {
      const all = await recorders(subject, after, 3)
      for (let i = 0; i < 20; i++) {
        const id = idOf()
        const claims = await Promise.all(
          all.flatMap(({ store }) => [
            store.claim(id, 'h', false),
            store.claim(id, 'h', i % 2 === 0),
          ]),
        )
        const first = claims.filter(({ state }) => state === 'first')
        const running = claims.filter((one) => one.state === 'running' && one.hash === 'h')
        // A request that was sent before may find no record, and claims nothing then.
        const unknown = claims.filter(({ state }) => state === 'unknown')
        assert.equal(first.length, 1, JSON.stringify(claims))
        assert.equal(running.length + unknown.length, claims.length - 1, JSON.stringify(claims))
      }
    }),
    retryTest('every instance gets the answer, with the hash', async (subject, after) => {
      const [one, two] = await recorders(subject, after, 2)
      const answers = ['', 'r{"a":"é😀 \\n\\u0000"}\n\0 end ', 'x'.repeat(16_384), null]
      for (const answer of answers) {
        const id = idOf()
        await claimed(one, id, 'hash')
        await one.store.settle(id, answer)
        const done = { state: 'done', hash: 'hash', answer }
        for (const { store } of [one, two]) {
          assert.deepEqual(await store.look(id), done)
          assert.deepEqual(await store.claim(id, 'other', false), done)
          assert.deepEqual(await store.claim(id, 'other', true), done)
        }
      }
    }),
    retryTest(
      'a request that was sent before is not claimed by a store that began anew',
      async (subject, after) => {
        const [one, two] = await recorders(subject, after, 2)
        const id = idOf()
        assert.deepEqual(await one.store.claim(id, 'h', true), { state: 'unknown' })
        assert.deepEqual(await two.store.look(id), { state: 'unknown' })
        await claimed(two, id, 'h')
      },
    ),
    retryTest(
      'only the instance that claimed a request can keep its answer',
      async (subject, after) => {
        const [one, two] = await recorders(subject, after, 2)
        const id = idOf()
        await claimed(one, id, 'h')
        await two.store.settle(id, 'wrong')
        await two.store.settle(idOf(), 'wrong')
        assert.deepEqual(await one.store.look(id), { state: 'running', hash: 'h' })
      },
    ),
    retryTest(
      'what an ended instance ran is unknown, and is never the first again',
      async (subject, after) => {
        const [one, two] = await recorders(subject, after, 2)
        const [running, done] = [idOf(), idOf()]
        await claimed(one, running, 'h')
        await claimed(one, done, 'h')
        const settled = one.store.settle(done, 'answer')
        await one.close()
        await settled
        for (const again of [true, false]) {
          const claim = await two.store.claim(running, 'h', again)
          assert.deepEqual(claim, { state: 'unknown' })
        }
        assert.deepEqual(await two.store.look(done), { state: 'done', hash: 'h', answer: 'answer' })
      },
    ),
    retryTest(
      'a claim is refused during an outage, and possible after it',
      async (subject, after) => {
        const { cut, heal } = faultsOf(subject)
        const [one] = await recorders(subject, after, 1)
        const id = idOf()
        await cut()
        await until('claims are refused', () => isRefused(one.store, idOf()))
        assert.ok(await isRefused(one.store, id), 'a claim without the engine')
        await heal()
        let claim: Claim | null = null
        await until('a claim is answered', async () => {
          claim = await tryClaim(one.store, id)
          return claim !== null
        })
        assert.deepEqual(claim, { state: 'first' })
      },
      ['cut'],
    ),
    retryTest(
      'an answer that is given during an outage is kept after it',
      async (subject, after) => {
        const { cut, heal } = faultsOf(subject)
        const [one, two] = await recorders(subject, after, 2)
        const id = idOf()
        await claimed(one, id, 'h')
        await cut()
        await until('claims are refused', () => isRefused(one.store, idOf()))
        void one.store.settle(id, 'late')
        await heal()
        await until('the other instance has the answer', async () => {
          const known = await tryLook(two.store, id)
          return known?.state === 'done' && known.answer === 'late'
        })
      },
      ['cut'],
    ),
    retryTest(
      'close() settles, also twice and during an outage',
      async (subject, after) => {
        const { cut, heal } = faultsOf(subject)
        const [one] = await recorders(subject, after, 1)
        await claimed(one, idOf(), 'h')
        await cut()
        after(heal)
        await one.close()
        await one.store.close()
      },
      ['cut'],
    ),
  ]
}

/** One instance with a record of requests. */
class Recorder {
  readonly store: RetryStore
  readonly #link: AdapterLink

  constructor(adapter: Adapter) {
    const id = newId()
    assert.ok(adapter.retries, 'the adapter has no "retries": exclude these tests with "without"')
    this.#link = adapter.connect(id, { received() {}, up() {}, down() {}, gone() {} })
    this.store = adapter.retries(id)
  }

  async close(): Promise<void> {
    await this.store.close()
    await this.#link.close()
  }
}

type Many = { 1: [Recorder]; 2: [Recorder, Recorder]; 3: [Recorder, Recorder, Recorder] }

/** Returns instances that answer. */
async function recorders<N extends keyof Many>(
  subject: AdapterSubject,
  after: (undo: () => unknown) => void,
  count: N,
): Promise<Many[N]> {
  const all = Array.from({ length: count }, () => new Recorder(subject.adapter()))
  for (const one of all) {
    after(() => one.close())
    await until('the record answers', async () => (await tryLook(one.store, idOf())) !== null)
  }
  return all as Many[N]
}

function idOf(): string {
  return `${newId()}${newId()}`.slice(0, 40)
}

async function claimed({ store }: Recorder, id: string, hash: string): Promise<void> {
  assert.deepEqual(await store.claim(id, hash, false), { state: 'first' })
}

async function isRefused(store: RetryStore, id: string): Promise<boolean> {
  return (await tryClaim(store, id)) === null
}

async function tryClaim(store: RetryStore, id: string): Promise<Claim | null> {
  try {
    return await store.claim(id, 'h', false)
  } catch {
    return null
  }
}

async function tryLook(store: RetryStore, id: string): Promise<Known | null> {
  try {
    return await store.look(id)
  } catch {
    return null
  }
}

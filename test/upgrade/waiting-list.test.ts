import { AsyncLocalStorage } from 'node:async_hooks'
import { expect } from 'chai'
import { Waiter, WaitingList } from '../../lib/upgrade/waiting-list.ts'
import { deferred } from '../support/server.ts'

/** Waits for the expiry of waiters, in order. */
class Log {
  readonly names: string[] = []
  readonly #ends = new Map<string, () => void>()

  waiter(name: string, onExpire: () => void = () => {}): Waiter {
    const log = this
    return new (class extends Waiter {
      override expire(): void {
        log.names.push(name)
        log.#ends.get(name)?.()
        onExpire()
      }
    })()
  }

  expired(name: string): Promise<void> {
    const { promise, resolve } = deferred()
    this.#ends.set(name, resolve)
    return promise
  }
}

/** Runs something synchronous, and returns the delays of the timers that it starts. */
function timersOf(run: () => void): number[] {
  const delays: number[] = []
  const original = globalThis.setTimeout
  globalThis.setTimeout = ((callback: () => void, delay: number, ...args: unknown[]) => {
    delays.push(delay)
    return original(callback, delay, ...(args as []))
  }) as typeof setTimeout
  try {
    run()
  } finally {
    globalThis.setTimeout = original
  }
  return delays
}

describe('a waiting list', () => {
  it('has one timer for all that wait', async () => {
    const list = new WaitingList()
    const log = new Log()
    const end = log.expired('9')
    const delays = timersOf(() => {
      for (let i = 0; i < 10; i++) list.add(log.waiter(String(i)), 20)
    })
    expect(delays).to.deep.equal([20])
    await end
    expect(log.names).to.deep.equal([...'0123456789'])
  })

  it('keeps its timer while they come and go', () => {
    const list = new WaitingList()
    const log = new Log()
    const delays = timersOf(() => {
      for (let i = 0; i < 100; i++) {
        const waiter = log.waiter(String(i))
        list.add(waiter, 10_000)
        waiter.leave()
      }
    })
    expect(delays).to.have.length(1) // 10,000 ms, or one more for a clock that has moved
  })

  it('lets each expire after its own delay, and never before it', async () => {
    const list = new WaitingList()
    const log = new Log()
    const early: string[] = []
    const times: [at: number, name: string][] = []
    const due = (name: string, delay: number): Promise<void> => {
      const from = performance.now()
      times.push([from + delay, name])
      const waiter = log.waiter(name, () => {
        if (performance.now() < from + delay) early.push(name)
      })
      list.add(waiter, delay)
      return log.expired(name)
    }
    await Promise.all([due('c', 60), due('a', 5), due('d', 61), due('b', 30), due('now', 0)])
    // The process may stand still between two of them.
    const order = times.toSorted(([one], [other]) => one - other).map(([, name]) => name)
    expect(log.names).to.deep.equal(order)
    expect(early).to.deep.equal([])
  })

  it('forgets waiters that leave: the first, the last, and one between', async () => {
    const list = new WaitingList()
    const log = new Log()
    const [a, b, c, d, e] = [...'abcde'].map((name) => log.waiter(name)) as Waiter[]
    for (const waiter of [a, b, c, d, e]) list.add(waiter as Waiter, 20)
    for (const waiter of [a, c, e]) waiter?.leave()
    a?.leave()
    expect([a?.next, c?.previous, c?.list]).to.deep.equal([null, null, null])
    await log.expired('d')
    expect(log.names).to.deep.equal(['b', 'd'])
  })

  it('moves a waiter that is added again to its new place', async () => {
    const list = new WaitingList()
    const log = new Log()
    const again = log.waiter('again')
    list.add(again, 5)
    list.add(log.waiter('other'), 10)
    list.add(again, 20)
    await log.expired('again')
    expect(log.names).to.deep.equal(['other', 'again'])
  })

  it('lets a waiter expire that was added while another did', async () => {
    const list = new WaitingList()
    const log = new Log()
    list.add(
      log.waiter('first', () => list.add(log.waiter('second'), 5)),
      5,
    )
    await log.expired('second')
    expect(log.names).to.deep.equal(['first', 'second'])
  })

  it('runs outside of the async context that started its timer', async () => {
    const store = new AsyncLocalStorage<string>()
    const list = new WaitingList()
    const log = new Log()
    const seen: unknown[] = []
    store.run('the first request', () =>
      list.add(
        log.waiter('a', () => seen.push(store.getStore())),
        5,
      ),
    )
    await log.expired('a')
    expect(seen).to.deep.equal([undefined])
  })

  it('starts a new timer when its own is long overdue, as after fake timers', async () => {
    const list = new WaitingList()
    const log = new Log()
    const original = globalThis.setTimeout
    const { now } = performance
    globalThis.setTimeout = (() => original(() => {}, 1).unref()) as unknown as typeof setTimeout
    try {
      list.add(log.waiter('lost'), 10)
    } finally {
      globalThis.setTimeout = original
    }
    performance.now = () => now.call(performance) + 5000
    try {
      list.add(log.waiter('later'), 1)
      await log.expired('later')
    } finally {
      performance.now = now
    }
    expect(log.names).to.deep.equal(['lost', 'later'])
  })
})

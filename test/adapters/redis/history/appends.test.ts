import { expect } from 'chai'
import { Appends, type Waiting } from '../../../../lib/adapters/redis/history/appends.ts'
import { entryOf } from './stores.ts'

interface Sent {
  readonly waiting: Waiting
  readonly after: number
}

describe('the entries that an instance is recording', () => {
  const make = (): { appends: Appends; sent: Sent[] } => {
    const sent: Sent[] = []
    return { sent, appends: new Appends((waiting, after) => void sent.push({ waiting, after })) }
  }
  const placeOf = (offset: number) => ({ epoch: 'e', offset, key: 'k' })
  const outcome = (attempt: Promise<unknown>): Promise<unknown> =>
    attempt.catch((error: Error) => error.message)
  const numbers = (sent: readonly Sent[]): number[][] =>
    sent.map(({ waiting, after }) => [waiting.number, after])

  it('each name the one before it in the same log, until that is confirmed', async () => {
    const { appends, sent } = make()
    const attempts = ['a', 'a', 'b', 'a'].map((log) => appends.add(log, entryOf('x')))
    expect(numbers(sent)).to.deep.equal([
      [1, 0],
      [2, 1],
      [3, 0],
      [4, 2],
    ])
    for (const { waiting } of sent) appends.recorded(waiting, placeOf(waiting.number))
    expect(await Promise.all(attempts)).to.deep.equal([1, 2, 3, 4].map(placeOf))
    void appends.add('a', entryOf('x'))
    expect(numbers(sent.slice(4))).to.deep.equal([[5, 0]])
  })

  it('are sent again, in order, when one before them was refused', async () => {
    const { appends, sent } = make()
    const attempts = ['1', '2', '3'].map((text) => outcome(appends.add('a', entryOf(text))))
    const [one, two, three] = sent.map(({ waiting }) => waiting) as [Waiting, Waiting, Waiting]
    appends.refused(one, new Error('full'))
    appends.again(two)
    appends.again(three)
    expect(numbers(sent.slice(3))).to.deep.equal([
      [2, 0],
      [3, 2],
    ])
    appends.recorded(two, placeOf(1))
    appends.recorded(three, placeOf(2))
    expect(await Promise.all(attempts)).to.deep.equal(['full', placeOf(1), placeOf(2)])
  })

  it('keep their numbers after an unknown outcome, and answers of before are ignored', async () => {
    const { appends, sent } = make()
    const entries = ['1', '2'].map((text) => entryOf(text))
    const attempts = entries.map((entry) => outcome(appends.add('a', entry)))
    const before = sent.map(({ waiting }) => waiting)
    appends.fail(new Error('gone'), 0)
    expect(await Promise.all(attempts)).to.deep.equal(['gone', 'gone'])
    appends.again(before[0] as Waiting)
    appends.recorded(before[0] as Waiting, placeOf(1))
    expect(sent).to.have.length(2)
    const again = entries.map((entry) => appends.add('a', entry))
    const next = appends.add('a', entryOf('3'))
    expect(numbers(sent.slice(2))).to.deep.equal([
      [1, 0],
      [2, 1],
      [3, 2],
    ])
    for (const { waiting } of sent.slice(2)) appends.recorded(waiting, placeOf(waiting.number))
    expect(await Promise.all([...again, next])).to.deep.equal([1, 2, 3].map(placeOf))
  })

  it('get a new number when the hub had given them up, or after a long time', async () => {
    const { appends, sent } = make()
    const entries = ['1', '2'].map((text) => entryOf(text))
    const all = entries.map((entry) => outcome(appends.add('a', entry)))
    appends.fail(new Error('gone'), 0)
    all.push(outcome(appends.add('a', entryOf('3'))))
    all.push(outcome(appends.add('a', entries[0] as never)))
    expect(numbers(sent.slice(2))).to.deep.equal([
      [3, 0],
      [4, 3],
    ])
    appends.fail(new Error('gone'), 0)
    appends.fail(new Error('gone'), 61_000)
    all.push(outcome(appends.add('a', entries[0] as never)))
    expect(numbers(sent.slice(4))).to.deep.equal([[5, 0]])
    appends.fail(new Error('over'), 0)
    expect(await Promise.all(all)).to.deep.equal(['gone', 'gone', 'gone', 'gone', 'over'])
  })

  it('are recognized when they are confirmed already, if they are among the last 1,000, and not after 2,000', () => {
    const { appends, sent } = make()
    const entry = entryOf('1')
    const record = (log: string, what = entryOf('x')): number => {
      void appends.add(log, what)
      const { waiting } = sent.at(-1) as Sent
      appends.recorded(waiting, placeOf(1))
      return waiting.number
    }
    expect([record('a', entry), record('a', entry), record('b', entry)]).to.deep.equal([1, 1, 2])
    expect(record('b', entry)).to.equal(2)
    for (let i = 0; i < 1_000; i++) record('c')
    expect(record('b', entry)).to.equal(2)
    for (let i = 0; i < 2_000; i++) record('c')
    expect(record('b', entry)).to.equal(3_003)
  })
})

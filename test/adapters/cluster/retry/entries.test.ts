import { expect } from 'chai'
import {
  knownOf,
  type Note,
  noteOf,
  payloadOf,
} from '../../../../lib/adapters/cluster/retry/entries.ts'
import type { Entry } from '../../../../lib/history/store.ts'

const UNKNOWN = { state: 'unknown' }
const RUNNING = { state: 'running', hash: 'h' }

const claim = (instance: string, hash = 'h'): Note => ({ kind: 'claim', instance, hash })
const isAlive = (instance: string): boolean => instance.startsWith('alive')

/** Returns the entries of a log: the key of each is its offset. */
function entriesOf(notes: readonly (Note | string)[], from = 1): Entry[] {
  return notes.map((note, i) => ({
    key: `k${from + i}`,
    count: 1,
    payload: typeof note === 'string' ? Buffer.from(note) : payloadOf(note),
    offset: from + i,
    previous: i === 0 && from === 1 ? '' : `k${from + i - 1}`,
  }))
}

const known = (notes: readonly (Note | string)[], from?: number): unknown =>
  knownOf(entriesOf(notes, from), isAlive)

describe('the entries of a request', () => {
  it('are read as they were written', () => {
    const notes: Note[] = [
      claim('a-_1'),
      { kind: 'running', instance: 'a', hash: 'h_-' },
      { kind: 'done', hash: 'h', answer: null },
      { kind: 'void', key: 'k-_' },
      ...['', 'r{"a":"é😀"}\n\0 end ', '\n', 'V k'].map(
        (answer): Note => ({ kind: 'done', hash: 'h', answer }),
      ),
    ]
    for (const note of notes) expect(noteOf(payloadOf(note))).to.deep.equal(note)
  })

  it('are nothing if other software wrote them', () => {
    for (const text of ['', 'x', 'C', 'C h', 'D h', 'V', 'X h a', 'C h a b', ' C h a']) {
      expect(noteOf(Buffer.from(text)), text).to.equal(null)
      expect(known([claim('alive'), text]), text).to.deep.equal(UNKNOWN)
    }
  })

  it('say that the first claim counts, and no later one', () => {
    expect(known([claim('alive'), claim('alive2', 'other')])).to.deep.equal(RUNNING)
    expect(known([claim('dead'), claim('alive')])).to.deep.equal(UNKNOWN)
  })

  it('say nothing when the first claim is gone, unless it was renewed', () => {
    expect(known([claim('alive')], 2)).to.deep.equal(UNKNOWN)
    const running: Note = { kind: 'running', instance: 'alive', hash: 'h' }
    expect(known([claim('dead'), running], 2)).to.deep.equal(RUNNING)
  })

  it('go by the last name of the instance that runs it', () => {
    const as = (instance: string): Note => ({ kind: 'running', instance, hash: 'h' })
    expect(known([claim('dead'), as('dead'), as('alive')])).to.deep.equal(RUNNING)
    expect(known([claim('alive'), as('dead')])).to.deep.equal(UNKNOWN)
  })

  it('have an answer for good', () => {
    const done: Note = { kind: 'done', hash: 'h', answer: 'a' }
    const answered = { state: 'done', hash: 'h', answer: 'a' }
    expect(known([claim('dead'), done])).to.deep.equal(answered)
    expect(known([claim('alive'), { kind: 'void', key: 'k1' }, done])).to.deep.equal(answered)
    expect(known([done, { kind: 'void', key: 'k1' }], 7)).to.deep.equal(answered)
  })

  it('end a claim only if it is the first', () => {
    expect(known([claim('alive'), { kind: 'void', key: 'k1' }])).to.deep.equal(UNKNOWN)
    expect(known([claim('alive'), claim('late'), { kind: 'void', key: 'k2' }])).to.deep.equal(
      RUNNING,
    )
    expect(known([{ kind: 'void', key: 'k9' }])).to.deep.equal(UNKNOWN)
  })
})

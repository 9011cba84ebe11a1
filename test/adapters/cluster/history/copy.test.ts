import { expect } from 'chai'
import { Copy, type Kept } from '../../../../lib/adapters/cluster/history/copy.ts'
import { unborn } from '../../../../lib/history/place.ts'
import type { HistoryLimits, Reading } from '../../../../lib/history/store.ts'

const BIRTH = 1_000_000
const EPOCH = `${unborn(BIRTH)}x`
const LIMITS: HistoryLimits = { messages: 100, bytes: 10_000, ttl: 1_000, maxTotal: 1e6 }

/** Adds an entry with as many messages, and returns it. */
function add(copy: Copy, { n = copy.last.seq + 1, count = 1, bytes = 10, known = 0 } = {}): Kept {
  const { seq, offset, key: previous } = copy.last
  const key = `key-${seq + 1}`
  const place = { seq: seq + 1, offset: offset + count, previous, at: BIRTH + seq }
  const by = { from: 'p', via: 'i', series: 1, n, known }
  const entry = { key, count, payload: Buffer.alloc(bytes), ...place, ...by }
  copy.add(entry)
  return entry
}

function filled(entries: number, limits = LIMITS): Copy {
  const copy = Copy.begin(EPOCH, 'b1', 0, BIRTH)
  for (let i = 0; i < entries; i++) add(copy)
  copy.commit(entries, limits)
  return copy
}

const keys = (reading: Reading): string[] =>
  'entries' in reading ? reading.entries.map(({ key }) => key) : [reading.missing]

describe('a copy of a log', () => {
  it('gives only committed entries', () => {
    const copy = filled(2)
    add(copy)
    expect(keys(copy.read(null, BIRTH))).to.deep.equal(['key-1', 'key-2'])
    expect(copy.top).to.deep.equal({ epoch: EPOCH, offset: 2, key: 'key-2' })
    const third = { epoch: EPOCH, offset: 3, key: 'key-3' }
    expect(keys(copy.read(third, BIRTH))).to.deep.equal(['ahead'])
    expect(copy.lacks(third)).to.equal(false)
    expect(copy.commit(3, LIMITS).map(({ key }) => key)).to.deep.equal(['key-3'])
    expect(keys(copy.read(third, BIRTH))).to.deep.equal([])
  })

  it('never trims an entry that is not committed', () => {
    const copy = filled(2)
    add(copy)
    expect([copy.trim(), copy.trim(), copy.trim()]).to.deep.equal([true, true, false])
    copy.expire(BIRTH + 1e6, 1)
    expect(copy.isEmpty).to.equal(false)
    expect(copy.uncommitted).to.equal(10)
  })

  it('prefers "trimmed" while an entry after the place was removed before its time', () => {
    const copy = filled(4)
    copy.trim()
    copy.expire(BIRTH + 2 + LIMITS.ttl, LIMITS.ttl)
    expect(keys(copy.read(null, BIRTH))).to.deep.equal(['key-4'])
    const place = (offset: number) => ({ epoch: EPOCH, offset, key: offset ? `key-${offset}` : '' })
    const found = [0, 1, 2, 3].map((offset) => keys(copy.read(place(offset), BIRTH)))
    expect(found).to.deep.equal([['trimmed'], ['expired'], ['expired'], ['key-4']])
  })

  it('gives everything after a place from before its birth, unless an earlier epoch was lost', () => {
    const asked = (ago: number) => ({ epoch: unborn(BIRTH - ago), offset: 0, key: '' })
    expect(keys(filled(1).read(asked(5), BIRTH))).to.deep.equal(['key-1'])
    expect(keys(filled(1).read(asked(-5), BIRTH))).to.deep.equal(['epoch'])
    const second = Copy.begin(EPOCH, 'b1', BIRTH - 5, BIRTH)
    expect(keys(second.read(asked(5), BIRTH))).to.deep.equal(['epoch'])
    expect(keys(second.read(asked(4), BIRTH))).to.deep.equal([])
  })

  it('keeps the same contents, sizes and places as a snapshot of it', () => {
    const copy = filled(5, { ...LIMITS, messages: 3 })
    add(copy, { bytes: 7 })
    const other = new Copy(copy.snapshot())
    expect(other.snapshot()).to.deep.equal(copy.snapshot())
    for (const name of ['size', 'bytes', 'messages', 'uncommitted'] as const) {
      expect(other[name], name).to.equal(copy[name])
    }
    add(copy)
    expect(other.last.seq).to.equal(6)
    expect(other.sources.get('p')?.spots).to.have.length(6)
  })

  it('remembers the places of a publisher until the publisher knows them', () => {
    const copy = filled(3)
    add(copy, { known: 2 })
    expect(copy.sources.get('p')?.spots.map(({ n }) => n)).to.deep.equal([3, 4])
  })

  it('compares by ballot, and then by length', () => {
    const copy = filled(3)
    const found = [
      ['b0', 9],
      ['b1', 2],
      ['b1', 3],
      ['b2', 0],
    ] as const
    expect(found.map(([ballot, seq]) => copy.exceeds(ballot, seq))).to.deep.equal([
      true,
      true,
      false,
      false,
    ])
  })
})

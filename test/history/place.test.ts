import { expect } from 'chai'
import { holds, isNowhere, nowhere, placeOf, positionOf, roomOf } from '../../lib/history/place.ts'

describe('positions', () => {
  it('are read as they were written', () => {
    const places = [
      { epoch: '0mx1ub36b7ThLHmnr', offset: 41, key: 'k3F9aaQ1' },
      { epoch: 'x', offset: 0, key: '' },
      { epoch: 'a-_Z', offset: Number.MAX_SAFE_INTEGER, key: '-_' },
      nowhere(Date.now()),
    ]
    for (const place of places) expect(placeOf(positionOf(place))).to.deep.equal(place)
  })

  it('are null for anything else', () => {
    const wrong = [
      undefined,
      null,
      7,
      {},
      [],
      '',
      'a.1',
      'a.1.b.c',
      '.1.b',
      'a.-1.b',
      'a.01.b',
      'a.1e3.b',
    ]
    wrong.push(
      'a.9007199254740993.b',
      `${'a'.repeat(33)}.1.b`,
      `a.1.${'b'.repeat(17)}`,
      'a.1.b\n',
      'ä.1.b',
    )
    for (const one of wrong) expect(placeOf(one), String(one)).to.equal(null)
  })

  it('of a log that does not exist sort by time, before the epochs of later logs', () => {
    const [early, late] = [nowhere(1_000), nowhere(1_764_000_000_000)]
    expect(early.epoch < late.epoch).to.equal(true)
    expect(late.epoch < `${late.epoch}aaaaaaaa`).to.equal(true)
    expect([early, late].every(isNowhere)).to.equal(true)
    expect(isNowhere({ epoch: `${late.epoch}aaaaaaaa`, offset: 0, key: '' })).to.equal(false)
    expect(isNowhere({ ...late, offset: 1 })).to.equal(false)
  })

  it('belong to an entry of several messages by offset and key', () => {
    const entry = { key: 'k', count: 3, payload: Buffer.alloc(0), offset: 5, previous: '' }
    const held = [2, 3, 4, 5, 6].filter((offset) => holds(entry, { epoch: 'e', offset, key: 'k' }))
    expect(held).to.deep.equal([3, 4, 5])
    expect(holds(entry, { epoch: 'e', offset: 4, key: 'other' })).to.equal(false)
  })

  it('are told for a room by its name, and for a user without one', () => {
    expect([roomOf('room:user:7'), roomOf('user:7')]).to.deep.equal(['user:7', ''])
  })
})

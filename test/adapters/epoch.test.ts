import { expect } from 'chai'
import { newEpoch } from '../../lib/adapters/epoch.ts'
import { isUnborn, placeOf, positionOf, timeOf, unborn } from '../../lib/history/place.ts'

describe('epochs', () => {
  it('sort by their time as strings', () => {
    const times = [0, 1, 35, 36, 1_796_000_000_000, 36 ** 8 - 1, 36 ** 8, 36 ** 9 - 1]
    const epochs = times.map((time) => newEpoch(time))
    expect(epochs.toSorted()).to.deep.equal(epochs)
    expect(epochs.map(timeOf)).to.deep.equal(times)
  })

  it('sort after the epoch of a log that did not exist at the same time', () => {
    const time = 1_796_000_000_000.7
    expect(newEpoch(time) > unborn(time)).to.equal(true)
    expect(newEpoch(time) < unborn(time + 1)).to.equal(true)
    expect(isUnborn(unborn(time))).to.equal(true)
    expect(isUnborn(newEpoch(time))).to.equal(false)
  })

  it('differ, and are part of a position', () => {
    const epochs = Array.from({ length: 1_000 }, () => newEpoch(1_796_000_000_000))
    expect(new Set(epochs).size).to.equal(1_000)
    for (const epoch of epochs) {
      const place = { epoch, offset: 1, key: 'abcdefgh' }
      expect(placeOf(positionOf(place))).to.deep.equal(place)
    }
  })

  it('have the time 0 when they were not made here', () => {
    for (const odd of ['', 'x', 'zzzzzzzz', 'ABCDEFGHIabcd', '--------------']) {
      expect(timeOf(odd), odd).to.equal(0)
    }
  })
})

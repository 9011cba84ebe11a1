import { expect } from 'chai'
import { Family, HistogramFamily, MOST_SERIES, OTHER } from '../../lib/metrics/family.ts'
import type { Instrument } from '../../lib/metrics/instrument.ts'

const instrument: Instrument = {
  name: 'koaws.test',
  kind: 'counter',
  unit: '1',
  attributes: ['a', 'b'],
  stability: 'development',
  description: 'A test.',
  boundaries: [1, 10],
}

describe('a family of series', () => {
  it('has one series for each combination of values, and leaves out empty ones', () => {
    const family = new Family(instrument)
    family.at('x', 'y').value += 2
    family.at('x', 'y').value += 3
    family.at('x', '').value = 1
    const all = [...family.all()].map(({ attributes, value }) => [attributes, value])
    expect(all).to.deep.equal([
      [{ a: 'x', b: 'y' }, 5],
      [{ a: 'x' }, 1],
    ])
  })

  it('does not mix up values that look alike when they are joined', () => {
    const family = new Family(instrument)
    family.at('x,y', 'z').value = 1
    expect(family.at('x', 'y,z').value).to.equal(0)
  })

  it('has a bound: later combinations share a series', () => {
    const family = new Family(instrument)
    for (let i = 0; i < MOST_SERIES + 50; i++) family.at(String(i), 'y').value++
    const all = [...family.all()]
    expect(all).to.have.length(MOST_SERIES + 1)
    expect(family.at('never seen', 'y')).to.equal(family.at(OTHER, OTHER))
    expect(family.at(OTHER, OTHER).value).to.equal(50)
    expect(family.at('7', 'y').value).to.equal(1)
  })

  it('sorts the values of a histogram into its buckets, the boundary included', () => {
    const family = new HistogramFamily({ ...instrument, kind: 'histogram' })
    const heard: [number, object][] = []
    const early = family.at('early', '')
    family.recordWith((attributes) => (value) => heard.push([value, attributes]))
    const distribution = family.at('x', '')
    for (const value of [0, 1, 1.5, 10, 11]) distribution.record(value)
    expect(distribution.buckets).to.deep.equal([2, 2, 1])
    expect([distribution.count, distribution.sum]).to.deep.equal([5, 23.5])
    expect(heard.map(([value]) => value)).to.deep.equal([0, 1, 1.5, 10, 11])
    expect(heard[0]?.[1]).to.deep.equal({ a: 'x' })
    early.record(7)
    expect(heard.at(-1)).to.deep.equal([7, { a: 'early' }])
    family.recordWith(null)
    early.record(8)
    expect(heard).to.have.length(6)
  })
})

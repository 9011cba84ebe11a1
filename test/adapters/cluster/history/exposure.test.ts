import { expect } from 'chai'
import { Exposure } from '../../../../lib/adapters/cluster/history/exposure.ts'

describe('the exposure of logs', () => {
  it('is over when an instance answers the end of another', () => {
    const exposure = new Exposure()
    expect(exposure.ended('a', ['b', 'c'])).to.equal(false)
    exposure.secure('b', ['', 'a'])
    expect(exposure.ended('b', ['c'])).to.equal(false)
    expect(exposure.ended('c', [])).to.equal(true)
  })

  it('is not ended by an answer from before the end', () => {
    const exposure = new Exposure()
    exposure.secure('b', [''])
    exposure.ended('a', ['b'])
    expect(exposure.ended('b', [])).to.equal(true)
  })

  it('accepts an answer that arrives before this instance knows of the end', () => {
    const exposure = new Exposure()
    exposure.secure('b', ['', 'a'])
    exposure.ended('a', ['b'])
    expect(exposure.ended('b', [])).to.equal(false)
  })

  it('does not begin when an instance has handed over everything', () => {
    const exposure = new Exposure()
    exposure.empty('a')
    expect(exposure.hasLeft('a')).to.equal(true)
    exposure.ended('a', ['b'])
    expect(exposure.isTold).to.equal(true)
    expect(exposure.ended('b', [])).to.equal(false)
  })

  it('holds from the start for an instance that has logs without a replica', () => {
    const exposure = new Exposure()
    exposure.met('a', [])
    exposure.met('b', [])
    exposure.met('c', [''])
    exposure.secure('b', exposure.ends)
    expect(exposure.ended('a', [])).to.equal(true)
    expect(exposure.ended('b', [])).to.equal(false)
    expect(exposure.ended('c', [])).to.equal(false)
  })

  it('holds for an instance that this one meets after an end that it does not know of', () => {
    const exposure = new Exposure()
    exposure.ended('x', [])
    exposure.met('a', [''])
    exposure.met('b', ['', 'x'])
    expect(exposure.ended('a', ['b'])).to.equal(true)
    exposure.secure('b', ['', 'x', 'a'])
    expect(exposure.ended('b', [])).to.equal(false)
  })
})

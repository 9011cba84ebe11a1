import { expect } from 'chai'
import { OptionsError } from '../../lib/errors.ts'
import { deflateCheck, resolveDeflate } from '../../lib/upgrade/deflate.ts'

describe('the option perMessageDeflate', () => {
  it('is off when it is false or left out', () => {
    expect(resolveDeflate(undefined)).to.equal(false)
    expect(resolveDeflate(false)).to.equal(false)
  })

  it('has defaults that keep memory low, each of which can be changed', () => {
    const defaults = { serverNoContextTakeover: true, threshold: 1024, concurrencyLimit: 4 }
    expect(resolveDeflate(true)).to.deep.equal(defaults)
    expect(resolveDeflate({ threshold: 5, serverNoContextTakeover: false })).to.deep.equal({
      ...defaults,
      threshold: 5,
      serverNoContextTakeover: false,
    })
  })

  it('never compresses an empty message', () => {
    expect(resolveDeflate({ threshold: 0 })).to.include({ threshold: 1 })
  })

  it('is refused with options that zlib does not take', () => {
    const zlibDeflateOptions = { level: 99 }
    expect(() => resolveDeflate({ zlibDeflateOptions })).to.throw(OptionsError, 'level')
  })

  it('is checked', () => {
    for (const valid of [true, false, {}, { threshold: 0, zlibInflateOptions: {} }]) {
      expect(deflateCheck(valid)).to.equal(null)
    }
    for (const wrong of [
      { threshold: -1 },
      { concurrencyLimit: 0 },
      { zlibDeflateOptions: 'x' },
      { zlibInflateOptions: { info: true } },
      { serverNoContextTakeover: 'yes' },
      { treshold: 5 },
    ]) {
      expect(() => deflateCheck(wrong), JSON.stringify(wrong)).to.throw(OptionsError)
    }
  })
})

import { expect } from 'chai'
import { OptionsError } from '../../lib/index.ts'
import { checkOptions, isBoolean, isName } from '../../lib/metrics/options.ts'

describe('checkOptions()', () => {
  const checks = { http: isBoolean, name: isName }

  it('takes known options, and undefined', () => {
    checkOptions('f()', { http: true, name: undefined }, checks)
  })

  it('names the option that is unknown or wrong', () => {
    const check = (given: unknown) => () => checkOptions('f()', given as object, checks)
    expect(check({ htpp: true })).to.throw(
      OptionsError,
      'f() has no option "htpp". It has: http, name.',
    )
    expect(check({ toString: 1 })).to.throw(OptionsError, 'no option "toString"')
    expect(check({ http: 1 })).to.throw(OptionsError, '"http" must be true or false')
    expect(check({ name: 'a b' })).to.throw(OptionsError, '"name" must be a name of')
    for (const given of [null, [], 'x']) expect(check(given)).to.throw(OptionsError, 'an object')
  })
})

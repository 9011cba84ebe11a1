import { expect } from 'chai'
import { Secrets } from '../../lib/cli/secrets.ts'

describe('Secrets', () => {
  const make = (...values: string[]): Secrets => {
    const secrets = new Secrets()
    for (const value of values) secrets.add(value)
    return secrets
  }

  it('hides a value in the encodings that a server may repeat', () => {
    const secrets = make('pa ss/wörd')
    for (const form of [
      'pa ss/wörd',
      encodeURIComponent('pa ss/wörd'),
      Buffer.from('pa ss/wörd').toString('base64'),
      Buffer.from('pa ss/wörd').toString('base64url'),
      'PA SS/Wörd',
    ])
      expect(secrets.redact(`a ${form} z`), form).to.match(/^a \*\*\*[^a-y]{0,2} z$/)
    expect(make('a"b"c').redact(JSON.stringify('a"b"c'))).to.equal('"***"')
  })

  it('hides a part of a value, and the value inside of base64', () => {
    const secrets = make('Bearer eyJhbGciOiJIUzI1NiJ9.secret')
    expect(secrets.redact('bad token eyJhbGci…')).to.equal('bad token ***…')
    expect(secrets.redact('the Bearer is missing')).to.equal('the Bearer is missing')
    const basic = make(`Basic ${Buffer.from('ann:open sesame').toString('base64')}`)
    expect(basic.redact('wrong password "open sesame"')).to.equal('wrong password "***"')
  })

  it('hides the values of pairs, and shows their names', () => {
    const secrets = new Secrets()
    secrets.addPairs('session=4f5a6b; theme=dark', ';')
    expect(secrets.redact('session 4f5a6b has expired')).to.equal('session *** has expired')
  })

  it('leaves text alone that has nothing of a value', () => {
    expect(make('abcdefgh', 'x', '').redact('abcde x, and more')).to.equal('abcde x, and more')
    expect(new Secrets().redact('anything')).to.equal('anything')
  })
})

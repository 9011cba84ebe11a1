import { expect } from 'chai'
import {
  bearerToken,
  isBearerEntry,
  mayHoldBearer,
  parseSubprotocols,
} from '../../lib/protocol/subprotocol.ts'

describe('parseSubprotocols()', () => {
  it('returns the names in the order of the client, without the spaces around them', () => {
    expect(parseSubprotocols('koaws.v1')).to.deep.equal(['koaws.v1'])
    expect(parseSubprotocols('b ,  a,c')).to.deep.equal(['b', 'a', 'c'])
  })

  it('returns null for an empty element, an invalid token and a duplicate', () => {
    for (const header of ['', ',', 'a,', ',a', 'a,,b', 'a b', 'a;b', '"a"', 'ä', 'a,a', 'a,b, a']) {
      expect(parseSubprotocols(header), header).to.equal(null)
    }
  })
})

describe('a bearer entry', () => {
  it('is found in a header by its beginning', () => {
    expect(mayHoldBearer('koaws.v1, koaws.bearer.abc')).to.equal(true)
    expect(mayHoldBearer('koaws.v1, graphql-ws')).to.equal(false)
    expect(isBearerEntry('koaws.bearer.abc')).to.equal(true)
    expect(isBearerEntry('koaws.bearer64.YWJj')).to.equal(true)
    expect(isBearerEntry('koaws.v1')).to.equal(false)
    expect(isBearerEntry('koaws.bearer')).to.equal(false)
  })

  it('carries its credential as it is, or in base64url', () => {
    expect(bearerToken('koaws.bearer.a.b-c_d')).to.equal('a.b-c_d')
    const encoded = Buffer.from('a/b=+').toString('base64url')
    expect(bearerToken(`koaws.bearer64.${encoded}`)).to.equal('a/b=+')
  })

  it('carries none when it is empty, not base64url, or could not be a header value', () => {
    const encode = (text: string): string => Buffer.from(text).toString('base64url')
    for (const name of [
      'koaws.bearer.',
      'koaws.bearer64.',
      'koaws.bearer64.a=b',
      `koaws.bearer64.${encode('a b')}`,
      `koaws.bearer64.${encode('a\r\nb')}`,
      `koaws.bearer64.${encode('ä')}`,
    ]) {
      expect(bearerToken(name), name).to.equal(null)
    }
  })
})

import { expect } from 'chai'
import {
  assertClosable,
  CloseCode,
  closeCodeForStatus,
  closeReason,
  isCloseCode,
} from '../../lib/protocol/close-codes.ts'

describe('isCloseCode()', () => {
  it('is true for the codes that a close frame may carry, by RFC 6455, section 7.4', () => {
    const codes = Array.from({ length: 6_000 }, (_, code) => code).filter(isCloseCode)
    const named = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014]
    expect(codes.slice(0, named.length)).to.deep.equal(named)
    expect(codes.slice(named.length)).to.deep.equal(
      Array.from({ length: 2_000 }, (_, i) => 3000 + i),
    )
  })

  it('is true for each code that koaws sends, and for each status', () => {
    for (const code of Object.values(CloseCode)) expect(isCloseCode(code), `${code}`).to.equal(true)
    for (const status of [400, 404, 599]) {
      expect(isCloseCode(closeCodeForStatus(status)), `${status}`).to.equal(true)
    }
  })

  it('is false for fractions and other types', () => {
    for (const value of [1000.5, '1000', null, undefined, Number.NaN, 1000n, {}]) {
      expect(isCloseCode(value), String(value)).to.equal(false)
    }
  })
})

describe('closeReason()', () => {
  it('keeps what fits in 123 bytes', () => {
    for (const text of ['', 'bye', 'x'.repeat(123), '€'.repeat(41)]) {
      expect(closeReason(text)).to.equal(text)
    }
  })

  it('cuts the rest, and no character in two', () => {
    expect(closeReason('x'.repeat(124))).to.equal('x'.repeat(123))
    expect(closeReason(`xx${'€'.repeat(41)}`)).to.equal(`xx${'€'.repeat(40)}`)
    expect(closeReason(`${'😀'.repeat(31)}`)).to.equal('😀'.repeat(30))
  })

  it('replaces a lone surrogate', () => {
    expect(closeReason('a\ud800b')).to.equal('a\ufffdb')
  })
})

describe('assertClosable()', () => {
  it('accepts what a close frame can carry, and both left out', () => {
    expect(() => assertClosable(undefined, undefined)).not.to.throw()
    expect(() => assertClosable(4000, 'x'.repeat(123))).not.to.throw()
  })

  it('throws for a wrong code and for a wrong reason', () => {
    for (const code of [1005, 1006, 999, 2000, 5000, '1000']) {
      expect(() => assertClosable(code, ''), String(code)).to.throw(RangeError)
    }
    expect(() => assertClosable(1000, 'x'.repeat(124))).to.throw(RangeError, '124')
    for (const reason of [5, null, 'a\ud800']) {
      expect(() => assertClosable(1000, reason), String(reason)).to.throw(TypeError)
    }
  })
})

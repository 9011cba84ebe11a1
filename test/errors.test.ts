import { expect } from 'chai'
import {
  exposureOf,
  isMessageError,
  isRetryable,
  KoaWsError,
  MessageError,
  presentable,
  statusCode,
  toError,
} from '../lib/errors.ts'

/** Values that throw when they are read. */
function hostile(): unknown[] {
  const throwing = (): never => {
    throw new Error('a trap')
  }
  const traps = { get: throwing, has: throwing, getPrototypeOf: throwing, ownKeys: throwing }
  const getter = Object.defineProperty(new Error('x'), 'status', { get: throwing })
  return [new Proxy({}, traps), new Proxy(new Error('x'), traps), getter]
}

describe('an error of koaws', () => {
  it('has the status, the close code and the exposure of the table, which can be changed', () => {
    const error = new KoaWsError('ERR_KOAWS_ORIGIN', 'text')
    expect(error).to.include({ name: 'KoaWsError', code: 'ERR_KOAWS_ORIGIN', status: 403 })
    const other = new KoaWsError('ERR_KOAWS_ORIGIN', 'text', { status: 451, expose: false })
    expect(other).to.include({ status: 451, expose: false })
  })
})

describe('MessageError', () => {
  it('is recognized, and a Proxy of one is not', () => {
    const error = new MessageError(409)
    expect(isMessageError(error)).to.equal(true)
    for (const other of [new Error('x'), { status: 409 }, new Proxy(error, {}), null, 'text']) {
      expect(isMessageError(other)).to.equal(false)
    }
  })

  it('says by its status whether the same request may succeed later', () => {
    const all = Array.from({ length: 200 }, (_, i) => 400 + i).filter(isRetryable)
    expect(all).to.deep.equal([408, 425, 429, 502, 503, 504])
    expect([404, 418, 499].map(statusCode)).to.deep.equal([
      'not_found',
      'i_m_a_teapot',
      'status_499',
    ])
  })
})

describe('a thrown value', () => {
  it('that is an error stays the same, and any other value is wrapped', () => {
    const error = new Error('x')
    expect(toError(error)).to.equal(error)
    expect(presentable(error)).to.equal(error)
    const wrapped = toError('text')
    expect(wrapped).to.be.an('error')
    expect(wrapped).to.include({ cause: 'text' })
  })

  it('never makes toError(), presentable() and exposureOf() throw', () => {
    for (const value of hostile()) {
      expect(toError(value)).to.be.an('error')
      const shown = presentable(value) as Error
      expect(String(shown.message)).to.be.a('string')
      expect(exposureOf(value)).to.deep.equal({ status: null, message: null })
    }
  })

  it('that Koa could not write to is replaced, with its status and its message', () => {
    const frozen = Object.freeze(Object.assign(new Error('no'), { status: 409, expose: true }))
    const shown = presentable(frozen)
    expect(shown).not.to.equal(frozen)
    expect(shown).to.include({ status: 409, expose: true, message: 'no', cause: frozen })
  })

  it('exposes a status from 400 to 599, and its message when "expose" is true', () => {
    expect(exposureOf({ status: 404, message: 'x' })).to.deep.equal({ status: 404, message: null })
    expect(exposureOf({ statusCode: 503, expose: true, message: 'x' })).to.deep.equal({
      status: 503,
      message: 'x',
    })
    for (const status of [200, 399, 600, '404', 404.5]) {
      expect(exposureOf({ status })).to.deep.equal({ status: null, message: null })
    }
  })
})

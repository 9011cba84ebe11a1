import { expect } from 'chai'
import koaWs, { accept, bearer, KoaWsError, OptionsError } from '../lib/index.ts'

describe('options', () => {
  const wrong: [options: unknown, message: RegExp][] = [
    [{ orgin: 'any' }, /no option "orgin"\. Did you mean "origin"\?/],
    [{ maxPayLoad: 5 }, /Did you mean "maxPayload"\?/],
    [{ completelyDifferent: 1 }, /It has: origin, /],
    [{ __proto__: null, constructor: 1 }, /no option "constructor"/],
    [null, /object of options, not null/],
    ['any', /not "any"/],
    [{ origin: 'all' }, /"origin" must be "same", "any", a list/],
    [{ origin: ['example.com'] }, /not an origin: write it as a browser sends it/],
    [{ origin: ['https://example.com/'] }, /not an origin/],
    [{ origin: [/example\.com/] }, /begin it with \^ and end it with \$/],
    [{ hosts: ['https://example.com'] }, /not a host name: leave out the scheme/],
    [{ hosts: [] as string[], reject: 'never' }, /"reject" must be one of/],
    [{ handshakeTimeout: 10 }, /Are these seconds\? Multiply by 1000/],
    [{ handshakeTimeout: 0 }, /from 100 to 2147483647, not 0/],
    [{ handshakeTimeout: Infinity }, /from 100 to 2147483647, not Infinity/],
    [{ closeTimeout: 2 }, /seconds/],
    [{ maxConnections: 1.5 }, /whole number above 0/],
    [
      { maxConnections: 5, maxPerAddress: 6 },
      /"maxPerAddress" \(6\) is above "maxConnections" \(5\) and can never be reached/,
    ],
    [{ address: () => '' }, /has no effect without "maxPerAddress"/],
    [{ maxPayload: '1mb' }, /whole number/],
    [{ user: 'ann' }, /"user" must be a function/],
    [{ onConnect: 5 }, /"onConnect" must be a function/],
    [{ property: 'hub' }, /other than "hub"/],
    [
      { perMessageDeflate: { treshold: 5 } },
      /perMessageDeflate has no option "treshold"\. Did you mean "threshold"/,
    ],
    [{ perMessageDeflate: 'on' }, /object of options/],
    [{ perMessageDeflate: { threshold: -1 } }, /whole number of bytes, 0 or more, not -1/],
    [{ perMessageDeflate: { zlibDeflateOptions: { info: true } } }, /must be without "info"/],
    [
      { presence: { rooms: 'a', info: () => 1, linger: -1 } },
      /"linger" must be 0 or a number of milliseconds from 100 to 2147483647, not -1/,
    ],
  ]
  for (const [options, message] of wrong) {
    it(`koaWs(${JSON.stringify(options)}) throws, and says what to do`, () => {
      expect(() => koaWs(options as never)).to.throw(OptionsError, message)
    })
  }

  it('of the right types are valid', () => {
    koaWs()
    koaWs({
      origin: 'any',
      hosts: ['example.com'],
      maxConnections: 1,
      maxPerAddress: 1,
      address: () => 'x',
    })
    koaWs({
      perMessageDeflate: { threshold: 0, concurrencyLimit: 2 },
      maxPayload: 1,
      maxFragments: 1,
    })
    koaWs({ maxConnections: 10 })
    koaWs({ maxPerAddress: 10, origin: undefined })
  })

  it('of accept(), bearer(), hub.route() and hub.attach() are checked at the call', () => {
    const wrongAccept = (options: unknown) => () => accept(() => {}, options as never)
    expect(wrongAccept({ protocol: 'x' })).to.throw(OptionsError, 'subprotocol')
    expect(wrongAccept({ subprotocol: 'a b' })).to.throw(OptionsError, 'token')
    expect(wrongAccept({ subprotocol: [] })).to.throw(OptionsError, 'at least one')
    expect(wrongAccept({ subprotocol: ['a', 'a b'] })).to.throw(OptionsError, 'not "a b"')
    expect(wrongAccept({ rooms: 'lobby' })).to.throw(OptionsError, 'array')
    expect(wrongAccept({ hub: 'no' })).to.throw(OptionsError, 'true or false')
    expect(wrongAccept({ user: '' })).to.throw(OptionsError, '1 to 255 bytes')
    expect(() => accept({} as never)).to.throw(OptionsError, 'handler')
    expect(() => bearer({ cookies: 'x' } as never)).to.throw(OptionsError, '"cookie"')
    const hub = koaWs()
    expect(() => hub.route('/x')).to.throw(OptionsError, 'needs middleware')
    expect(() => hub.route('/:', () => {})).to.throw(OptionsError, 'hub.route()')
    expect(() => hub.attach({} as never)).to.throw(OptionsError, 'http, https or http2 server')
  })

  it('that are wrong throw a KoaWsError with a code', () => {
    try {
      koaWs({ x: 1 } as never)
      throw new Error('taken')
    } catch (error) {
      expect(error).to.be.an.instanceOf(KoaWsError).with.property('code', 'ERR_KOAWS_OPTIONS')
    }
  })
})

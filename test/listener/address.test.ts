import { expect } from 'chai'
import koaWs, { accept } from '../../lib/index.ts'
import { networkOf } from '../../lib/listener/address.ts'
import { cleanUp, openSocket, rejected, serve } from '../support/server.ts'

describe('maxPerAddress and ipv6Prefix', () => {
  afterEach(cleanUp)

  const cases: [string, number, string][] = [
    ['192.0.2.7', 64, '192.0.2.7'],
    ['::ffff:192.0.2.7', 64, '192.0.2.7'],
    ['::FFFF:c000:207', 64, '192.0.2.7'],
    ['0:0:0:0:0:ffff:192.0.2.7', 64, '192.0.2.7'],
    ['192.0.2.7:50123', 64, '192.0.2.7'],
    ['[2001:db8::1]:443', 64, '2001:db8:0:0:0:0:0:0/64'],
    ['[2001:db8::1]', 64, '2001:db8:0:0:0:0:0:0/64'],
    ['2001:db8::1', 64, '2001:db8:0:0:0:0:0:0/64'],
    ['2001:DB8:0:0:ffff:1:2:3', 64, '2001:db8:0:0:0:0:0:0/64'],
    ['2001:db8:0:1::1', 64, '2001:db8:0:1:0:0:0:0/64'],
    ['2001:db8:abcd:12ff::1', 56, '2001:db8:abcd:1200:0:0:0:0/56'],
    ['2001:db8:abcd::1', 20, '2001:0:0:0:0:0:0:0/20'],
    ['2001:db8::1', 128, '2001:db8:0:0:0:0:0:1'],
    ['fe80::1%eth0', 64, 'fe80:0:0:0:0:0:0:0/64'],
    ['::1', 64, '0:0:0:0:0:0:0:0/64'],
    ['::ffff:192.0.2.7', 128, '192.0.2.7'],
    ['', 64, ''],
    ['unknown', 64, 'unknown'],
    ['1.2.3.4.5:80', 64, '1.2.3.4.5:80'],
  ]
  for (const [address, prefix, expected] of cases) {
    it(`count ${JSON.stringify(address)} with /${prefix} as ${JSON.stringify(expected)}`, () => {
      expect(networkOf(address, prefix)).to.equal(expected)
    })
  }

  const pairs: [string, string, number | undefined, number][] = [
    ['2001:db8::1', '2001:db8::2', undefined, 429],
    ['2001:db8::1', '2001:db8:0:1::1', undefined, 101],
    ['2001:db8::1', '2001:db8:0:1::1', 48, 429],
    ['2001:db8::1', '2001:db8::2', 128, 101],
    ['192.0.2.7', '::ffff:192.0.2.7', undefined, 429],
    ['192.0.2.7:1', '192.0.2.7:2', undefined, 429],
    ['192.0.2.7', '192.0.2.8', undefined, 101],
  ]
  for (const [one, other, ipv6Prefix, expected] of pairs) {
    it(`answer ${expected} to ${other} after ${one} (ipv6Prefix: ${ipv6Prefix})`, async () => {
      const { port } = await serve((app) => app.use(accept(() => {})), {
        koa: { proxy: true },
        maxPerAddress: 1,
        ipv6Prefix,
      })
      const enter = (ip: string) => openSocket(port, '/', { headers: { 'x-forwarded-for': ip } })
      await enter(one)
      if (expected === 101) await enter(other)
      else expect((await rejected(enter(other))).status).to.equal(expected)
    })
  }

  it('throw for ipv6Prefix without maxPerAddress, and for values out of range', () => {
    expect(() => koaWs({ ipv6Prefix: 64 })).to.throw('has no effect without "maxPerAddress"')
    for (const ipv6Prefix of [0, 8, 129, 64.5, '64' as never]) {
      expect(() => koaWs({ maxPerAddress: 1, ipv6Prefix })).to.throw('bits from 16 to 128')
    }
  })
})

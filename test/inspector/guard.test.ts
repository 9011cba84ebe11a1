import { expect } from 'chai'
import { isLocal } from '../../lib/inspector/guard.ts'

describe('the guard of an inspector without authorize', () => {
  const from = (remoteAddress: string | undefined, headers: Record<string, string>): boolean =>
    isLocal({ req: { socket: { remoteAddress }, headers } } as never)

  it('lets direct requests of this machine pass', () => {
    for (const address of ['127.0.0.1', '127.8.9.1', '::1', '::ffff:127.0.0.1']) {
      expect(from(address, { host: 'localhost:3000' }), address).to.equal(true)
    }
    for (const host of ['localhost', 'LOCALHOST:80', '127.0.0.1:3000', '[::1]:3000']) {
      expect(from('::1', { host }), host).to.equal(true)
    }
    expect(from('::1', { ':authority': 'localhost' })).to.equal(true)
  })

  it('refuses other addresses, and a socket without one', () => {
    for (const address of ['10.0.0.1', '::ffff:10.0.0.1', '::2', '1127.0.0.1', undefined]) {
      expect(from(address, { host: 'localhost' }), address).to.equal(false)
    }
  })

  it('refuses requests that a proxy has passed on', () => {
    for (const name of ['forwarded', 'via', 'x-forwarded-for', 'x-forwarded-proto', 'x-real-ip']) {
      expect(from('127.0.0.1', { host: 'localhost', [name]: '' }), name).to.equal(false)
    }
  })

  it('refuses other hosts: a page can have its own name resolve to 127.0.0.1', () => {
    for (const host of ['evil.example', 'localhost.evil.example', '127.0.0.1.evil.example', '']) {
      expect(from('127.0.0.1', { host }), host).to.equal(false)
    }
    expect(from('127.0.0.1', {})).to.equal(false)
  })
})

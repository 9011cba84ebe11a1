import type { IncomingMessage } from 'node:http'
import { expect } from 'chai'
import { checkConnect, protocolOf } from '../../../lib/upgrade/http2/handshake.ts'

const HEADERS = {
  ':method': 'CONNECT',
  ':protocol': 'websocket',
  ':scheme': 'https',
  ':path': '/chat?room=1',
  ':authority': 'example.com',
  'sec-websocket-version': '13',
}

/** A request with these headers; undefined leaves one out. */
function requestOf(changes: Record<string, string | undefined>, stream = {}): IncomingMessage {
  const all = Object.entries({ ...HEADERS, ...changes }).filter(([, value]) => value !== undefined)
  return { headers: Object.fromEntries(all), rawHeaders: all.flat(), stream } as never
}

describe('a handshake over HTTP/2', () => {
  it('names its protocol, which a plain CONNECT does not', () => {
    expect(protocolOf(requestOf({}))).to.equal('websocket')
    expect(protocolOf(requestOf({ ':protocol': undefined }))).to.equal(undefined)
  })

  for (const changes of [
    {},
    { ':scheme': 'http' },
    { ':authority': 'example.com:8443' },
    { ':authority': '[::1]:8443' },
    { host: 'EXAMPLE.com' },
  ]) {
    it(`is valid with ${JSON.stringify(changes)}`, () => {
      expect(checkConnect(requestOf(changes))).to.equal(null)
    })
  }

  for (const changes of [
    { ':scheme': 'ftp' },
    { ':scheme': undefined },
    { ':path': undefined },
    { ':path': '*' },
    { ':path': '//evil.example' },
    { ':authority': undefined },
    { ':authority': 'ann@example.com' },
    { host: 'other.example' },
    { 'content-length': '0' },
    { 'sec-websocket-version': '8' },
    { 'sec-websocket-version': undefined },
  ]) {
    it(`is refused with 400 when it has ${JSON.stringify(changes)}`, () => {
      expect(checkConnect(requestOf(changes))).to.include({ status: 400 })
    })
  }

  it('is refused with 400 when its stream ends with the headers', () => {
    expect(checkConnect(requestOf({}, { endAfterHeaders: true }))).to.include({ status: 400 })
  })
})

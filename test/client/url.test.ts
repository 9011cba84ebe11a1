import { expect } from 'chai'
import { connect } from '../../lib/client/index.ts'
import { onPage, settle } from './support/client.ts'
import { scriptedSockets } from './support/scripted-socket.ts'

async function urlOf(url: string | URL, globals: object = {}): Promise<string> {
  const made = scriptedSockets()
  const client = onPage(globals, () => connect(url, { WebSocket: made.WebSocket }))
  client.open()
  await settle()
  client.close()
  return made.last.url
}

describe('the URL of connect()', () => {
  const page = { location: { href: 'https://example.com/app/index.html?a=1#top' } }

  it('is used unchanged, with http replaced by ws', async () => {
    expect(await urlOf('wss://example.com/chat?a=b')).to.equal('wss://example.com/chat?a=b')
    expect(await urlOf('http://example.com/chat')).to.equal('ws://example.com/chat')
    expect(await urlOf(new URL('https://example.com/chat'))).to.equal('wss://example.com/chat')
  })

  it('is resolved against the address of the page', async () => {
    expect(await urlOf('/chat/lobby', page)).to.equal('wss://example.com/chat/lobby')
    expect(await urlOf('chat', page)).to.equal('wss://example.com/app/chat')
  })

  it('throws when it is relative outside of a page, and names an absolute URL as a sample', () => {
    expect(() => connect('/chat', { WebSocket: scriptedSockets().WebSocket })).to.throw(
      TypeError,
      'wss://example.com/chat',
    )
  })

  for (const url of [
    'ws://example.com/#top',
    'ws://example.com/#',
    'ws://ann:secret@example.com/',
    'ws://ann@example.com/',
    'ftp://example.com/',
    'javascript:alert(1)',
    'ws://',
  ]) {
    it(`throws for ${url}, and keeps credentials out of the message`, () => {
      const attempt = (): unknown => connect(url, { WebSocket: scriptedSockets().WebSocket })
      expect(attempt).to.throw(TypeError).with.property('message').that.does.not.include('secret')
    })
  }
})

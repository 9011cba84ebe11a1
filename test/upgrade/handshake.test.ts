import { expect } from 'chai'
import { accept } from '../../lib/index.ts'
import { handshake, KEY, rawClient } from '../support/raw.ts'
import { cleanUp, openSocket, type Site, serve } from '../support/server.ts'

describe('a handshake', () => {
  let site: Site
  let seen: string[]

  async function begin(attach = true): Promise<void> {
    seen = []
    site = await serve((app) => app.use(accept(() => {})), {
      attach,
      before: (app) =>
        app.use((ctx, next) => {
          seen.push(ctx.url)
          return next()
        }),
    })
  }

  beforeEach(() => begin())
  afterEach(cleanUp)

  async function answerTo(
    text: string,
  ): Promise<{ status: number; headers: Map<string, string[]>; body: string }> {
    const client = await rawClient(site.port)
    client.write(text)
    const answer = await client.answer()
    if (answer.status !== 101) await client.end()
    return answer
  }

  const bad: [what: string, text: string][] = [
    ['no key', handshake('/', { 'Sec-WebSocket-Key': null })],
    ['a short key', handshake('/', { 'Sec-WebSocket-Key': 'c2hvcnQ=' })],
    ['two keys', handshake('/', { 'Sec-WebSocket-Key': [KEY, KEY] })],
    ['no Host', handshake('/', { Host: null })],
    ['two Host headers', handshake('/', { Host: ['localhost', 'localhost'] })],
    ['an empty Host', handshake('/', { Host: '' })],
    ['HTTP/1.0', handshake('/', {}, 'GET / HTTP/1.0')],
    ['a declared body', handshake('/', { 'Content-Length': '3' })],
    ['a chunked body', handshake('/', { 'Transfer-Encoding': 'chunked' })],
    [
      'an empty element among the subprotocols',
      handshake('/', { 'Sec-WebSocket-Protocol': 'a,,b' }),
    ],
    ['a subprotocol that is no token', handshake('/', { 'Sec-WebSocket-Protocol': 'a b' })],
    ['a subprotocol offered twice', handshake('/', { 'Sec-WebSocket-Protocol': 'a, a' })],
    ['a list in Upgrade', handshake('/', { Upgrade: 'websocket, h2c' })],
  ]
  for (const [what, text] of bad) {
    it(`with ${what} is answered with 400, and the application does not run`, async () => {
      const { status, headers } = await answerTo(text)
      expect(status).to.equal(400)
      expect(headers.get('connection')).to.deep.equal(['close'])
      expect(seen).to.deep.equal([])
      expect(site.hub.status().drops).to.deep.equal({ badHandshake: 1 })
    })
  }

  for (const version of ['12', '8', '1.3e1', '0x0d', '13, 13', '+13', '', null]) {
    it(`of version ${JSON.stringify(version)} is answered with 426 and version 13`, async () => {
      const { status, headers } = await answerTo(
        handshake('/', { 'Sec-WebSocket-Version': version }),
      )
      expect(status).to.equal(426)
      expect(headers.get('sec-websocket-version')).to.deep.equal(['13'])
      expect(seen).to.deep.equal([])
    })
  }

  for (const method of ['POST', 'PUT', 'HEAD', 'OPTIONS', 'DELETE']) {
    it(`by ${method} is answered with 405`, async () => {
      const client = await rawClient(site.port)
      client.write(handshake('/', {}, `${method} / HTTP/1.1`))
      await client.end()
      expect(client.text).to.match(/^HTTP\/1\.1 405 .*\r\n/)
      expect(client.text).to.include('\r\nAllow: GET\r\n')
      expect(seen).to.deep.equal([])
    })
  }

  it('with mixed case and a list in Connection is accepted', async () => {
    const { status } = await answerTo(
      handshake('/', { Upgrade: 'WebSocket', Connection: 'keep-alive, Upgrade' }),
    )
    expect(status).to.equal(101)
    expect(seen).to.deep.equal(['/'])
  })

  it('with Content-Length: 0 is accepted', async () => {
    expect((await answerTo(handshake('/', { 'Content-Length': '0' }))).status).to.equal(101)
  })

  it('without Connection: upgrade is an ordinary request', async () => {
    const client = await rawClient(site.port)
    client.write(handshake('/', { Connection: 'keep-alive' }))
    expect((await client.answer()).status).to.equal(426)
    client.write('GET /again HTTP/1.1\r\nHost: localhost\r\n\r\n')
    expect((await client.answer()).status).to.equal(426)
  })

  for (const target of ['//evil/', '/%zz', '*', 'http://evil.example/x', '/a?b=%zz', '/\u00e9']) {
    it(`for the target ${target} is answered, and so is the next handshake`, async () => {
      const { status } = await answerTo(handshake(target, { Origin: 'http://localhost' }))
      expect(status).to.be.oneOf([101, 400])
      expect((await openSocket(site.port)).readyState).to.equal(1)
    })
  }

  it('runs every middleware once', async () => {
    await openSocket(site.port, '/once')
    expect(seen).to.deep.equal(['/once'])
  })

  it('that is malformed and the first request of a server is answered the same way through the chain', async () => {
    await cleanUp()
    await begin(false)
    const { status, headers } = await answerTo(handshake('/', { 'Sec-WebSocket-Key': 'short' }))
    expect(status).to.equal(400)
    expect(headers.get('connection')).to.deep.equal(['close'])
    const version = await answerTo(handshake('/', { 'Sec-WebSocket-Version': '8' }))
    expect(version.headers.get('sec-websocket-version')).to.deep.equal(['13'])
  })

  it('by POST as the first request of a server is answered with 405', async () => {
    await cleanUp()
    await begin(false)
    const client = await rawClient(site.port)
    client.write(`${handshake('/', { 'Content-Length': '2' }, 'POST / HTTP/1.1')}hi`)
    await client.end()
    expect(client.text).to.match(/^HTTP\/1\.1 405 /)
  })
})

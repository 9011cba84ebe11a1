import { createServer } from 'node:http'
import { expect } from 'chai'
import { WebSocketServer } from 'ws'
import { type RawServer, rawServer, switching } from '../support/hostile.ts'
import { run } from '../support/run.ts'

/** Credentials in each place where a command line may have one. */
const QUERY = 'q-Xw81LmZp'
const HEADER = 'h-Kd92VbNs'
const COOKIE = 'c-Rt73QyJf'
const USER = 'u-Gh64McTe'
const PASSWORD = 'p-Bn55SaWk'
const TOKEN = 't-Vx46DoLu'
const TYPED = 'b-Zq37EiHr'
const ALL = [QUERY, HEADER, COOKIE, USER, PASSWORD, TOKEN, TYPED]

/** Returns whether a text has one of them, or a part of one, in a usual encoding. */
function leaks(text: string): string[] {
  const folded = text.toLowerCase()
  return ALL.flatMap((secret) => [
    secret,
    secret.slice(2),
    secret.slice(0, 7),
    Buffer.from(secret).toString('base64').replace(/=+$/, ''),
  ]).filter((form) => folded.includes(form.toLowerCase()))
}

function wordsFor(url: string): string[] {
  const address = new URL(url)
  address.username = USER
  address.password = PASSWORD
  address.search = `?token=${QUERY}&room=1`
  return [
    address.href,
    ...['--header', `X-Api-Key: ${HEADER}`],
    ...['--header', `Cookie: theme=dark; session=${COOKIE}`],
    ...['--token', TOKEN, '--protocol', 'chat', '--protocol', `koaws.bearer.${TYPED}`],
  ]
}

describe('the credentials of a command line', () => {
  let server: RawServer | null = null

  afterEach(async () => {
    await server?.close()
    server = null
  })

  /** Runs the commands in each format; returns everything that they print. */
  async function printed(url: string, ...options: string[]): Promise<string> {
    const lines = [
      ['doctor', ...wordsFor(url), ...options],
      ['doctor', '--json', ...wordsFor(url), ...options],
      ['bench', ...wordsFor(url), '--clients=2', '--seconds=0.2'],
      ['bench', '--json', ...wordsFor(url), '--clients=2', '--seconds=0.2'],
    ]
    let text = ''
    for (const words of lines) {
      const { out, err } = await run(words, { progress: true })
      text += out + err
    }
    return text
  }

  it('reach the server in each handshake', async () => {
    server = await rawServer((socket) => socket.end('HTTP/1.1 401 No\r\n\r\n'))
    await run(['doctor', ...wordsFor(server.url)])
    expect(server.requests).to.have.length.above(1)
    const basic = Buffer.from(`${USER}:${PASSWORD}`).toString('base64')
    for (const request of server.requests) {
      for (const sent of [QUERY, HEADER, COOKIE, basic]) expect(request).to.include(sent)
      expect(request).to.include(`koaws.bearer.${TOKEN}`)
    }
  })

  it('never reach the output when the server repeats the whole request', async () => {
    for (const status of [200, 301, 400, 401, 403, 404, 426, 500, 503]) {
      server = await rawServer((socket, request) => {
        const values = [...request.matchAll(/^[\w-]+: (.*)\r$/gm)].map(([, value]) => value)
        const echo = `${request}\n${request.toUpperCase()}\n${encodeURIComponent(request)}\n${JSON.stringify(request)}`
        const head = values.map((value, at) => `X-Echo-${at}: ${value}\r\n`).join('')
        const path = /^GET (\S+)/.exec(request)?.[1]
        socket.end(
          `HTTP/1.1 ${status} ${TOKEN}\r\nServer: nginx/${HEADER}\r\nLocation: ${path}#${COOKIE}\r\n${head}\r\n${echo}`,
        )
      })
      expect(leaks(await printed(server.url)), String(status)).to.deep.equal([])
      await server.close()
    }
  })

  it('never reach the output as Location, subprotocol, extension or close reason', async () => {
    const answers: ((request: string) => string | Buffer)[] = [
      () => `HTTP/1.1 302 Found\r\nLocation: https://${USER}.example/${PASSWORD}\r\n\r\n`,
      (request) => switching(request, `Sec-WebSocket-Protocol: koaws.bearer.${TOKEN}\r\n`),
      (request) => switching(request, `Sec-WebSocket-Protocol: ${TOKEN}\r\n`),
      (request) => switching(request, `Sec-WebSocket-Extensions: ${TYPED}\r\n`),
      (request) => {
        const reason = Buffer.from(`bad ${TOKEN} of ${USER}`)
        const frame = Buffer.from([0x88, 2 + reason.length, 0x11, 0x31]) // 4401
        return Buffer.concat([Buffer.from(switching(request)), frame, reason])
      },
      (request) => {
        const reason = Buffer.from(`bad ${COOKIE}`)
        const frame = Buffer.from([0x88, 2 + reason.length, 0x03, 0xf0]) // 1008
        return Buffer.concat([Buffer.from(switching(request)), frame, reason])
      },
      () => `${HEADER} ${QUERY}\r\n\r\n`,
    ]
    for (const [at, answer] of answers.entries()) {
      server = await rawServer((socket, request) => {
        socket.write(answer(request))
        setTimeout(() => socket.end(), 50)
      })
      const text = await printed(server.url, '--size=0', '--timeout=1')
      expect(leaks(text), String(at)).to.deep.equal([])
      await server.close()
    }
  })

  it('never reach the output of a WebSocket that opens, or of a host that is down', async () => {
    const http = createServer()
    const sockets = new WebSocketServer({ server: http, handleProtocols: () => 'chat' })
    sockets.on('connection', (socket) => socket.on('message', (data) => socket.send(String(data))))
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
    const address = http.address()
    const url = `ws://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}/`
    const open = await printed(url)
    expect(open).to.include('chat')
    expect(leaks(open)).to.deep.equal([])
    sockets.close()
    http.closeAllConnections()
    await new Promise((resolve) => http.close(resolve))
    expect(leaks(await printed(url))).to.deep.equal([])
    expect(leaks(await printed(url.replace('ws:', 'wss:')))).to.deep.equal([])
    expect(leaks(await printed('ws://no-such-name.invalid/'))).to.deep.equal([])
  })

  it('never reach the output of wrong usage', async () => {
    const wrong = [
      ['--clients', HEADER],
      ['--header', COOKIE],
      [`--tokn=${TOKEN}`],
      ['--token', TOKEN],
      ['--protocol', `koaws.bearer.${TYPED}`],
      [`ws://${USER}:${PASSWORD}@b/?${QUERY}`],
      ['--json', `--json=${TOKEN}`],
      ['--origin', `https://a/${QUERY}`],
    ]
    for (const more of wrong) {
      for (const name of ['doctor', 'bench']) {
        const { code, out, err } = await run([name, ...wordsFor('ws://127.0.0.1:1/'), ...more])
        expect(code, more.join(' ')).to.equal(2)
        expect(leaks(out + err), more.join(' ')).to.deep.equal([])
      }
    }
  })
})

import type { Socket } from 'node:net'
import { expect } from 'chai'
import { type RawServer, rawServer, switching } from '../support/hostile.ts'
import { diagnose } from '../support/run.ts'

describe('koaws doctor against a server that misbehaves', () => {
  let server: RawServer | null = null

  afterEach(async () => {
    await server?.close()
    server = null
  })

  /** Returns the findings about a server. */
  async function idsOf(
    answer: (socket: Socket, request: string) => void,
    ...options: string[]
  ): Promise<string[]> {
    server = await rawServer(answer)
    const { ids } = await diagnose(server.url, ...options)
    return ids
  }

  /** Writes again and again, as fast as the client reads, until the socket is gone. */
  function flood(socket: Socket, bytes: Buffer | string): void {
    const write = (): void => {
      while (!socket.destroyed && socket.write(bytes));
    }
    socket.on('drain', write)
    write()
  }

  it('ends after its patience when the answer never comes', async () => {
    expect(await idsOf(() => {}, '--timeout=1.5')).to.deep.equal(['no-answer'])
    await server?.close()
    expect(
      await idsOf((socket) => socket.write('HTTP/1.1 101 Swit'), '--timeout=1.5'),
    ).to.deep.equal(['no-answer'])
  })

  it('stops reading headers that have no end', async () => {
    expect(
      await idsOf((socket) => {
        socket.write('HTTP/1.1 101 Switching Protocols\r\n')
        flood(socket, `X-More: ${'x'.repeat(1_000)}\r\n`)
      }),
    ).to.deep.equal(['not-http'])
  })

  it('stops at headers that trickle', async () => {
    expect(
      await idsOf((socket) => {
        socket.write('HTTP/1.1 200 OK\r\n')
        const timer = setInterval(() => socket.write('A: b\r\n'), 20)
        socket.on('close', () => clearInterval(timer))
      }, '--timeout=1.5'),
    ).to.deep.equal(['no-answer'])
  })

  it('stops at interim answers without an end', async () => {
    expect(
      await idsOf((socket) => flood(socket, 'HTTP/1.1 103 Early Hints\r\n\r\n')),
    ).to.deep.equal(['not-http'])
  })

  it('reads the start of a body without an end', async () => {
    const ids = await idsOf((socket) => {
      socket.write('HTTP/1.1 500 Oops\r\n\r\n<h1>Broken</h1>')
      flood(socket, 'x'.repeat(60_000))
    })
    expect(ids).to.deep.equal(['server-error'])
  })

  it('names bytes that are not HTTP, and a connection that is cut', async () => {
    expect(await idsOf((socket) => socket.write('\x15\x03\x01\x00\x02\x02\x50'))).to.deep.equal([
      'not-http',
    ])
    await server?.close()
    expect(await idsOf((socket) => socket.write('SSH-2.0-OpenSSH_9.2\r\n'))).to.deep.equal([
      'not-http',
    ])
    await server?.close()
    expect(await idsOf((socket) => socket.end())).to.deep.equal(['cut-before-answer'])
    await server?.close()
    expect(await idsOf((socket) => socket.resetAndDestroy())).to.deep.equal(['cut-before-answer'])
    await server?.close()
    expect(await idsOf((socket) => socket.end('HTTP/1.1\r\n\r\n'))).to.deep.equal(['not-http'])
  })

  it('names a 101 with wrong headers', async () => {
    const heads: [string, (request: string) => string][] = [
      ['has no header Upgrade', (request) => switching(request).replace(/^Upgrade:.*\r\n/m, '')],
      ['Upgrade of the 101', (request) => switching(request).replace('websocket', 'h2c')],
      [
        'has no header Connection',
        (request) => switching(request).replace(/^Connection.*\r\n/m, ''),
      ],
      ['Connection of the 101', (request) => switching(request).replace(': Upgrade', ': close')],
      [
        'has no header Sec-WebSocket-Accept',
        (request) => switching(request).replace(/^Sec.*\r\n/m, ''),
      ],
      [
        'does not belong to the key',
        (request) => switching(request).replace(/(Accept: )..../, '$1AAAA'),
      ],
      ['HTTP/1.0', (request) => switching(request).replace('HTTP/1.1', 'HTTP/1.0')],
    ]
    for (const [text, head] of heads) {
      server = await rawServer((socket, request) => socket.write(head(request)))
      const { ids, findings } = await diagnose(server.url)
      expect(ids, text).to.deep.equal(['handshake-invalid'])
      expect(findings[0]?.text).to.include(text)
      await server.close()
    }
  })

  it('names an extension and a subprotocol that were not offered', async () => {
    const ids = await idsOf(
      (socket, request) =>
        socket.write(
          switching(
            request,
            'Sec-WebSocket-Extensions: x-other\r\nSec-WebSocket-Protocol: other\r\n',
          ),
        ),
      '--size=0',
      '--timeout=2',
    )
    expect(ids).to.include.members(['extension-invalid', 'subprotocol-missing', 'ping-lost'])
  })

  it('names frames that are wrong, and a connection that ends at once', async () => {
    expect(
      await idsOf((socket, request) => socket.write(`${switching(request)}HTTP/1.1 200 OK`)),
    ).to.deep.equal(['frames-invalid'])
    await server?.close()
    expect(await idsOf((socket, request) => socket.end(switching(request)))).to.deep.equal([
      'closed-at-once',
    ])
    await server?.close()
    const ids = await idsOf((socket, request) => {
      socket.write(switching(request))
      socket.end(Buffer.from([0x88, 2, 3, 0xf3]))
    })
    expect(ids).to.deep.equal(['closed-at-once'])
  })

  it('names a server that never answers pings and closes', async () => {
    const ids = await idsOf((socket, request) => {
      socket.write(switching(request, 'Sec-WebSocket-Protocol: koaws.v1\r\n'))
      socket.resume()
    }, '--timeout=2')
    expect(ids).to.have.members(['ping-lost', 'close-unanswered', 'message-cut', 'origin-any'])
  })

  it('ends at its deadline under a flood of frames and pings', async () => {
    server = await rawServer((socket, request) => {
      socket.write(switching(request, 'Sec-WebSocket-Protocol: koaws.v1\r\n'))
      // An exabyte of data, and pings that come with it never get a pong.
      socket.write(Buffer.from([0x89, 1, 65, 0x82, 127, 0, 1, 0, 0, 0, 0, 0, 0]))
      flood(socket, Buffer.alloc(65_536))
    })
    const { ids } = await diagnose(server.url, '--deadline', '5')
    expect(ids).to.include('out-of-time')
  })

  it('ends at its deadline when nothing answers', async () => {
    server = await rawServer(() => {})
    const { ids } = await diagnose(server.url, '--deadline', '0.3', '--timeout', '60')
    expect(ids).to.deep.equal(['out-of-time'])
  })

  it('prints no control character of a server', async () => {
    server = await rawServer((socket) =>
      socket.end(
        'HTTP/1.1 418 \x1b[2J\r\nServer: nginx/\x1b]0;x\x07\r\n\r\n\x1b[31m\x9b31mred\u0007',
      ),
    )
    const { checks, findings, ids } = await diagnose(server.url)
    expect(ids).to.deep.equal(['rejected'])
    const all = [...checks, ...findings].map(({ text }) => text).join('')
    expect(all).to.include('red')
    expect(all).to.not.match(/\p{Cc}/u)
  })
})

import { once } from 'node:events'
import { expect } from 'chai'
import { WebSocketServer } from 'ws'
import { FrameReader, maskedFrame, Opcode } from '../../../lib/cli/doctor/frames.ts'
import { closeFrame, frame, rawClient } from '../../support/raw.ts'

/** Reads chunks; returns the events and the problem. */
function read(chunks: readonly Buffer[]): { events: unknown[]; problem: string | null } {
  const events: unknown[] = []
  const reader = new FrameReader({
    control: (opcode, payload) => events.push([opcode, payload.toString()]),
    data: (opcode, length) => events.push([opcode, length]),
  })
  for (const chunk of chunks) {
    const problem = reader.push(chunk)
    if (problem !== null) return { events, problem }
  }
  return { events, problem: null }
}

/** Returns an unmasked frame with the given first byte. */
function serverFrame(first: number, payload: Buffer): Buffer {
  const { length } = payload
  const head =
    length < 126
      ? [first, length]
      : length < 65_536
        ? [first, 126, length >> 8, length & 255]
        : [
            first,
            127,
            0,
            0,
            0,
            0,
            length >>> 24,
            (length >> 16) & 255,
            (length >> 8) & 255,
            length & 255,
          ]
  return Buffer.concat([Buffer.from(head), payload])
}

describe('FrameReader', () => {
  const stream = Buffer.concat([
    serverFrame(0x81, Buffer.alloc(5)),
    serverFrame(0x89, Buffer.from('ping')),
    serverFrame(0x02, Buffer.alloc(300)),
    serverFrame(0x8a, Buffer.alloc(125, 'p')),
    serverFrame(0xc0, Buffer.alloc(70_000)),
    serverFrame(0x8a, Buffer.alloc(0)),
    serverFrame(0x82, Buffer.alloc(0)),
    serverFrame(0x88, Buffer.from([3, 232])),
  ])

  it('reads the same from chunks of any size', () => {
    const whole = read([stream])
    expect(whole.problem).to.equal(null)
    expect(whole.events).to.deep.equal([
      [1, 5],
      [9, 'ping'],
      [2, 300],
      [10, 'p'.repeat(125)],
      [0, 70_000],
      [10, ''],
      [2, 0],
      [8, Buffer.from([3, 232]).toString()],
    ])
    for (const size of [1, 2, 3, 7, 139, 140, 65_536]) {
      const chunks: Buffer[] = []
      for (let at = 0; at < stream.length; at += size) chunks.push(stream.subarray(at, at + size))
      expect(read(chunks), `chunks of ${size}`).to.deep.equal(whole)
    }
  })

  it('finds frames that RFC 6455 forbids', () => {
    const wrong: [string, Buffer][] = [
      ['masked', maskedFrame(Opcode.text, Buffer.from('x'))],
      ['reserved bits', Buffer.from([0xa1, 0])],
      ['unknown opcode 3', Buffer.from([0x83, 0])],
      ['unknown opcode 11', Buffer.from([0x8b, 0])],
      ['too long', Buffer.from([0x89, 126, 0, 200])],
      ['fragmented', Buffer.from([0x09, 0])],
      ['compressed', Buffer.from([0xc9, 0])],
      ['8 PiB', Buffer.from([0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255])],
    ]
    for (const [problem, bytes] of wrong) expect(read([bytes]).problem, problem).to.include(problem)
  })

  it('takes a frame that announces an exabyte, and keeps nothing of it', () => {
    const head = Buffer.from([0x82, 127, 0, 1, 0, 0, 0, 0, 0, 0])
    expect(read([head, ...Array.from({ length: 100 }, () => Buffer.alloc(65_536))])).to.deep.equal({
      events: [[2, 2 ** 48]],
      problem: null,
    })
  })
})

describe('maskedFrame', () => {
  it('is understood by ws at each length', async () => {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
    await once(server, 'listening')
    const address = server.address()
    const port = typeof address === 'object' && address ? address.port : 0
    try {
      for (const length of [0, 1, 125, 126, 65_535, 65_536]) {
        const connected = once(server, 'connection')
        const client = await rawClient(port)
        const { handshake } = await import('../../support/raw.ts')
        client.write(handshake('/'))
        const [socket] = await connected
        const received = once(socket, 'message')
        const payload = Buffer.alloc(length, 'a')
        client.socket.write(maskedFrame(Opcode.binary, payload.subarray(0, length >> 1), false))
        client.socket.write(maskedFrame(Opcode.continuation, payload.subarray(length >> 1)))
        expect(Buffer.compare((await received)[0], payload), String(length)).to.equal(0)
        client.write(closeFrame(1000))
      }
      expect(frame(9, Buffer.from('x'))).to.have.lengthOf(maskedFrame(9, Buffer.from('x')).length)
    } finally {
      for (const socket of server.clients) socket.terminate()
      server.close()
    }
  })
})

import { once } from 'node:events'
import { mock } from 'node:test'
import { expect } from 'chai'
import { z } from 'zod'
import { messages, protocol } from '../../lib/index.ts'
import { cleanUp } from '../support/server.ts'
import { ask, hear, serveMessages, talk } from '../support/talk.ts'

const chat = (maxOffences?: number) =>
  messages(protocol({ say: { data: z.string() }, asks: { push: true, reply: z.boolean() } }), {
    maxMessage: 500,
    maxOffences,
  }).on('say', ({ data }) => data)

const OFFENCES: [name: string, counted: string, message: string | Buffer, code: string][] = [
  ['no JSON', 'malformed', '{', 'ERR_KOAWS_MALFORMED'],
  ['an array', 'malformed', '[]', 'ERR_KOAWS_MALFORMED'],
  ['an unknown type', 'unknownType', '{"type":"nope"}', 'ERR_KOAWS_UNKNOWN_TYPE'],
  ['a type that the server sends', 'unknownType', '{"type":"asks"}', 'ERR_KOAWS_UNKNOWN_TYPE'],
  ['an inherited property as type', 'unknownType', '{"type":"toString"}', 'ERR_KOAWS_UNKNOWN_TYPE'],
  [
    'too many levels',
    'tooDeep',
    `{"type":"say","data":${'['.repeat(32)}${']'.repeat(32)}}`,
    'ERR_KOAWS_TOO_DEEP',
  ],
  [
    'a name that reaches a prototype',
    'prototypeKey',
    '{"type":"say","data":{"__proto__":1}}',
    'ERR_KOAWS_PROTOTYPE_KEY',
  ],
  ['a binary message', 'binary', Buffer.from('{"type":"say"}'), 'ERR_KOAWS_BINARY'],
  [
    'too many bytes',
    'tooLarge',
    `{"type":"say","data":"${'x'.repeat(480)}"}`,
    'ERR_KOAWS_TOO_LARGE',
  ],
]

describe('a bad message', () => {
  afterEach(cleanUp)

  for (const [name, counted, message, code] of OFFENCES) {
    it(`(${name}) is answered and counted, and the fifth closes with 4400`, async () => {
      const { port, hub, errors } = await serveMessages(chat())
      const socket = await talk(port)
      for (let i = 1; i <= 5; i++) {
        socket.send(message)
        expect((await hear(socket)).error).to.include({ code, retryable: false })
        if (i === 4) expect((await ask(socket, 'say', 'still here')).data).to.equal('still here')
      }
      expect(await socket.closed).to.deep.equal({ code: 4400, reason: 'too many bad messages' })
      expect(hub.status().drops).to.deep.equal({ [counted]: 5, offender: 1 })
      expect(errors).to.deep.equal([])
    })
  }

  it('counts towards one limit with bad messages of other kinds', async () => {
    const { port, hub } = await serveMessages(chat(3))
    const socket = await talk(port)
    for (const message of ['{', '{"type":"nope"}', '[]', '{']) socket.send(message)
    expect((await socket.closed).code).to.equal(4400)
    expect(hub.status().drops).to.deep.include({ malformed: 2, unknownType: 1 })
  })

  it('is not an offense when only the schema rejects it', async () => {
    const { port, hub } = await serveMessages(chat(1))
    const socket = await talk(port)
    for (const message of ['{"type":"say"}', '{"type":"say","data":1}', '{"type":"say","id":1}']) {
      for (let i = 0; i < 20; i++) {
        socket.send(message)
        expect((await hear(socket)).error).to.include({ code: 'ERR_KOAWS_INVALID' })
      }
    }
    expect((await ask(socket, 'say', 'still here')).data).to.equal('still here')
    expect(hub.status().drops).to.deep.equal({ invalid: 60 })
  })

  it('is not an offense when an asynchronous schema rejects it', async () => {
    const text = z.string().refine(async (value) => value !== '', 'empty')
    const { port, hub } = await serveMessages(
      messages(protocol({ say: { data: text } }), { maxOffences: 1 }).on('say', ({ data }) => data),
    )
    const socket = await talk(port)
    for (let i = 0; i < 3; i++) {
      expect((await ask(socket, 'say', '')).error).to.include({ code: 'ERR_KOAWS_INVALID' })
    }
    expect((await ask(socket, 'say', 'hi')).data).to.equal('hi')
    expect(hub.status().drops).to.deep.equal({ invalid: 3 })
  })

  it('exceeds maxMessage by a byte; a message of exactly maxMessage bytes is valid', async () => {
    const { port } = await serveMessages(chat())
    const socket = await talk(port)
    const frame = (data: string): string => `{"type":"say","id":1,"data":"${data}"}`
    const most = 500 - frame('').length
    socket.send(frame('x'.repeat(most)))
    expect(await hear(socket)).to.have.property('type', 'koaws:reply')
    socket.send(frame('x'.repeat(most + 1)))
    expect((await hear(socket)).error).to.include({ code: 'ERR_KOAWS_TOO_LARGE', status: 413 })
    socket.send(frame('é'.repeat(most / 2 + 1)))
    expect((await hear(socket)).error).to.include({ status: 413 })
  })

  it('is answered with its id when the id is readable', async () => {
    const { port } = await serveMessages(chat(100))
    const socket = await talk(port)
    for (const message of [
      '{"type":"nope","id":7}',
      '{"type":"say","id":7,"data":1}',
      '{"type":7,"id":7}',
      '{"type":"say","id":7,"data":{"__proto__":1}}',
    ]) {
      socket.send(message)
      expect(await hear(socket), message).to.have.property('id', 7)
    }
    socket.send('{"type":"say","id":"7"}')
    expect(await hear(socket))
      .to.include({ about: 'say' })
      .and.not.to.have.property('id')
  })

  it('expires as an offense after a minute', async () => {
    const { port } = await serveMessages(chat(2))
    const socket = await talk(port)
    const clock = mock.method(performance, 'now', () => 1_000_000)
    try {
      socket.send('{')
      await hear(socket)
      clock.mock.mockImplementation(() => 1_060_001)
      socket.send('{')
      await hear(socket)
      expect((await ask(socket, 'say', 'hi')).data).to.equal('hi')
      clock.mock.mockImplementation(() => 1_120_001)
      socket.send('{')
      expect((await hear(socket)).error).to.include({ code: 'ERR_KOAWS_MALFORMED' })
    } finally {
      clock.mock.restore()
    }
    expect((await socket.closed).code).to.equal(4400)
  })

  it('that closes the connection drops the messages after it, and counts them', async () => {
    const { port, hub } = await serveMessages(chat(1))
    const socket = await talk(port)
    const [connection] = [...hub.localConnections.values()]
    socket.send('{')
    socket.json({ type: 'say', id: 1, data: 'late' })
    await once(connection as never, 'close')
    expect((await hear(socket)).error).to.include({ code: 'ERR_KOAWS_MALFORMED' })
    expect((await socket.closed).code).to.equal(4400)
    expect(hub.status().drops).to.deep.equal({ malformed: 1, offender: 1, unheard: 1 })
  })

  it('above maxPayload closes with 1009', async () => {
    const { port } = await serveMessages(chat(), { maxPayload: 1000 })
    const socket = await talk(port)
    socket.send('x'.repeat(1001))
    expect((await socket.closed).code).to.equal(1009)
  })
})

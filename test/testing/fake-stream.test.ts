import { expect } from 'chai'
import { z } from 'zod'
import { connect } from '../../lib/client/index.ts'
import { streams } from '../../lib/client/streams.ts'
import { protocol } from '../../lib/protocol/definition.ts'
import { fakeServer } from '../../lib/testing/index.ts'
import { rejection, settle } from '../client/support/client.ts'
import { assertMatch, filled, Ids } from '../protocol/support/matching.ts'
import { type Json, vectorsFor } from '../protocol/support/vectors.ts'

const chat = protocol({
  spell: { data: z.object({ texts: z.array(z.string()) }), stream: z.string(), reply: z.number() },
  join: { upload: z.string(), reply: z.string() },
  echo: { data: z.any(), reply: z.any() },
})

describe('streams of fakeServer()', () => {
  const ends: (() => void)[] = []
  afterEach(() => {
    for (const end of ends.splice(0)) end()
  })

  /** A server with the types of the vectors. */
  function serve() {
    const server = fakeServer(chat)
    const canceled: string[] = []
    server.on('echo', (data) => data)
    server.on('spell', async function* ({ texts }, { signal }) {
      try {
        for (const text of texts) {
          const error = { code: 'forbidden', status: 403 }
          if (text === 'forbidden') throw Object.assign(new Error('Not in this room'), error)
          if (text === 'wait')
            await new Promise((resolve) => signal.addEventListener('abort', resolve))
          yield text
        }
        return texts.length
      } finally {
        if (signal.aborted) canceled.push(texts.join())
      }
    })
    server.on('join', async (_data, { upload }) => {
      let joined = ''
      for await (const text of upload) {
        if (text === 'stop') break
        joined += text
      }
      return joined
    })
    return { server, canceled }
  }

  function start() {
    const { server, canceled } = serve()
    const client = connect<typeof chat>('ws://test/chat', {
      WebSocket: server.WebSocket,
      minDelay: 1,
      streams,
    })
    ends.push(client.close)
    return { server, client, canceled }
  }

  it('send the items of a generator, and then what it returns', async () => {
    const { server, client } = start()
    const stream = client.stream('spell', { texts: ['Hel', 'lo'] })
    const items: string[] = []
    for await (const item of stream) items.push(item)
    expect(items).to.deep.equal(['Hel', 'lo'])
    expect(await stream.reply).to.equal(2)
    expect(server.received.map(({ type }) => type)).to.deep.equal(['spell'])
  })

  it('wait for the credit of the client', async () => {
    const { server, client } = start()
    let made = 0
    server.on('spell', function* () {
      while (made < 10) {
        made++
        yield 'x'.repeat(1_000)
      }
      return made
    })
    const stream = client.stream('spell', { texts: [] }, { credit: 2_000 })
    await stream.next()
    await settle()
    expect(made).to.equal(3)
    for (let i = 1; i < 10; i++) expect((await stream.next()).done).to.equal(false)
    expect(await stream.reply).to.equal(10)
  })

  it('end when the client cancels, and with the connection', async () => {
    const { server, client, canceled } = start()
    for await (const _ of client.stream('spell', { texts: ['a', 'wait', 'b'] })) break
    await settle()
    expect(canceled).to.deep.equal(['a,wait,b'])
    const stream = client.stream('spell', { texts: ['c', 'wait'] })
    await stream.next()
    server.close(1006)
    expect(await rejection(stream.reply)).to.include({ code: 'ERR_KOAWS_CLOSED' })
    await settle()
    expect(canceled).to.deep.equal(['a,wait,b', 'c,wait'])
  })

  it('are lost when the client resumes them', async () => {
    const { server, client } = start()
    const stream = client.stream('spell', { texts: ['a', 'wait'] }, { resume: true })
    await stream.next()
    server.close(1006)
    const error = await rejection(stream.reply)
    expect(error).to.deep.include({ code: 'ERR_KOAWS_STREAM_LOST', data: { items: 1 } })
  })

  it('answer with the error that a generator throws between items', async () => {
    const { client } = start()
    const stream = client.stream('spell', { texts: ['a', 'forbidden'] })
    expect((await stream.next()).value).to.equal('a')
    expect(await rejection(stream.next())).to.include({ code: 'forbidden', status: 403 })
  })

  it('give a handler the items of an upload', async () => {
    const { client } = start()
    const long = Array.from({ length: 20 }, () => 'x'.repeat(10_000))
    expect(await client.upload('join', undefined, long)).to.equal(long.join(''))
    expect(await client.upload('join', undefined, ['a', 'stop', 'b'])).to.equal('a')
  })

  it('need a client that asks for them', async () => {
    const { client } = start()
    for (const type of ['spell', 'join'] as const) {
      const error = await rejection(client.request(type, { texts: [] } as never))
      expect(error).to.include({ code: 'ERR_KOAWS_STREAM', status: 400 })
    }
  })

  describe('and docs/protocol-vectors.json', () => {
    /** Without what a fake server does not have: resuming, schemas, and checks of the client. */
    const without = /resumed|sent again|does not know|invalid|credit that is none|id that is in use/
    const vectors = vectorsFor('server').filter(
      ({ section, name }) => section === '3.8' && !without.test(name),
    )

    for (const vector of vectors) {
      it(vector.name, async () => {
        const { server } = serve()
        const socket = new server.WebSocket('ws://test/chat', ['koaws.v1'])
        const heard: Json[] = []
        socket.onmessage = ({ data }: { data: unknown }) => heard.push(JSON.parse(String(data)))
        ends.push(() => socket.close())
        await server.connected()
        const ids = new Ids()
        for (const step of vector.steps) {
          await settle()
          if ('client' in step) socket.send(JSON.stringify(filled(step.client, ids)))
          if (!('server' in step)) continue
          const message = heard.shift()
          if ((message as { type?: Json } | undefined)?.type === 'koaws:welcome') continue
          assertMatch(step.server, withoutAbout(message), ids, 'the fake server')
        }
        await settle()
        expect(heard).to.deep.equal([])
      })
    }
  })
})

/** A fake server names the type also in an error with an id. */
function withoutAbout(message: Json | undefined): Json | undefined {
  if (typeof message !== 'object' || message === null || Array.isArray(message)) return message
  const { about: _, ...rest } = message
  return rest
}

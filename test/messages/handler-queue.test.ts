import { expect } from 'chai'
import { z } from 'zod'
import { type Connection, messages, protocol } from '../../lib/index.ts'
import { handshake, rawClient, textFrame } from '../support/raw.ts'
import { cleanUp, deferred, eventually, turn } from '../support/server.ts'
import { ask, hear, serveMessages, talk } from '../support/talk.ts'

describe('handlers of one connection', () => {
  afterEach(cleanUp)

  /** A handler with calls that end when the test says so. */
  function gated() {
    const started: unknown[] = []
    const gates = new Map<unknown, () => void>()
    const handler = async ({ data }: { data: unknown }): Promise<unknown> => {
      started.push(data)
      const { promise, resolve } = deferred()
      gates.set(data, resolve)
      await promise
      return data
    }
    return { started, handler, end: (data: unknown) => gates.get(data)?.() }
  }

  it('run in order, one at a time', async () => {
    const { started, handler, end } = gated()
    const chat = messages()
      .on('slow', handler)
      .on('quick', ({ data }) => {
        started.push(data)
        return data
      })
    const { port } = await serveMessages(chat)
    const socket = await talk(port)
    socket.json({ type: 'slow', id: 1, data: 'a' })
    socket.json({ type: 'quick', id: 2, data: 'b' })
    socket.json({ type: 'slow', id: 3, data: 'c' })
    await ask(socket, 'koaws:ping')
    expect(started).to.deep.equal(['a'])
    end('a')
    expect([(await hear(socket)).id, (await hear(socket)).id]).to.deep.equal([1, 2])
    expect(started).to.deep.equal(['a', 'b', 'c'])
    end('c')
    expect((await hear(socket)).id).to.equal(3)
  })

  it('run concurrently up to "concurrency", and begin in order', async () => {
    const { started, handler, end } = gated()
    const { port } = await serveMessages(messages({ concurrency: 2 }).on('slow', handler))
    const socket = await talk(port)
    for (let i = 1; i <= 4; i++) socket.json({ type: 'slow', id: i, data: i })
    await ask(socket, 'koaws:ping', undefined, 99)
    expect(started).to.deep.equal([1, 2])
    end(2)
    expect((await hear(socket)).id).to.equal(2)
    expect(started).to.deep.equal([1, 2, 3])
    end(1)
    end(3)
    expect([(await hear(socket)).id, (await hear(socket)).id]).to.deep.equal([1, 3])
    end(4)
    expect((await hear(socket)).id).to.equal(4)
  })

  it('do not delay the handlers of other connections', async () => {
    const { handler, end } = gated()
    const { port } = await serveMessages(
      messages()
        .on('slow', handler)
        .on('quick', () => 1),
    )
    const [one, two] = [await talk(port), await talk(port)]
    one.json({ type: 'slow', id: 1, data: 'a' })
    expect((await ask(two, 'quick')).data).to.equal(1)
    end('a')
    await hear(one)
  })

  it('pause reading from a client that sends faster than they work', async () => {
    const { handler, end, started } = gated()
    const { port, hub } = await serveMessages(
      messages()
        .on('slow', handler)
        .on('x', ({ data }) => started.push(data)),
      { flood: false },
    )
    const socket = await talk(port)
    const [connection] = [...hub.localConnections.values()] as [Connection]
    socket.json({ type: 'slow', data: 'a' })
    for (let i = 0; i < 15; i++) socket.json({ type: 'x', data: i })
    await ask(socket, 'koaws:ping')
    expect(connection.isPaused).to.equal(false)
    socket.json({ type: 'x', data: 15 })
    await eventually(() => connection.isPaused, 'a pause')
    // The server does not read these messages yet.
    for (let i = 16; i < 1000; i++) socket.json({ type: 'x', data: i })
    end('a')
    await eventually(() => started.length === 1001, 'the rest')
    expect(started.slice(1)).to.deep.equal(Array.from({ length: 1000 }, (_, i) => i))
    expect(connection.isPaused).to.equal(false)
  })

  it('get the answer to a request, however many messages wait', async () => {
    const definition = protocol({
      confirm: { push: true, reply: z.string() },
      start: {},
      x: {},
    })
    const chat = messages(definition)
      .on('start', async ({ connection }) => {
        await turn()
        await eventually(() => connection.isPaused, 'a pause')
        return connection.request('confirm', undefined)
      })
      .on('x', () => {})
    const { port } = await serveMessages(chat, { flood: false })
    const socket = await talk(port)
    socket.json({ type: 'start', id: 1 })
    for (let i = 0; i < 100; i++) socket.json({ type: 'x' })
    const { id } = await hear(socket)
    socket.json({ type: 'koaws:reply', id, data: 'yes' })
    expect(await hear(socket)).to.include({ id: 1, data: 'yes' })
  })

  it('bound waiting messages, in number and bytes, during a request to the client', async () => {
    const seen: unknown[] = []
    const definition = protocol({
      confirm: { push: true, reply: z.any() },
      start: {},
      x: { data: z.any() },
    })
    const chat = messages(definition)
      .on('start', ({ connection }) => connection.request('confirm', undefined))
      .on('x', () => seen.push(1))
    const { port, hub } = await serveMessages(chat, { flood: false })
    const socket = await talk(port)
    const [connection] = [...hub.localConnections.values()] as [Connection]
    socket.json({ type: 'start', id: 1 })
    const { id } = await hear(socket)
    for (let i = 0; i < 15; i++) socket.json({ type: 'x', data: 'x'.repeat(60_000) })
    await ask(socket, 'koaws:ping')
    expect(connection.isPaused, 'below 1 MiB').to.equal(false)
    for (let i = 0; i < 5; i++) socket.json({ type: 'x', data: 'x'.repeat(60_000) })
    await eventually(() => connection.isPaused, 'a pause')
    expect(id).to.equal(1)
    expect(seen).to.deep.equal([])
  })

  it('run for the messages that a client sent before it left', async () => {
    const { started, handler, end } = gated()
    const { port, hub, errors } = await serveMessages(messages().on('slow', handler))
    const socket = await talk(port)
    for (let i = 1; i <= 4; i++) socket.json({ type: 'slow', id: i, data: i })
    await ask(socket, 'koaws:ping', undefined, 99)
    socket.terminate()
    await eventually(() => hub.status().connections === 0, 'the end')
    for (let i = 1; i <= 4; i++) {
      await eventually(() => started.length === i, `the start of ${i}`)
      end(i)
    }
    await turn()
    expect(started).to.deep.equal([1, 2, 3, 4])
    expect(hub.status().drops).to.deep.equal({})
    expect(errors).to.deep.equal([])
  })

  it('have a signal that aborts when the client leaves', async () => {
    const aborted = deferred<unknown>()
    const chat = messages().on('x', async ({ signal }) => {
      signal.addEventListener('abort', () => aborted.resolve(signal.reason))
      await new Promise(() => {})
    })
    const { port } = await serveMessages(chat)
    const socket = await talk(port)
    socket.json({ type: 'x' })
    await ask(socket, 'koaws:ping')
    socket.terminate()
    expect(await aborted.promise).to.have.property('code', 'ERR_KOAWS_CLOSED')
  })

  it('run for messages in one TCP segment with the handshake', async () => {
    const seen: unknown[] = []
    const { port } = await serveMessages(messages().on('x', ({ data }) => seen.push(data)))
    const client = await rawClient(port)
    const frames = [1, 2, 3].map((n) => textFrame(JSON.stringify({ type: 'x', data: n })))
    const head = handshake('/', { 'Sec-WebSocket-Protocol': 'koaws.v1' })
    client.write(Buffer.concat([Buffer.from(head), ...frames]))
    expect((await client.answer()).status).to.equal(101)
    await eventually(() => seen.length === 3, 'the messages')
    expect(seen).to.deep.equal([1, 2, 3])
  })
})

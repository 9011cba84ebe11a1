import { expect } from 'chai'
import { z } from 'zod'
import {
  accept,
  type Connection,
  type KoaWsError,
  type MessageError,
  messages,
  protocol,
} from '../../lib/index.ts'
import type { TestSocket } from '../../lib/testing/index.ts'
import { cleanUp, openSocket, serve } from '../support/server.ts'
import { ask, hear, serveMessages, talk } from '../support/talk.ts'

const definition = protocol({
  confirm: { push: z.string(), reply: z.boolean() },
  any: { push: true },
  relay: {},
})

/** Opens a connection that messages() serves, with its client. */
async function served(): Promise<{
  connection: Connection
  socket: TestSocket
  hub: Awaited<ReturnType<typeof serveMessages>>['hub']
  errors: Awaited<ReturnType<typeof serveMessages>>['errors']
  port: number
}> {
  const chat = messages(definition).on('relay', ({ connection }) =>
    connection.request('confirm', 'ok?'),
  )
  const { port, hub, errors } = await serveMessages(chat)
  const socket = await talk(port)
  const [connection] = [...hub.localConnections.values()] as [Connection]
  return { connection, socket, hub, errors, port }
}

/** Returns the reason that a promise rejects with. */
async function failure<E = KoaWsError>(promise: Promise<unknown>): Promise<E> {
  try {
    await promise
  } catch (error) {
    return error as E
  }
  throw new Error('it was fulfilled')
}

describe('connection.request()', () => {
  afterEach(cleanUp)

  it('resolves with the answer of the client, in any order', async () => {
    const { connection, socket } = await served()
    const answers = ['a', 'b', 'c'].map((data) => connection.request('confirm', data))
    const asked = [await hear(socket), await hear(socket), await hear(socket)]
    expect(asked.map(({ type, data }) => [type, data])).to.deep.equal([
      ['confirm', 'a'],
      ['confirm', 'b'],
      ['confirm', 'c'],
    ])
    const [a, b, c] = asked.map(({ id }) => id)
    expect(new Set([a, b, c]).size).to.equal(3)
    socket.json({ type: 'koaws:reply', id: c, data: true })
    socket.json({ type: 'koaws:reply', id: a, data: false })
    socket.json({ type: 'koaws:reply', id: a, data: true }) // answered already: ignored
    socket.json({ type: 'koaws:reply', id: b, data: true })
    expect(await Promise.all(answers)).to.deep.equal([false, true, true])
  })

  it('resolves with null for an answer without data', async () => {
    const { connection, socket } = await served()
    const asking = connection.request('any')
    const { id } = await hear(socket)
    socket.json({ type: 'koaws:reply', id })
    expect(await asking).to.equal(null)
  })

  it('rejects with the error of the client', async () => {
    const { connection, socket } = await served()
    const asking = connection.request('any')
    const { id } = await hear(socket)
    const error = { code: 'busy', message: 'Not now', status: 409, retryable: true, data: [1] }
    socket.json({ type: 'koaws:error', id, error })
    const told = await failure<MessageError>(asking)
    expect(told).to.include({ name: 'MessageError', ...error, data: told.data, expose: false })
    expect(told.data).to.deep.equal([1])
  })

  it('rejects with a MessageError for an error of any shape', async () => {
    const { connection, socket } = await served()
    for (const error of [
      undefined,
      null,
      7,
      'x',
      [],
      {},
      { status: 200, code: 7, message: {}, retryable: 'x' },
    ]) {
      const asking = connection.request('any')
      const { id } = await hear(socket)
      socket.json({ type: 'koaws:error', id, error })
      expect(await failure<MessageError>(asking)).to.include({
        status: 500,
        retryable: false,
        code: 'internal_server_error',
      })
    }
  })

  it('rejects with ERR_KOAWS_INVALID for an answer that fails the schema, and tells the client', async () => {
    const { connection, socket, hub } = await served()
    const asking = connection.request('confirm', 'sure?')
    const { id } = await hear(socket)
    socket.json({ type: 'koaws:reply', id, data: 'yes' })
    expect(await failure(asking)).to.include({ code: 'ERR_KOAWS_INVALID' })
    expect(await hear(socket)).to.deep.include({ type: 'koaws:error', about: 'confirm' })
    expect(hub.status().drops).to.deep.equal({ invalid: 1 })
  })

  it('counts no offense for answers that fail the schema', async () => {
    const { connection, socket } = await served()
    for (let i = 0; i < 7; i++) {
      const asking = connection.request('confirm', 'sure?')
      socket.json({ type: 'koaws:reply', id: (await hear(socket)).id, data: 'yes' })
      expect(await failure(asking)).to.include({ code: 'ERR_KOAWS_INVALID' })
      await hear(socket)
    }
    const asking = connection.request('confirm', 'sure?')
    socket.json({ type: 'koaws:reply', id: (await hear(socket)).id, data: true })
    expect(await asking).to.equal(true)
  })

  it('rejects after its timeout, and ignores a later answer', async () => {
    const { connection, socket } = await served()
    const asking = connection.request('any', undefined, { timeout: 100 })
    const { id } = await hear(socket)
    expect(await failure(asking)).to.include({ code: 'ERR_KOAWS_TIMEOUT' })
    socket.json({ type: 'koaws:reply', id, data: 1 })
    expect(await ask(socket, 'koaws:ping')).to.have.property('type', 'koaws:reply')
  })

  it('rejects when its signal aborts, before and after it was sent', async () => {
    const { connection, socket } = await served()
    const reason = new Error('changed my mind')
    expect(
      await failure(connection.request('any', undefined, { signal: AbortSignal.abort(reason) })),
    ).to.equal(reason)
    const controller = new AbortController()
    const asking = connection.request('any', undefined, { signal: controller.signal })
    await hear(socket)
    controller.abort(reason)
    expect(await failure(asking)).to.equal(reason)
  })

  it('rejects when the connection ends or has ended', async () => {
    const { connection, socket } = await served()
    const asking = [1, 2, 3].map(() => connection.request('any'))
    await hear(socket)
    socket.terminate()
    for (const one of asking) expect(await failure(one)).to.include({ code: 'ERR_KOAWS_CLOSED' })
    expect(await failure(connection.request('any'))).to.include({ code: 'ERR_KOAWS_CLOSED' })
  })

  it('rejects for wrong arguments, and sends nothing', async () => {
    const { connection, socket } = await served()
    const wrong: [Promise<unknown>, object][] = [
      [connection.request('confirm', 7), { code: 'ERR_KOAWS_INVALID' }],
      [connection.request('relay'), { name: 'TypeError' }],
      [connection.request('', 1), { name: 'TypeError' }],
      [connection.request('any', undefined, { timeout: 5 }), { code: 'ERR_KOAWS_OPTIONS' }],
      [
        connection.request('any', undefined, { signal: {} } as never),
        { code: 'ERR_KOAWS_OPTIONS' },
      ],
    ]
    for (const [asking, like] of wrong) expect(await failure(asking)).to.include(like)
    expect(await ask(socket, 'koaws:ping')).to.have.property('type', 'koaws:reply')
  })

  it('rejects with 503 above 1,024 open requests', async () => {
    const { connection } = await served()
    for (let i = 0; i < 1024; i++) void connection.request('any')
    expect(await failure<MessageError>(connection.request('any'))).to.include({
      status: 503,
      retryable: true,
    })
  })

  it('rejects on a connection without messages()', async () => {
    const { port, hub } = await serve((app) => {
      app.use(accept(() => {}, { subprotocol: ['koaws.v1', 'x'] }))
    })
    for (const name of ['koaws.v1', 'x']) await openSocket(port, '/', { protocols: [name] })
    for (const connection of hub.localConnections.values())
      expect(await failure(connection.request('any'))).to.include({
        code: 'ERR_KOAWS_NOT_NEGOTIATED',
      })
  })

  it('causes no unhandled rejection without await when the client leaves', async () => {
    const { connection, socket } = await served()
    const unhandled: unknown[] = []
    const listener = (error: unknown): void => void unhandled.push(error)
    process.on('unhandledRejection', listener)
    try {
      void connection.request('any')
      await hear(socket)
      socket.terminate()
      await connection.closed
      await new Promise((resolve) => setImmediate(resolve))
      await new Promise((resolve) => setImmediate(resolve))
      expect(unhandled).to.deep.equal([])
    } finally {
      process.off('unhandledRejection', listener)
    }
  })

  it('in a handler hides the error of the client from the reply, and emits it on the app', async () => {
    const { socket, errors } = await served()
    socket.json({ type: 'relay', id: 1 })
    const { id } = await hear(socket)
    const error = { code: 'x', message: 'secret of a client', status: 400, retryable: false }
    socket.json({ type: 'koaws:error', id, error })
    expect((await hear(socket)).error).to.include({ code: 'internal' })
    expect(errors.map((one) => one.error.message)).to.deep.equal(['secret of a client'])
  })
})

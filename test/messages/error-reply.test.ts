import { expect } from 'chai'
import createError from 'http-errors'
import { type ErrorPlace, MessageError, messages } from '../../lib/index.ts'
import { cleanUp, deferred, type Site } from '../support/server.ts'
import { ask, hear, serveMessages, talk } from '../support/talk.ts'

const INTERNAL = {
  code: 'internal',
  message: 'Internal Server Error',
  status: 500,
  retryable: false,
}

/**
 * Returns the error that a client gets when a handler throws this, and the errors of the
 * application.
 */
async function thrown(what: () => unknown): Promise<{ told: unknown; errors: Site['errors'] }> {
  const chat = messages().on('x', () => {
    throw what()
  })
  const { port, errors } = await serveMessages(chat)
  const socket = await talk(port)
  return { told: (await ask(socket, 'x')).error, errors }
}

describe('an error in a handler', () => {
  afterEach(cleanUp)

  it('from message.throw() reaches the client with all its fields', async () => {
    const chat = messages()
      .on('all', (message) =>
        message.throw(503, 'Busy', { code: 'busy', retryable: false, data: { queue: 7 } }),
      )
      .on('status', (message) => message.throw(404))
      .on('again', (message) => message.throw(429, 'Slow down'))
      .on('odd', (message) => message.throw(499))
    const { port, errors } = await serveMessages(chat)
    const socket = await talk(port)
    expect((await ask(socket, 'all')).error).to.deep.equal({
      code: 'busy',
      message: 'Busy',
      status: 503,
      retryable: false,
      data: { queue: 7 },
    })
    expect((await ask(socket, 'status')).error).to.deep.equal({
      code: 'not_found',
      message: 'Not Found',
      status: 404,
      retryable: false,
    })
    expect((await ask(socket, 'again')).error).to.include({
      code: 'too_many_requests',
      retryable: true,
    })
    expect((await ask(socket, 'odd')).error).to.include({ code: 'status_499', message: '499' })
    expect(errors).to.deep.equal([])
  })

  it('from http-errors reaches the client with its message when expose is true', async () => {
    const exposed = await thrown(() => createError(409, 'Taken', { code: 'taken', data: [1] }))
    expect(exposed.told).to.deep.equal({
      code: 'taken',
      message: 'Taken',
      status: 409,
      retryable: false,
      data: [1],
    })
    expect(exposed.errors).to.deep.equal([])
    const hidden = await thrown(() => createError(503, 'The database at 10.0.0.7 is down'))
    expect(hidden.told).to.deep.equal(INTERNAL)
    expect(hidden.errors[0]?.error.message).to.equal('The database at 10.0.0.7 is down')
  })

  it('of any other kind is hidden from the client, and emitted on the app', async () => {
    const system = Object.assign(new Error('ENOENT: /etc/secret'), { code: 'ENOENT', status: 404 })
    const hostile = new Proxy(new Error('x'), {
      get() {
        throw new Error('a getter')
      },
    })
    for (const what of [new Error('secret'), system, 'a string', null, undefined, hostile, {}]) {
      const { told, errors } = await thrown(() => what)
      expect(told).to.deep.equal(INTERNAL)
      expect(errors).to.have.lengthOf(1)
      expect(errors[0]?.where).to.include({ messageType: 'x', path: '/' })
      expect((errors[0] as unknown as { where: ErrorPlace }).where.connection.id).to.be.a('string')
    }
  })

  it('is sent for a message without an id, too', async () => {
    const chat = messages()
      .on('no', (message) => message.throw(403, 'No'))
      .on('fail', async () => Promise.reject(new Error('secret')))
    const { port } = await serveMessages(chat)
    const socket = await talk(port)
    socket.json({ type: 'no' })
    expect(await hear(socket)).to.deep.equal({
      type: 'koaws:error',
      about: 'no',
      error: { code: 'forbidden', message: 'No', status: 403, retryable: false },
    })
    socket.json({ type: 'fail' })
    expect(await hear(socket)).to.deep.equal({
      type: 'koaws:error',
      about: 'fail',
      error: INTERNAL,
    })
  })

  it('leaves the connection open and later messages unaffected', async () => {
    const chat = messages().on('x', async ({ data }) => {
      if (data === 'fail') throw new Error('x')
      return data
    })
    const { port, hub } = await serveMessages(chat)
    const socket = await talk(port)
    for (let i = 0; i < 20; i++)
      expect((await ask(socket, 'x', 'fail')).error).to.include({ status: 500 })
    expect((await ask(socket, 'x', 'fine')).data).to.equal('fine')
    expect(hub.status().drops).to.deep.equal({})
  })

  it('is sent without data that have no JSON form', async () => {
    const cycle: { self?: unknown } = {}
    cycle.self = cycle
    for (const data of [cycle, 1n, () => {}]) {
      const { told } = await thrown(() => new MessageError(400, 'Bad', { data }))
      expect(told).to.deep.equal({
        code: 'bad_request',
        message: 'Bad',
        status: 400,
        retryable: false,
      })
    }
  })

  it('is the answer to a reply without a JSON form', async () => {
    const cycle: { self?: unknown } = {}
    cycle.self = cycle
    const values: Record<string, unknown> = {
      cycle,
      bigint: 1n,
      symbol: Symbol('x'),
      toJSON: {
        toJSON() {
          throw new Error('no form')
        },
      },
    }
    const chat = messages().on('x', async ({ data }) => values[data as string])
    const { port, errors } = await serveMessages(chat)
    const socket = await talk(port)
    for (const name of Object.keys(values))
      expect((await ask(socket, 'x', name)).error, name).to.deep.equal(INTERNAL)
    expect(errors).to.have.lengthOf(4)
  })

  it('is the only answer: a later reply() throws', async () => {
    const late: unknown[] = []
    const told = deferred()
    const chat = messages().on('x', (message) => {
      setImmediate(() => {
        try {
          message.reply('late')
        } catch (error) {
          late.push((error as MessageError).code)
        }
        told.resolve()
      })
      throw new MessageError(400, 'no')
    })
    const { port } = await serveMessages(chat)
    const socket = await talk(port)
    expect((await ask(socket, 'x')).error).to.include({ message: 'no' })
    await told.promise
    expect(late).to.deep.equal(['ERR_KOAWS_ALREADY_REPLIED'])
    expect((await ask(socket, 'koaws:ping')).type).to.equal('koaws:reply')
  })

  it('because the client left during connection.request() is not emitted on the app', async () => {
    const asking = deferred()
    const ended = deferred()
    const chat = messages()
      .on('x', ({ connection }) => {
        const answer = connection.request('q')
        answer.catch(() => setImmediate(ended.resolve))
        asking.resolve()
        return answer
      })
      .use((_message, next) => next())
    const { port, errors } = await serveMessages(chat)
    const socket = await talk(port)
    socket.json({ type: 'x', id: 1 })
    await asking.promise
    socket.terminate()
    await ended.promise
    expect(errors).to.deep.equal([])
  })

  it('cannot have a code of koaws, or a status below 400', async () => {
    const chat = messages()
      .on('code', (message) => message.throw(400, 'x', { code: 'ERR_KOAWS_INVALID' }))
      .on('status', (message) => message.throw(200))
    const { port, errors } = await serveMessages(chat)
    const socket = await talk(port)
    expect((await ask(socket, 'code')).error).to.deep.equal(INTERNAL)
    expect((await ask(socket, 'status')).error).to.deep.equal(INTERNAL)
    expect(errors.map(({ error }) => error.name)).to.deep.equal(['TypeError', 'RangeError'])
  })
})

describe('MessageError', () => {
  it('has the given fields, and defaults from its status', () => {
    const error = new MessageError(403, undefined, { cause: 'x' })
    expect(error).to.include({
      name: 'MessageError',
      code: 'forbidden',
      message: 'Forbidden',
      status: 403,
      expose: true,
      retryable: false,
      data: undefined,
      cause: 'x',
    })
    expect(new MessageError(502)).to.include({ retryable: true, code: 'bad_gateway' })
    expect(new MessageError(418, "I'm one").code).to.equal('i_m_a_teapot')
    for (const status of [399, 600, 404.5, Number.NaN, '404'])
      expect(() => new MessageError(status as number)).to.throw(RangeError)
  })
})

import { expect } from 'chai'
import { z } from 'zod'
import {
  accept,
  type Connection,
  type Handler,
  type Message,
  MessageError,
  messages,
  protocol,
} from '../../lib/index.ts'
import type { StandardSchema } from '../../lib/protocol/standard-schema.ts'
import type { TestSocket } from '../../lib/testing/index.ts'
import { attack } from '../long/support/attack.ts'
import { differences } from '../long/support/compare.ts'
import { hostileSite } from '../long/support/hostile-site.ts'
import { watchProcess } from '../long/support/watch.ts'
import { settles, stuff, until } from '../support/limits.ts'
import { handshake, rawClient, textFrame } from '../support/raw.ts'
import { cleanUp, deferred, eventually, type Site, serve, turn } from '../support/server.ts'
import { ask, hear, serveMessages, speak, talk, type Wire } from '../support/talk.ts'

/** A schema that validates with this function. */
const schemaOf = (validate: (value: unknown) => unknown): StandardSchema =>
  ({ '~standard': { version: 1, vendor: 'test', validate } }) as unknown as StandardSchema

/** The server's end of the only connection. */
const onlyConnection = ({ hub }: Site): Connection =>
  [...hub.localConnections.values()][0] as Connection

const internal = (id: number): Wire => ({
  type: 'koaws:error',
  id,
  error: { code: 'internal', message: 'Internal Server Error', status: 500, retryable: false },
})

/** Collects all messages up to the answer with an id. */
async function hearUntil(socket: TestSocket, id: number): Promise<Wire[]> {
  const heard: Wire[] = []
  for (;;) {
    const message = await hear(socket)
    heard.push(message)
    if (message.id === id) return heard
  }
}

function hasJsonForm(value: unknown): boolean {
  try {
    return JSON.stringify(value) !== undefined
  } catch {
    return false
  }
}

describe('hostile messages', () => {
  afterEach(cleanUp)

  describe('a handler', () => {
    const thrower = (): never => {
      throw new Error('hidden')
    }
    const trap = new Proxy({}, { get: thrower, getPrototypeOf: thrower, has: thrower })
    const trapped = new Proxy(new Error('x'), { get: thrower, getPrototypeOf: thrower })
    const getters = Object.defineProperties(new Error('x'), {
      status: { get: thrower },
      expose: { get: thrower },
      message: { get: thrower },
      code: { get: thrower },
    })
    const fickle = (): MessageError => {
      let seen = 0
      const toJSON = (): string => {
        if (seen++ > 0) throw new Error('only once')
        return 'first'
      }
      return new MessageError(418, 'teapot', { data: { toJSON } })
    }
    const things: Record<string, () => unknown> = {
      null: () => null,
      undefined: () => undefined,
      'a Proxy': () => trap,
      'a Proxy of an error': () => trapped,
      'an error with getters that throw': () => getters,
      'a symbol': () => Symbol('x'),
      'a function': () => () => {},
      'an object without a prototype': () => Object.create(null),
    }

    for (const [name, thing] of Object.entries(things)) {
      for (const kind of ['throws', 'rejects with'] as const) {
        it(`that ${kind} ${name} is answered as an internal error, and the connection stays open`, async () => {
          const chat = messages()
            .on('boom', (): unknown => {
              if (kind === 'rejects with') return Promise.reject(thing())
              throw thing()
            })
            .on('echo', (message) => message.data)
          const { port, errors } = await serveMessages(chat)
          const socket = await talk(port)
          expect(await ask(socket, 'boom', null, 1)).to.deep.equal(internal(1))
          expect(errors).to.have.length(1)
          expect(await ask(socket, 'echo', 'still here', 2)).to.deep.include({ data: 'still here' })
        })
      }
    }

    for (const kind of ['throws', 'rejects with'] as const) {
      it(`that ${kind} an error with data that have a JSON form only once leaves the connection open`, async () => {
        const chat = messages()
          .on('boom', (): unknown => {
            if (kind === 'rejects with') return Promise.reject(fickle())
            throw fickle()
          })
          .on('echo', (message) => message.data)
        const { port } = await serveMessages(chat)
        const socket = await talk(port)
        const [first] = await hearUntil(socket, (socket.json({ type: 'boom', id: 1 }), 1))
        expect(first?.type).to.equal('koaws:error')
        expect(await ask(socket, 'echo', 'still here', 2)).to.deep.include({ data: 'still here' })
      })
    }

    it('that throws is answered when an error listener of the app throws as well', async () => {
      const chat = messages().on('boom', () => {
        throw new Error('first')
      })
      const { port, app } = await serveMessages(chat)
      app.on('error', () => {
        throw new Error('second')
      })
      const socket = await talk(port)
      expect(await ask(socket, 'boom', null, 1)).to.deep.equal(internal(1))
      expect(await ask(socket, 'boom', null, 2)).to.deep.equal(internal(2))
    })
  })

  describe('a reply', () => {
    const cycle: Record<string, unknown> = {}
    cycle['self'] = cycle
    const values: Record<string, unknown> = {
      'a BigInt': 1n,
      'a cycle': cycle,
      'a function': () => {},
      'a symbol': Symbol('x'),
      'a toJSON that throws': {
        toJSON() {
          throw new Error('no')
        },
      },
      'a toJSON that returns undefined': { toJSON: () => undefined },
      'a then that throws': Object.defineProperty({}, 'then', {
        get() {
          throw new Error('no')
        },
      }),
    }
    // Newer versions of V8 serialize it without recursion: there it is an ordinary reply.
    const deep = Array.from({ length: 200_000 }).reduce((inner) => [inner], null)
    if (!hasJsonForm(deep)) values['an array nested too deep'] = deep
    for (const [name, value] of Object.entries(values)) {
      for (const how of ['returned', 'resolved', 'given to reply()'] as const) {
        if (name === 'a then that throws' && how === 'given to reply()') continue // an ordinary reply
        it(`without a JSON form is answered as an internal error: ${name}, ${how}`, async () => {
          const chat = messages()
            .on('bad', async (message) => {
              if (how === 'given to reply()') message.reply(value)
            })
            .on('worse', () => (how === 'returned' ? value : Promise.resolve(value)))
            .on('echo', (message) => message.data)
          const { port, errors } = await serveMessages(chat)
          const socket = await talk(port)
          const type = how === 'given to reply()' ? 'bad' : 'worse'
          expect(await ask(socket, type, null, 1)).to.deep.equal(internal(1))
          expect(errors).to.have.length(1)
          expect(await ask(socket, 'echo', 7, 2)).to.deep.include({ data: 7 })
        })
      }
    }

    it('is null when the handler returns undefined', async () => {
      const { port } = await serveMessages(messages().on('none', () => undefined))
      expect(await ask(await talk(port), 'none', 1, 5)).to.deep.equal({
        type: 'koaws:reply',
        id: 5,
        data: null,
      })
    })

    it('after the connection has ended does nothing', async () => {
      const went = deferred()
      const replied = deferred<unknown>()
      const chat = messages().on('later', async (message) => {
        await went.promise
        try {
          message.reply('too late')
          replied.resolve('no error')
        } catch (error) {
          replied.resolve(error)
        }
      })
      const site = await serveMessages(chat)
      const socket = await talk(site.port)
      socket.json({ type: 'later', id: 1 })
      await turn()
      socket.terminate()
      await eventually(() => site.hub.status().connections === 0)
      went.resolve()
      expect(await replied.promise).to.equal('no error')
      expect(site.errors).to.deep.equal([])
    })
  })

  describe('middleware', () => {
    it('that calls next() twice fails only that message', async () => {
      let handled = 0
      const chat = messages()
        .use(async (message, next) => {
          await next()
          if (message.type === 'twice') await next()
        })
        .on('twice', () => ++handled)
        .on('once', () => ++handled)
      const { port, errors } = await serveMessages(chat)
      const socket = await talk(port)
      expect(await ask(socket, 'twice', null, 1)).to.deep.equal(internal(1))
      expect(errors.map(({ error }) => error.message)).to.deep.equal([
        'next() called multiple times',
      ])
      expect(await ask(socket, 'once', null, 2)).to.deep.include({ id: 2, data: 2 })
    })

    it('that does not await next() causes no unhandled rejection when the handler fails', async () => {
      const chat = messages()
        .use((_message, next) => void next())
        .on('boom', async () => {
          await turn()
          throw new Error('nobody waits for me')
        })
      const { port, errors } = await serveMessages(chat)
      const unhandled: unknown[] = []
      const others = process.listeners('unhandledRejection')
      process.removeAllListeners('unhandledRejection')
      const keep = (reason: unknown): void => void unhandled.push(reason)
      process.on('unhandledRejection', keep)
      try {
        const socket = await talk(port)
        await ask(socket, 'boom', null, 1)
        await until(() => errors.length + unhandled.length > 0, 'the error')
      } finally {
        process.off('unhandledRejection', keep)
        for (const other of others) process.on('unhandledRejection', other)
      }
      expect(unhandled).to.deep.equal([])
      expect(errors.map(({ error }) => error.message)).to.deep.equal(['nobody waits for me'])
    })
  })

  describe('a schema', () => {
    it('that throws is an error of the application', async () => {
      const things: unknown[] = [new Error('x'), null, undefined, 'text', Object.create(null)]
      const chat = messages()
      for (const [i, thing] of things.entries()) {
        chat.on(
          `sync ${i}`,
          schemaOf(() => {
            throw thing
          }),
          () => 'handled',
        )
        chat.on(
          `async ${i}`,
          schemaOf(() => Promise.reject(thing)),
          () => 'handled',
        )
      }
      const { port, errors } = await serveMessages(chat)
      const socket = await talk(port)
      let id = 0
      for (const i of things.keys()) {
        for (const type of [`sync ${i}`, `async ${i}`]) {
          expect(await ask(socket, type, null, ++id), type).to.deep.equal(internal(id))
        }
      }
      expect(errors).to.have.length(id)
    })

    it('that returns no result is an error of the application', async () => {
      const chat = messages()
        .on(
          'sync',
          schemaOf(() => undefined),
          () => 'handled',
        )
        .on(
          'async',
          schemaOf(async () => null),
          () => 'handled',
        )
      const { port, errors } = await serveMessages(chat)
      const socket = await talk(port)
      expect(await ask(socket, 'sync', null, 1)).to.deep.equal(internal(1))
      expect(await ask(socket, 'async', null, 2)).to.deep.equal(internal(2))
      expect(errors).to.have.length(2)
    })

    it('that never resolves holds up only its connection, and no shutdown', async () => {
      const chat = messages()
        .on(
          'never',
          schemaOf(() => new Promise(() => {})),
          () => 'handled',
        )
        .on('echo', (message) => message.data)
      const site = await serveMessages(chat)
      const stuck = await talk(site.port)
      stuck.json({ type: 'never', id: 1 })
      for (let id = 2; id < 60; id++) stuck.json({ type: 'echo', id })
      const other = await talk(site.port)
      expect(await ask(other, 'echo', 'fine', 1)).to.deep.include({ data: 'fine' })
      await settles(site.hub.close({ timeout: 100 }), 'the shutdown')
      expect(site.hub.status().connections).to.equal(0)
    })

    it('that resolves after the close does not run the handler', async () => {
      const checked = deferred()
      let handled = 0
      const chat = messages().on(
        'slow',
        schemaOf(async (value) => {
          await checked.promise
          return { value }
        }),
        () => ++handled,
      )
      const site = await serveMessages(chat)
      const socket = await talk(site.port)
      socket.json({ type: 'slow', id: 1 })
      await eventually(() => socket.bufferedAmount === 0)
      await until(() => site.hub.status().connections === 1)
      await turn()
      onlyConnection(site).close(4403, 'banned')
      await socket.closed
      await eventually(() => site.hub.status().connections === 0)
      checked.resolve()
      await turn()
      expect(handled).to.equal(0)
    })

    it('of a reply that throws null rejects the request', async () => {
      const ofReply = schemaOf(() => {
        throw null
      })
      const chat = messages(protocol({ confirm: { push: true, reply: ofReply } }))
      const site = await serveMessages(chat)
      const socket = await talk(site.port)
      const asking = onlyConnection(site).request('confirm', undefined as never)
      const { id } = await hear(socket)
      socket.json({ type: 'koaws:reply', id, data: 'evil' })
      const outcome = await asking.then(
        (value) => ({ value }),
        (error) => ({ error }),
      )
      expect(outcome).to.have.property('error')
    })
  })

  describe('waiting messages', () => {
    /** Opens a connection with its first message in a handler, and three that wait. */
    async function busy(options: Parameters<typeof serveMessages>[1] = {}): Promise<{
      site: Site
      handled: unknown[]
      goOn: () => void
    }> {
      const { promise, resolve } = deferred()
      const handled: unknown[] = []
      const chat = messages({ maxOffences: 2 }).on('work', async ({ data }) => {
        handled.push(data)
        await promise
      })
      const site = await serveMessages(chat, options)
      // A client that does not answer a close frame, so the closing handshake takes long.
      const client = await rawClient(site.port)
      client.write(handshake('/', { 'Sec-WebSocket-Protocol': 'koaws.v1' }))
      await client.answer()
      for (let i = 0; i < 4; i++) client.write(textFrame(`{"type":"work","data":${i}}`))
      await eventually(() => handled.length === 1)
      const connection = onlyConnection(site)
      const raw = { client, connection }
      lateClients.set(site, raw)
      return { site, handled, goOn: resolve }
    }
    const lateClients = new WeakMap<
      Site,
      { client: Awaited<ReturnType<typeof rawClient>>; connection: Connection }
    >()

    const closings: Record<string, (connection: Connection, site: Site) => void> = {
      'closed by the application': (connection) => connection.close(4403, 'banned'),
      'closed for another user': (connection) => connection.refresh({ userId: 'somebody else' }),
      'closed for bad messages': (_connection, site) => {
        const { client } = lateClients.get(site) as { client: { write(data: Buffer): void } }
        for (let i = 0; i < 2; i++) client.write(textFrame('no JSON'))
      },
      expired: (connection) => connection.refresh({ expiresAt: Date.now() - 1 }),
    }
    for (const [name, close] of Object.entries(closings)) {
      it(`are not handled on a connection that is ${name}`, async () => {
        const { site, handled, goOn } = await busy()
        const { connection } = lateClients.get(site) as { connection: Connection }
        close(connection, site)
        await until(() => connection.readyState !== connection.OPEN, 'the close')
        goOn()
        for (let i = 0; i < 5; i++) await turn()
        expect(handled).to.deep.equal([0])
      })
    }
  })

  describe('requests of the server', () => {
    it('are limited to 1,024 outstanding', async () => {
      const site = await serveMessages(messages())
      const socket = await talk(site.port)
      const connection = onlyConnection(site)
      const outcomes = Array.from({ length: 3_000 }, (_, i) =>
        connection.request('confirm', i).then(
          (value) => ({ value }),
          (error: Error) => ({ error: error.message }),
        ),
      )
      const refused = await Promise.all(outcomes.slice(1024))
      expect(new Set(refused.map((one) => JSON.stringify(one))).size).to.equal(1)
      expect(refused[0]).to.deep.equal({
        error: 'The client has 1024 unanswered requests. Wait for answers before you send more.',
      })
      for (let i = 0; i < 1024; i++) {
        const { id, data } = await hear(socket)
        socket.json({ type: 'koaws:reply', id, data })
      }
      const answered = await Promise.all(outcomes.slice(0, 1024))
      expect(answered).to.deep.equal(Array.from({ length: 1024 }, (_, value) => ({ value })))
    })

    it('reject when the connection ends', async () => {
      const site = await serveMessages(messages())
      const socket = await talk(site.port)
      const connection = onlyConnection(site)
      const asked = Array.from({ length: 500 }, () => connection.request('confirm'))
      socket.terminate()
      const ends = await settles(Promise.allSettled(asked), 'the rejections')
      for (const end of ends) {
        expect(end.status === 'rejected' && end.reason.code).to.equal('ERR_KOAWS_CLOSED')
      }
    })

    it('reject for an abort without a reason', async () => {
      const site = await serveMessages(messages())
      await talk(site.port)
      const controller = new AbortController()
      const asking = onlyConnection(site).request('confirm', 1, { signal: controller.signal })
      controller.abort(null)
      const [outcome] = await Promise.allSettled([asking])
      expect(outcome?.status).to.equal('rejected')
    })

    it('of a handler with a full queue cause no deadlock', async () => {
      const chat = messages()
        .on('work', (message) => message.connection.request('confirm', message.data))
        .on('echo', (message) => message.data)
      const site = await serveMessages(chat)
      const socket = await talk(site.port)
      socket.json({ type: 'work', id: 1, data: 'sure?' })
      for (let id = 2; id <= 500; id++) socket.json({ type: 'echo', id, data: id })
      const question = await hear(socket)
      expect(question).to.include({ type: 'confirm', data: 'sure?' })
      socket.json({ type: 'koaws:reply', id: question.id, data: 'yes' })
      const heard = await settles(hearUntil(socket, 500), 'the answers')
      expect(heard.map(({ id }) => id)).to.deep.equal(Array.from({ length: 500 }, (_, i) => i + 1))
      expect(heard[0]).to.deep.include({ data: 'yes' })
    })

    it('of 400 handlers in a row are answered behind a full queue', async () => {
      const chat = messages().on('work', (message) =>
        message.connection.request('confirm', message.data, { timeout: 5_000 }),
      )
      const site = await serveMessages(chat, {}, { flood: false })
      const socket = await talk(site.port)
      for (let id = 1; id <= 400; id++) socket.json({ type: 'work', id, data: id })
      for (let id = 1; id <= 400; id++) {
        const question = await settles(hear(socket), `question ${id}`)
        expect(question).to.include({ type: 'confirm', data: id })
        socket.json({ type: 'koaws:reply', id: question.id, data: -id })
        expect(await hear(socket)).to.deep.equal({ type: 'koaws:reply', id, data: -id })
      }
    })

    it('can be answered by a client that floods and is held back', async () => {
      const chat = messages()
        .on('work', (message) => message.connection.request('confirm', 1, { timeout: 500 }))
        .on('echo', (message) => message.data)
      const site = await serveMessages(chat, {}, { flood: false })
      const socket = await talk(site.port)
      socket.json({ type: 'work', id: 1 })
      for (let id = 2; id <= 5_000; id++) socket.json({ type: 'echo', id, data: id })
      const question = await hear(socket)
      socket.json({ type: 'koaws:reply', id: question.id, data: 'behind it all' })
      const heard = await settles(hearUntil(socket, 5_000), 'the answers')
      expect(heard).to.have.length(5_000)
    })

    it('ignore a second answer, another id and another type', async () => {
      const chat = messages(protocol({ confirm: { push: true, reply: z.boolean() } }))
      const site = await serveMessages(chat)
      const socket = await talk(site.port)
      const asking = onlyConnection(site).request('confirm')
      const { id } = await hear(socket)
      for (const other of [(id as number) + 1, 2 ** 53 - 1]) {
        socket.json({ type: 'koaws:reply', id: other, data: 'x' })
      }
      socket.json({ type: 'koaws:reply', data: true })
      socket.json({ type: 'confirm', id, data: true })
      expect((await hear(socket)).error?.code).to.equal('ERR_KOAWS_UNKNOWN_TYPE')
      socket.json({ type: 'koaws:reply', id, data: true })
      socket.json({ type: 'koaws:reply', id, data: 'again' })
      socket.json({ type: 'koaws:error', id, error: 'again' })
      expect(await asking).to.equal(true)
      socket.json({ type: 'koaws:ping', id: 9 })
      expect(await hear(socket)).to.deep.equal({ type: 'koaws:reply', id: 9, data: null })
    })

    it('hide an invalid answer of one client from other clients', async () => {
      const secret = z.boolean({ error: (issue) => `not a boolean but ${String(issue.input)}` })
      const chat = messages(protocol({ ask: {}, confirm: { push: true, reply: secret } }))
      let other: Connection | undefined
      chat.onOpen((connection) => {
        other ??= connection
      })
      chat.on('ask', () => other?.request('confirm'))
      const { port, errors } = await serveMessages(chat)
      const answering = await talk(port)
      const asking = await talk(port)
      asking.json({ type: 'ask', id: 1 })
      const { id } = await hear(answering)
      answering.json({ type: 'koaws:reply', id, data: 'my secret' })
      expect((await hear(answering)).error?.code).to.equal('ERR_KOAWS_INVALID')
      expect(await hear(asking)).to.deep.equal(internal(1))
      expect(errors).to.have.length(1)
    })

    it('reject with a MessageError for an error of any shape', async () => {
      const site = await serveMessages(messages())
      const socket = await talk(site.port)
      const shapes: unknown[] = [
        undefined,
        null,
        7,
        'text',
        [],
        {},
        { message: { toString: 1, valueOf: 1 }, code: { toString: null }, status: Infinity },
        { status: 200, retryable: 'yes', code: 7, message: 7 },
        { status: 404.5, name: 'x', stack: 'y', cause: 'z' },
        { code: 'ERR_KOAWS_CLOSED', status: 599, message: 'x', retryable: true, expose: true },
      ]
      for (const error of shapes) {
        const asking = onlyConnection(site).request('confirm')
        const { id } = await hear(socket)
        socket.json({ type: 'koaws:error', id, error })
        const outcome = await asking.then(
          () => null,
          (reason: unknown) => reason,
        )
        expect(outcome).to.be.instanceOf(MessageError)
        expect((outcome as MessageError).expose).to.equal(false)
      }
    })
  })

  describe('a client that never reads', () => {
    it('is closed as a slow consumer', async () => {
      const text = 'x'.repeat(30_000)
      const chat = messages().on('echo', () => text)
      const site = await serveMessages(chat, {}, { maxBufferedAmount: 64 * 1024, flood: false })
      const client = await rawClient(site.port)
      client.write(handshake('/', { 'Sec-WebSocket-Protocol': 'koaws.v1' }))
      await client.answer()
      const connection = onlyConnection(site)
      client.socket.pause()
      let most = 0
      let id = 0
      while (connection.readyState === connection.OPEN && id < 20_000) {
        client.write(textFrame(`{"type":"echo","id":${++id}}`))
        if (id % 20 === 0) await turn()
        most = Math.max(most, connection.bufferedAmount)
      }
      await until(() => site.hub.status().connections === 0, 'the end')
      expect(site.hub.status().drops['slowConsumer']).to.equal(1)
      expect(most).to.be.lessThan(64 * 1024 * 16 + 2 ** 20)
    })

    it('makes a request to it reject', async () => {
      const site = await serveMessages(messages(), {}, { maxBufferedAmount: 1024 })
      const client = await rawClient(site.port)
      client.write(handshake('/', { 'Sec-WebSocket-Protocol': 'koaws.v1' }))
      await client.answer()
      const connection = onlyConnection(site)
      client.socket.pause()
      await stuff(connection)
      const outcome = await settles(
        Promise.allSettled([connection.request('confirm', 'x'.repeat(2_000))]),
        'the rejection',
      )
      expect(outcome[0]?.status).to.equal('rejected')
    })
  })

  describe('koaws:auth', () => {
    /** A route that verifies each token until the test settles it. */
    async function gate(options: Parameters<typeof accept>[1] & { hub?: never } = {}): Promise<{
      site: Site
      asked: { token: string; settle: () => void }[]
      opened: () => number
    }> {
      const asked: { token: string; settle: () => void }[] = []
      let opened = 0
      const chat = messages()
        .onOpen(() => void opened++)
        .on('echo', (message) => message.data)
      const site = await serveMessages(chat, {
        user: (ctx) => (ctx.state as { user?: string }).user,
        authenticate: async (ctx, next) => {
          const { promise, resolve } = deferred()
          const token = String(ctx.get('authorization')).slice('Bearer '.length)
          asked.push({ token, settle: resolve })
          await promise
          if (token.startsWith('bad')) ctx.throw(401, 'bad token')
          ctx.state['user'] = token
          await next()
        },
        ...options,
      })
      return { site, asked, opened: () => opened }
    }
    const auth = (id: number, token: unknown): string =>
      JSON.stringify({ type: 'koaws:auth', id, data: { token } })

    it('is verified once when sent four times, and each is answered', async () => {
      const { site, asked, opened } = await gate()
      const socket = await speak(site.port)
      expect((await hear(socket)).type).to.equal('koaws:authenticate')
      for (let id = 1; id <= 4; id++) socket.send(auth(id, `token${id}`))
      for (let id = 2; id <= 4; id++) {
        expect(await hear(socket))
          .to.deep.include({ id })
          .and.nested.include({
            'error.code': 'ERR_KOAWS_BUSY',
          })
      }
      expect(asked.map(({ token }) => token)).to.deep.equal(['token1'])
      asked[0]?.settle()
      expect(await hear(socket)).to.deep.include({ type: 'koaws:reply', id: 1 })
      expect(await hear(socket)).to.deep.include({ type: 'koaws:welcome' })
      expect(opened()).to.equal(1)
    })

    it('that is verified after the deadline closes with 4408, and onOpen never runs', async () => {
      const { site, asked, opened } = await gate({ authenticateTimeout: 100 })
      const socket = await speak(site.port)
      await hear(socket)
      socket.send(auth(1, 'late'))
      await eventually(() => asked.length === 1)
      expect(await socket.closed).to.include({ code: 4408 })
      asked[0]?.settle()
      await turn()
      expect(opened()).to.equal(0)
      expect(site.errors).to.deep.equal([])
      expect(site.hub.user('late').send('anybody?').local).to.equal(0)
    })

    for (const how of ['the client leaves', 'the application closes'] as const) {
      it(`of a refresh causes no error when ${how} during verification`, async () => {
        const { site, asked } = await gate()
        const socket = await speak(site.port)
        await hear(socket)
        socket.send(auth(1, 'ann'))
        await eventually(() => asked.length === 1)
        asked[0]?.settle()
        expect((await hear(socket)).type).to.equal('koaws:reply')
        await hear(socket)
        const connection = onlyConnection(site)
        socket.send(auth(2, 'ann'))
        await eventually(() => asked.length === 2)
        if (how === 'the client leaves') socket.terminate()
        else connection.close(1000)
        await eventually(() => site.hub.status().connections === 0)
        asked[1]?.settle()
        await turn()
        expect(site.errors).to.deep.equal([])
      })
    }

    it('without a valid token is answered with an error, and never verified', async () => {
      const { site, asked } = await gate()
      for (const token of ['', 7, null, {}, [], undefined, { toString: 1 }]) {
        const socket = await speak(site.port)
        await hear(socket)
        socket.send(auth(3, token))
        expect(await hear(socket))
          .to.include({ id: 3 })
          .and.nested.include({ 'error.code': 'ERR_KOAWS_MALFORMED' })
        socket.terminate()
      }
      for (const token of ['a b', 'a\r\nx: y', '\u0000', 'ä', '\ud800', '\u007f']) {
        const socket = await speak(site.port)
        await hear(socket)
        socket.send(auth(3, token))
        expect(await hear(socket))
          .to.include({ id: 3 })
          .and.nested.include({ 'error.code': 'ERR_KOAWS_AUTH' })
        expect((await socket.closed).code).to.equal(4400)
      }
      expect(asked).to.deep.equal([])
    })
  })

  describe('messages at the beginning of a connection', () => {
    it('are answered when they arrive in one write with the handshake', async () => {
      const chat = messages().on('echo', (message) => message.data)
      const { port } = await serveMessages(chat, {}, { flood: false })
      const client = await rawClient(port)
      const burst = Array.from({ length: 1_000 }, (_, i) =>
        textFrame(`{"type":"echo","id":${i + 1},"data":${i}}`),
      )
      const head = handshake('/', { 'Sec-WebSocket-Protocol': 'koaws.v1' })
      client.write(Buffer.concat([Buffer.from(head), ...burst]))
      expect((await client.answer()).status).to.equal(101)
      expect(JSON.parse(await client.textFrame()).type).to.equal('koaws:welcome')
      for (let i = 0; i < 1_000; i++) {
        expect(JSON.parse(await client.textFrame())).to.deep.equal({
          type: 'koaws:reply',
          id: i + 1,
          data: i,
        })
      }
    })

    it('wait, in order, while onConnect and onOpen are pending', async () => {
      const connected = deferred()
      const opened = deferred()
      const handled: unknown[] = []
      const chat = messages()
        .onOpen(() => opened.promise)
        .on('note', ({ data }) => void handled.push(data))
      const site = await serveMessages(chat, {}, { onConnect: () => connected.promise })
      const socket = await speak(site.port)
      for (let data = 0; data < 50; data++) socket.json({ type: 'note', data })
      await turn()
      connected.resolve()
      expect((await hear(socket)).type).to.equal('koaws:welcome')
      for (let data = 50; data < 100; data++) socket.json({ type: 'note', data })
      socket.json({ type: 'koaws:ping', id: 1 })
      expect(handled).to.deep.equal([])
      opened.resolve()
      expect((await hear(socket)).type).to.equal('koaws:reply')
      await eventually(() => handled.length === 100)
      expect(handled).to.deep.equal(Array.from({ length: 100 }, (_, i) => i))
    })

    it('leave onClose to run after a pending onOpen when the client leaves', async () => {
      const opened = deferred()
      const order: string[] = []
      const chat = messages()
        .onOpen(async () => {
          await opened.promise
          order.push('opened')
        })
        .onClose(() => void order.push('closed'))
      const site = await serveMessages(chat)
      const socket = await talk(site.port)
      socket.terminate()
      await eventually(() => site.hub.status().connections === 0)
      await turn()
      opened.resolve()
      await eventually(() => order.length === 2)
      expect(order).to.deep.equal(['opened', 'closed'])
    })
  })

  describe('types with the names of inherited properties', () => {
    const names = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'then', 'valueOf']

    it('are unknown unless the protocol has them', async () => {
      const chat = messages(protocol({ say: {}, said: { push: true } }), { maxOffences: 99 })
      const site = await serveMessages(chat.on('say', () => 'said'))
      const socket = await talk(site.port)
      for (const name of names) {
        const { error } = await ask(socket, name)
        expect(error?.code, name).to.equal('ERR_KOAWS_UNKNOWN_TYPE')
        expect(() => onlyConnection(site).push(name as never), name).to.throw(/no push/)
        expect(() => chat.on(name as never, () => {}), name).to.throw(
          /was called after a connection was served/,
        )
      }
    })

    it('are ordinary types when the protocol has them', async () => {
      const text = z.string()
      const entry = { data: text, reply: text }
      const types = Object.fromEntries(names.map((name) => [name, entry] as const))
      const chat = messages(protocol(types), { maxOffences: 99 })
      for (const name of names) {
        chat.on(name, (message: Message) => `${name}: ${String(message.data)}`)
      }
      const { port } = await serveMessages(chat)
      const socket = await talk(port)
      for (const name of names) {
        expect((await ask(socket, name, 'hi')).data).to.equal(`${name}: hi`)
        expect((await ask(socket, name, 7)).error?.code).to.equal('ERR_KOAWS_INVALID')
      }
      expect(Object.getPrototypeOf({})).to.equal(Object.prototype)
    })

    it('work as pushes and requests of the server', async () => {
      const entry = { push: z.number(), reply: z.boolean() }
      const chat = messages(
        protocol(Object.fromEntries(names.map((name) => [name, entry] as const))),
      )
      const site = await serveMessages(chat)
      const socket = await talk(site.port)
      const connection = onlyConnection(site)
      for (const name of names) {
        connection.push(name, 1)
        expect(await hear(socket)).to.deep.equal({ type: name, data: 1 })
        expect(() => connection.push(name, 'x'), name).to.throw()
        const asking = connection.request(name, 2)
        const { id } = await hear(socket)
        socket.json({ type: 'koaws:reply', id, data: true })
        expect(await asking).to.equal(true)
      }
    })
  })

  it('leave another route of the server unaffected', async () => {
    const good = messages().on('echo', (message) => message.data)
    const bad = messages({ maxOffences: 1 }).on('echo', (message) => message.data)
    const site = await serve((app, hub) => {
      app.use(hub.route('/good', accept(good as unknown as Handler)))
      app.use(hub.route('/bad', accept(bad as unknown as Handler)))
    })
    const healthy = await talk(site.port, '/good')
    for (let i = 0; i < 20; i++) {
      const attacker = await talk(site.port, '/bad')
      attacker.send('{')
      expect((await attacker.closed).code).to.equal(4400)
      expect(await ask(healthy, 'echo', i)).to.deep.include({ data: i })
    }
    expect(site.hub.status().drops).to.include({ malformed: 20, offender: 20 })
  })

  it('of every kind, 20,000 in all, leave no error, no connection and correct counts', async function () {
    this.timeout(300_000)
    const watch = watchProcess()
    try {
      const site = await hostileSite()
      const report = await attack({
        port: site.port,
        seed: 20261124,
        messages: 20_000,
        connections: 28,
      })
      await eventually(() => site.hub.status().connections === 0, 'the end of all connections')
      await turn()
      site.end()
      const { rooms, users, pending, drops } = site.hub.status()
      expect(report.violations).to.deep.equal([])
      expect(differences(report, site.drops, drops)).to.deep.equal([])
      expect([rooms, users, pending]).to.deep.equal([0, 0, 0])
      expect(site.count.closed).to.equal(site.count.opened)
      expect(report.sent).to.be.greaterThan(19_000)
      expect(report.answers).to.be.greaterThan(5_000)
      const others = Object.keys(site.failures).filter((one) => !/^(boom|twice): /.test(one))
      expect(others).to.deep.equal([])
    } finally {
      watch.end()
    }
    expect(watch.violations).to.deep.equal([])
  })
})

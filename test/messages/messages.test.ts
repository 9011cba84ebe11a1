import { once } from 'node:events'
import { expect } from 'chai'
import { z } from 'zod'
import {
  accept,
  type Connection,
  type Hub,
  MessageError,
  messages,
  type OpenMessages,
  type ProtocolDefinition,
  protocol,
} from '../../lib/index.ts'
import { cleanUp, deferred, openSocket, rejected, serve, turn } from '../support/server.ts'
import { ask, hear, serveMessages, speak, talk } from '../support/talk.ts'

const text = z.object({ text: z.string().max(20) })
const chatProtocol = protocol({
  say: { data: text, reply: z.object({ ok: z.boolean() }) },
  typing: {},
  said: { push: text },
  tick: { push: true },
})

describe('messages()', () => {
  afterEach(cleanUp)

  describe('the welcome', () => {
    it('has the connection, the user, the limits and the expiry', async () => {
      const chat = messages(chatProtocol, { maxMessage: 1000 })
      const at = Date.now() + 60_000
      const { port, hub } = await serveMessages(chat, { user: 'ann', expiresAt: at })
      const { data } = await hear(await speak(port))
      const [connection] = hub.localConnections.keys()
      expect(data).to.deep.equal({
        version: 1,
        connection,
        user: 'ann',
        heartbeat: 25_000,
        maxMessage: 1000,
        maxDepth: 32,
        expiresAt: at,
        refresh: false,
        retry: 120_000,
      })
    })

    it('has null without a heartbeat, a user and an expiry', async () => {
      const { port } = await serveMessages(messages(), { heartbeat: false })
      expect((await hear(await speak(port))).data).to.include({
        user: null,
        heartbeat: null,
        expiresAt: null,
        maxMessage: 65_536,
      })
    })

    it('goes only to a client that offers koaws.v1; others get 400', async () => {
      const { port, errors } = await serveMessages(messages())
      for (const protocols of [[], ['chat.v1']]) {
        const answer = await rejected(openSocket(port, '/', { protocols }))
        expect([answer.status, answer.body]).to.deep.equal([400, 'This route speaks koaws.v1.'])
      }
      const socket = await openSocket(port, '/', { protocols: ['chat.v1', 'koaws.v1'] })
      expect(socket.protocol).to.equal('koaws.v1')
      expect(errors).to.have.lengthOf(2)
    })
  })

  describe('a reply', () => {
    it('has the return value of the handler, and is sent only for a message with an id', async () => {
      const seen: unknown[] = []
      const chat = messages(chatProtocol)
        .on('say', ({ data, id }) => {
          seen.push([id, data])
          return { ok: true }
        })
        .on('typing', () => 'ignored')
      const { port } = await serveMessages(chat)
      const socket = await talk(port)
      socket.json({ type: 'typing' })
      socket.json({ type: 'say', data: { text: 'no answer' } })
      expect(await ask(socket, 'say', { text: 'hi' }, 7)).to.deep.equal({
        type: 'koaws:reply',
        id: 7,
        data: { ok: true },
      })
      expect(seen).to.deep.equal([
        [undefined, { text: 'no answer' }],
        [7, { text: 'hi' }],
      ])
    })

    it('has null for undefined, and the resolved value of a promise', async () => {
      const chat = messages()
        .on('nothing', () => {})
        .on('later', async () => {
          await turn()
          return [1, { a: null }]
        })
        .on('early', (message) => {
          message.reply('now')
          message.connection.push('after')
        })
      const { port } = await serveMessages(chat)
      const socket = await talk(port)
      expect(await ask(socket, 'nothing')).to.have.property('data', null)
      expect((await ask(socket, 'later')).data).to.deep.equal([1, { a: null }])
      expect((await ask(socket, 'early')).data).to.equal('now')
      expect(await hear(socket)).to.deep.equal({ type: 'after' })
    })

    it('is sent once: a second one throws an error of the application', async () => {
      const codes: unknown[] = []
      const chat = messages()
        .on('twice', (message) => {
          message.reply(1)
          try {
            message.reply(2)
          } catch (error) {
            codes.push((error as MessageError).code)
          }
        })
        .on('both', (message) => {
          message.reply(1)
          return 2
        })
        .on('unasked', (message) => {
          message.reply(1)
          message.reply(2)
        })
      const { port, errors } = await serveMessages(chat)
      const socket = await talk(port)
      expect((await ask(socket, 'twice')).data).to.equal(1)
      expect(codes).to.deep.equal(['ERR_KOAWS_ALREADY_REPLIED'])
      expect((await ask(socket, 'both')).data).to.equal(1)
      expect(errors.map(({ error }) => error['code'])).to.deep.equal(['ERR_KOAWS_ALREADY_REPLIED'])
      socket.json({ type: 'unasked' })
      expect(await hear(socket)).to.have.property('about', 'unasked')
      expect(errors).to.have.lengthOf(2)
    })

    it('shows that the handler gets null for null data, and undefined for absent data', async () => {
      const { port } = await serveMessages(messages().on('is', ({ data }) => String(data)))
      const socket = await talk(port)
      expect((await ask(socket, 'is', null)).data).to.equal('null')
      expect((await ask(socket, 'is', undefined)).data).to.equal('undefined')
    })

    it('to koaws:ping is sent by koaws, also while a handler runs', async () => {
      const { promise, resolve } = deferred()
      const { port } = await serveMessages(messages().on('wait', () => promise))
      const socket = await talk(port)
      socket.json({ type: 'wait', id: 1 })
      expect(await ask(socket, 'koaws:ping', undefined, 2)).to.deep.equal({
        type: 'koaws:reply',
        id: 2,
        data: null,
      })
      resolve()
      expect(await hear(socket)).to.have.property('id', 1)
    })

    it('to an unknown "koaws:" type is an error, sent only for a message with an id', async () => {
      const { port, hub } = await serveMessages(messages())
      const socket = await talk(port)
      for (const type of ['koaws:later', 'koaws:welcome', 'koaws:ping', 'koaws:auth', 'koaws:'])
        socket.json({ type })
      socket.json({ type: 'koaws:reply', data: 1 })
      socket.json({ type: 'koaws:reply', id: 5, data: 1 })
      socket.json({ type: 'koaws:error', id: 5 })
      const answer = await ask(socket, 'koaws:later', {}, 9)
      expect(answer).to.have.property('id', 9)
      expect(answer.error).to.include({ code: 'ERR_KOAWS_UNKNOWN_TYPE', status: 404 })
      expect(hub.status().drops).to.deep.equal({})
    })
  })

  describe('middleware', () => {
    it("runs in Koa's order around the handler, with a state per message", async () => {
      const seen: unknown[] = []
      const chat = messages<{ user: string; step?: number }>()
        .use(async (message, next) => {
          seen.push('a')
          message.state.step = 1
          await next()
          seen.push('a again')
        })
        .use(async (message, next) => {
          seen.push(['b', message.type, message.state.step, message.state.user])
          return next()
        })
        .on('x', (message) => {
          seen.push(['x', message.state.step])
          return 'done'
        })
      const { port, hub } = await serveMessages(chat, {}, {}, (app) => {
        app.use((ctx, next) => {
          ctx.state['user'] = 'ann'
          return next()
        })
      })
      const socket = await talk(port)
      expect((await ask(socket, 'x')).data).to.equal('done')
      expect(seen).to.deep.equal(['a', ['b', 'x', 1, 'ann'], ['x', 1], 'a again'])
      const [connection] = [...hub.localConnections.values()] as [Connection]
      expect(connection.state).to.deep.equal({ user: 'ann' })
    })

    it('can throw before and after the handler', async () => {
      let handled = 0
      const chat = messages()
        .use(async (message, next) => {
          if (message.data === 'before') message.throw(403, 'No')
          await next()
          if (message.data === 'after') message.throw(409)
        })
        .on('x', () => ++handled)
      const { port, errors } = await serveMessages(chat)
      const socket = await talk(port)
      expect((await ask(socket, 'x', 'before')).error).to.include({ status: 403, message: 'No' })
      expect(handled).to.equal(0)
      expect((await ask(socket, 'x', 'after')).error).to.include({ code: 'conflict' })
      expect(handled).to.equal(1)
      expect((await ask(socket, 'x')).data).to.equal(2)
      expect(errors).to.deep.equal([])
    })

    it('can reply itself, and a request without any reply gets ERR_KOAWS_UNHANDLED', async () => {
      const chat = messages()
        .use((message, next) => {
          if (message.data === 'reply') return message.reply('from middleware')
          if (message.data === 'forget') return undefined
          return next()
        })
        .on('x', () => 'from the handler')
      const { port, errors } = await serveMessages(chat)
      const socket = await talk(port)
      expect((await ask(socket, 'x', 'reply')).data).to.equal('from middleware')
      expect((await ask(socket, 'x', 'forget')).error).to.include({ code: 'ERR_KOAWS_UNHANDLED' })
      expect((await ask(socket, 'x')).data).to.equal('from the handler')
      socket.json({ type: 'x', data: 'forget' })
      expect((await ask(socket, 'x')).data).to.equal('from the handler')
      expect(errors).to.deep.equal([])
    })

    it('that fails while its next() runs delays the next message', async () => {
      const seen: unknown[] = []
      const chat = messages()
        .use(async (_message, next) => {
          void next()
          throw new MessageError(400, 'early')
        })
        .on('x', async ({ data }) => {
          seen.push(`begin ${data}`)
          await turn()
          seen.push(`end ${data}`)
        })
      const { port } = await serveMessages(chat)
      const socket = await talk(port)
      socket.json({ type: 'x', id: 1, data: 1 })
      socket.json({ type: 'x', id: 2, data: 2 })
      expect((await hear(socket)).error).to.include({ message: 'early' })
      await hear(socket)
      expect(seen).to.deep.equal(['begin 1', 'end 1', 'begin 2', 'end 2'])
    })

    it('that calls next() twice is an error of the application', async () => {
      const chat = messages()
        .use(async (_message, next) => {
          await next()
          await next()
        })
        .on('x', () => 1)
      const { port, errors } = await serveMessages(chat)
      expect((await ask(await talk(port), 'x')).error).to.include({ code: 'internal' })
      expect(errors[0]?.error.message).to.match(/next\(\) called multiple times/)
    })
  })

  describe('onOpen and onClose', () => {
    it('onOpen functions run after the welcome, in order, before the first message', async () => {
      const seen: unknown[] = []
      const { promise, resolve } = deferred()
      const chat = messages(chatProtocol)
        .onOpen(async (connection, ctx) => {
          connection.join(ctx.params.room)
          connection.push('tick')
          await promise
          seen.push('first')
        })
        .onOpen((connection) => seen.push([...connection.rooms]))
        .on('say', () => {
          seen.push('say')
          return { ok: true }
        })
      const { port } = await serve((app, hub) => {
        app.use(hub.route('/:room', accept(chat)))
      })
      const socket = await speak(port, '/lobby')
      socket.json({ type: 'say', id: 1, data: { text: 'early' } })
      expect((await hear(socket)).type).to.equal('koaws:welcome')
      expect((await hear(socket)).type).to.equal('tick')
      socket.json({ type: 'koaws:ping', id: 2 })
      expect(await hear(socket)).to.have.property('id', 2)
      expect(seen).to.deep.equal([])
      resolve()
      expect(await hear(socket)).to.have.property('id', 1)
      expect(seen).to.deep.equal(['first', ['lobby'], 'say'])
    })

    it('an error in onOpen closes with the status of an http-error, or else with 1011', async () => {
      const chat = messages().onOpen((_connection, ctx) => {
        if (ctx.path === '/full') throw new MessageError(429, 'Too many here')
        return Promise.reject(new Error('secret'))
      })
      const { port, errors } = await serveMessages(chat)
      const full = await talk(port, '/full')
      expect(await full.closed).to.deep.equal({ code: 4429, reason: 'Too many here' })
      const broken = await talk(port, '/broken')
      expect(await broken.closed).to.deep.equal({ code: 1011, reason: 'Internal Server Error' })
      expect(errors.map(({ error }) => error.message)).to.deep.equal(['Too many here', 'secret'])
    })

    it('onClose runs for a connection that was open', async () => {
      const { promise, resolve } = deferred<unknown>()
      let opened = 0
      const chat = messages()
        .onOpen(() => opened++)
        .onClose(() => {
          throw new Error('in onClose')
        })
        .onClose((connection, info) => resolve([connection.userId, info]))
      const { port, errors } = await serveMessages(chat, { user: 'ann' })
      const socket = await talk(port)
      socket.close(1000, 'bye')
      expect(await promise).to.deep.equal(['ann', { code: 1000, reason: 'bye', clean: true }])
      expect(opened).to.equal(1)
      expect(errors.map(({ error }) => error.message)).to.deep.equal(['in onClose'])
      expect(errors[0]?.where).to.have.property('connection')
    })

    it('hub.close() waits for onClose', async () => {
      const done: string[] = []
      const chat = messages().onClose(async () => {
        await turn()
        done.push('closed')
      })
      const { port, hub } = await serveMessages(chat)
      await talk(port)
      await hub.close({ timeout: 2000 })
      expect(done).to.deep.equal(['closed'])
    })
  })

  describe('pushes', () => {
    it('reach rooms and audiences of a hub', async () => {
      const chat = messages(chatProtocol).onOpen((connection) => {
        connection.join('r')
      })
      const { port, hub } = await serveMessages(chat, { user: 'ann' })
      const socket = await talk(port)
      expect(chat.room(hub, 'r', 's').push('said', { text: 'hi' }).local).to.equal(1)
      chat.audience(hub.user('ann')).local().volatile().push('tick')
      expect(await hear(socket)).to.deep.equal({ type: 'said', data: { text: 'hi' } })
      expect(await hear(socket)).to.deep.equal({ type: 'tick' })
      expect(await chat.room(hub, 'r').count()).to.equal(1)
      const members = await chat.room(hub, 'r').except('nobody').exceptUser('bob').members()
      expect(members.map(({ userId }) => userId)).to.deep.equal(['ann'])
      await chat.room(hub, 'r').join('t')
      chat.room(hub, 't').send('raw')
      chat.room(hub, 't').json({ raw: 1 })
      await chat.room(hub, 't').leave('t')
      expect(await socket.next()).to.equal('raw')
      expect(await socket.next()).to.equal('{"raw":1}')
      await chat.room(hub, 'r').close(4000, 'over')
      expect(await socket.closed).to.deep.equal({ code: 4000, reason: 'over' })
    })

    const wrong = (target: { push(type: string, data?: unknown): unknown }): unknown[] =>
      [
        ['said', { text: 7 }],
        ['said', undefined],
        ['tick', 1],
        ['say', { text: 'hi' }],
        ['unknown', 1],
      ].map(([type, data]) => {
        try {
          target.push(type as string, data)
          return 'pushed'
        } catch (error) {
          return (error as MessageError).code ?? (error as Error).name
        }
      })

    it('that do not match the protocol throw, except with validateOut: false', async () => {
      const faults = [
        'ERR_KOAWS_INVALID',
        'ERR_KOAWS_INVALID',
        'TypeError',
        'TypeError',
        'TypeError',
      ]
      for (const validateOut of [true, false]) {
        const chat = messages(chatProtocol, { validateOut })
        const { port, hub } = await serveMessages(chat)
        await talk(port)
        const [connection] = [...hub.localConnections.values()] as [Connection]
        const expected = validateOut ? faults : Array(5).fill('pushed')
        expect(wrong(chat.room(hub, 'r') as never)).to.deep.equal(expected)
        expect(wrong(chat.audience(hub.all()).except('x') as never)).to.deep.equal(expected)
        expect(wrong(connection)).to.deep.equal(expected)
        expect(wrong(connection.to('r'))).to.deep.equal(expected)
      }
    })

    it('are not validated without a protocol', async () => {
      const chat = messages()
      const { port, hub } = await serveMessages(chat)
      const socket = await talk(port)
      chat.audience(hub.all()).push('anything', [1])
      expect(await hear(socket)).to.deep.equal({ type: 'anything', data: [1] })
    })
  })

  describe('a connection', () => {
    it('is served by ctx.ws(chat), and by chat(connection, ctx)', async () => {
      const chat = messages().on('x', () => 1)
      const { port } = await serve((app) => {
        app.use(async (ctx) => {
          if (!ctx.ws) return
          if (ctx.path === '/after') ctx.ws(chat)
          else chat(await ctx.ws({ subprotocol: 'koaws.v1' }), ctx)
        })
      })
      for (const path of ['/after', '/inside'])
        expect((await ask(await talk(port, path), 'x')).data, path).to.equal(1)
    })

    it('with another subprotocol is closed with 1011', async () => {
      const { port, errors } = await serve((app) => {
        app.use(accept((connection, ctx) => messages()(connection, ctx)))
      })
      const socket = await openSocket(port, '/', { protocols: ['chat.v1'] })
      expect((await socket.closed).code).to.equal(1011)
      expect(errors[0]?.error.message).to.match(/speaks "chat.v1"/)
    })
  })

  it('throws for a registration that is late, duplicate or wrong', async () => {
    const chat = messages(chatProtocol).on('say', () => ({ ok: true }))
    const { port } = await serveMessages(chat)
    await ask(await talk(port), 'say', { text: 'hi' })
    const cases: [() => unknown, RegExp][] = [
      [() => chat.on('typing', () => {}), /was called after a connection was served/],
      [() => chat.use(() => {}), /was called after a connection was served/],
      [() => chat.onOpen(() => {}), /was called after a connection was served/],
      [() => chat.onClose(() => {}), /was called after a connection was served/],
      [
        () => messages(chatProtocol).on('nope' as never, () => {}),
        /It has: say, typing, said, tick/,
      ],
      [() => messages(chatProtocol).on('said' as never, () => {}), /the server sends/],
      [() => messages(chatProtocol).on('say', 7 as never), /needs a handler/],
      [
        () =>
          (messages(chatProtocol) as unknown as OpenMessages<ProtocolDefinition>).on(
            'say',
            z.string(),
            () => {},
          ),
        /leave it out/,
      ],
      [
        () =>
          messages()
            .on('x', () => {})
            .on('x', () => {}),
        /has a handler already/,
      ],
      [() => messages().on('koaws:x', () => {}), /begins with "koaws:"/],
      [() => messages().on('x', {} as never, () => {}), /must be a Standard Schema/],
      [() => messages().use(7 as never), /takes middleware/],
      [() => messages().onOpen('x' as never), /takes a function/],
      [() => messages().onClose(undefined as never), /takes a function/],
      [() => messages({ concurency: 2 } as never), /Did you mean "concurrency"/],
      [() => messages(chatProtocol, { maxMessage: 0 }), /whole number above 0/],
      [
        () => accept(chat as never, { subprotocol: 'x' }),
        /the handler already sets the subprotocol/,
      ],
    ]
    for (const [build, message] of cases) expect(build, String(message)).to.throw(message)
  })

  it('drops messages after the close, and counts them', async () => {
    let handled = 0
    const chat = messages()
      .on('close', ({ connection }) => connection.close(1000))
      .on('x', () => ++handled)
    const { port, hub } = await serveMessages(chat)
    const socket = await talk(port)
    const [connection] = [...hub.localConnections.values()] as [Connection]
    socket.json({ type: 'close' })
    for (let i = 0; i < 3; i++) socket.json({ type: 'x', id: i + 1 })
    await once(connection, 'close')
    expect(handled).to.equal(0)
    expect(hub.status().drops).to.deep.equal({ unheard: 3 })
  })

  it('sends the replies of running and waiting handlers before hub.close() closes the connection', async () => {
    const { promise, resolve } = deferred()
    const started = deferred()
    const chat = messages()
      .on('slow', async () => {
        started.resolve()
        await promise
        return 'done'
      })
      .on('next', () => 'also done')
    const { port, hub } = await serveMessages(chat)
    const socket = await talk(port)
    socket.json({ type: 'slow', id: 1 })
    socket.json({ type: 'next', id: 2 })
    await started.promise
    const closing = (hub as Hub).close({ timeout: 5000 })
    await turn()
    resolve()
    expect(await hear(socket)).to.deep.equal({ type: 'koaws:reply', id: 1, data: 'done' })
    expect(await hear(socket)).to.deep.equal({ type: 'koaws:reply', id: 2, data: 'also done' })
    expect(await hear(socket)).to.have.property('type', 'koaws:bye')
    expect((await socket.closed).code).to.equal(1012)
    await closing
  })

  it('answers new messages with ERR_KOAWS_DRAINING while the hub closes', async () => {
    const { promise, resolve } = deferred()
    const started = deferred()
    const chat = messages()
      .on('slow', async () => {
        started.resolve()
        await promise
      })
      .on('x', () => 1)
    const { port, hub } = await serveMessages(chat)
    const socket = await talk(port)
    socket.json({ type: 'slow', id: 1 })
    await started.promise
    const closing = hub.close({ timeout: 5000 })
    await turn()
    expect((await ask(socket, 'x')).error).to.include({
      code: 'ERR_KOAWS_DRAINING',
      retryable: true,
    })
    socket.json({ type: 'x' })
    expect(await hear(socket)).to.have.property('about', 'x')
    resolve()
    expect(await hear(socket)).to.have.property('id', 1)
    expect((await hear(socket)).type).to.equal('koaws:bye')
    await closing
  })
})

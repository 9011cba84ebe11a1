import { expect } from 'chai'
import { z } from 'zod'
import { channels } from '../../lib/diagnostics.ts'
import { type HandledEvent, MessageError, messages, protocol } from '../../lib/index.ts'
import { cleanUp, deferred, eventually, soon, turn } from '../support/server.ts'
import { begin, hearAll, hearMany, item, KEY, PLENTY, ping } from '../support/streams.ts'
import { ask, hear, serveMessages, talk } from '../support/talk.ts'

/** Resolves when a signal aborts. */
function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}

const wire = protocol({
  count: { data: z.object({ to: z.number() }), stream: z.number(), reply: z.string() },
  take: { upload: z.object({ n: z.number() }), reply: z.number() },
})

describe('a request with a stream', () => {
  afterEach(cleanUp)

  describe('the items of a handler', () => {
    const sources: [string, () => unknown][] = [
      [
        'an async generator',
        async function* () {
          yield 1
          await turn()
          yield 2
          return 'end'
        },
      ],
      [
        'a generator',
        function* () {
          yield 1
          yield 2
          return 'end'
        },
      ],
      [
        'an async generator that an async handler returns',
        async () => {
          await turn()
          return (async function* () {
            yield 1
            yield 2
            return 'end'
          })()
        },
      ],
    ]
    for (const [name, handler] of sources) {
      it(`are those of ${name}, with its return value as the reply`, async () => {
        const { port, errors } = await serveMessages(messages().on('go', handler))
        const socket = await talk(port)
        begin(socket, 'go', 5)
        expect(await hearMany(socket, 3)).to.deep.equal([
          item(5, 1),
          item(5, 2),
          { type: 'koaws:reply', id: 5, data: 'end' },
        ])
        expect(errors).to.deep.equal([])
      })
    }

    it('are those of an async iterable without a return method; the reply is null', async () => {
      const chat = messages().on('go', () => ({
        [Symbol.asyncIterator]() {
          let n = 0
          return { next: async () => ({ done: n === 2, value: n === 2 ? undefined : ++n }) }
        },
      }))
      const { port } = await serveMessages(chat)
      const socket = await talk(port)
      begin(socket, 'go', 1)
      const { items, answer } = await hearAll(socket, 1)
      expect([items, answer.data]).to.deep.equal([[1, 2], null])
    })

    it('are null for undefined', async () => {
      const chat = messages().on('go', function* () {
        yield undefined
      })
      const { port } = await serveMessages(chat)
      const socket = await talk(port)
      begin(socket, 'go', 1)
      expect(await hear(socket)).to.deep.equal(item(1, null))
    })

    it('end with `internal` and an error of the application for one without a JSON form', async () => {
      let hasEnded = false
      const chat = messages().on('go', function* () {
        try {
          yield 1
          yield 10n
        } finally {
          hasEnded = true
        }
      })
      const { port, errors } = await serveMessages(chat)
      const socket = await talk(port)
      begin(socket, 'go', 1)
      const { items, answer } = await hearAll(socket, 1)
      expect([items, answer.error?.code, hasEnded]).to.deep.equal([[1], 'internal', true])
      expect(errors).to.have.lengthOf(1)
      expect(errors[0]?.error).to.be.instanceOf(TypeError)
    })

    it('end with `internal` for an item that the schema rejects with validateOut', async () => {
      const chat = messages(wire, { validateOut: true }).on('count', function* () {
        yield 1
        yield 'two' as never
        return 'end'
      })
      const { port, errors } = await serveMessages(chat)
      const socket = await talk(port)
      begin(socket, 'count', 1, { credit: PLENTY, data: { to: 2 } })
      const { items, answer } = await hearAll(socket, 1)
      expect([items, answer.error?.code]).to.deep.equal([[1], 'internal'])
      expect(errors.map(({ error }) => error['code'])).to.deep.equal(['ERR_KOAWS_INVALID'])
    })

    it('are written at once for one turn', async () => {
      const chat = messages().on('go', function* () {
        for (let n = 0; n < 50; n++) yield n
      })
      const { port } = await serveMessages(chat)
      const socket = await talk(port)
      const reads: number[] = []
      ;(socket as unknown as { _socket: NodeJS.EventEmitter })._socket.on('data', (data: Buffer) =>
        reads.push(data.length),
      )
      begin(socket, 'go', 1)
      const { items } = await hearAll(socket, 1)
      expect(items).to.have.lengthOf(50)
      expect(reads).to.have.lengthOf(1)
    })

    it('keep the order of the call beside pushes of the handler', async () => {
      const chat = messages().on('go', async function* ({ connection }) {
        for (let n = 0; n < 3; n++) {
          connection.push('note', n)
          yield n
        }
      })
      const { port } = await serveMessages(chat)
      const socket = await talk(port)
      begin(socket, 'go', 1)
      const heard = await hearMany(socket, 6)
      expect(heard.map(({ type, data }) => [type, data])).to.deep.equal(
        [0, 1, 2].flatMap((n) => [
          ['note', n],
          ['koaws:item', n],
        ]),
      )
    })
  })

  describe('an error of a handler', () => {
    for (const [where, given] of [
      ['before the first item', 0],
      ['between items', 1],
    ] as const) {
      it(`is the answer when it is thrown ${where}`, async () => {
        const chat = messages().on('go', async function* ({ data }) {
          for (let n = 0; n < given; n++) yield n
          if (data === 'told') throw new MessageError(403, 'Not today', { code: 'no' })
          throw new Error('broken')
        })
        const { port, errors } = await serveMessages(chat)
        const socket = await talk(port)
        begin(socket, 'go', 1, { credit: PLENTY, data: 'told' })
        const told = await hearAll(socket, 1)
        expect([told.items.length, told.answer.error?.code]).to.deep.equal([given, 'no'])
        expect(errors).to.deep.equal([])
        begin(socket, 'go', 2)
        expect((await hearAll(socket, 2)).answer.error?.code).to.equal('internal')
        expect(errors.map(({ error }) => error.message)).to.deep.equal(['broken'])
      })
    }

    it('is reported once when a cancel lets `finally` throw it', async () => {
      const chat = messages().on('go', async function* () {
        try {
          yield 1
          yield 2
        } finally {
          // biome-ignore lint/correctness/noUnsafeFinally: tested
          throw new Error('in finally')
        }
      })
      const { port, errors } = await serveMessages(chat)
      const socket = await talk(port)
      begin(socket, 'go', 1, { credit: 1 })
      expect(await hear(socket)).to.deep.equal(item(1, 1))
      socket.json({ type: 'koaws:cancel', id: 1 })
      await soon(() =>
        expect(errors.map(({ error }) => error.message)).to.deep.equal(['in finally']),
      )
      expect(await ping(socket)).to.deep.equal([])
    })
  })

  describe('message.reply() in a generator', () => {
    for (const [name, handler] of [
      [
        'a generator',
        function* (message: { reply(value: unknown): unknown }) {
          yield 1
          message.reply('early')
        },
      ],
      [
        'an async generator',
        async function* (message: { reply(value: unknown): unknown }) {
          yield 1
          message.reply('early')
          await turn()
        },
      ],
    ] as const) {
      it(`answers, and lets ${name} end`, async () => {
        const { port, errors } = await serveMessages(messages().on('go', handler as never))
        const socket = await talk(port)
        begin(socket, 'go', 1)
        const { items, answer } = await hearAll(socket, 1)
        expect([items, answer.data]).to.deep.equal([[1], 'early'])
        expect(await ping(socket)).to.deep.equal([])
        expect(errors).to.deep.equal([])
      })
    }

    for (const resume of [false, true]) {
      it(`makes a later item an error of the application, resume ${resume}`, async () => {
        const chat = messages().on(
          'go',
          function* (message) {
            message.reply('early')
            yield 1
          },
          { resume },
        )
        const { port, errors } = await serveMessages(chat)
        const socket = await talk(port)
        begin(socket, 'go', 1, { credit: PLENTY, key: KEY })
        const { items, answer } = await hearAll(socket, 1)
        expect([items, answer.data]).to.deep.equal([[], 'early'])
        await soon(() =>
          expect(errors.map(({ error }) => error['code'])).to.deep.equal([
            'ERR_KOAWS_ALREADY_REPLIED',
          ]),
        )
        expect(await ping(socket)).to.deep.equal([])
      })
    }

    it('aborts the signal when the connection ends before the handler', async () => {
      const ended = deferred()
      // biome-ignore lint/correctness/useYield: it has answered
      const chat = messages().on('go', async function* (message) {
        message.reply('early')
        await aborted(message.signal)
        ended.resolve()
      })
      const { port, errors } = await serveMessages(chat)
      const socket = await talk(port)
      begin(socket, 'go', 1)
      await hear(socket)
      socket.terminate()
      await ended.promise
      expect(errors).to.deep.equal([])
    })
  })

  describe('credit', () => {
    it('of 1 byte allows one item, and each grant one more', async () => {
      let made = 0
      const chat = messages().on('go', async function* () {
        for (;;) yield ++made
      })
      const { port } = await serveMessages(chat)
      const socket = await talk(port)
      begin(socket, 'go', 1, { credit: 1 })
      expect(await hear(socket)).to.deep.equal(item(1, 1))
      expect(await ping(socket)).to.deep.equal([])
      const size = JSON.stringify(item(1, 1)).length
      socket.json({ type: 'koaws:credit', id: 1, data: { bytes: size - 1 } })
      expect(await ping(socket)).to.deep.equal([])
      socket.json({ type: 'koaws:credit', id: 1, data: { bytes: 1 } })
      expect(await hear(socket)).to.deep.equal(item(1, 2))
      expect(await ping(socket)).to.deep.equal([])
      expect(made).to.equal(2)
    })

    it('counts bytes of UTF-8', async () => {
      const chat = messages().on('go', function* () {
        for (;;) yield 'ü'
      })
      const { port } = await serveMessages(chat)
      const socket = await talk(port)
      const size = Buffer.byteLength(JSON.stringify(item(1, 'ü')))
      begin(socket, 'go', 1, { credit: 3 * size })
      await hearMany(socket, 3)
      expect(await ping(socket)).to.deep.equal([])
    })

    it('is limited to 245,760 bytes at a time', async () => {
      const text = 'x'.repeat(10_000)
      const chat = messages().on('go', function* () {
        for (;;) yield text
      })
      const { port } = await serveMessages(chat)
      const socket = await talk(port)
      begin(socket, 'go', 1, { credit: Number.MAX_SAFE_INTEGER })
      const size = JSON.stringify(item(1, text)).length
      await hearMany(socket, Math.ceil(245_760 / size))
      expect(await ping(socket)).to.deep.equal([])
    })

    it('is no hindrance for an ordinary handler', async () => {
      const { port } = await serveMessages(messages().on('plain', () => [1, 2]))
      const socket = await talk(port)
      begin(socket, 'plain', 1)
      expect(await hear(socket)).to.deep.equal({ type: 'koaws:reply', id: 1, data: [1, 2] })
    })

    it('that is malformed is an offense, and ends the stream', async () => {
      const chat = messages().on('go', async function* ({ signal }) {
        yield 1
        await aborted(signal)
      })
      const { port } = await serveMessages(chat)
      const socket = await talk(port)
      begin(socket, 'go', 1)
      await hear(socket)
      socket.json({ type: 'koaws:credit', id: 1, data: { bytes: -1 } })
      expect((await hear(socket)).error?.code).to.equal('ERR_KOAWS_STREAM')
      expect(await ping(socket)).to.deep.equal([])
    })

    for (const [kind, handler] of [
      [
        'a generator',
        function* () {
          yield run()
        },
      ],
      [
        'an async handler with a generator',
        async () =>
          (async function* () {
            yield run()
          })(),
      ],
    ] as const) {
      it(`is required by ${kind}: otherwise ERR_KOAWS_STREAM, and it does not run`, async () => {
        runs = 0
        const { port, errors } = await serveMessages(
          messages().on('go', handler as () => Generator<number>),
        )
        const socket = await talk(port)
        expect((await ask(socket, 'go', undefined, 3)).error?.code).to.equal('ERR_KOAWS_STREAM')
        socket.json({ type: 'go' })
        expect((await hear(socket)).error?.code).to.equal('ERR_KOAWS_STREAM')
        socket.json({ type: 'go', id: 4, key: KEY })
        expect((await hear(socket)).error?.code).to.equal('ERR_KOAWS_STREAM')
        socket.json({ type: 'go', id: 5, upload: true })
        expect((await hearAll(socket, 5)).answer.error?.code).to.equal('ERR_KOAWS_STREAM')
        expect([runs, errors]).to.deep.equal([0, []])
      })
    }
  })

  describe('a cancel', () => {
    interface Case {
      readonly when: string
      /** Whether the generator has begun, so that its `finally` runs. */
      readonly isBegun: boolean
      readonly credit: number
    }
    const cases: Case[] = [
      { when: 'in the queue', isBegun: false, credit: PLENTY },
      { when: 'in async validation', isBegun: false, credit: PLENTY },
      { when: 'in middleware', isBegun: false, credit: PLENTY },
      { when: 'before the first item', isBegun: true, credit: PLENTY },
      { when: 'at a yield', isBegun: true, credit: 1 },
      { when: 'while awaiting', isBegun: true, credit: PLENTY },
    ]
    for (const how of ['koaws:cancel', 'the end of the connection'] as const) {
      for (const { when, isBegun, credit } of cases) {
        it(`by ${how} ${when} ends the handler, and sends nothing`, async () => {
          const reached = deferred()
          const go = deferred()
          const seen: string[] = []
          const schema = z.any().refine(async () => {
            if (when !== 'in async validation') return true
            reached.resolve()
            await go.promise
            return true
          })
          const chat = messages()
            .use(async (message, next) => {
              if (message.type !== 'go') return next()
              if (when === 'in middleware') {
                reached.resolve()
                await go.promise
              }
              return next()
            })
            .on('block', async () => {
              reached.resolve()
              await go.promise
            })
            .on('go', schema, async function* ({ signal }) {
              seen.push('begun')
              try {
                if (when === 'before the first item') {
                  reached.resolve()
                  await aborted(signal)
                  throw signal.reason
                }
                yield 1
                if (when === 'while awaiting') {
                  reached.resolve()
                  await aborted(signal)
                }
                yield 2
              } finally {
                seen.push(`finally, aborted ${signal.aborted}`)
              }
            })
          const { port, errors, hub } = await serveMessages(chat)
          const socket = await talk(port)
          if (when === 'in the queue') socket.json({ type: 'block' })
          begin(socket, 'go', 7, { credit })
          if (when === 'at a yield') await hear(socket)
          else await reached.promise
          const before = when === 'while awaiting' ? [item(7, 1)] : []
          if (how === 'koaws:cancel') {
            socket.json({ type: 'koaws:cancel', id: 7 })
            expect(await ping(socket)).to.deep.equal(before)
          } else {
            socket.terminate()
            await eventually(() => hub.localConnections.size === 0)
          }
          go.resolve()
          if (isBegun) {
            await soon(() => expect(seen).to.deep.equal(['begun', 'finally, aborted true']))
          }
          if (how === 'koaws:cancel') {
            await ask(socket, 'block')
            expect(await ping(socket)).to.deep.equal([])
          } else for (let n = 0; n < 5; n++) await turn()
          if (!isBegun) expect(seen).to.deep.equal([])
          expect(errors).to.deep.equal([])
        })
      }
    }

    it('after the answer is ignored', async () => {
      const signals: AbortSignal[] = []
      const chat = messages().on('go', function* ({ signal }) {
        signals.push(signal)
        yield 1
      })
      const { port, errors } = await serveMessages(chat)
      const socket = await talk(port)
      begin(socket, 'go', 1)
      await hearAll(socket, 1)
      socket.json({ type: 'koaws:cancel', id: 1 })
      expect(await ping(socket)).to.deep.equal([])
      expect(signals.map(({ aborted }) => aborted)).to.deep.equal([false])
      expect(errors).to.deep.equal([])
    })

    it('is no error in the channel koaws:handled', async () => {
      const events: HandledEvent[] = []
      const listener = (event: unknown): void => {
        events.push(event as HandledEvent)
      }
      channels.handled.subscribe(listener)
      try {
        const chat = messages().on('go', async ({ signal, upload }) => {
          for await (const _ of upload) signal.throwIfAborted()
        })
        const { port, errors } = await serveMessages(chat)
        const socket = await talk(port)
        begin(socket, 'go', 1, { upload: true })
        await hear(socket)
        socket.json({ type: 'koaws:cancel', id: 1 })
        await soon(() => expect(events).to.have.lengthOf(1))
        expect([events[0]?.type, events[0]?.code, errors]).to.deep.equal(['go', undefined, []])
      } finally {
        channels.handled.unsubscribe(listener)
      }
    })
  })

  describe('middleware', () => {
    it('sees next() settle with the end of the stream, and reject with its error', async () => {
      const seen: unknown[] = []
      const chat = messages()
        .use(async (_message, next) => {
          try {
            seen.push(await next())
          } catch (error) {
            seen.push((error as Error).message)
            throw error
          }
        })
        .on('go', async function* ({ data }) {
          yield 1
          seen.push('at the end')
          if (data === 'fail') throw new MessageError(409, 'failed')
          return 'reply'
        })
      const { port } = await serveMessages(chat)
      const socket = await talk(port)
      begin(socket, 'go', 1)
      await hearAll(socket, 1)
      begin(socket, 'go', 2, { credit: PLENTY, data: 'fail' })
      expect((await hearAll(socket, 2)).answer.error?.status).to.equal(409)
      expect(seen).to.deep.equal(['at the end', 'reply', 'at the end', 'failed'])
    })
  })

  describe('an upload', () => {
    it('gets credit when the handler reads, and more when it has taken half of the window', async () => {
      const read = deferred()
      const chat = messages().on('take', async ({ upload }) => {
        await read.promise
        let bytes = 0
        for await (const text of upload) bytes += (text as string).length
        return bytes
      })
      const { port } = await serveMessages(chat)
      const socket = await talk(port)
      begin(socket, 'take', 1, { upload: true })
      expect(await ping(socket)).to.deep.equal([])
      read.resolve()
      expect(await hear(socket)).to.deep.equal({
        type: 'koaws:credit',
        id: 1,
        data: { bytes: 65_536 },
      })
      const part = item(1, 'x'.repeat(20_000))
      socket.json(part)
      expect(await ping(socket)).to.deep.equal([])
      socket.json(part)
      expect((await hear(socket)).data).to.deep.equal({ bytes: 2 * JSON.stringify(part).length })
      socket.json({ type: 'koaws:end', id: 1 })
      expect(await hear(socket)).to.deep.equal({ type: 'koaws:reply', id: 1, data: 40_000 })
    })

    it('waits while the handler is busy: without credit for items that wait', async () => {
      const go = deferred()
      const chat = messages().on('take', async ({ upload }) => {
        let items = 0
        for await (const _ of upload) {
          items++
          await go.promise
        }
        return items
      })
      const { port, errors } = await serveMessages(chat)
      const socket = await talk(port)
      begin(socket, 'take', 1, { upload: true })
      await hear(socket)
      for (let n = 0; n < 3; n++) socket.json(item(1, 'x'.repeat(20_000)))
      expect(await ping(socket)).to.deep.equal([])
      go.resolve()
      expect((await hear(socket)).type).to.equal('koaws:credit')
      socket.json({ type: 'koaws:end', id: 1 })
      expect((await hearAll(socket, 1)).answer.data).to.equal(3)
      expect(errors).to.deep.equal([])
    })

    it('is stopped when the handler leaves the loop; then the reply follows', async () => {
      const chat = messages().on('take', async ({ upload }) => {
        for await (const first of upload) return first
        return null
      })
      const { port } = await serveMessages(chat)
      const socket = await talk(port)
      begin(socket, 'take', 1, { upload: true })
      await hear(socket)
      socket.json(item(1, 'a'))
      socket.json(item(1, 'b'))
      expect(await hearMany(socket, 2)).to.deep.equal([
        { type: 'koaws:cancel', id: 1 },
        { type: 'koaws:reply', id: 1, data: 'a' },
      ])
      socket.json(item(1, 'late'))
      expect(await ping(socket)).to.deep.equal([])
    })

    it('is stopped when the handler does not read at all', async () => {
      const { port } = await serveMessages(messages().on('take', () => 'none'))
      const socket = await talk(port)
      begin(socket, 'take', 1, { upload: true })
      expect(await hearMany(socket, 2)).to.deep.equal([
        { type: 'koaws:cancel', id: 1 },
        { type: 'koaws:reply', id: 1, data: 'none' },
      ])
    })

    it('throws ERR_KOAWS_INVALID for an item that the schema rejects', async () => {
      const chat = messages(wire).on('take', async ({ upload }) => {
        let sum = 0
        for await (const { n } of upload) sum += n
        return sum
      })
      const { port, errors } = await serveMessages(chat)
      const socket = await talk(port)
      begin(socket, 'take', 1, { upload: true })
      await hear(socket)
      socket.json(item(1, { n: 1 }))
      socket.json(item(1, { n: 'two' }))
      const { answer, others } = await hearAll(socket, 1)
      expect(answer.error?.code).to.equal('ERR_KOAWS_INVALID')
      expect(others.map(({ type }) => type)).to.deep.equal(['koaws:cancel'])
      expect(errors).to.deep.equal([])
    })

    it('ends the loop with ERR_KOAWS_CLOSED when the connection is cut, which is not reported', async () => {
      const thrown = deferred<unknown>()
      const chat = messages().on('take', async ({ upload, signal }) => {
        try {
          for await (const _ of upload);
        } catch (error) {
          thrown.resolve([(error as { code: unknown }).code, signal.aborted])
          throw error
        }
      })
      const { port, errors } = await serveMessages(chat)
      const socket = await talk(port)
      begin(socket, 'take', 1, { upload: true })
      await hear(socket)
      socket.terminate()
      expect(await thrown.promise).to.deep.equal(['ERR_KOAWS_CLOSED', true])
      await turn()
      expect(errors).to.deep.equal([])
    })

    it('does not end the process when the handler does not wait for an item', async () => {
      const ended = deferred()
      const chat = messages().on('take', async ({ upload, signal }) => {
        void upload.next()
        await aborted(signal)
        ended.resolve()
      })
      const { port } = await serveMessages(chat)
      const socket = await talk(port)
      begin(socket, 'take', 1, { upload: true })
      await hear(socket)
      socket.terminate()
      await ended.promise
      await turn()
    })

    it('cannot be read after the answer', async () => {
      const chat = messages().on('take', async (message) => {
        message.reply('early')
        for await (const _ of message.upload);
      })
      const { port, errors } = await serveMessages(chat)
      const socket = await talk(port)
      begin(socket, 'take', 1, { upload: true })
      expect((await hearAll(socket, 1)).answer.data).to.equal('early')
      await soon(() =>
        expect(errors.map(({ error }) => error['code'])).to.deep.equal([
          'ERR_KOAWS_ALREADY_REPLIED',
        ]),
      )
    })

    it('has an offense for an item without credit, which ends the request', async () => {
      const chat = messages().on('take', async ({ signal }) => {
        await aborted(signal)
      })
      const { port, hub, errors } = await serveMessages(chat)
      const socket = await talk(port)
      begin(socket, 'take', 1, { upload: true })
      socket.json(item(1, 'x'))
      const { answer } = await hearAll(socket, 1)
      expect(answer.error).to.include({ code: 'ERR_KOAWS_STREAM', status: 400 })
      expect(await ping(socket)).to.deep.equal([])
      expect(hub.status().drops).to.include({ streamCredit: 1 })
      expect(errors).to.deep.equal([])
    })

    it('runs beside items of the server in one request', async () => {
      const chat = messages().on('both', async function* ({ upload }) {
        let sum = 0
        for await (const n of upload) {
          sum += n as number
          yield sum
        }
        return 'done'
      })
      const { port } = await serveMessages(chat)
      const socket = await talk(port)
      begin(socket, 'both', 1, { credit: PLENTY, upload: true })
      await hear(socket)
      for (const n of [1, 2, 3]) {
        socket.json(item(1, n))
        expect((await hear(socket)).type).to.equal('koaws:item')
      }
      socket.json({ type: 'koaws:end', id: 1 })
      expect(await hear(socket)).to.deep.equal({ type: 'koaws:reply', id: 1, data: 'done' })
    })

    it('is absent from a message without one', async () => {
      const chat = messages().on('plain', ({ upload }) => upload)
      const { port } = await serveMessages(chat)
      const socket = await talk(port)
      expect((await ask(socket, 'plain')).error?.code).to.equal('ERR_KOAWS_STREAM')
    })
  })
})

let runs = 0
function run(): number {
  return ++runs
}

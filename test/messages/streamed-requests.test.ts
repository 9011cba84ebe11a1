import { once } from 'node:events'
import { expect } from 'chai'
import type { Context } from 'koa'
import { type KoaWsOptions, messages } from '../../lib/index.ts'
import { cleanUp, deferred, eventually, type Site, soon, turn } from '../support/server.ts'
import { begin, hearAll, hearMany, item, KEY, PLENTY, ping, streamsOf } from '../support/streams.ts'
import { ask, hear, serveMessages, talk } from '../support/talk.ts'

/** Resolves when a signal aborts. */
function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}

/** Serves streams; the user is in the query of the URL. */
function site(chat: Parameters<typeof serveMessages>[0], options: KoaWsOptions = {}) {
  return serveMessages(
    chat,
    { user: (ctx: Context) => (ctx.query['user'] as string | undefined) ?? null } as never,
    options,
  )
}

const drops = (hub: Site['hub']): Record<string, number> =>
  hub.status().drops as unknown as Record<string, number>

describe("a client that is too slow, with slowConsumer: 'drop'", () => {
  afterEach(cleanUp)

  it('loses the stream, and gets no later item of it', async () => {
    const go = deferred<void>()
    let hasEnded = false
    let waiting = (): number => 0
    const chat = messages().on('go', async function* ({ connection }) {
      waiting = () => connection.bufferedAmount
      try {
        yield 1
        connection.send(Buffer.alloc(16 * 1024 * 1024))
        yield 2
        await go.promise
        yield 3
      } finally {
        hasEnded = true
      }
    })
    const { port, hub } = await serveMessages(
      chat,
      {},
      { slowConsumer: 'drop', maxBufferedAmount: 64 * 1024 },
    )
    const socket = await talk(port)
    socket.pause()
    begin(socket, 'go', 5)
    await soon(() => expect(hub.status().drops).to.include({ streamLost: 1 }))
    go.resolve()
    await soon(() => expect(hasEnded).to.equal(true))
    socket.resume()
    expect(await hear(socket)).to.deep.equal(item(5, 1))
    expect(((await socket.next()) as Buffer).length).to.equal(16 * 1024 * 1024)
    await soon(() => expect(waiting()).to.equal(0))
    expect((await ask(socket, 'koaws:ping', undefined, 6)).id).to.equal(6)
  })
})

describe('the requests with streams of a connection', () => {
  afterEach(cleanUp)

  /** Endless streams, and the number of running ones. */
  function endless() {
    const running = { count: 0 }
    const chat = messages()
      .on('go', async function* ({ signal }) {
        running.count++
        try {
          yield 1
          await aborted(signal)
        } finally {
          running.count--
        }
      })
      .on('plain', () => 'fine')
    return { chat, running }
  }

  describe('ids', () => {
    it('that are in use are an offense; the open stream goes on', async () => {
      const { chat, running } = endless()
      const { port } = await serveMessages(chat)
      const socket = await talk(port)
      begin(socket, 'go', 1)
      expect(await hear(socket)).to.deep.equal(item(1, 1))
      begin(socket, 'go', 1)
      expect((await hear(socket)).error).to.include({
        code: 'ERR_KOAWS_STREAM',
        message: 'The id is in use',
      })
      expect(running.count).to.equal(1)
    })

    it('can be used again after the answer, also of a stream that is kept', async () => {
      const chat = messages().on(
        'go',
        function* ({ data }) {
          yield data
        },
        { resume: true },
      )
      const { port, hub } = await serveMessages(chat)
      const socket = await talk(port)
      begin(socket, 'go', 1, { credit: PLENTY, key: KEY, data: 'a' })
      expect((await hearAll(socket, 1)).items).to.deep.equal(['a'])
      begin(socket, 'go', 1, { credit: PLENTY, key: KEY, data: 'b' })
      expect((await hearAll(socket, 1)).items).to.deep.equal(['b'])
      socket.json({ type: 'koaws:cancel', id: 1 })
      await ping(socket)
      expect(streamsOf(hub).held.total).to.equal(0)
    })
  })

  describe('limits', () => {
    it('count the streams of a connection until their handlers have ended', async () => {
      const go = deferred()
      const chat = messages().on('go', async function* () {
        yield 1
        await go.promise
      })
      const { port, hub } = await serveMessages(chat, {}, { streams: { perConnection: 2 } })
      const socket = await talk(port)
      begin(socket, 'go', 1)
      begin(socket, 'go', 2)
      await hearMany(socket, 2)
      begin(socket, 'go', 3)
      expect((await hear(socket)).error).to.include({
        code: 'ERR_KOAWS_STREAM_LIMIT',
        status: 429,
        retryable: true,
      })
      socket.json({ type: 'koaws:cancel', id: 1 })
      begin(socket, 'go', 4) // the handler of the first ignores its signal
      expect((await hear(socket)).error?.code).to.equal('ERR_KOAWS_STREAM_LIMIT')
      expect(drops(hub)['streamLimit']).to.equal(2)
      go.resolve()
      expect((await hearAll(socket, 2)).answer.type).to.equal('koaws:reply')
      await turn()
      begin(socket, 'go', 5)
      expect(await hear(socket)).to.deep.equal(item(5, 1))
    })

    it('count the streams of a user over connections; cuts and cancels release them', async () => {
      const { chat, running } = endless()
      const { port, hub } = await site(chat, { streams: { perUser: 2 } })
      const one = await talk(port, '/?user=ann')
      const two = await talk(port, '/?user=ann')
      const other = await talk(port, '/?user=bob')
      begin(one, 'go', 1)
      begin(two, 'go', 1)
      await Promise.all([hear(one), hear(two)])
      begin(two, 'go', 2)
      expect((await hear(two)).error?.code).to.equal('ERR_KOAWS_STREAM_LIMIT')
      begin(other, 'go', 1)
      expect(await hear(other)).to.deep.equal(item(1, 1))
      expect(drops(hub)['streamLimit']).to.equal(1)
      one.terminate()
      await eventually(() => running.count === 2)
      begin(two, 'go', 3)
      expect(await hear(two)).to.deep.equal(item(3, 1))
      two.json({ type: 'koaws:cancel', id: 3 })
      await eventually(() => running.count === 2)
      begin(two, 'go', 4)
      expect(await hear(two)).to.deep.equal(item(4, 1))
    })

    it('end a stream with ERR_KOAWS_STREAM_MEMORY that would keep too much', async () => {
      const chat = messages().on(
        'go',
        function* () {
          for (;;) yield 'x'.repeat(1_000)
        },
        { resume: true },
      )
      const { port, hub, errors } = await serveMessages(chat, {}, { streams: { bytes: 8_000 } })
      const socket = await talk(port)
      begin(socket, 'go', 1, { credit: PLENTY, key: KEY })
      const { items, answer } = await hearAll(socket, 1)
      expect(items.length).to.be.within(4, 7)
      expect(answer.error).to.include({ code: 'ERR_KOAWS_STREAM_MEMORY', status: 503 })
      expect(drops(hub)['streamMemory']).to.be.above(0)
      expect(errors).to.deep.equal([])
      socket.json({ type: 'koaws:cancel', id: 1 })
      await ping(socket)
      expect(streamsOf(hub).held.total).to.equal(0)
    })

    it('end an upload with ERR_KOAWS_STREAM_MEMORY that waits with too many bytes', async () => {
      const go = deferred()
      const chat = messages().on('take', async ({ upload }) => {
        for await (const _ of upload) await go.promise
      })
      const { port, hub } = await serveMessages(chat, {}, { streams: { bytes: 2_000 } })
      const socket = await talk(port)
      begin(socket, 'take', 1, { upload: true })
      await hear(socket)
      for (let n = 0; n < 4; n++) socket.json(item(1, 'x'.repeat(1_000)))
      expect(await hear(socket)).to.deep.equal({ type: 'koaws:cancel', id: 1 })
      go.resolve()
      expect((await hear(socket)).error?.code).to.equal('ERR_KOAWS_STREAM_MEMORY')
      expect(streamsOf(hub).held.total).to.equal(0)
    })

    it('release the items of an upload that are not read after its end', async () => {
      const go = deferred()
      const chat = messages().on('take', async ({ upload }) => {
        for await (const _ of upload) {
          await go.promise
          return
        }
      })
      const { port, hub } = await serveMessages(chat)
      const socket = await talk(port)
      begin(socket, 'take', 1, { upload: true })
      await hear(socket)
      for (let n = 0; n < 4; n++) socket.json(item(1, n))
      socket.json({ type: 'koaws:end', id: 1 })
      await ping(socket)
      expect(streamsOf(hub).held.total).to.be.above(0)
      go.resolve()
      await hearAll(socket, 1)
      expect(streamsOf(hub).held.total).to.equal(0)
    })
  })

  describe('idle', () => {
    it('streams end with ERR_KOAWS_STREAM_IDLE; a credit of 0 bytes does not help', async () => {
      const ended = deferred<unknown>()
      const chat = messages().on('go', async function* ({ signal }) {
        try {
          yield 1
          yield 2
        } finally {
          ended.resolve((signal.reason as { code: unknown }).code)
        }
      })
      const { port, hub, errors } = await serveMessages(chat, {}, { streams: { idle: 150 } })
      const socket = await talk(port)
      begin(socket, 'go', 1, { credit: 1 })
      const timer = setInterval(() => {
        socket.json({ type: 'koaws:credit', id: 1, data: { bytes: 0 } })
      }, 20)
      try {
        const { items, answer } = await hearAll(socket, 1)
        expect([items, answer.error?.code]).to.deep.equal([[1], 'ERR_KOAWS_STREAM_IDLE'])
      } finally {
        clearInterval(timer)
      }
      expect(await ended.promise).to.equal('ERR_KOAWS_STREAM_IDLE')
      expect([drops(hub)['streamIdle'], errors]).to.deep.equal([1, []])
    })

    it('uploads end with ERR_KOAWS_STREAM_IDLE', async () => {
      const chat = messages().on('take', async ({ upload }) => {
        for await (const _ of upload);
      })
      const { port, hub, errors } = await serveMessages(chat, {}, { streams: { idle: 100 } })
      const socket = await talk(port)
      begin(socket, 'take', 1, { upload: true })
      await hear(socket)
      expect(await hear(socket)).to.deep.equal({ type: 'koaws:cancel', id: 1 })
      expect((await hear(socket)).error).to.include({ code: 'ERR_KOAWS_STREAM_IDLE', status: 408 })
      expect([drops(hub)['streamIdle'], errors]).to.deep.equal([1, []])
    })

    it('clients that never acknowledge items get 245,760 bytes, and then the error', async () => {
      const text = 'x'.repeat(15_300)
      const chat = messages().on(
        'go',
        function* () {
          for (;;) yield text
        },
        { resume: true },
      )
      const { port, hub } = await serveMessages(chat, {}, { streams: { idle: 200 } })
      const socket = await talk(port)
      begin(socket, 'go', 1, { credit: 245_760, key: KEY })
      const size = JSON.stringify(item(1, text)).length
      await hearMany(socket, Math.ceil(245_760 / size))
      expect(streamsOf(hub).held.total).to.be.within(245_760, 262_144)
      socket.json({ type: 'koaws:credit', id: 1, data: { bytes: 245_760 } })
      expect((await hear(socket)).error?.code).to.equal('ERR_KOAWS_STREAM_IDLE')
      expect(drops(hub)['streamIdle']).to.equal(1)
    })

    it('clients do not hold an answer that waits for credit', async () => {
      const made = deferred()
      const chat = messages().on(
        'go',
        async function* ({ connection }) {
          await aborted(connection.signal)
          yield 'a'
          yield 'b'
          made.resolve()
        },
        { resume: true },
      )
      const { port, hub } = await serveMessages(chat, {}, { streams: { idle: 150 } })
      const one = await talk(port)
      begin(one, 'go', 1, { credit: PLENTY, key: KEY })
      await ping(one)
      one.terminate()
      await made.promise
      const two = await talk(port)
      begin(two, 'go', 1, { credit: 1, key: KEY, again: true, since: 0 })
      const { items, answer } = await hearAll(two, 1)
      expect([items, answer.error?.code]).to.deep.equal([['a'], 'ERR_KOAWS_STREAM_IDLE'])
      two.json({ type: 'koaws:cancel', id: 1 })
      await ping(two)
      expect(streamsOf(hub).held.total).to.equal(0)
    })
  })

  it('let other messages go on beside a stream with concurrency 1', async () => {
    const { chat } = endless()
    const { port } = await serveMessages(chat)
    const socket = await talk(port)
    begin(socket, 'go', 1)
    await hear(socket)
    expect((await ask(socket, 'plain')).data).to.equal('fine')
    begin(socket, 'go', 2)
    expect(await hear(socket)).to.deep.equal(item(2, 1))
    expect((await ask(socket, 'plain')).data).to.equal('fine')
  })

  it('do not count items within the credit as a flood', async () => {
    const chat = messages().on('take', async ({ upload }) => {
      let items = 0
      for await (const _ of upload) items++
      return items
    })
    const flood = { messages: 50, bytes: 1_000_000, per: 60_000 }
    const { port, hub } = await serveMessages(chat, {}, { flood } as KoaWsOptions)
    const socket = await talk(port)
    begin(socket, 'take', 1, { upload: true })
    await hear(socket)
    for (let n = 0; n < 500; n++) socket.json(item(1, n))
    socket.json({ type: 'koaws:end', id: 1 })
    expect((await hearAll(socket, 1)).answer.data).to.equal(500)
    expect(drops(hub)['flood'] ?? 0).to.equal(0)
  })

  it('count items after koaws:end as a flood', async () => {
    const chat = messages().on('take', async ({ upload, signal }) => {
      for await (const _ of upload);
      await aborted(signal)
    })
    const flood = { messages: 50, bytes: 1_000_000, per: 100, close: 100 }
    const { port } = await serveMessages(chat, {}, { flood } as KoaWsOptions)
    const socket = await talk(port)
    const closed = once(socket, 'close')
    begin(socket, 'take', 1, { upload: true })
    await hear(socket)
    socket.json({ type: 'koaws:end', id: 1 })
    // A flood without a pause: on a slow machine the first 500 may fit into the limit.
    while (socket.readyState === socket.OPEN) {
      for (let n = 0; n < 500; n++) socket.json(item(1, n))
      await turn()
    }
    const [code] = await closed
    expect(code).to.equal(1008)
  })

  describe('a shutdown', () => {
    it('waits for a stream that ends in time', async () => {
      const go = deferred()
      const chat = messages().on('go', async function* () {
        yield 1
        await go.promise
        yield 2
        return 'end'
      })
      const { port, hub } = await serveMessages(chat)
      const socket = await talk(port)
      begin(socket, 'go', 1)
      await hear(socket)
      const closing = hub.close({ timeout: 20_000 })
      await turn()
      go.resolve()
      expect((await hearMany(socket, 3)).map(({ type }) => type)).to.deep.equal([
        'koaws:item',
        'koaws:reply',
        'koaws:bye',
      ])
      await closing
    })

    for (const resume of [false, true]) {
      it(`ends an endless stream with ERR_KOAWS_STREAM_LOST before the bye, resume ${resume}`, async () => {
        const reason = deferred<unknown>()
        const chat = messages().on(
          'go',
          async function* ({ signal }) {
            yield 1
            yield 2
            await aborted(signal)
            reason.resolve((signal.reason as { code: unknown }).code)
            throw signal.reason
          },
          { resume },
        )
        const { port, hub, errors } = await serveMessages(chat)
        const socket = await talk(port)
        begin(socket, 'go', 1, { credit: PLENTY, key: KEY })
        await hearMany(socket, 2)
        const closing = hub.close({ timeout: 200 })
        const [lost, bye] = await hearMany(socket, 2)
        expect(lost?.error).to.deep.include({
          code: 'ERR_KOAWS_STREAM_LOST',
          status: 503,
          data: { items: 2 },
        })
        expect(bye?.type).to.equal('koaws:bye')
        await closing
        expect(await reason.promise).to.equal('ERR_KOAWS_STREAM_LOST')
        await turn()
        expect([drops(hub)['streamLost'], errors]).to.deep.equal([1, []])
      })
    }
  })

  describe('resuming', () => {
    /** Yields 0 to 4, at most as far as `allow` was called; then replies. */
    function counter(options: { resume?: boolean } = { resume: true }) {
      const state = { allowed: 5, wake: () => {}, hasEnded: false, wasAborted: false, begun: 0 }
      const chat = messages().on(
        'go',
        async function* ({ signal }) {
          state.begun++
          try {
            for (let n = 0; n < 5; n++) {
              while (n >= state.allowed && !signal.aborted) {
                await new Promise<void>((resolve) => {
                  state.wake = resolve
                  signal.addEventListener('abort', () => resolve(), { once: true })
                })
              }
              yield n
            }
            return 'end'
          } finally {
            state.hasEnded = true
            state.wasAborted = signal.aborted
          }
        },
        options,
      )
      const allow = (many: number): void => {
        state.allowed = many
        state.wake()
      }
      return { chat, state, allow }
    }

    for (let since = 0; since <= 5; since++) {
      it(`goes on after ${since} items, with the reply`, async () => {
        const { chat, allow, state } = counter()
        const { port, hub, errors } = await site(chat)
        allow(since)
        const one = await talk(port, '/?user=ann')
        begin(one, 'go', 1, { credit: PLENTY, key: KEY })
        await hearMany(one, since)
        one.terminate()
        await eventually(() => hub.localConnections.size === 0)
        allow(5)
        const two = await talk(port, '/?user=ann')
        begin(two, 'go', 1, { credit: PLENTY, key: KEY, again: true, since })
        const { items, answer } = await hearAll(two, 1)
        expect(items).to.deep.equal([0, 1, 2, 3, 4].slice(since))
        expect(answer.data).to.equal('end')
        two.json({ type: 'koaws:cancel', id: 1 })
        await ping(two)
        expect(streamsOf(hub).held.total).to.equal(0)
        expect([state.begun, state.wasAborted, errors]).to.deep.equal([1, false, []])
      })
    }

    it('goes on with items that were made while the server ended the connection', async () => {
      const large = (n: number): string => `${n} ${'x'.repeat(20_000)}`
      const chat = messages().on(
        'go',
        async function* ({ connection }) {
          for (let n = 0; n < 6; n++) {
            if (n === 3) connection.terminate()
            yield large(n)
          }
        },
        { resume: true },
      )
      const { port, hub } = await site(chat)
      const one = await talk(port, '/?user=ann')
      const closed = once(one, 'close')
      begin(one, 'go', 1, { credit: PLENTY, key: KEY })
      await closed
      const two = await talk(port, '/?user=ann')
      begin(two, 'go', 1, { credit: 200_000, key: KEY, again: true, since: 0 })
      const { items } = await hearAll(two, 1)
      expect(items).to.deep.equal([0, 1, 2, 3, 4, 5].map(large))
      expect(drops(hub)).to.deep.equal({})
    })

    it('takes over from a connection that is half-open', async () => {
      const { chat, allow } = counter()
      const { port } = await site(chat)
      allow(2)
      const one = await talk(port)
      const two = await talk(port)
      begin(one, 'go', 1, { credit: PLENTY, key: KEY })
      await hearMany(one, 2)
      begin(two, 'go', 1, { credit: PLENTY, key: KEY, again: true, since: 1 })
      expect(await hear(two)).to.deep.equal(item(1, 1))
      one.json({ type: 'koaws:cancel', id: 1 })
      await ping(one)
      one.terminate()
      allow(5)
      expect((await hearAll(two, 1)).items).to.deep.equal([2, 3, 4])
    })

    it('sends the answer again, until the client says that it has it', async () => {
      const { chat } = counter()
      const { port, hub } = await site(chat)
      const [one, two, three] = [await talk(port), await talk(port), await talk(port)]
      begin(one, 'go', 1, { credit: PLENTY, key: KEY })
      await hearAll(one, 1)
      begin(two, 'go', 1, { credit: PLENTY, key: KEY, again: true, since: 5 })
      expect(await hear(two)).to.deep.equal({ type: 'koaws:reply', id: 1, data: 'end' })
      two.json({ type: 'koaws:cancel', id: 1 })
      await ping(two)
      expect(streamsOf(hub).held.total).to.equal(0)
      begin(three, 'go', 1, { credit: PLENTY, key: KEY, again: true, since: 5 })
      expect((await hear(three)).error?.code).to.equal('ERR_KOAWS_STREAM_LOST')
    })

    const strangers: [string, string, Record<string, unknown>][] = [
      ['another user', '/?user=bob', {}],
      ['no user', '/', {}],
      ['another path', '/other?user=ann', {}],
      ['another key', '/?user=ann', { key: 'x'.repeat(24) }],
      ['another type', '/?user=ann', { type: 'other' }],
      ['more items than there are', '/?user=ann', { since: 9 }],
      ['items that were forgotten', '/?user=ann', { since: 1 }],
    ]
    for (const [what, path, fields] of strangers) {
      it(`answers ${what} with ERR_KOAWS_STREAM_LOST`, async () => {
        const { chat, allow } = counter()
        chat.on('other', () => 'other', { resume: true })
        const { port, hub } = await site(chat)
        allow(3)
        const one = await talk(port, '/?user=ann')
        begin(one, 'go', 1, { credit: PLENTY, key: KEY })
        await hearMany(one, 3)
        one.json({ type: 'koaws:credit', id: 1, data: { bytes: 0, items: 2 } })
        await ping(one)
        const two = await talk(port, path)
        two.json({ type: 'go', id: 1, credit: PLENTY, key: KEY, again: true, since: 2, ...fields })
        expect(await hear(two)).to.deep.equal({
          type: 'koaws:error',
          id: 1,
          error: {
            code: 'ERR_KOAWS_STREAM_LOST',
            message: 'The stream cannot go on.',
            status: 503,
            retryable: false,
          },
        })
        expect(drops(hub)['streamLost']).to.equal(1)
        allow(5)
        expect((await hearAll(one, 1)).items).to.deep.equal([3, 4])
      })
    }

    it('needs the option of the handler', async () => {
      const { chat, allow, state } = counter({})
      const { port } = await site(chat)
      allow(1)
      const one = await talk(port)
      begin(one, 'go', 1, { credit: PLENTY, key: KEY })
      await hear(one)
      one.terminate()
      await eventually(() => state.hasEnded)
      expect(state.wasAborted).to.equal(true)
      const two = await talk(port)
      begin(two, 'go', 1, { credit: PLENTY, key: KEY, again: true, since: 1 })
      expect((await hear(two)).error?.code).to.equal('ERR_KOAWS_STREAM_LOST')
    })

    it('runs the middleware again, which may reject', async () => {
      const { chat, allow } = counter()
      let isAllowed = true
      chat.use((message, next) => (isAllowed ? next() : message.throw(403, 'No more')))
      const { port, hub } = await site(chat)
      allow(1)
      const one = await talk(port)
      begin(one, 'go', 1, { credit: PLENTY, key: KEY })
      await hear(one)
      one.terminate()
      await eventually(() => hub.localConnections.size === 0)
      isAllowed = false
      const two = await talk(port)
      begin(two, 'go', 1, { credit: PLENTY, key: KEY, again: true, since: 1 })
      expect((await hear(two)).error).to.include({ status: 403, message: 'No more' })
    })

    it('ends when the client does not return in time: the signal aborts, and nothing is held', async () => {
      const { chat, allow, state } = counter()
      const { port, hub, errors } = await site(chat, { streams: { resume: 100 } })
      allow(2)
      const one = await talk(port)
      begin(one, 'go', 1, { credit: PLENTY, key: KEY })
      await hearMany(one, 2)
      const streams = streamsOf(hub)
      one.terminate()
      await eventually(() => state.hasEnded)
      expect(state.wasAborted).to.equal(true)
      expect(streams.held.total).to.equal(0)
      expect([drops(hub)['streamLost'], errors]).to.deep.equal([1, []])
    })

    it('does not count an answer as lost that the client does not ask for', async () => {
      const { chat } = counter()
      const { port, hub } = await site(chat, { streams: { resume: 100 } })
      const one = await talk(port)
      begin(one, 'go', 1, { credit: PLENTY, key: KEY })
      await hearAll(one, 1)
      const streams = streamsOf(hub)
      one.terminate()
      await eventually(() => streams.held.total === 0)
      expect(drops(hub)).not.to.have.property('streamLost')
    })

    it('goes on with the last of two that resume at once', async () => {
      const { chat, allow } = counter()
      const { port } = await site(chat)
      allow(1)
      const one = await talk(port)
      begin(one, 'go', 1, { credit: PLENTY, key: KEY })
      await hear(one)
      const [two, three] = [await talk(port), await talk(port)]
      for (const socket of [two, three]) {
        begin(socket, 'go', 1, { credit: PLENTY, key: KEY, again: true, since: 1 })
        await ping(socket)
      }
      allow(5)
      expect((await hearAll(three, 1)).items).to.deep.equal([1, 2, 3, 4])
      expect(await ping(two)).to.deep.equal([])
    })

    it('counts a user once for a stream that goes on over another connection', async () => {
      const { chat, allow } = counter()
      const { port } = await site(chat, { streams: { perUser: 1 } })
      allow(1)
      const one = await talk(port, '/?user=ann')
      begin(one, 'go', 1, { credit: PLENTY, key: KEY })
      await hear(one)
      one.terminate()
      const two = await talk(port, '/?user=ann')
      begin(two, 'go', 1, { credit: PLENTY, key: KEY, again: true, since: 1 })
      allow(5)
      expect((await hearAll(two, 1)).items).to.deep.equal([1, 2, 3, 4])
    })

    it('keeps a request that was in the queue when the connection ended', async () => {
      const go = deferred()
      const { chat, state } = counter()
      chat.on('block', () => go.promise)
      const { port, hub } = await site(chat)
      const one = await talk(port)
      one.json({ type: 'block' })
      begin(one, 'go', 1, { credit: PLENTY, key: KEY })
      await ping(one)
      one.terminate()
      await eventually(() => hub.localConnections.size === 0)
      go.resolve()
      await eventually(() => state.hasEnded)
      const two = await talk(port)
      begin(two, 'go', 1, { credit: PLENTY, key: KEY, again: true, since: 0 })
      expect((await hearAll(two, 1)).items).to.deep.equal([0, 1, 2, 3, 4])
    })

    it('keeps an error of the handler for the client', async () => {
      const chat = messages().on(
        'go',
        async function* ({ connection }) {
          yield 0
          await aborted(connection.signal)
          throw new Error('broken')
        },
        { resume: true },
      )
      const { port, errors } = await site(chat)
      const one = await talk(port)
      begin(one, 'go', 1, { credit: PLENTY, key: KEY })
      await hear(one)
      one.terminate()
      await soon(() => expect(errors.map(({ error }) => error.message)).to.deep.equal(['broken']))
      const two = await talk(port)
      begin(two, 'go', 1, { credit: PLENTY, key: KEY, again: true, since: 0 })
      const { items, answer } = await hearAll(two, 1)
      expect([items, answer.error?.code]).to.deep.equal([[0], 'internal'])
    })

    it('is not held up by a key in use', async () => {
      const { chat, allow } = counter()
      const { port } = await site(chat)
      allow(1)
      const one = await talk(port)
      begin(one, 'go', 1, { credit: PLENTY, key: KEY })
      await hear(one)
      const two = await talk(port)
      begin(two, 'go', 1, { credit: PLENTY, key: KEY })
      expect((await hear(two)).error?.code).to.equal('ERR_KOAWS_STREAM')
      allow(5)
      expect((await hearAll(one, 1)).answer.data).to.equal('end')
    })
  })
})

import { expect } from 'chai'
import type Koa from 'koa'
import {
  type Client,
  type ConnectOptions,
  connect,
  type RequestError,
} from '../../lib/client/index.ts'
import {
  type Adapter,
  accept,
  type Hub,
  type KoaWsOptions,
  MessageError,
  memoryAdapter,
  messages,
  type OpenMessages,
} from '../../lib/index.ts'
import { memoryRetries } from '../../lib/retry/memory-store.ts'
import { type TestSocket, testApp } from '../../lib/testing/index.ts'
import { type Cut, cutting, type Plan } from '../support/cut-socket.ts'
import { cleanUp, deferred, eventually, makeApp, makeHub } from '../support/server.ts'

// biome-ignore lint/complexity/noBannedTypes: no types
type Chat = OpenMessages<{}>

interface Site {
  readonly hub: Hub
  readonly app: Koa
}

/** Returns an adapter with a record that is sure of the past, as after some minutes. */
function oldAdapter(): Adapter {
  return { ...memoryAdapter(), retries: memoryRetries(Number.NEGATIVE_INFINITY) }
}

/** Returns a plan that cuts the first request or answer once. */
function once(cut: Cut): Plan {
  let isDone = false
  return (text, isSent) => {
    const concerned = isSent ? /"key"/.test(text) : /"koaws:(reply|error)"/.test(text)
    if (isDone || !concerned || (cut === 'on receiving') === isSent) return 'never'
    isDone = true
    return cut
  }
}

describe('a request with `retry`', () => {
  let clients: { close(): void }[] = []
  let sites: Site[] = []
  let errors: unknown[] = []
  /** The site that new connections reach. */
  let at = 0

  afterEach(async () => {
    for (const client of clients) client.close()
    clients = []
    sites = []
    errors = []
    at = 0
    await cleanUp()
  })

  function serve(chat: Chat, options: KoaWsOptions = {}): Site {
    const hub = makeHub({ user: (ctx) => ctx.query['user'] as string, ...options })
    const made = makeApp()
    errors = made.errors
    made.app.use(hub)
    made.app.use(accept(chat))
    const site = { hub, app: made.app }
    sites.push(site)
    return site
  }

  function open(
    plan: Plan = () => 'never',
    options: ConnectOptions & { url?: string } = {},
  ): Client {
    const { url = 'ws://app/chat?user=ann', ...rest } = options
    const client = connect(url, {
      WebSocket: cutting(() => testApp((sites[at] as Site).app).webSocket(), plan),
      minDelay: 1,
      maxDelay: 2,
      ...rest,
    })
    clients.push(client)
    return client
  }

  const cut = (): void => {
    for (const { hub } of sites) for (const one of hub.localConnections.values()) one.terminate()
  }

  async function codeOf(promise: Promise<unknown>): Promise<unknown> {
    return promise.then(
      (value) => ({ value }),
      (error) => error.code ?? error,
    )
  }

  for (const stage of ['never', 'after sending', 'on receiving'] as const) {
    it(`runs once, and gets its answer, when the connection breaks: ${stage}`, async () => {
      let runs = 0
      serve(messages().on('pay', ({ data }) => [++runs, data]))
      const client = open(once(stage))
      expect(await client.request('pay', { euro: 5 }, { retry: true })).to.deep.equal([
        1,
        { euro: 5 },
      ])
      expect(runs).to.equal(1)
    })
  }

  it('is not sent again when it is answered with an error, which is kept like a reply', async () => {
    let runs = 0
    const chat = messages().on('pay', () => {
      runs++
      throw new MessageError(503, 'Try later', { code: 'busy', data: { in: 5 } })
    })
    serve(chat)
    const client = open(once('on receiving'))
    const error = (await client
      .request('pay', 1, { retry: true })
      .catch((reason) => reason)) as RequestError
    expect(error).to.include({ code: 'busy', status: 503, retryable: true, message: 'Try later' })
    expect(error.data).to.deep.equal({ in: 5 })
    expect([runs, errors]).to.deep.equal([1, []])
  })

  it('gets `internal` again for an error that is not exposed, which is reported once', async () => {
    serve(
      messages().on('pay', () => {
        throw new Error('secret')
      }),
    )
    const client = open(once('on receiving'))
    expect(await codeOf(client.request('pay', 1, { retry: true }))).to.equal('internal')
    expect(errors).to.have.length(1)
  })

  it('waits for the answer while the handler runs, and its signal does not abort', async () => {
    const [running, done] = [deferred(), deferred()]
    let [runs, isAborted] = [0, false]
    const chat = messages().on('pay', async ({ signal }) => {
      runs++
      running.resolve()
      await done.promise
      isAborted = signal.aborted
      return 'paid'
    })
    const { hub } = serve(chat)
    const client = open()
    const answer = client.request('pay', 1, { retry: true })
    await running.promise
    const [before] = hub.localConnections.keys()
    cut()
    await eventually(
      () => hub.localConnections.size === 1 && !hub.localConnections.has(before as string),
    )
    done.resolve()
    expect(await answer).to.equal('paid')
    expect([runs, isAborted]).to.deep.equal([1, false])
  })

  it('keeps its order, and comes before queued messages, after a reconnect', async () => {
    const heard: unknown[] = []
    let isLost = true
    serve(
      messages().on('say', ({ data }) => void heard.push(data)),
      { adapter: oldAdapter() },
    )
    const client = open((text, isSent) =>
      isSent && isLost && /"key"/.test(text) ? 'instead of sending' : 'never',
    )
    const requests = [1, 2].map((data) => client.request('say', data, { retry: true }))
    await eventually(() => client.state.status === 'waiting')
    isLost = false
    client.push('say', 3)
    await Promise.all(requests)
    await eventually(() => heard.length === 3)
    expect(heard).to.deep.equal([1, 2, 3])
  })

  it('does not run without a record of the past, and says that the outcome is unknown', async () => {
    let runs = 0
    const { hub } = serve(messages().on('pay', () => ++runs))
    const client = open(once('instead of sending'))
    const error = await client.request('pay', 1, { retry: true }).catch((reason) => reason)
    expect(error).to.include({ code: 'ERR_KOAWS_OUTCOME_UNKNOWN', sent: true, retryable: false })
    expect(runs).to.equal(0)
    expect(hub.status().drops).to.deep.equal({ retryUnknown: 1 })
  })

  it('does not run again on a restarted server without an adapter', async () => {
    let runs = 0
    const chat = (): Chat => messages().on('pay', () => ++runs)
    const { hub } = serve(chat())
    serve(chat())
    const client = open((text, isSent) => {
      if (isSent || !/koaws:reply/.test(text)) return 'never'
      at = 1
      return 'on receiving'
    })
    expect(await codeOf(client.request('pay', 1, { retry: true }))).to.equal(
      'ERR_KOAWS_OUTCOME_UNKNOWN',
    )
    await hub.close()
    expect(runs).to.equal(1)
  })

  for (const stage of ['instead of sending', 'after sending', 'on receiving'] as const) {
    it(`runs once on two instances with a shared record, when the connection breaks: ${stage}`, async () => {
      const runs: string[] = []
      const adapter = oldAdapter()
      for (const name of ['first', 'second']) {
        serve(
          messages().on('pay', async () => {
            runs.push(name)
            await new Promise((resolve) => setTimeout(resolve, 5))
            return name
          }),
          { adapter },
        )
      }
      const client = open((text, isSent) => {
        const here = plan(text, isSent)
        if (here !== 'never') at = 1
        return here
      })
      const plan = once(stage)
      const answer = await client.request('pay', 1, { retry: true })
      const name = stage === 'instead of sending' ? 'second' : 'first'
      expect([answer, runs]).to.deep.equal([name, [name]])
    })
  }

  it('gets its answer from another instance when the first one shuts down', async () => {
    const [running, done] = [deferred(), deferred()]
    const adapter = oldAdapter()
    let runs = 0
    const chat = (): Chat =>
      messages().on('pay', async () => {
        running.resolve()
        await done.promise
        return ++runs
      })
    const { hub } = serve(chat(), { adapter })
    serve(chat(), { adapter })
    const client = open()
    const answer = client.request('pay', 1, { retry: true })
    await running.promise
    at = 1
    cut()
    await eventually(() => sites[1]?.hub.localConnections.size === 1)
    const closed = hub.close()
    done.resolve()
    await closed
    expect(await answer).to.equal(1)
    expect(runs).to.equal(1)
  })

  it('has an unknown outcome when the instance ends while the handler runs', async () => {
    const running = deferred()
    const adapter = oldAdapter()
    let isAborted = false
    const chat = (): Chat =>
      messages().on('pay', async ({ signal }) => {
        running.resolve()
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
        isAborted = true
      })
    const { hub } = serve(chat(), { adapter })
    serve(chat(), { adapter })
    const client = open()
    const answer = codeOf(client.request('pay', 1, { retry: true }))
    await running.promise
    at = 1
    await hub.close({ timeout: 200 })
    expect(await answer).to.equal('ERR_KOAWS_OUTCOME_UNKNOWN')
    expect(isAborted).to.equal(true)
  })

  it('is rejected when the client stops, and not before', async () => {
    const running = deferred()
    serve(
      messages().on('pay', () => {
        running.resolve()
        return new Promise(() => {})
      }),
    )
    const client = open()
    let code: unknown
    const answer = codeOf(client.request('pay', 1, { retry: true })).then((one) => {
      code = one
    })
    await running.promise
    const { connection } = client.state
    cut()
    await eventually(() => client.state.status === 'open' && client.state.connection !== connection)
    expect(code).to.equal(undefined)
    client.close()
    await answer
    expect(code).to.equal('ERR_KOAWS_CLOSED')
  })

  it('ends with its timeout, or its signal, while it waits for a connection', async () => {
    serve(messages().on('pay', () => new Promise(() => {})))
    const client = open()
    const controller = new AbortController()
    const requests = [
      codeOf(client.request('pay', 1, { retry: true, timeout: 50 })),
      codeOf(client.request('pay', 1, { retry: true, signal: controller.signal })),
    ]
    await eventually(() => client.state.status === 'open')
    cut()
    controller.abort('enough')
    expect(await Promise.all(requests)).to.deep.equal(['ERR_KOAWS_TIMEOUT', 'enough'])
  })

  it('runs the middleware of the messages again before the kept answer is given', async () => {
    let [runs, passed] = [0, 0]
    const chat = messages()
      .use(async (message, next) => {
        if (++passed > 1) message.throw(403, 'No longer', { code: 'no_longer' })
        await next()
      })
      .on('pay', () => ++runs)
    serve(chat)
    const client = open(once('on receiving'))
    expect(await codeOf(client.request('pay', 1, { retry: true }))).to.equal('no_longer')
    expect([runs, passed]).to.deep.equal([1, 2])
  })

  it('gives middleware the kept data, and repeats an early reply', async () => {
    const seen: unknown[] = []
    const chat = messages()
      .use(async (_message, next) => {
        seen.push(await next())
      })
      .on('pay', (message) => message.reply({ early: true }))
    serve(chat)
    const client = open(once('on receiving'))
    expect(await client.request('pay', 1, { retry: true })).to.deep.equal({ early: true })
    expect(seen.at(-1)).to.deep.equal({ early: true })
  })

  it('is answered once where middleware replies before the handler', async () => {
    let runs = 0
    const chat = messages()
      .use((message, next) => {
        message.reply('early')
        return next()
      })
      .on('pay', () => void runs++)
    serve(chat)
    const client = open(once('on receiving'))
    expect(await client.request('pay', 1, { retry: true })).to.equal('early')
    await eventually(() => runs === 1)
    expect(errors).to.deep.equal([])
  })

  describe('within its bounds', () => {
    const KEY = 'Aa0_-Aa0_-Aa0_-Aa0_-Aa'

    /** Connects without the client of koaws, as this user. */
    async function raw(user?: string, path = '/chat'): Promise<TestSocket> {
      const { app } = sites[at] as Site
      const socket = await testApp(app).connect(user ? `${path}?user=${user}` : path, {
        protocols: ['koaws.v1'],
      })
      await socket.next()
      return socket
    }

    async function ask(socket: TestSocket, message: object): Promise<Record<string, unknown>> {
      socket.json({ type: 'pay', id: 1, key: KEY, ...message })
      const { data, error } = (await socket.nextJson()) as Record<string, Record<string, unknown>>
      return error ? { code: error['code'], status: error['status'] } : { data }
    }

    const count = (): Chat => {
      let runs = 0
      return messages()
        .on('pay', () => ++runs)
        .on('other', () => ++runs)
    }

    it('is another one for another user, another path, and without a user', async () => {
      serve(count())
      for (const [user, path] of [
        ['ann'],
        ['bob'],
        ['ann', '/elsewhere'],
        [],
        [''],
      ] as string[][]) {
        const socket = await raw(user, path)
        const { data } = await ask(socket, {})
        expect(await ask(await raw(user, path), { again: true })).to.deep.equal({ data })
      }
      expect(await ask(await raw('eve'), {})).to.deep.equal({ data: 5 })
    })

    it('rejects another type, and other data, with 409', async () => {
      serve(count())
      const socket = await raw('ann')
      expect(await ask(socket, { data: { a: 1, b: null } })).to.deep.equal({ data: 1 })
      const reused = { code: 'ERR_KOAWS_KEY_REUSED', status: 409 }
      for (const other of [
        { data: { a: 1 } },
        { data: null },
        {},
        { type: 'other', data: { a: 1, b: null } },
      ]) {
        expect(await ask(socket, { ...other, again: true })).to.deep.equal(reused)
      }
    })

    it('rejects other data while the handler runs', async () => {
      const [running, done] = [deferred(), deferred()]
      const chat = messages({ concurrency: 2 }).on('pay', async () => {
        running.resolve()
        await done.promise
      })
      serve(chat)
      const first = await raw('ann')
      first.json({ type: 'pay', id: 1, key: KEY, data: 1 })
      await running.promise
      const second = await ask(await raw('ann'), { data: 2 })
      expect(second['code']).to.equal('ERR_KOAWS_KEY_REUSED')
      done.resolve()
    })

    it('runs 64 keys of a user, refuses the next, and still answers the known', async () => {
      const { hub } = serve(count())
      const socket = await raw('ann')
      const keyOf = (n: number): string => `key-of-this-number-${n}`
      for (let n = 1; n <= 64; n++) {
        expect(await ask(socket, { key: keyOf(n) })).to.deep.equal({ data: n })
      }
      const refused = { code: 'ERR_KOAWS_TOO_MANY_KEYS', status: 429 }
      expect(await ask(await raw('ann'), { key: keyOf(65) })).to.deep.equal(refused)
      const unknown = { code: 'ERR_KOAWS_OUTCOME_UNKNOWN', status: 500 }
      expect(await ask(socket, { key: keyOf(65), again: true })).to.deep.equal(unknown)
      expect(await ask(socket, { key: keyOf(1), again: true })).to.deep.equal({ data: 1 })
      expect(await ask(await raw('bob'), { key: keyOf(65) })).to.deep.equal({ data: 65 })
      expect(hub.status().drops).to.include({ retryKeys: 2, retryUnknown: 1 })
    })

    it('counts the keys of each connection without a user', async () => {
      serve(count())
      const [one, two] = [await raw(), await raw()]
      const keyOf = (n: number): string => `key-of-this-number-${n}`
      for (let n = 1; n <= 64; n++) await ask(one, { key: keyOf(n) })
      expect(await ask(one, { key: keyOf(65) })).to.include({ status: 429 })
      expect(await ask(two, { key: keyOf(65) })).to.deep.equal({ data: 65 })
    })

    it('keeps 16 KiB of an answer; a larger one is sent once, and then known as carried out', async () => {
      let runs = 0
      const { hub } = serve(
        messages().on('pay', ({ data }) => {
          runs++
          return 'x'.repeat(data as number)
        }),
      )
      const socket = await raw('ann')
      const most = 16_384 - 3 // two quotes, and the kind of answer
      for (const [n, size] of [most, most + 1].entries()) {
        const key = `key-of-this-number-${n}`
        expect(String((await ask(socket, { key, data: size }))['data'])).to.have.length(size)
        const again = await ask(socket, { key, data: size, again: true })
        if (n === 0) expect(String(again['data'])).to.have.length(size)
        else expect(again).to.deep.equal({ code: 'ERR_KOAWS_ANSWER_NOT_KEPT', status: 500 })
      }
      expect(runs).to.equal(2)
      expect(hub.status().drops).to.deep.equal({ retryAnswers: 1 })
    })

    it('is refused as not carried out when the record is away, and as unknown when it was sent before', async () => {
      let runs = 0
      const away = {
        claim: () => Promise.reject(new Error('away')),
        look: () => Promise.reject(new Error('away')),
        settle() {},
        close() {},
      }
      serve(
        messages().on('pay', () => ++runs),
        { adapter: { ...memoryAdapter(), retries: () => away } },
      )
      const socket = await raw('ann')
      expect(await ask(socket, {})).to.deep.equal({ code: 'ERR_KOAWS_RETRY_STORE', status: 503 })
      const unknown = { code: 'ERR_KOAWS_OUTCOME_UNKNOWN', status: 500 }
      expect(await ask(socket, { again: true })).to.deep.equal(unknown)
      expect(runs).to.equal(0)
    })

    it('refuses a request when its record alone cannot be reached, and runs others', async () => {
      let stuck = ''
      let runs = 0
      const partly = {
        claim(id: string) {
          stuck ||= id
          return id === stuck ? Promise.reject(new Error('away')) : { state: 'first' as const }
        },
        look: () => ({ state: 'unknown' as const }),
        settle() {},
        close() {},
      }
      serve(
        messages().on('pay', () => ++runs),
        { adapter: { ...memoryAdapter(), retries: () => partly } },
      )
      const socket = await raw('ann')
      let refused: unknown = null
      void ask(socket, {}).then((outcome) => {
        refused = outcome
      })
      for (let user = 0; refused === null; user++) {
        const other = await raw(`bob ${user}`)
        for (let i = 0; i < 50 && refused === null; i++) {
          await ask(other, { key: `${i}`.padStart(22, 'x') })
          await new Promise((resolve) => setTimeout(resolve, 10))
        }
      }
      expect(refused).to.deep.equal({ code: 'ERR_KOAWS_RETRY_STORE', status: 503 })
      expect(runs).to.be.above(50)
    })

    it('does not run again on this instance when the record has lost it', async () => {
      let runs = 0
      const forgetful = {
        claim: () => ({ state: 'first' as const }),
        look: () => ({ state: 'unknown' as const }),
        settle() {},
        close() {},
      }
      serve(
        messages().on('pay', () => ++runs),
        { adapter: { ...memoryAdapter(), retries: () => forgetful } },
      )
      const socket = await raw('ann')
      expect(await ask(socket, {})).to.deep.equal({ data: 1 })
      const unknown = { code: 'ERR_KOAWS_OUTCOME_UNKNOWN', status: 500 }
      expect(await ask(socket, {})).to.deep.equal(unknown)
      expect(await ask(socket, { again: true })).to.deep.equal(unknown)
      expect(runs).to.equal(1)
    })
  })
})

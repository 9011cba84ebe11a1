import { expect } from 'chai'
import { returnDelays } from '../../lib/hub/return-delays.ts'
import { accept } from '../../lib/index.ts'
import {
  closeFrame,
  handshake,
  pingFrame,
  type RawClient,
  type RawFrame,
  rawClient,
  textFrame,
} from '../support/raw.ts'
import {
  cleanUp,
  deferred,
  openSocket,
  rejected,
  serve as serveWith,
  turn,
} from '../support/server.ts'

const KOAWS_V1 = { 'Sec-WebSocket-Protocol': 'koaws.v1' }
const REASON = /^restart, retry in (\d+) ms$/

/** The code and reason of a close frame. */
function closing({ opcode, payload }: RawFrame): { code: number; reason: string } {
  expect(opcode, payload.toString()).to.equal(8)
  return { code: payload.readUInt16BE(0), reason: payload.toString('utf8', 2) }
}

async function opened(port: number, path = '/', headers = {}): Promise<RawClient> {
  const client = await rawClient(port)
  client.write(handshake(path, headers))
  expect((await client.answer()).status).to.equal(101)
  return client
}

/** Resolves when the server has read all that this client has sent. */
async function allRead(client: RawClient): Promise<void> {
  client.write(pingFrame('read'))
  const { opcode, payload } = await client.frame()
  expect([opcode, payload.toString()]).to.deep.equal([10, 'read'])
}

/** Counts how many clients return in each second. */
function seconds(delays: readonly number[]): number[] {
  const counts: number[] = []
  for (const delay of delays) {
    const second = Math.floor(delay / 1000)
    counts[second] = (counts[second] ?? 0) + 1
  }
  return counts
}

/** Serves without a heartbeat, because pings would come between the frames. */
const serve = (build: Parameters<typeof serveWith>[0]): ReturnType<typeof serveWith> =>
  serveWith(build, { heartbeat: false })

describe('the retry delay after hub.close()', () => {
  afterEach(cleanUp)

  it('is in the close reason of a 1012', async () => {
    const { port, hub } = await serve((app) => app.use(accept(() => {})))
    const client = await opened(port)
    const closed = hub.close()
    const { code, reason } = closing(await client.frame())
    client.write(closeFrame(code))
    expect(code).to.equal(1012)
    expect(Number(REASON.exec(reason)?.[1])).to.be.within(500, 1_500)
    await closed
  })

  it('is in a koaws:bye message right before the close frame, with koaws.v1', async () => {
    const { port, hub } = await serve((app) =>
      app.use(accept((connection) => connection.push('first'), { subprotocol: 'koaws.v1' })),
    )
    const client = await opened(port, '/', KOAWS_V1)
    expect(await client.textFrame()).to.equal('{"type":"first"}')
    const closed = hub.close()
    const bye = await client.textFrame()
    const { code, reason } = closing(await client.frame())
    client.write(closeFrame(code))
    await closed
    const after = Number(REASON.exec(reason)?.[1])
    expect(bye).to.equal(
      `{"type":"koaws:bye","data":{"code":1012,"reason":"${reason}","after":${after}}}`,
    )
    await client.end()
    expect(client.received.length, 'bytes behind the close frame').to.equal(0)
  })

  it('follows the broadcasts of the same turn', async () => {
    const { port, hub } = await serve((app) =>
      app.use(accept(() => {}, { subprotocol: 'koaws.v1', rooms: ['hall'] })),
    )
    const client = await opened(port, '/', KOAWS_V1)
    hub.room('hall').send('news')
    const closed = hub.close()
    hub.room('hall').send('more')
    expect(await client.textFrame()).to.equal('news')
    expect(await client.textFrame()).to.equal('more')
    expect(await client.textFrame()).to.match(/^{"type":"koaws:bye"/)
    closing(await client.frame())
    client.write(closeFrame(1012))
    await closed
  })

  it('is spread so that no second gets more than a fifth of 200 clients', async () => {
    const { port, hub } = await serve((app) => {
      app.use(hubRoute('/plain', undefined))
      app.use(hubRoute('/v1', 'koaws.v1'))
    })
    const sockets = await Promise.all(
      Array.from({ length: 200 }, (_, i) =>
        i % 2 === 0
          ? openSocket(port, '/plain')
          : openSocket(port, '/v1', { protocols: ['koaws.v1'] }),
      ),
    )
    await hub.close()
    const delays = await Promise.all(
      sockets.map(async (socket, i) => {
        const { code, reason } = await socket.closed
        expect(code).to.equal(1012)
        const after = Number(REASON.exec(reason)?.[1])
        if (i % 2 === 1) {
          expect(await socket.nextJson()).to.deep.equal({
            type: 'koaws:bye',
            data: { code, reason, after },
          })
        }
        return after
      }),
    )
    for (const delay of delays) expect(delay).to.be.within(500, 9_500)
    expect(Math.max(...seconds(delays)), String(seconds(delays))).to.be.at.most(200 * 0.2)
    expect(new Set(delays).size, 'different delays').to.be.above(180)
    // Delays do not follow the order of connecting: clients of one page would stay together.
    const inOrder = delays.filter((delay, i) => i > 0 && delay > (delays[i - 1] as number))
    expect(inOrder.length).to.be.within(60, 140)
  })

  it('starts at half a second, and spreads over up to a minute for more clients', () => {
    for (const [count, span] of [
      [1, 1_000],
      [10, 1_000],
      [50, 5_000],
      [90, 9_000],
      [9_000, 9_000],
      [20_000, 20_000],
      [200_000, 60_000],
    ] as const) {
      const delays = returnDelays(count).map((delay) => delay - 500)
      expect(delays.length).to.equal(count)
      const last = delays.reduce((a, b) => Math.max(a, b), 0)
      const first = delays.reduce((a, b) => Math.min(a, b), span)
      expect([first >= 0, last <= span], `${count}: ${first} to ${last}`).to.deep.equal([
        true,
        true,
      ])
      if (count < 1_000) continue
      const even = count / (span / 1_000)
      for (const many of seconds(delays).slice(0, span / 1_000)) {
        expect(many, `${count} over ${span} ms`).to.be.within(even - 10, even + 10)
      }
    }
    expect(returnDelays(0)).to.deep.equal([])
  })

  it('is only in koaws:bye, and not in the close reason, for another code', async () => {
    const { port, hub } = await serve((app) => {
      app.use(hubRoute('/plain', undefined))
      app.use(hubRoute('/v1', 'koaws.v1'))
    })
    const plain = await opened(port, '/plain')
    const v1 = await opened(port, '/v1', KOAWS_V1)
    const closed = hub.close({ code: 1001 })
    expect(closing(await plain.frame())).to.deep.equal({ code: 1001, reason: '' })
    const bye = JSON.parse(await v1.textFrame())
    expect(bye).to.deep.equal({
      type: 'koaws:bye',
      data: { code: 1001, reason: '', after: bye.data.after },
    })
    expect(bye.data.after).to.be.within(500, 1_500)
    expect(closing(await v1.frame())).to.deep.equal({ code: 1001, reason: '' })
    for (const client of [plain, v1]) client.write(closeFrame(1001))
    await closed
  })
})

describe('hub.close() with handlers at work', () => {
  afterEach(cleanUp)

  it('lets a loop finish the messages that had arrived, and sends the replies before the close frame', async () => {
    const release = deferred()
    const { port, hub, errors } = await serve((app) =>
      app.use(
        accept(async (connection) => {
          for await (const message of connection) {
            await release.promise
            await turn()
            connection.send(`done ${message}`)
          }
          await turn()
          connection.send('handler done')
        }),
      ),
    )
    const client = await opened(port)
    for (let i = 0; i < 10; i++) client.write(textFrame(`job ${i}`))
    await allRead(client)
    const closed = hub.close({ timeout: 600_000 })
    await turn()
    release.resolve()
    for (let i = 0; i < 10; i++) expect(await client.textFrame()).to.equal(`done job ${i}`)
    expect(await client.textFrame()).to.equal('handler done')
    expect(closing(await client.frame()).code).to.equal(1012)
    client.write(closeFrame(1012))
    await closed
    expect(hub.status().drops).to.deep.equal({})
    expect(errors).to.deep.equal([])
  })

  it('drops messages that arrive after the shutdown began', async () => {
    const seen: string[] = []
    const release = deferred()
    const { port, hub } = await serve((app) =>
      app.use(
        accept(async (connection) => {
          for await (const message of connection) seen.push(String(message))
          await release.promise
        }),
      ),
    )
    const client = await opened(port)
    client.write(textFrame('in time'))
    await allRead(client)
    const closed = hub.close({ timeout: 600_000 })
    client.write(textFrame('too late'))
    await allRead(client)
    release.resolve()
    expect(closing(await client.frame()).code).to.equal(1012)
    client.write(closeFrame(1012))
    await closed
    expect(seen).to.deep.equal(['in time'])
    expect(hub.status().drops).to.deep.equal({ unheard: 1 })
  })

  for (const [where, stuck] of [
    ['inside of its loop', true],
    ['after its loop', false],
  ] as const) {
    it(`waits half of the timeout for a handler that never ends ${where}`, async () => {
      const { port, hub } = await serve((app) =>
        app.use(
          accept(async (connection) => {
            for await (const _ of connection) if (stuck) await new Promise(() => {})
            await new Promise(() => {})
          }),
        ),
      )
      const client = await opened(port)
      const bystander = await openSocket(port)
      client.write(textFrame('go'))
      await allRead(client)
      const started = Date.now()
      const closed = hub.close({ timeout: 600 })
      expect(closing(await client.frame()).code).to.equal(1012)
      expect(Date.now() - started).to.be.at.least(280)
      client.write(closeFrame(1012))
      await closed
      expect((await bystander.closed).code).to.equal(1012)
      expect(hub.localConnections.size).to.equal(0)
    })
  }

  it('does not wait for a handler when its client leaves', async () => {
    const { port, hub } = await serve((app) =>
      app.use(
        accept(async (connection) => {
          for await (const _ of connection) await new Promise(() => {})
        }),
      ),
    )
    const client = await opened(port)
    client.write(textFrame('go'))
    await allRead(client)
    const closed = hub.close({ timeout: 600_000 })
    client.reset()
    await closed
  })

  it('sets ready to false at once, accepts upgrades during readyDelay, then answers 503', async () => {
    const { port, hub } = await serve((app) =>
      app.use(
        accept((connection) => connection.on('message', (data) => connection.send(`${data}`))),
      ),
    )
    const early = await opened(port)
    const started = Date.now()
    const closed = hub.close({ readyDelay: 3_000, timeout: 2_000 })
    expect(hub.status()).to.deep.include({ ready: false, draining: true, reasons: ['draining'] })
    const during = await opened(port)
    for (const client of [early, during]) {
      client.write(textFrame('still there'))
      expect(await client.textFrame()).to.equal('still there')
    }
    // The server closes no client before the delay is over, and refuses new clients after it.
    expect(closing(await early.frame()).code).to.equal(1012)
    expect(Date.now() - started).to.be.at.least(2_995)
    const { status, headers } = await rejected(openSocket(port))
    expect([status, headers['retry-after']]).to.deep.equal([503, '5'])
    expect(closing(await during.frame()).code).to.equal(1012)
    for (const client of [early, during]) client.write(closeFrame(1012))
    await closed
  })
})

/** A route for one path that speaks one subprotocol. */
function hubRoute(path: string, subprotocol: string | undefined) {
  const middleware = accept(() => {}, subprotocol === undefined ? {} : { subprotocol })
  return (ctx: Parameters<typeof middleware>[0], next: Parameters<typeof middleware>[1]) =>
    ctx.path === path ? middleware(ctx, next) : next()
}

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { WebSocket } from 'ws'
import { clusterAdapter } from '../../lib/adapters/cluster/index.ts'
import { connect } from '../../lib/client/index.ts'
import { streams } from '../../lib/client/streams.ts'
import { type Adapter, type KoaWsOptions, memoryAdapter, messages } from '../../lib/index.ts'
import { overAdapters } from '../support/over-adapters.ts'
import { cleanUp, deferred, eventually, type Site } from '../support/server.ts'
import { begin, hearAll, hearMany, item, KEY, PLENTY, ping } from '../support/streams.ts'
import { hear, serveMessages, talk } from '../support/talk.ts'

/** Returns an adapter with the record of some minutes after the start: it is certain of a key without an entry. */
function certain(adapter: Adapter): Adapter {
  const open = adapter.retries
  return {
    ...adapter,
    retries:
      open &&
      ((id) => {
        const store = open(id)
        return {
          claim: (key, hash) => store.claim(key, hash, false),
          look: (key) => store.look(key),
          settle: (key, answer) => store.settle(key, answer),
          close: () => store.close(),
        }
      }),
  }
}

/** A request that is sent again by a client that has received nothing. */
const AGAIN = { credit: PLENTY, key: KEY, again: true }

describe('a stream of which the client has received nothing', () => {
  afterEach(cleanUp)

  let started = 0
  let gate = Promise.resolve()

  async function site(adapter: Adapter, options: KoaWsOptions = {}): Promise<Site> {
    const chat = messages().on(
      'go',
      async function* () {
        started++
        await gate
        yield 'a'
        yield 'b'
        return 'end'
      },
      { resume: true },
    )
    const made = await serveMessages(chat, {}, { adapter, ...options })
    await eventually(() => made.hub.status().backplane.state === 'ready')
    return made
  }

  async function two(make: () => Adapter, options?: KoaWsOptions): Promise<[Site, Site]> {
    started = 0
    gate = Promise.resolve()
    const sites = [await site(make(), options), await site(make(), options)] as const
    for (const { hub } of sites) await eventually(() => hub.status().backplane.instances === 1)
    return [...sites]
  }

  function over(make: () => () => Adapter): void {
    it('runs when the first request was lost, and then never again', async () => {
      const [one, other] = await two(make())
      const second = await talk(other.port)
      begin(second, 'go', 1, AGAIN)
      const { items, answer } = await hearAll(second, 1)
      expect([items, answer.data]).to.deep.equal([['a', 'b'], 'end'])
      const first = await talk(one.port)
      begin(first, 'go', 7, { credit: PLENTY, key: KEY })
      expect((await hear(first)).error).to.include({ code: 'ERR_KOAWS_STREAM', status: 400 })
      expect(started).to.equal(1)
      expect([one.errors, other.errors]).to.deep.equal([[], []])
    })

    it('goes on when the first request has arrived', async () => {
      const [one, other] = await two(make())
      const open = deferred()
      gate = open.promise
      const first = await talk(one.port)
      begin(first, 'go', 1, { credit: PLENTY, key: KEY })
      await eventually(() => started === 1)
      first.terminate()
      const second = await talk(other.port)
      begin(second, 'go', 1, AGAIN)
      await ping(second)
      open.resolve()
      const { items, answer } = await hearAll(second, 1)
      expect([items, answer.data, started]).to.deep.equal([['a', 'b'], 'end', 1])
    })

    it('is lost when its instance has ended', async () => {
      const [one, other] = await two(make())
      gate = new Promise(() => {})
      const first = await talk(one.port)
      begin(first, 'go', 1, { credit: PLENTY, key: KEY })
      await eventually(() => started === 1)
      await one.hub.close({ timeout: 100 })
      const second = await talk(other.port)
      begin(second, 'go', 1, AGAIN)
      expect((await hear(second)).error?.code).to.equal('ERR_KOAWS_STREAM_LOST')
      expect([started, other.hub.status().drops['streamLost']]).to.deep.equal([1, 1])
    })

    it('runs once for two arrivals at the same time', async () => {
      const [one, other] = await two(make())
      const [first, second] = await Promise.all([talk(one.port), talk(other.port)])
      begin(first, 'go', 1, AGAIN)
      begin(second, 'go', 1, AGAIN)
      await eventually(() => started === 1)
      await Promise.race([hearAll(first, 1), hearAll(second, 1)])
      expect(started).to.equal(1)
    })

    it('is lost with `since`, which says that its time is over', async () => {
      const [, other] = await two(make())
      const second = await talk(other.port)
      begin(second, 'go', 1, { ...AGAIN, since: 0 })
      expect((await hear(second)).error?.code).to.equal('ERR_KOAWS_STREAM_LOST')
      expect(started).to.equal(0)
    })
  }

  overAdapters(over, certain)

  describe('between hubs of clusterAdapter()', () => {
    const folders: string[] = []
    after(() => {
      for (const folder of folders) rmSync(folder, { recursive: true, force: true })
    })
    over(() => {
      const folder = mkdtempSync(join(tmpdir(), 'koaws-'))
      folders.push(folder)
      return () => certain(clusterAdapter({ name: 'search', folder, heartbeat: 200 }))
    })
  })

  it('is received whole by the client, over a cut that takes its request', async () => {
    const adapter = certain(memoryAdapter())
    const [one] = await two(() => adapter)
    let cuts = 0
    class Cut extends WebSocket {
      override send(text: string): void {
        if (text.startsWith('{"type":"go"') && cuts++ === 0) this.terminate()
        else super.send(text)
      }
    }
    const client = connect(`ws://127.0.0.1:${one.port}/`, {
      WebSocket: Cut as never,
      streams,
      minDelay: 1,
    })
    const stream = client.stream('go', undefined, { resume: true })
    const items: unknown[] = []
    for await (const one of stream) items.push(one)
    expect([items, await stream.reply, started, cuts]).to.deep.equal([['a', 'b'], 'end', 1, 2])
    client.close()
  })

  it('is lost when the record began a moment ago: it may have forgotten it', async () => {
    const adapter = memoryAdapter()
    const [, other] = await two(() => adapter)
    const second = await talk(other.port)
    begin(second, 'go', 1, AGAIN)
    expect((await hear(second)).error?.code).to.equal('ERR_KOAWS_STREAM_LOST')
    expect(started).to.equal(0)
  })

  it('can be canceled while the record is asked, and does not run', async () => {
    const asked = deferred()
    const base = certain(memoryAdapter())
    const adapter: Adapter = {
      ...base,
      retries: (id) => {
        const store = base.retries?.(id)
        if (!store) throw new Error('no record')
        return {
          claim: async (...claim) => {
            await asked.promise
            return store.claim(...claim)
          },
          look: (key) => store.look(key),
          settle: (key, answer) => store.settle(key, answer),
          close: () => store.close(),
        }
      },
    }
    const [one] = await two(() => adapter)
    const socket = await talk(one.port)
    for (const fields of [AGAIN, { credit: PLENTY, key: `${KEY}2` }]) {
      begin(socket, 'go', 1, fields)
      await ping(socket)
      socket.json({ type: 'koaws:cancel', id: 1 })
      await ping(socket)
    }
    asked.resolve()
    begin(socket, 'go', 2, { credit: PLENTY, key: `${KEY}3` })
    expect(await hearMany(socket, 2)).to.deep.equal([item(2, 'a'), item(2, 'b')])
    await eventually(() => streamsOpen(one) === 0)
    expect(started).to.equal(1)
  })

  it('counts for the limit of its user', async () => {
    const adapter = certain(memoryAdapter())
    const [one] = await two(() => adapter, { streams: { perUser: 1 }, user: () => 'ann' })
    gate = new Promise(() => {})
    const socket = await talk(one.port)
    begin(socket, 'go', 1, AGAIN)
    await eventually(() => started === 1)
    begin(socket, 'go', 2, { ...AGAIN, key: `${KEY}2` })
    expect((await hear(socket)).error?.code).to.equal('ERR_KOAWS_STREAM_LIMIT')
    expect([one.hub.status().drops['streamLimit'], streamsOpen(one)]).to.deep.equal([1, 1])
  })
})

function streamsOpen({ hub }: Site): number {
  return hub.status().streams.open
}

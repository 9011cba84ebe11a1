import { getEventListeners } from 'node:events'
import { expect } from 'chai'
import { streams } from '../../lib/client/streams.ts'
import {
  openClient,
  pass,
  rejection,
  scriptedClient,
  settle,
  useFakeClock,
} from './support/client.ts'
import type { ScriptedSocket } from './support/scripted-socket.ts'

/** A source that gives what the test puts in, and records how it is read. */
class Source implements AsyncIterableIterator<unknown> {
  reads = 0
  returns = 0
  readonly #waiting: {
    resolve(result: IteratorResult<unknown>): void
    reject(error: unknown): void
  }[] = []

  next(): Promise<IteratorResult<unknown>> {
    this.reads++
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }))
  }

  async return(): Promise<IteratorResult<unknown>> {
    this.returns++
    throw new Error('nothing reads this error')
  }

  async give(value: unknown): Promise<void> {
    this.#waiting.shift()?.resolve({ done: false, value })
    await settle()
  }

  async end(): Promise<void> {
    this.#waiting.shift()?.resolve({ done: true, value: undefined })
    await settle()
  }

  async fail(error: unknown): Promise<void> {
    this.#waiting.shift()?.reject(error)
    await settle()
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}

async function grant(socket: ScriptedSocket, bytes: unknown, id = 1): Promise<void> {
  socket.json({ type: 'koaws:credit', id, data: { bytes } })
  await settle()
}

function sizeOf(message: object): number {
  return Buffer.byteLength(JSON.stringify(message))
}

describe('client.upload()', () => {
  useFakeClock()

  async function open(welcome: object = {}) {
    const scripted = await openClient({ streams }, welcome)
    return { ...scripted, last: scripted.last, source: new Source() }
  }

  it('reads its source when the server grants credit, and resolves with the reply', async () => {
    const { client, last, source } = await open()
    const answer = client.upload('upload', { name: 'a.txt' }, source)
    await settle()
    expect(last.sent).to.deep.equal([
      { type: 'upload', id: 1, upload: true, data: { name: 'a.txt' } },
    ])
    expect(source.reads).to.equal(0)
    await grant(last, 65_536)
    await source.give({ part: 'line 1' })
    expect(last.last).to.deep.equal({ type: 'koaws:item', id: 1, data: { part: 'line 1' } })
    expect(source.reads).to.equal(2)
    await source.end()
    expect(last.last).to.deep.equal({ type: 'koaws:end', id: 1 })
    last.json({ type: 'koaws:reply', id: 1, data: { bytes: 6 } })
    expect(await answer).to.deep.equal({ bytes: 6 })
    expect(source.returns).to.equal(0)
    client.close()
  })

  it('reads the next item while its credit in bytes of UTF-8 is above 0', async () => {
    const { client, last, source } = await open()
    const item = { type: 'koaws:item', id: 1, data: 'äöü€' }
    const answer = rejection(client.upload('upload', undefined, source))
    await grant(last, sizeOf(item) + 1)
    await source.give(item.data)
    expect(source.reads).to.equal(2)
    await source.give(item.data)
    expect(last.sent).to.have.length(3)
    expect(source.reads).to.equal(2)
    await grant(last, sizeOf(item) - 1)
    expect(source.reads).to.equal(2)
    await grant(last, 1)
    expect(source.reads).to.equal(3)
    client.close()
    await answer
  })

  it('takes an iterable, and an iterable of promises', async () => {
    const { client, last } = await open()
    const answer = client.upload('upload', undefined, [1, Promise.resolve(2), null])
    await grant(last, 1_000)
    const items = last.sent.slice(1)
    expect(items.map(({ type, data }) => [type, data])).to.deep.equal([
      ['koaws:item', 1],
      ['koaws:item', 2],
      ['koaws:item', null],
      ['koaws:end', undefined],
    ])
    last.json({ type: 'koaws:reply', id: 1 })
    expect(await answer).to.equal(null)
    client.close()
  })

  it('ignores credit that is not a number above 0', async () => {
    const { client, last, source } = await open()
    const answer = rejection(client.upload('upload', undefined, source))
    for (const bytes of [0, -5, '7', null, {}, undefined]) await grant(last, bytes)
    for (const data of [null, 7, 'x']) last.json({ type: 'koaws:credit', id: 1, data })
    await settle()
    expect(source.reads).to.equal(0)
    client.close()
    await answer
  })

  it('rejects when the source is not iterable, before it is sent', async () => {
    const { client, last } = await open()
    for (const source of [undefined, null, 7, {}, { [Symbol.asyncIterator]: 1 }]) {
      const error = await rejection(client.upload('upload', undefined, source as never))
      expect(error).to.be.instanceOf(TypeError)
    }
    expect(last.sent).to.deep.equal([])
    client.close()
  })

  for (const [title, act, expected] of [
    ['replies', (last) => last.json({ type: 'koaws:reply', id: 1, data: 'enough' }), undefined],
    [
      'answers with an error',
      (last) => last.json({ type: 'koaws:error', id: 1, error: { code: 'full', status: 413 } }),
      'full',
    ],
    ['ends the connection', (last) => last.end(1006), 'ERR_KOAWS_CLOSED'],
    [
      'sends an item without being asked for any',
      (last) => last.json({ type: 'koaws:item', id: 1, data: 1 }),
      'ERR_KOAWS_MALFORMED',
    ],
  ] as [string, (last: ScriptedSocket) => void, string | undefined][]) {
    it(`closes its source when the server ${title}`, async () => {
      const { client, last, source } = await open()
      const answer = client.upload('upload', undefined, source)
      answer.catch(() => {})
      await grant(last, 1_000)
      act(last)
      await settle()
      expect(source.returns).to.equal(1)
      const sent = last.sent.length
      await source.give('late')
      expect(last.sent).to.have.length(sent)
      if (expected) expect(await rejection(answer)).to.include({ code: expected })
      else expect(await answer).to.equal('enough')
      client.close()
      expect(source.returns).to.equal(1)
    })
  }

  it('closes its source when the server cancels, and waits for the answer', async () => {
    const { client, last, source } = await open()
    const answer = client.upload('upload', undefined, source)
    await grant(last, 1_000)
    last.json({ type: 'koaws:cancel', id: 1 })
    expect(source.returns).to.equal(1)
    await source.end()
    await grant(last, 1_000)
    expect(last.sent).to.have.length(1)
    last.json({ type: 'koaws:reply', id: 1, data: 'enough' })
    expect(await answer).to.equal('enough')
    client.close()
  })

  it('closes its source and cancels when the signal aborts', async () => {
    const { client, last, source } = await open()
    const controller = new AbortController()
    const answer = rejection(
      client.upload('upload', undefined, source, { signal: controller.signal }),
    )
    await grant(last, 1_000)
    controller.abort('enough')
    expect(await answer).to.equal('enough')
    expect(source.returns).to.equal(1)
    expect(last.last).to.deep.equal({ type: 'koaws:cancel', id: 1 })
    expect(getEventListeners(controller.signal, 'abort')).to.deep.equal([])
    client.close()
  })

  it('closes its source when the client is closed, and when the queue is full', async () => {
    const { client, source } = await open()
    const answer = rejection(client.upload('upload', undefined, source))
    await settle()
    client.close()
    expect(await answer).to.include({ code: 'ERR_KOAWS_CLOSED', sent: true })
    expect(source.returns).to.equal(1)
    const full = scriptedClient({ streams, queue: false }).client
    const second = new Source()
    expect(await rejection(full.upload('upload', undefined, second))).to.include({
      code: 'ERR_KOAWS_QUEUE_FULL',
    })
    expect(second.returns).to.equal(1)
    full.close()
  })

  it('cancels and rejects with the error of its source, which it does not close', async () => {
    const { client, last, source } = await open()
    const answer = rejection(client.upload('upload', undefined, source))
    await grant(last, 1_000)
    const error = new Error('The disk is gone')
    await source.fail(error)
    expect(await answer).to.equal(error)
    expect(last.last).to.deep.equal({ type: 'koaws:cancel', id: 1 })
    expect(source.returns).to.equal(0)
    client.close()
  })

  for (const [title, value, expected] of [
    ['has no JSON form', () => 1, { name: 'TypeError' }],
    ['is undefined', undefined, { name: 'TypeError' }],
    ['is a BigInt', 1n, { name: 'TypeError' }],
    ['holds a Map', { tags: new Map() }, { message: 'tags: [object Map] has no JSON form.' }],
    ['is above maxMessage', 'x'.repeat(200), { code: 'ERR_KOAWS_TOO_LARGE', status: 413 }],
  ] as [string, unknown, object][]) {
    it(`cancels, rejects and closes its source when an item ${title}`, async () => {
      const { client, last, source } = await open({ maxMessage: 200 })
      const answer = rejection(client.upload('upload', undefined, source))
      await grant(last, 1_000)
      await source.give(value)
      expect(source.returns).to.equal(1)
      expect(await answer).to.include(expected)
      expect(last.sent.map(({ type }) => type)).to.deep.equal(['upload', 'koaws:cancel'])
      client.close()
    })
  }

  it('cancels and closes its source when an item is a promise that rejects', async () => {
    const { client, last } = await open()
    let closed = 0
    function* source(): Generator<Promise<never>> {
      try {
        yield Promise.reject(new Error('no item'))
      } finally {
        closed++
      }
    }
    const answer = rejection(client.upload('upload', undefined, source()))
    await grant(last, 1_000)
    expect(await answer).to.include({ message: 'no item' })
    expect(last.last).to.deep.equal({ type: 'koaws:cancel', id: 1 })
    expect(closed).to.equal(1)
    client.close()
  })

  describe('the timeout', () => {
    it('begins anew with each credit of the server', async () => {
      const { client, last } = await open()
      const answer = rejection(client.upload('upload', undefined, endless(), { timeout: 100 }))
      for (let n = 0; n < 3; n++) {
        await pass(99)
        await grant(last, sizeOf({ type: 'koaws:item', id: 1, data: 'x' }))
      }
      expect(last.sent).to.have.length(4)
      await pass(100)
      expect(await answer).to.include({ code: 'ERR_KOAWS_TIMEOUT', status: 408 })
      expect(last.last).to.deep.equal({ type: 'koaws:cancel', id: 1 })
      client.close()
    })

    it('stands still while the source is slow, and runs while the answer is missing', async () => {
      const { client, last, source } = await open()
      const answer = rejection(client.upload('upload', undefined, source, { timeout: 100 }))
      await grant(last, 1_000)
      await pass(10_000)
      await source.end()
      expect(last.last.type).to.equal('koaws:end')
      await pass(99)
      expect(last.last.type).to.equal('koaws:end')
      await pass(1)
      expect(await answer).to.include({ code: 'ERR_KOAWS_TIMEOUT' })
      client.close()
    })
  })

  it('is part of a stream with the option upload', async () => {
    const { client, last, source } = await open()
    const answer = client.stream('translate', 'de', { upload: source })
    expect(last.last).to.deep.equal({
      ...{ type: 'translate', id: 1, credit: 65_536, upload: true, data: 'de' },
    })
    await grant(last, 1_000)
    await source.give('Hund')
    last.json({ type: 'koaws:item', id: 1, data: 'dog' })
    expect(await answer.next()).to.deep.equal({ done: false, value: 'dog' })
    await answer.return()
    expect(last.last).to.deep.equal({ type: 'koaws:cancel', id: 1 })
    expect(source.returns).to.equal(1)
    client.close()
  })

  it('is not sent again after a reconnect', async () => {
    const scripted = await openClient({ streams }, { retry: 120_000 })
    const answer = rejection(scripted.client.upload('upload', undefined, endless()))
    await settle()
    scripted.last.end(1006)
    expect(await answer).to.include({ code: 'ERR_KOAWS_CLOSED', sent: true })
    await pass(500)
    scripted.last.welcome({ retry: 120_000 })
    expect(scripted.last.sent).to.deep.equal([])
    scripted.client.close()
  })
})

function* endless(): Generator<string> {
  for (;;) yield 'x'
}

import { getEventListeners } from 'node:events'
import { expect } from 'chai'
import { RequestError } from '../../lib/client/index.ts'
import type { ClientStream, StreamOptions } from '../../lib/client/stream-types.ts'
import { streams } from '../../lib/client/streams.ts'
import {
  openClient,
  pass,
  rejection,
  type Scripted,
  scriptedClient,
  settle,
  useFakeClock,
} from './support/client.ts'
import type { ScriptedSocket } from './support/scripted-socket.ts'

const DONE = { done: true, value: undefined }

interface Asked extends Scripted {
  readonly answer: ClientStream
}

/** Begins a stream on an open connection. */
async function ask(options: StreamOptions = {}, welcome: object = {}): Promise<Asked> {
  const scripted = await openClient({ streams }, { retry: 120_000, ...welcome })
  const answer = scripted.client.stream('ask', 'hi', options)
  return Object.assign(Object.create(scripted), { answer })
}

/** Sends an item of the server. Returns its size in bytes. */
function item(socket: ScriptedSocket, data: unknown, id = 1): number {
  const text = JSON.stringify({ type: 'koaws:item', id, data })
  socket.receive(text)
  return Buffer.byteLength(text)
}

function reply(socket: ScriptedSocket, data: unknown, id = 1): void {
  socket.json({ type: 'koaws:reply', id, data })
}

function fail(socket: ScriptedSocket, error: object, id = 1): void {
  socket.json({ type: 'koaws:error', id, error: { message: 'No', status: 503, ...error } })
}

/** Collects the items until the end of the stream. */
async function collect(stream: ClientStream): Promise<unknown[]> {
  const items: unknown[] = []
  for await (const value of stream) items.push(value)
  return items
}

/** The types of the messages that the client sent. */
function kinds(socket: ScriptedSocket): string[] {
  return socket.sent.map(({ type }) => type)
}

describe('client.stream()', () => {
  useFakeClock()

  it('yields the items, and resolves with the reply after them', async () => {
    const { client, last, answer } = await ask()
    expect(last.sent).to.deep.equal([{ type: 'ask', id: 1, credit: 65_536, data: 'hi' }])
    const items = collect(answer)
    item(last, { token: 'Hel' })
    await settle()
    item(last, { token: 'lo' })
    last.json({ type: 'koaws:item', id: 1 })
    reply(last, { tokens: 2 })
    expect(await items).to.deep.equal([{ token: 'Hel' }, { token: 'lo' }, null])
    expect(await answer.reply).to.deep.equal({ tokens: 2 })
    expect(await answer.next()).to.deep.equal(DONE)
    expect(kinds(last)).to.deep.equal(['ask'])
    client.close()
  })

  it('waits in the queue for a connection, in order', async () => {
    const scripted = scriptedClient({ streams })
    scripted.client.push('first')
    const answer = scripted.client.stream('ask', 'hi')
    scripted.client.push('last')
    await settle()
    scripted.last.welcome()
    expect(kinds(scripted.last)).to.deep.equal(['first', 'ask', 'last'])
    item(scripted.last, 1)
    reply(scripted.last, 'done')
    expect(await collect(answer)).to.deep.equal([1])
    scripted.client.close()
  })

  it('resolves with the reply at once, and yields the items that wait before the end', async () => {
    const { client, last, answer } = await ask()
    item(last, 1)
    item(last, 2)
    reply(last, 'done')
    expect(await answer.reply).to.equal('done')
    expect(await collect(answer)).to.deep.equal([1, 2])
    client.close()
  })

  it('answers concurrent calls of next() in order', async () => {
    const { client, last, answer } = await ask()
    const results = [answer.next(), answer.next(), answer.next()]
    await settle()
    item(last, 'a')
    item(last, 'b')
    reply(last, null)
    expect(await Promise.all(results)).to.deep.equal([
      { done: false, value: 'a' },
      { done: false, value: 'b' },
      DONE,
    ])
    client.close()
  })

  it('yields the items that wait before it rejects with the error of the server', async () => {
    const { client, last, answer } = await ask()
    item(last, 1)
    fail(last, { code: 'slow', data: [1] })
    expect(await answer.next()).to.deep.equal({ done: false, value: 1 })
    const error = await rejection(answer.next())
    expect(error).to.be.instanceOf(RequestError)
    expect(error).to.deep.include({ code: 'slow', status: 503, type: 'ask', data: [1] })
    expect(await rejection(answer.reply)).to.equal(error)
    expect(await answer.next()).to.deep.equal(DONE)
    expect(kinds(last)).to.deep.equal(['ask'])
    client.close()
  })

  it('rejects a call of next() that waits when the server answers with an error', async () => {
    const { client, last, answer } = await ask()
    const next = rejection(answer.next())
    await settle()
    fail(last, { code: 'slow' })
    expect(await next).to.include({ code: 'slow' })
    client.close()
  })

  it('rejects when the connection ends, after the items that wait', async () => {
    const { client, last, answer } = await ask()
    item(last, 1)
    last.end(1006)
    expect(await answer.next()).to.deep.equal({ done: false, value: 1 })
    expect(await rejection(answer.next())).to.include({ code: 'ERR_KOAWS_CLOSED', sent: true })
    expect(await rejection(answer.reply)).to.include({ code: 'ERR_KOAWS_CLOSED' })
    client.close()
  })

  it('rejects when the client is closed, and when it is closed already', async () => {
    const { client, answer } = await ask()
    const next = rejection(answer.next())
    await settle()
    client.close()
    expect(await next).to.include({ code: 'ERR_KOAWS_CLOSED', sent: true })
    const late = client.stream('ask')
    expect(await rejection(late.next())).to.include({ code: 'ERR_KOAWS_CLOSED', sent: false })
    expect(await rejection(late.reply)).to.include({ code: 'ERR_KOAWS_CLOSED' })
  })

  it('rejects when the queue is full, and when the message is above maxMessage', async () => {
    const queued = scriptedClient({ streams, queue: false })
    expect(await rejection(queued.client.stream('ask').reply)).to.include({
      code: 'ERR_KOAWS_QUEUE_FULL',
    })
    queued.client.close()
    const { client, last } = await openClient({ streams }, { maxMessage: 100 })
    const answer = client.stream('ask', 'x'.repeat(100))
    expect(await rejection(answer.next())).to.include({ code: 'ERR_KOAWS_TOO_LARGE', sent: false })
    expect(last.sent).to.deep.equal([])
    client.close()
  })

  it('rejects with a TypeError for a wrong type, wrong data and wrong options', async () => {
    const { client, last } = await openClient({ streams })
    const wrong = [
      client.stream('koaws:ask'),
      client.stream('ask', () => 1),
      client.stream('ask', 1, { credit: 0 }),
      client.stream('ask', 1, { credit: 262_145 }),
      client.stream('ask', 1, { credit: 1.5 }),
      client.stream('ask', 1, { resume: true, upload: [] }),
      client.stream('ask', 1, { upload: 7 as never }),
    ]
    for (const stream of wrong) {
      expect(await rejection(stream.next())).to.be.instanceOf(TypeError)
      expect(await rejection(stream.reply)).to.be.instanceOf(TypeError)
    }
    expect(last.sent).to.deep.equal([])
    client.close()
  })

  it('ignores messages of a stream that has ended, and of no stream', async () => {
    const { client, last, answer, errors } = await ask()
    reply(last, 1)
    item(last, 'late')
    item(last, 'other', 99)
    last.json({ type: 'koaws:credit', id: 1, data: { bytes: 5 } })
    last.json({ type: 'koaws:cancel', id: 7 })
    last.json({ type: 'koaws:item', data: 'no id' })
    expect(await collect(answer)).to.deep.equal([])
    const request = client.request('say')
    item(last, 'not a stream', 2)
    reply(last, 'said', 2)
    expect(await request).to.equal('said')
    expect(kinds(last)).to.deep.equal(['ask', 'say'])
    expect(errors).to.deep.equal([])
    client.close()
  })

  it('survives messages of a hostile server', async () => {
    const { client, last, answer, errors } = await ask()
    for (const message of [
      '{"type":"koaws:credit","id":1}',
      '{"type":"koaws:credit","id":1,"data":null}',
      '{"type":"koaws:credit","id":1,"data":{"bytes":1e999}}',
      '{"type":"koaws:cancel","id":1,"data":7}',
      '{"type":"koaws:item","id":1,"data":{"__proto__":{"polluted":1}}}',
      '{"type":"koaws:item","id":1,"error":{},"text":7,"data":[]}',
      '{"type":"koaws:error","id":1,"error":{"code":"ERR_KOAWS_STREAM_LOST","data":"x"}}',
    ]) {
      last.receive(message)
    }
    expect((await answer.next()).value).to.have.own.property('__proto__')
    expect(await answer.next()).to.deep.equal({ done: false, value: [] })
    expect(await rejection(answer.next())).to.include({ code: 'ERR_KOAWS_STREAM_LOST' })
    expect(({} as Record<string, unknown>)['polluted']).to.equal(undefined)
    expect(errors).to.deep.equal([])
    client.close()
  })

  describe('credit', () => {
    it('is granted when half of the window was taken, in bytes of UTF-8', async () => {
      const { client, last, answer } = await ask({ credit: 200 })
      expect(last.last.credit).to.equal(200)
      const sizes = ['ä'.repeat(8), 'b'.repeat(16), '€'].map((data) => item(last, data))
      await answer.next()
      expect(kinds(last)).to.deep.equal(['ask'])
      await answer.next()
      const bytes = (sizes[0] as number) + (sizes[1] as number)
      expect(last.last).to.deep.equal({ type: 'koaws:credit', id: 1, data: { bytes } })
      client.close()
    })

    it('counts the items that the application took, in a stream that can be resumed', async () => {
      const { client, last, answer } = await ask({ credit: 60, resume: true })
      const next = answer.next()
      await settle()
      const bytes = item(last, 'x')
      await next
      expect(last.last).to.deep.equal({ type: 'koaws:credit', id: 1, data: { bytes, items: 1 } })
      client.close()
    })

    it('is not granted while the application reads nothing', async () => {
      const { client, last } = await ask({ credit: 100 })
      item(last, 'x'.repeat(80))
      await settle()
      expect(kinds(last)).to.deep.equal(['ask'])
      client.close()
    })

    it('lets one item exceed it, and ends the stream of a server that sends another', async () => {
      const { client, last, answer } = await ask({ credit: 50 })
      item(last, 'x'.repeat(80))
      expect(kinds(last)).to.deep.equal(['ask'])
      item(last, 'y')
      expect(last.last).to.deep.equal({ type: 'koaws:cancel', id: 1 })
      expect(await rejection(answer.reply)).to.include({ code: 'ERR_KOAWS_MALFORMED', status: 400 })
      expect(await answer.next()).to.deep.equal({ done: false, value: 'x'.repeat(80) })
      expect(await rejection(answer.next())).to.include({ code: 'ERR_KOAWS_MALFORMED' })
      client.close()
    })

    it('is granted in parts that a server accepts, for an item above 245,760 bytes', async () => {
      const { client, last, answer } = await ask()
      const size = item(last, 'x'.repeat(300_000))
      await answer.next()
      const grants = last.sent.slice(1).map(({ data }) => (data as { bytes: number }).bytes)
      expect(grants).to.deep.equal([245_760, size - 245_760])
      client.close()
    })

    it('is not granted after the answer', async () => {
      const { client, last, answer } = await ask({ credit: 50 })
      item(last, 'x'.repeat(40))
      reply(last, null)
      await answer.next()
      expect(kinds(last)).to.deep.equal(['ask'])
      client.close()
    })

    it('ends the stream when an item is above the option maxMessage of the client', async () => {
      const { client, last, errors } = await openClient({ streams, maxMessage: 200 })
      const answer = client.stream('ask', 'hi')
      item(last, 'x'.repeat(300))
      expect(await rejection(answer.next())).to.include({ code: 'ERR_KOAWS_MALFORMED' })
      expect(last.last).to.deep.equal({ type: 'koaws:cancel', id: 1 })
      expect(errors).to.have.length(1)
      client.close()
    })
  })

  describe('cancel', () => {
    it('is sent when the application leaves the loop', async () => {
      const { client, last, answer } = await ask()
      item(last, 1)
      item(last, 2)
      for await (const value of answer) {
        expect(value).to.equal(1)
        break
      }
      expect(last.last).to.deep.equal({ type: 'koaws:cancel', id: 1 })
      expect(await rejection(answer.reply)).to.include({
        code: 'ERR_KOAWS_CANCELLED',
        status: 499,
        sent: true,
      })
      item(last, 3)
      reply(last, 'late')
      expect(await answer.next()).to.deep.equal(DONE)
      await answer.return()
      expect(kinds(last)).to.deep.equal(['ask', 'koaws:cancel'])
      client.close()
    })

    it('resolves calls of next() that wait when return() is called', async () => {
      const { client, answer } = await ask()
      const results = [answer.next(), answer.next()]
      expect(await answer.return()).to.deep.equal(DONE)
      expect(await Promise.all(results)).to.deep.equal([DONE, DONE])
      client.close()
    })

    it('rejects calls of next() that wait with the reason of the signal', async () => {
      const controller = new AbortController()
      const { client, last, answer } = await ask({ signal: controller.signal })
      const results = [rejection(answer.next()), rejection(answer.next())]
      await settle()
      const reason = new Error('enough')
      controller.abort(reason)
      expect(await Promise.all(results)).to.deep.equal([reason, reason])
      expect(await rejection(answer.reply)).to.equal(reason)
      expect(last.last).to.deep.equal({ type: 'koaws:cancel', id: 1 })
      client.close()
    })

    it('drops the items that wait when the signal aborts, before and after the answer', async () => {
      const controller = new AbortController()
      const { signal } = controller
      const { client, last, answer } = await ask({ signal })
      const second = client.stream('ask', 'hi', { signal })
      for (const id of [1, 2]) item(last, 'x', id)
      reply(last, 'done', 2)
      controller.abort('enough')
      for (const stream of [answer, second]) {
        expect(await rejection(stream.next())).to.equal('enough')
        expect(await stream.next()).to.deep.equal(DONE)
      }
      expect(await second.reply).to.equal('done')
      expect(kinds(last)).to.deep.equal(['ask', 'ask', 'koaws:cancel'])
      client.close()
    })

    it('rejects at once when the signal is aborted already', async () => {
      const { client, last } = await openClient({ streams })
      const answer = client.stream('ask', 'hi', { signal: AbortSignal.abort('no') })
      expect(await rejection(answer.next())).to.equal('no')
      expect(await rejection(answer.reply)).to.equal('no')
      expect(last.sent).to.deep.equal([])
      client.close()
    })

    it('removes a stream from the queue, which is then never sent', async () => {
      const scripted = scriptedClient({ streams })
      const controller = new AbortController()
      const left = scripted.client.stream('ask', 1)
      const aborted = scripted.client.stream('ask', 2, { signal: controller.signal })
      await left.return()
      controller.abort('enough')
      expect(await rejection(left.reply)).to.include({ code: 'ERR_KOAWS_CANCELLED', sent: false })
      expect(await rejection(aborted.next())).to.equal('enough')
      scripted.last.welcome()
      expect(scripted.last.sent).to.deep.equal([])
      scripted.client.close()
    })

    it('keeps a reply that has arrived', async () => {
      const { client, last, answer } = await ask()
      item(last, 1)
      reply(last, 'done')
      await answer.return()
      expect(await answer.next()).to.deep.equal(DONE)
      expect(await answer.reply).to.equal('done')
      expect(kinds(last)).to.deep.equal(['ask'])
      client.close()
    })

    it('leaves no listener on the signal', async () => {
      const { signal } = new AbortController()
      const { client, last, answer } = await ask({ signal })
      const second = client.stream('ask', 'hi', { signal })
      const third = client.stream('ask', 'hi', { signal })
      expect(getEventListeners(signal, 'abort')).to.have.length(3)
      reply(last, 1)
      await second.return()
      client.close()
      await answer.reply
      await rejection(third.reply)
      expect(getEventListeners(signal, 'abort')).to.deep.equal([])
    })
  })

  describe('the timeout', () => {
    it('rejects and cancels when the server is silent for 120 s', async () => {
      const { client, last, answer } = await ask()
      const next = rejection(answer.next())
      await pass(119_999)
      expect(kinds(last)).to.deep.equal(['ask'])
      await pass(1)
      expect(await next).to.include({ code: 'ERR_KOAWS_TIMEOUT', status: 408, sent: true })
      expect(await rejection(answer.reply)).to.include({ code: 'ERR_KOAWS_TIMEOUT' })
      expect(last.last).to.deep.equal({ type: 'koaws:cancel', id: 1 })
      client.close()
    })

    it('begins anew with each item', async () => {
      const { client, last, answer } = await ask({ timeout: 100 })
      for (let n = 0; n < 3; n++) {
        await pass(99)
        item(last, n)
      }
      reply(last, 'done')
      await pass(1_000)
      expect(await collect(answer)).to.deep.equal([0, 1, 2])
      client.close()
    })

    it('stands still while the server has no credit, and begins anew with a grant', async () => {
      const { client, last, answer } = await ask({ timeout: 100, credit: 40 })
      item(last, 'x'.repeat(40))
      await pass(10_000)
      await answer.next()
      expect(last.last.type).to.equal('koaws:credit')
      await pass(99)
      expect(last.last.type).to.equal('koaws:credit')
      await pass(1)
      expect(await rejection(answer.next())).to.include({ code: 'ERR_KOAWS_TIMEOUT' })
      client.close()
    })

    it('runs in the queue and without a connection', async () => {
      const queued = scriptedClient({ streams })
      const waiting = rejection(queued.client.stream('ask', 1, { timeout: 100 }).next())
      await pass(100)
      expect(await waiting).to.include({ code: 'ERR_KOAWS_TIMEOUT', sent: false })
      queued.client.close()
      const { client, last, answer } = await ask({ timeout: 100, resume: true })
      const next = rejection(answer.next())
      await settle()
      last.end(1006)
      await pass(100)
      expect(await next).to.include({ code: 'ERR_KOAWS_TIMEOUT', sent: true })
      client.close()
    })
  })

  describe('with resume', () => {
    /** Ends the connection and opens the next one. */
    async function reconnect(asked: Asked, welcome: object = { retry: 120_000 }): Promise<void> {
      asked.last.end(1006)
      await pass(500)
      asked.last.welcome(welcome)
    }

    it('has a key, and is sent again with the number of items and the free credit', async () => {
      const asked = await ask({ resume: true, credit: 1_000 })
      const { client, answer } = asked
      const { key } = asked.last.last
      expect(key).to.match(/^[\w-]{16,64}$/)
      item(asked.last, 'taken')
      await answer.next()
      const waiting = item(asked.last, 'waits')
      client.push('typing')
      await reconnect(asked)
      expect(asked.last.sent).to.deep.equal([
        {
          ...{ type: 'ask', id: 1, key, data: 'hi', again: true },
          ...{ since: 2, attempt: 1, credit: 1_000 - waiting },
        },
      ])
      item(asked.last, 'more')
      reply(asked.last, 'done')
      expect(await collect(answer)).to.deep.equal(['waits', 'more'])
      expect(asked.last.last).to.deep.equal({ type: 'koaws:cancel', id: 1 })
      client.close()
    })

    it('is sent again before waiting messages, in the order of the first time', async () => {
      const asked = await ask({ resume: true })
      const retried = asked.client.request('pay', 7, { retry: true })
      const second = asked.client.stream('ask', 'second', { resume: true })
      asked.last.end(1006)
      asked.client.push('later')
      await pass(500)
      asked.last.welcome({ retry: 120_000 })
      expect(asked.last.sent.map(({ type, id, since }) => [type, id, since])).to.deep.equal([
        ['ask', 1, undefined],
        ['pay', 2, undefined],
        ['ask', 3, undefined],
        ['later', undefined, undefined],
      ])
      asked.client.close()
      for (const promise of [retried, asked.answer.reply, second.reply]) {
        expect(await rejection(promise)).to.include({ code: 'ERR_KOAWS_CLOSED' })
      }
    })

    it('grants at least 1 byte when more than the window waits, and repays it', async () => {
      const asked = await ask({ resume: true, credit: 100 })
      const { client, answer } = asked
      const size = item(asked.last, 'x'.repeat(200))
      await reconnect(asked)
      expect(asked.last.last).to.include({ since: 1, credit: 1 })
      await answer.next()
      expect(size).to.be.above(100)
      expect(asked.last.last).to.deep.include({ data: { bytes: 99, items: 1 } })
      client.close()
    })

    it('can be resumed more often than once, and longer than a request with retry', async () => {
      const asked = await ask({ resume: true })
      for (let n = 1; n <= 4; n++) {
        await pass(100_000)
        item(asked.last, n)
        await reconnect(asked)
        expect(asked.last.last).to.include({ again: true, since: n })
      }
      reply(asked.last, null)
      expect(await collect(asked.answer)).to.deep.equal([1, 2, 3, 4])
      asked.client.close()
    })

    it('ends with the connection when a server recognizes no key', async () => {
      const without = await ask({ resume: true }, { retry: null })
      without.last.end(1006)
      expect(await rejection(without.answer.next())).to.include({ code: 'ERR_KOAWS_CLOSED' })
      without.client.close()
      const asked = await ask({ resume: true })
      await reconnect(asked, {})
      expect(asked.last.sent).to.deep.equal([])
      expect(await rejection(asked.answer.next())).to.include({ code: 'ERR_KOAWS_CLOSED' })
      asked.client.close()
    })

    it('is not sent again after a cancel without a connection', async () => {
      const asked = await ask({ resume: true })
      asked.last.end(1006)
      await asked.answer.return()
      await pass(500)
      asked.last.welcome({ retry: 120_000 })
      expect(asked.last.sent).to.deep.equal([])
      asked.client.close()
    })

    for (const [title, data, items] of [
      ['the number of the server', { items: 7 }, 7],
      ['the number of items received', undefined, 1],
      ['the number of items received instead of a wrong one', { items: 'x' }, 1],
    ] as const) {
      it(`tells where a lost stream ended: ${title}`, async () => {
        const asked = await ask({ resume: true })
        item(asked.last, 'x')
        await reconnect(asked)
        fail(asked.last, { code: 'ERR_KOAWS_STREAM_LOST', data })
        expect(await asked.answer.next()).to.deep.equal({ done: false, value: 'x' })
        expect(await rejection(asked.answer.next())).to.deep.include({
          code: 'ERR_KOAWS_STREAM_LOST',
          data: { items },
        })
        asked.client.close()
      })
    }
  })
})

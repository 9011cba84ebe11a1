import { getEventListeners } from 'node:events'
import { expect } from 'chai'
import { RequestError } from '../../lib/client/index.ts'
import {
  openClient,
  pass,
  rejection,
  scriptedClient,
  settle,
  useFakeClock,
} from './support/client.ts'

describe('request()', () => {
  useFakeClock()

  it('resolves with its reply, regardless of the order of replies', async () => {
    const { client, last } = await openClient()
    const answers = [client.request('say', { text: 'hi' }), client.request('say')]
    expect(last.sent).to.deep.equal([
      { type: 'say', id: 1, data: { text: 'hi' } },
      { type: 'say', id: 2 },
    ])
    last.json({ type: 'koaws:reply', id: 2, data: null, more: true })
    last.json({ type: 'koaws:reply', id: 1, data: { ok: true } })
    expect(await Promise.all(answers)).to.deep.equal([{ ok: true }, null])
    client.close()
  })

  it('rejects with the error of the server', async () => {
    const { client, last } = await openClient()
    const answer = rejection(client.request('say'))
    const error = { code: 'slow', message: 'Later', status: 429, retryable: true, data: [1] }
    last.json({ type: 'koaws:error', id: 1, error })
    const rejected = await answer
    expect(rejected).to.be.instanceOf(RequestError).and.instanceOf(Error)
    expect(rejected).to.deep.include({ ...error, name: 'RequestError', type: 'say', sent: true })
  })

  for (const error of [
    undefined,
    null,
    'no',
    [],
    { code: 1, status: '404', retryable: 1 },
    { code: { toString: 1 }, message: { toString: 1 } },
  ]) {
    it(`rejects with internal when the error is ${JSON.stringify(error)}`, async () => {
      const { client, last } = await openClient()
      const answer = rejection(client.request('say'))
      last.json({ type: 'koaws:error', id: 1, error })
      expect(await answer).to.include({ code: 'internal', status: 500, retryable: false })
      client.close()
    })
  }

  it('rejects with sent: true when a sent request times out', async () => {
    const { client, last } = await openClient()
    const answer = rejection(client.request('say'))
    await settle()
    await pass(10_000)
    const error = await answer
    expect(error).to.include({
      code: 'ERR_KOAWS_TIMEOUT',
      status: 408,
      retryable: false,
      sent: true,
    })
    expect(error['message']).to.include('may have been carried out')
    last.json({ type: 'koaws:reply', id: 1, data: 'late' })
    client.close()
  })

  it('prefers its own timeout to that of the client', async () => {
    const { client } = await openClient({ timeout: 50 })
    const codes: unknown[] = []
    for (const timeout of [undefined, 20]) {
      void rejection(client.request('say', 1, { timeout })).then(({ message }) =>
        codes.push(message),
      )
    }
    await pass(20)
    expect(codes).to.have.length(1)
    await pass(30)
    expect(codes[1]).to.include('50 ms')
    client.close()
  })

  it('rejects a sent request when the connection ends, and does not send it again', async () => {
    const scripted = await openClient()
    const answer = rejection(scripted.client.request('say'))
    await settle()
    scripted.last.end(1006)
    expect(await answer).to.include({
      code: 'ERR_KOAWS_CLOSED',
      status: 503,
      retryable: false,
      sent: true,
      type: 'say',
    })
    await pass(500)
    scripted.last.welcome()
    expect(scripted.last.sent).to.deep.equal([])
    scripted.client.close()
  })

  it('keeps a queued request over failed attempts until the client is open', async () => {
    const scripted = scriptedClient()
    const answer = scripted.client.request('say', 1)
    await settle()
    scripted.last.end(1006)
    await pass(500)
    scripted.last.open().end(1011)
    await pass(500)
    scripted.last.welcome()
    expect(scripted.last.sent).to.deep.equal([{ type: 'say', id: 1, data: 1 }])
    scripted.last.json({ type: 'koaws:reply', id: 1, data: 2 })
    expect(await answer).to.equal(2)
    scripted.client.close()
  })

  it('never sends a queued request that has timed out', async () => {
    const scripted = scriptedClient()
    const answer = rejection(scripted.client.request('say', 1, { timeout: 100 }))
    await settle()
    await pass(100)
    const error = await answer
    expect(error).to.include({ code: 'ERR_KOAWS_TIMEOUT', sent: false })
    expect(error['message']).to.include('was not sent')
    scripted.last.welcome()
    expect(scripted.last.sent).to.deep.equal([])
    scripted.client.close()
  })

  it('rejects when the queue is full', async () => {
    const { client } = scriptedClient({ queue: { messages: 1 } })
    expect(client.push('typing')).to.equal('queued')
    expect(await rejection(client.request('say'))).to.include({
      code: 'ERR_KOAWS_QUEUE_FULL',
      status: 503,
      retryable: true,
      sent: false,
    })
    client.close()
  })

  it('rejects sent, queued and new requests when the client is closed', async () => {
    const { client } = await openClient()
    const sent = rejection(client.request('say'))
    await settle()
    client.close()
    expect(await sent).to.include({ code: 'ERR_KOAWS_CLOSED', sent: true })
    const stopped = await rejection(client.request('say'))
    expect(stopped).to.include({ code: 'ERR_KOAWS_CLOSED', status: 503, sent: false })
    client.open()
    const queued = rejection(client.request('say'))
    await settle()
    client.close()
    expect(await queued).to.include({ code: 'ERR_KOAWS_CLOSED', sent: false })
  })

  it('rejects a queued request when the server closes with 4403', async () => {
    const scripted = scriptedClient()
    const queued = rejection(scripted.client.request('say'))
    await settle()
    scripted.last.open().end(4403)
    expect(await queued).to.include({ code: 'ERR_KOAWS_CLOSED', sent: false })
  })

  it('rejects with the reason of its signal, and leaves the queue', async () => {
    const scripted = scriptedClient()
    const controller = new AbortController()
    const answer = rejection(scripted.client.request('say', 1, { signal: controller.signal }))
    await settle()
    controller.abort(new Error('no more'))
    expect(await answer).to.have.property('message', 'no more')
    scripted.last.welcome()
    expect(scripted.last.sent).to.deep.equal([])
    scripted.client.close()
  })

  it('sends nothing when its signal is aborted already', async () => {
    const { client, last } = await openClient()
    const signal = AbortSignal.abort(new Error('before'))
    expect(await rejection(client.request('say', 1, { signal }))).to.have.property(
      'message',
      'before',
    )
    expect(last.sent).to.deep.equal([])
    client.close()
  })

  it('leaves no listener on its signal', async () => {
    const { client, last } = await openClient()
    const { signal } = new AbortController()
    const answered = client.request('say', 1, { signal })
    const late = rejection(client.request('say', 1, { signal, timeout: 10 }))
    await settle()
    expect(getEventListeners(signal, 'abort')).to.have.length(2)
    last.json({ type: 'koaws:reply', id: 1 })
    await answered
    await pass(10)
    await late
    expect(getEventListeners(signal, 'abort')).to.have.length(0)
    client.close()
  })

  it('rejects an invalid type, and data without a JSON form, before sending', async () => {
    const { client, last } = await openClient()
    const circular: Record<string, unknown> = {}
    circular['self'] = circular
    for (const type of ['', 'koaws:auth', 'x'.repeat(256), 'é'.repeat(128), 1, undefined]) {
      expect(await rejection(client.request(type as string))).to.be.instanceOf(TypeError)
    }
    for (const data of [() => {}, Symbol('x'), 1n, circular]) {
      expect(await rejection(client.request('say', data))).to.be.instanceOf(TypeError)
    }
    expect(last.sent).to.deep.equal([])
    client.close()
  })

  it('rejects a request above maxMessage of the server without sending it', async () => {
    const { client, last } = await openClient({}, { maxMessage: 100 })
    const error = await rejection(client.request('say', 'é'.repeat(50)))
    expect(error).to.include({ code: 'ERR_KOAWS_TOO_LARGE', status: 413, sent: false })
    expect(last.sent).to.deep.equal([])
    void client.request('say', 'é'.repeat(34)).catch(() => {})
    expect(last.sent).to.have.length(1)
    client.close()
  })
})

describe('push()', () => {
  useFakeClock()

  it('sends on an open connection', async () => {
    const { client, last } = await openClient()
    expect(client.push('typing')).to.equal('sent')
    expect(client.push('say', null)).to.equal('sent')
    expect(client.push('say', { a: undefined, b: 1 })).to.equal('sent')
    expect(last.sent).to.deep.equal([
      { type: 'typing' },
      { type: 'say', data: null },
      { type: 'say', data: { b: 1 } },
    ])
    client.close()
  })

  it('queues until the welcome, and keeps the order', async () => {
    const scripted = scriptedClient()
    const { client } = scripted
    client.subscribe(() => {
      if (client.state.status === 'open') client.push('say', 4)
    })
    expect(client.push('say', 1)).to.equal('queued')
    void client.request('say', 2).catch(() => {})
    expect(client.push('say', 3)).to.equal('queued')
    await settle()
    scripted.last.open()
    expect(scripted.last.sent).to.deep.equal([])
    scripted.last.push('koaws:welcome', {})
    expect(scripted.last.sent.map(({ data }) => data)).to.deep.equal([1, 2, 3, 4])
    client.close()
  })

  it('drops pushes beyond the limits of the queue in messages and bytes', async () => {
    const many = scriptedClient().client
    for (let i = 0; i < 100; i++) expect(many.push('typing')).to.equal('queued')
    expect(many.push('typing')).to.equal('dropped')
    many.close()
    const large = scriptedClient().client
    const text = 'é'.repeat(16_000)
    expect([1, 2, 3].map(() => large.push('say', text))).to.deep.equal([
      'queued',
      'queued',
      'dropped',
    ])
    expect(large.push('say', 'short')).to.equal('queued')
    large.close()
  })

  it('frees its place when it leaves the queue', async () => {
    const scripted = scriptedClient({ queue: { messages: 1, bytes: 30 } })
    for (let i = 0; i < 3; i++) {
      expect(scripted.client.push('say', 'hello')).to.equal('queued')
      expect(scripted.client.push('say')).to.equal('dropped')
      await settle()
      scripted.last.welcome().end(1006)
      await pass(500)
    }
    scripted.client.close()
  })

  it('drops instead of queuing with queue: false', async () => {
    const { client } = scriptedClient({ queue: false })
    expect(client.push('typing')).to.equal('dropped')
    client.close()
    const other = scriptedClient().client
    expect(other.push('typing', undefined, { queue: false })).to.equal('dropped')
    other.close()
  })

  it('queues while the connection is closing', async () => {
    const scripted = await openClient()
    scripted.last.readyState = 2
    expect(scripted.client.push('typing')).to.equal('queued')
    scripted.last.end(1006)
    await pass(500)
    scripted.last.welcome()
    expect(scripted.last.sent).to.deep.equal([{ type: 'typing' }])
    scripted.client.close()
  })

  it('reports each queued push to onError when the client stops', async () => {
    const { client, errors } = scriptedClient()
    client.push('say', 1)
    client.push('typing')
    client.close()
    await settle()
    expect(errors).to.have.length(2)
    for (const [i, type] of ['say', 'typing'].entries()) {
      expect(errors[i]).to.be.instanceOf(RequestError)
      expect(errors[i]).to.include({ code: 'ERR_KOAWS_CLOSED', type, sent: false })
    }
  })

  it('returns dropped when onError calls it after close(), and calls onError no more', async () => {
    const told: unknown[] = []
    const { client } = scriptedClient({ onError: () => told.push(client.push('again')) })
    client.push('typing')
    client.close()
    await settle()
    expect(told).to.deep.equal(['dropped'])
  })

  it('throws for an invalid type, data without a JSON form, and more than maxMessage', async () => {
    const { client, last } = await openClient({}, { maxMessage: 50 })
    expect(() => client.push('koaws:ping')).to.throw(TypeError)
    expect(() => client.push('say', () => {})).to.throw(TypeError)
    expect(() => client.push('say', 'x'.repeat(50)))
      .to.throw(RequestError)
      .with.property('code', 'ERR_KOAWS_TOO_LARGE')
    expect(last.sent).to.deep.equal([])
    client.close()
  })

  it('reports a queued push above maxMessage to onError, and sends the others', async () => {
    const scripted = scriptedClient()
    scripted.client.push('say', 'x'.repeat(100))
    scripted.client.push('typing')
    await settle()
    scripted.last.welcome({ maxMessage: 50 })
    await settle()
    expect(scripted.errors).to.have.length(1)
    expect(scripted.errors[0]).to.include({ code: 'ERR_KOAWS_TOO_LARGE', sent: false })
    expect(scripted.last.sent).to.deep.equal([{ type: 'typing' }])
    scripted.client.close()
  })

  describe('with `retry`', () => {
    const RETRIES = { retry: 120_000 }

    it('has a random key, and keeps waiting when the connection ends', async () => {
      const { client, sockets, last } = await openClient({}, RETRIES)
      const answer = client.request('say', 1, { retry: true })
      void client.request('say', 2, { retry: true }).catch(() => {})
      const [first, second] = last.sent
      expect(first?.key)
        .to.match(/^[\d-]{16,43}$/)
        .and.not.equal(second?.key)
      last.end(1006)
      await pass(500)
      sockets.at(-1)?.welcome(RETRIES)
      expect(sockets.at(-1)?.sent).to.deep.equal([
        { ...first, again: true },
        { ...second, again: true },
      ])
      sockets.at(-1)?.json({ type: 'koaws:reply', id: 1, data: 'done' })
      expect(await answer).to.equal('done')
      client.close()
    })

    it('is sent again after onOpen functions, and before queued messages', async () => {
      const { client, sockets, last } = await openClient({}, RETRIES)
      void client.request('one', 1, { retry: true }).catch(() => {})
      client.onOpen((connection) => void connection.push('enter'))
      last.end(1006)
      client.push('two')
      void client.request('three', 3, { retry: true }).catch(() => {})
      await pass(500)
      sockets.at(-1)?.welcome(RETRIES)
      await settle()
      const sent = sockets.at(-1)?.sent.map(({ type, again }) => `${type} ${again}`)
      expect(sent).to.deep.equal([
        'enter undefined',
        'one true',
        'two undefined',
        'three undefined',
      ])
      client.close()
    })

    it('is rejected with the connection when the server does not recognize it', async () => {
      const { client, last } = await openClient()
      const answer = rejection(client.request('say', 1, { retry: true }))
      last.end(1006)
      expect(await answer).to.include({ code: 'ERR_KOAWS_CLOSED', sent: true })
      client.close()
    })

    it('is not sent again to a server that does not recognize it', async () => {
      const { client, sockets, last } = await openClient({}, RETRIES)
      const answer = rejection(client.request('say', 1, { retry: true }))
      last.end(1006)
      await pass(500)
      sockets.at(-1)?.welcome()
      expect(await answer).to.include({ code: 'ERR_KOAWS_CLOSED', sent: true })
      expect(sockets.at(-1)?.sent).to.deep.equal([])
      client.close()
    })

    it('is not sent again after the time in which the server recognizes it', async () => {
      const { client, sockets, last } = await openClient({}, { retry: 3_000 })
      const answer = rejection(client.request('say', 1, { retry: true }))
      await pass(2_000)
      last.end(1006)
      await pass(1_000)
      sockets.at(-1)?.welcome({ retry: 3_000 })
      expect(await answer).to.include({ code: 'ERR_KOAWS_CLOSED', sent: true })
      expect(sockets.at(-1)?.sent).to.deep.equal([])
      client.close()
    })

    it('ends after 120 s by default, or after its timeout, as sent', async () => {
      const { client, last } = await openClient({ timeout: 100 }, RETRIES)
      const [long, short] = [{ retry: true }, { retry: true, timeout: 50 }].map((options) =>
        rejection(client.request('say', 1, options)),
      )
      last.end(1006)
      await pass(50)
      expect(await short).to.include({ code: 'ERR_KOAWS_TIMEOUT', sent: true })
      let code: unknown
      void long?.then((error) => {
        code = error['code']
      })
      await pass(119_949)
      expect(code).to.equal(undefined)
      await pass(1)
      expect(code).to.equal('ERR_KOAWS_TIMEOUT')
      client.close()
    })

    it('is rejected when the client stops: as sent, or as not sent', async () => {
      const { client, last } = await openClient({}, RETRIES)
      const first = rejection(client.request('say', 1, { retry: true }))
      last.end(1006)
      const second = rejection(client.request('say', 2, { retry: true }))
      client.close()
      expect(await first).to.include({ code: 'ERR_KOAWS_CLOSED', sent: true })
      expect(await second).to.include({ code: 'ERR_KOAWS_CLOSED', sent: false })
    })

    it('stays sent when a later attempt cannot send it', async () => {
      const { client, sockets, last } = await openClient({}, RETRIES)
      const answer = rejection(client.request('say', { text: 'long enough' }, { retry: true }))
      last.end(1006)
      await pass(500)
      sockets.at(-1)?.welcome({ ...RETRIES, maxMessage: 10 })
      expect(await answer).to.include({ code: 'ERR_KOAWS_TOO_LARGE', sent: true })
      client.close()
    })

    it('is a plain request without the option, which no other option makes one', async () => {
      const { client, last } = await openClient({ retry: () => true }, RETRIES)
      const answer = rejection(client.request('say', 1))
      expect(last.last).to.deep.equal({ type: 'say', id: 1, data: 1 })
      last.end(1006)
      expect(await answer).to.include({ code: 'ERR_KOAWS_CLOSED' })
      client.close()
    })
  })
})

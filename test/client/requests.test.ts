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

  it('resolves with the reply, in whatever order the replies come', async () => {
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
    it(`rejects also when the error is ${JSON.stringify(error)}`, async () => {
      const { client, last } = await openClient()
      const answer = rejection(client.request('say'))
      last.json({ type: 'koaws:error', id: 1, error })
      expect(await answer).to.include({ code: 'internal', status: 500, retryable: false })
      client.close()
    })
  }

  it('that was sent and is not answered in time may have been carried out', async () => {
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

  it('takes its own timeout before that of the client', async () => {
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

  it('that was sent is rejected when the connection ends, and not sent again', async () => {
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

  it('that is queued stays so over attempts, until there is a connection', async () => {
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

  it('that is queued when its time is over is never sent', async () => {
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

  it('is rejected when too much waits', async () => {
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

  it('is rejected when the client is closed, sent or not', async () => {
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

  it('that is queued is rejected when the server says stop', async () => {
    const scripted = scriptedClient()
    const queued = rejection(scripted.client.request('say'))
    await settle()
    scripted.last.open().end(4403)
    expect(await queued).to.include({ code: 'ERR_KOAWS_CLOSED', sent: false })
  })

  it('is rejected with the reason of its signal, and taken out of the queue', async () => {
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

  it('with a signal that is aborted already sends nothing', async () => {
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

  it('of a bad type, or with data without a JSON form, rejects before anything is sent', async () => {
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

  it('above what the server takes is rejected, and not sent', async () => {
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

  it('is sent on an open connection', async () => {
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

  it('waits in order for the welcome, before anything newer', async () => {
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

  it('waits within the bounds of messages and bytes, and is dropped beyond', async () => {
    const many = scriptedClient().client
    for (let i = 0; i < 100; i++) expect(many.push('typing')).to.equal('queued')
    expect(many.push('typing')).to.equal('dropped')
    many.close()
    const large = scriptedClient().client
    const text = 'é'.repeat(16_000) // 32_000 bytes
    expect([1, 2, 3].map(() => large.push('say', text))).to.deep.equal([
      'queued',
      'queued',
      'dropped',
    ])
    expect(large.push('say', 'short')).to.equal('queued')
    large.close()
  })

  it('makes room when it leaves the queue', async () => {
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

  it('does not wait where it must not', async () => {
    const { client } = scriptedClient({ queue: false })
    expect(client.push('typing')).to.equal('dropped')
    client.close()
    const other = scriptedClient().client
    expect(other.push('typing', undefined, { queue: false })).to.equal('dropped')
    other.close()
  })

  it('waits when the connection is closing already', async () => {
    const scripted = await openClient()
    scripted.last.readyState = 2
    expect(scripted.client.push('typing')).to.equal('queued')
    scripted.last.end(1006)
    await pass(500)
    scripted.last.welcome()
    expect(scripted.last.sent).to.deep.equal([{ type: 'typing' }])
    scripted.client.close()
  })

  it('that waits when the client stops is told to onError, one by one', async () => {
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

  it('of onError, when pushes were lost, is dropped and told no further', async () => {
    const told: unknown[] = []
    const { client } = scriptedClient({ onError: () => told.push(client.push('again')) })
    client.push('typing')
    client.close()
    await settle()
    expect(told).to.deep.equal(['dropped'])
  })

  it('throws for a bad type, data without a JSON form, and more than the server takes', async () => {
    const { client, last } = await openClient({}, { maxMessage: 50 })
    expect(() => client.push('koaws:ping')).to.throw(TypeError)
    expect(() => client.push('say', () => {})).to.throw(TypeError)
    expect(() => client.push('say', 'x'.repeat(50)))
      .to.throw(RequestError)
      .with.property('code', 'ERR_KOAWS_TOO_LARGE')
    expect(last.sent).to.deep.equal([])
    client.close()
  })

  it('that waited and is more than the server takes is told to onError, and others go', async () => {
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
})

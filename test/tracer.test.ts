import { expect } from 'chai'
import { messages, type TracedMessage, type Tracer } from '../lib/index.ts'
import { traceOf } from '../lib/tracer.ts'
import { cleanUp, makeHub, serve } from './support/server.ts'
import { ask, hear, serveMessages, talk } from './support/talk.ts'

const PARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'

interface Recorder extends Tracer {
  readonly seen: TracedMessage[]
  readonly asked: string[]
  readonly injected: string[]
}

function recorder(trace?: string): Recorder {
  const seen: TracedMessage[] = []
  const asked: string[] = []
  const injected: string[] = []
  return {
    seen,
    asked,
    injected,
    handle(message, next) {
      seen.push(message)
      return next()
    },
    request({ type }, send) {
      asked.push(type)
      return send()
    },
    inject(type) {
      injected.push(type)
      return trace === undefined ? undefined : { trace }
    },
  }
}

describe('hub.trace()', () => {
  afterEach(cleanUp)

  it('wraps each handler with its middleware, and gives it the field "trace" of the message', async () => {
    const order: string[] = []
    const chat = messages()
      .on('say', () => order.push('handler') && 'said')
      .on('later', async () => 'later')
    chat.use((_message, next) => order.push('middleware') && next())
    const { port, hub } = await serveMessages(chat)
    const tracer = recorder()
    hub.trace({
      ...tracer,
      handle: (message, next) => {
        order.push('tracer')
        return tracer.handle(message, next)
      },
    })
    const socket = await talk(port)
    socket.json({ type: 'say', id: 1, trace: PARENT })
    expect(await hear(socket)).to.deep.include({ id: 1, data: 'said' })
    expect(order).to.deep.equal(['tracer', 'middleware', 'handler'])
    expect((await ask(socket, 'later')).data).to.equal('later')
    const [first, second] = tracer.seen
    expect(first).to.deep.include({ type: 'say', isRequest: true, trace: PARENT })
    expect(second).to.deep.include({ type: 'later', isRequest: true, trace: undefined })
    expect(first?.connection).to.equal([...hub.localConnections.values()][0])
  })

  it('answers errors that pass through the tracer', async () => {
    const chat = messages().on('fail', async () => {
      throw Object.assign(new Error('no'), { status: 409, expose: true })
    })
    const { port, hub } = await serveMessages(chat)
    hub.trace(recorder())
    const socket = await talk(port)
    expect((await ask(socket, 'fail')).error).to.deep.include({ status: 409, message: 'no' })
  })

  it('puts its field into pushes to audiences and to one connection', async () => {
    const chat = messages().onOpen((connection) => connection.join('lobby'))
    const { port, hub } = await serveMessages(chat)
    const socket = await talk(port)
    const tracer = recorder(PARENT)
    hub.trace(tracer)
    hub.room('lobby').push('said', { text: 'hi' })
    expect(await hear(socket)).to.deep.equal({ type: 'said', data: { text: 'hi' }, trace: PARENT })
    for (const connection of hub.localConnections.values()) connection.push('empty')
    expect(await hear(socket)).to.deep.equal({ type: 'empty', trace: PARENT })
    expect(tracer.injected).to.deep.equal(['said', 'empty'])
    hub.trace(null)
    hub.room('lobby').push('said', 1)
    expect(await hear(socket)).to.deep.equal({ type: 'said', data: 1 })
  })

  it('wraps each request to a client, and puts its field into it', async () => {
    const { port, hub } = await serveMessages(messages())
    const socket = await talk(port)
    const tracer = recorder(PARENT)
    hub.trace(tracer)
    const [connection] = hub.localConnections.values()
    const answer = connection?.request('confirm', { total: 7 })
    expect(await hear(socket)).to.deep.equal({
      type: 'confirm',
      id: 1,
      data: { total: 7 },
      trace: PARENT,
    })
    socket.json({ type: 'koaws:reply', id: 1, data: 'yes' })
    expect(await answer).to.equal('yes')
    const wrong = [
      connection?.request('koaws:x'),
      connection?.request('confirm', 1, { timeout: -1 }),
    ]
    const outcomes = await Promise.allSettled(wrong)
    expect(outcomes.map(({ status }) => status)).to.deep.equal(['rejected', 'rejected'])
    expect(tracer.asked).to.deep.equal(['confirm', 'confirm'])
    expect(tracer.injected).to.deep.equal(['confirm'])
    hub.trace(null)
    connection?.request('confirm')
    expect(await hear(socket)).to.deep.equal({ type: 'confirm', id: 2 })
  })

  it('changes nothing where the tracer gives no field', async () => {
    const chat = messages().onOpen((connection) => connection.join('lobby'))
    const { port, hub } = await serveMessages(chat)
    const socket = await talk(port)
    hub.trace(recorder(undefined))
    hub.room('lobby').push('said', 1)
    expect(await hear(socket)).to.deep.equal({ type: 'said', data: 1 })
  })

  it('rejects what is no tracer, and names the method', async () => {
    await serve(() => {})
    const hub = makeHub()
    expect(() => hub.trace({ handle: () => {} } as never)).to.throw(/a method "request"/)
    expect(() => hub.trace(undefined as never)).to.throw(/a method "handle", and is undefined/)
  })
})

describe('traceOf()', () => {
  it('returns strings of at most 512 characters', () => {
    const tracestate = 'vendor=1'
    expect(traceOf({ trace: PARENT, tracestate })).to.deep.equal({ trace: PARENT, tracestate })
    for (const wrong of [undefined, null, 7, {}, 'x'.repeat(513)]) {
      const none = { trace: undefined, tracestate: undefined }
      expect(traceOf({ trace: wrong, tracestate })).to.deep.equal(none)
      const alone = { trace: PARENT, tracestate: undefined }
      expect(traceOf({ trace: PARENT, tracestate: wrong })).to.deep.equal(alone)
    }
  })
})

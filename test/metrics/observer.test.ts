import { channel } from 'node:diagnostics_channel'
import { expect } from 'chai'
import { accept, CloseCode, memoryAdapter, messages } from '../../lib/index.ts'
import { observe } from '../../lib/metrics/observer.ts'
import { handshake, rawClient } from '../support/raw.ts'
import { comeBack, recoverySite } from '../support/recovery.ts'
import {
  acceptStatus,
  cleanUp,
  eventually,
  openSocket,
  rejected,
  serve,
  soon,
} from '../support/server.ts'
import { ask, hear, serveMessages, talk } from '../support/talk.ts'
import { sumsOf, valueIn } from './support/values.ts'

const CHANNELS = [
  'upgrade',
  'connection',
  'message',
  'handled',
  'answered',
  'sent',
  'pong',
  'recovery',
]
const OTHERS = ['drop', 'close', 'backplane', 'published', 'shutdown', 'lost']

function subscribedChannels(): string[] {
  return [...CHANNELS, ...OTHERS].filter((name) => channel(`koaws:${name}`).hasSubscribers)
}

describe('observe()', () => {
  afterEach(cleanUp)

  it('counts upgrades by outcome and code', async () => {
    const { hub, port } = await serve((app) => {
      app.use((ctx, next) => (ctx.path === '/no' ? ctx.throw(404) : next()))
      app.use(accept(() => {}))
    })
    const { observer, release } = observe(hub)
    await openSocket(port)
    await rejected(openSocket(port, '/no'))
    await rejected(openSocket(port, '/', { headers: { Origin: 'https://evil.example' } }))
    await soon(() => {
      expect(sumsOf(observer, 'koaws.upgrades.rejected')).to.deep.equal({
        'error.type=application,http.response.status_code=404': 1,
        'error.type=ERR_KOAWS_ORIGIN,http.response.status_code=403': 1,
      })
      expect(sumsOf(observer, 'koaws.upgrade.duration')).to.deep.equal({
        [`koaws.upgrade.outcome=accepted,http.response.status_code=${acceptStatus()}`]: 1,
        'koaws.upgrade.outcome=rejected,http.response.status_code=404,error.type=application': 1,
        'koaws.upgrade.outcome=rejected,http.response.status_code=403,error.type=ERR_KOAWS_ORIGIN': 1,
      })
    })
    release()
  })

  it('counts connections, also the ones that were open before, and only of this hub', async () => {
    const one = await serve((app) => app.use(accept(() => {})))
    const other = await serve((app) => app.use(accept(() => {})))
    const early = await openSocket(one.port)
    const { observer, release } = observe(one.hub)
    const late = await openSocket(one.port)
    const foreign = await openSocket(other.port)
    for (const socket of [early, late, foreign]) socket.send('hello')
    await soon(() => expect(valueIn(observer, 'koaws.messages.received', 'text')).to.equal(2))
    expect(valueIn(observer, 'koaws.messages.received.size', 'text')).to.equal(10)
    early.close(1000)
    late.close(4999)
    foreign.close(1000)
    await soon(() => {
      expect(sumsOf(observer, 'koaws.connections.closed')).to.deep.equal({
        'koaws.close.code=1000,koaws.close.clean=true': 1,
        'koaws.close.code=other,koaws.close.clean=true': 1,
      })
    })
    expect(sumsOf(observer, 'koaws.connections.opened')).to.deep.equal({
      'koaws.subprotocol=none': 1,
    })
    expect(sumsOf(observer, 'koaws.connection.duration')).to.deep.equal({
      'koaws.subprotocol=none': 2,
    })
    release()
  })

  it('counts requests, one-way messages, replies and pushes by type', async () => {
    const chat = messages()
      .onOpen((connection) => connection.join('lobby'))
      .on('ask', () => 'answer')
      .on('note', () => {})
      .on('fail', () => {
        throw Object.assign(new Error('secret'), { status: 409, expose: true, code: 'taken' })
      })
    const { hub, port } = await serveMessages(chat)
    const { observer, release } = observe(hub)
    const socket = await talk(port)
    await ask(socket, 'ask')
    await ask(socket, 'fail')
    socket.json({ type: 'note', data: 1 })
    await soon(() => expect(sumsOf(observer, 'messaging.process.duration')).to.not.be.empty)
    hub.room('lobby').push('said', 'hi')
    expect((await hear(socket)).type).to.equal('said')
    const rpc = 'rpc.system.name=koaws,rpc.method'
    expect(sumsOf(observer, 'rpc.server.call.duration')).to.deep.equal({
      [`${rpc}=ask`]: 1,
      [`${rpc}=fail`]: 0,
      [`${rpc}=fail,error.type=taken`]: 1,
    })
    const note =
      'messaging.system.name=koaws,messaging.operation.name=process,koaws.message.type=note'
    expect(sumsOf(observer, 'messaging.client.consumed.messages')).to.deep.equal({ [note]: 1 })
    expect(valueIn(observer, 'koaws.messages.failed', 'fail', 'taken')).to.equal(1)
    expect(valueIn(observer, 'koaws.messages.handled', 'ask', 'request')).to.equal(1)
    expect(valueIn(observer, 'koaws.messages.sent', 'reply')).to.equal(2)
    expect(valueIn(observer, 'koaws.messages.sent', 'push')).to.equal(1)
    expect(valueIn(observer, 'koaws.messages.sent', 'protocol')).to.be.above(0) // the welcome
    expect(valueIn(observer, 'messaging.client.sent.messages', 'koaws', 'push', 'said')).to.equal(1)
    const bytes = Buffer.byteLength('{"type":"said","data":"hi"}')
    expect(valueIn(observer, 'koaws.pushes.size', 'said')).to.equal(bytes)
    expect(sumsOf(observer, 'koaws.broadcasts')).to.deep.equal({ '': 1 })
    expect(sumsOf(observer, 'koaws.broadcasts.deliveries')).to.deep.equal({ '': 1 })
    release()
  })

  it('measures requests of the server to a client, by type and error', async () => {
    const { hub, port } = await serveMessages(messages())
    const { observer, release } = observe(hub)
    const socket = await talk(port)
    const [connection] = hub.localConnections.values()
    if (!connection) throw new Error('no connection')
    const failed = (asked: Promise<unknown>): Promise<unknown> => asked.catch((error) => error)
    const answered = connection.request('confirm')
    const { id } = await hear(socket)
    socket.json({ type: 'koaws:reply', id, data: true })
    expect(await answered).to.equal(true)
    const refused = failed(connection.request('confirm'))
    const second = await hear(socket)
    socket.json({
      type: 'koaws:error',
      id: second.id,
      error: { code: 'busy', message: 'no', status: 409, retryable: false },
    })
    await refused
    await failed(connection.request('confirm', undefined, { timeout: 100 }))
    await failed(connection.request('confirm', undefined, { signal: AbortSignal.timeout(1) }))
    const gone = failed(connection.request('confirm'))
    socket.close(1000)
    await gone
    const confirm = 'rpc.system.name=koaws,rpc.method=confirm'
    expect(sumsOf(observer, 'rpc.client.call.duration')).to.deep.equal({
      [confirm]: 1,
      [`${confirm},error.type=busy`]: 1,
      [`${confirm},error.type=ERR_KOAWS_TIMEOUT`]: 1,
      [`${confirm},error.type=TimeoutError`]: 1,
      [`${confirm},error.type=ERR_KOAWS_CLOSED`]: 1,
    })
    release()
  })

  it('bounds the number of types', async () => {
    const chat = messages()
    for (let i = 0; i < 210; i++) chat.on(`type${i}`, () => {})
    const { hub, port } = await serveMessages(chat)
    const { observer, release } = observe(hub)
    const socket = await talk(port)
    for (let i = 0; i < 210; i++) socket.json({ type: `type${i}` })
    socket.json({ type: 'type0' })
    await soon(() =>
      expect(valueIn(observer, 'koaws.messages.handled', 'type0', 'push')).to.equal(2),
    )
    expect(valueIn(observer, 'koaws.messages.handled', '_OTHER', 'push')).to.equal(10)
    expect(Object.keys(sumsOf(observer, 'koaws.messages.handled'))).to.have.length(201)
    expect(observer.messages.overflow).to.be.at.least(10)
    release()
  })

  it('measures round trips', async () => {
    const { hub, port } = await serve((app) => app.use(accept(() => {})))
    const { observer, release } = observe(hub)
    await openSocket(port)
    for (const connection of hub.localConnections.values()) connection.ping()
    await soon(() => expect(sumsOf(observer, 'koaws.heartbeat.rtt')).to.deep.equal({ '': 1 }))
    release()
  })

  it('counts recoveries with the messages that were missed', async () => {
    const { hub, port } = await recoverySite({ history: { rooms: 'chat:*', messages: 2 } })
    const { observer, release } = observe(hub)
    const room = hub.room('chat:1')
    const since = await room.position()
    room.push('said', 1)
    await (await comeBack(port, 'rooms=chat:1', { positions: { 'chat:1': since } })).rest()
    for (const n of [2, 3, 4]) room.push('said', n)
    await (await comeBack(port, 'rooms=chat:1', { positions: { 'chat:1': since } })).rest()
    expect(sumsOf(observer, 'koaws.recoveries')).to.deep.equal({
      'koaws.recovery.outcome=recovered': 1,
      'koaws.recovery.outcome=refused,koaws.recovery.reason=trimmed': 1,
    })
    expect(observer.families.histogram('koaws.recovery.missed').at().sum).to.equal(1)
    release()
  })

  it('measures publishes, and counts states of the backplane', async () => {
    const { hub } = await serve(() => {}, { adapter: memoryAdapter() })
    const { observer, release } = observe(hub)
    const { id: instance } = hub.status()
    channel('koaws:backplane').publish({ instance, state: 'degraded', why: '', queued: {} })
    channel('koaws:backplane').publish({ instance: 'x', state: 'ready', why: '', queued: {} })
    expect(valueIn(observer, 'koaws.backplane.changes', 'degraded')).to.equal(1)
    expect(valueIn(observer, 'koaws.backplane.changes', 'ready')).to.equal(0)
    await eventually(() => hub.status().backplane.state === 'ready')
    hub.room('lobby').send('x')
    await soon(() => {
      expect(valueIn(observer, 'koaws.backplane.published')).to.equal(1)
      expect(sumsOf(observer, 'messaging.client.operation.duration')).to.deep.equal({
        'messaging.system.name=koaws,messaging.operation.name=publish': 1,
      })
    })
    release()
  })

  it('counts what was lost', async () => {
    const { hub } = await serve(() => {})
    const { observer, release } = observe(hub)
    const { id: instance } = hub.status()
    const lost = channel('koaws:lost')
    lost.publish({ instance, direction: 'in', topic: 'all', from: 'x', count: 3, why: undefined })
    lost.publish({ instance, direction: 'in', topic: 'all', from: '', count: 0, why: undefined })
    lost.publish({ instance: 'another', direction: 'in', topic: 'all', from: 'x', count: 9 })
    expect(valueIn(observer, 'koaws.backplane.losses', 'in')).to.equal(2)
    expect(valueIn(observer, 'koaws.backplane.lost', 'in')).to.equal(3)
    release()
  })

  it('notes the stages of a shutdown, and unsubscribes after the last', async () => {
    const { hub, port } = await serve((app) => app.use(accept(() => {})))
    const { observer } = observe(hub)
    const deaf = await rawClient(port)
    deaf.write(handshake('/'))
    await deaf.answer()
    await hub.close({ timeout: 100, code: CloseCode.restart })
    const stage = (name: string): number => valueIn(observer, 'koaws.shutdown.connections', name)
    expect(['delay', 'refuse', 'close', 'terminate', 'end'].map(stage)).to.deep.equal([
      1, 1, 1, 1, 0,
    ])
    expect(valueIn(observer, 'koaws.shutdown.stage.duration', 'close')).to.be.above(0.05)
    expect(observer.hasEnded).to.equal(true)
    expect(subscribedChannels()).to.deep.equal([])
    await deaf.end()
  })

  it('is shared by its users, and unsubscribes after the last release', async () => {
    const { hub } = await serve(() => {})
    const first = observe(hub)
    const second = observe(hub)
    expect(second.observer).to.equal(first.observer)
    first.release()
    first.release()
    expect(subscribedChannels()).to.include('message')
    second.release()
    expect(subscribedChannels()).to.deep.equal([])
    const third = observe(hub)
    expect(third.observer).to.not.equal(first.observer)
    third.release()
  })

  it('lets other subscribers hear the end, and the next hub be observed', async () => {
    const one = await serve(() => {})
    const two = await serve(() => {})
    observe(one.hub)
    const other = observe(two.hub)
    await one.hub.close()
    expect(subscribedChannels()).to.include('shutdown')
    await two.hub.close()
    expect(other.observer.hasEnded).to.equal(true)
    expect(subscribedChannels()).to.deep.equal([])
  })
})

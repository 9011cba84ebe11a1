import { once } from 'node:events'
import { expect } from 'chai'
import { accept, memoryAdapter, messages } from '../../lib/index.ts'
import { Collector } from '../../lib/metrics/collector.ts'
import { cleanUp, eventually, openSocket, rejected, serve } from '../support/server.ts'
import { ask, hear, serveMessages, talk } from '../support/talk.ts'

/** Returns all series of an instrument as text and value. */
function read(collector: Collector, name: string): [string, number][] {
  return collector
    .familiesOf(name)
    .flatMap((family) => [...family.all()])
    .map(({ attributes, value }) => [Object.values(attributes).join(' '), value])
}

describe('Collector', () => {
  afterEach(cleanUp)

  it('reads connections by state, rooms and users', async () => {
    const { hub, port } = await serve(
      (app) => app.use(accept((connection) => connection.join('lobby'))),
      { user: () => 'ann' },
    )
    const collector = new Collector(hub, { http: true, runtime: true })
    await openSocket(port)
    await openSocket(port)
    collector.read()
    expect(read(collector, 'koaws.connections.active')).to.deep.equal([
      ...[['upgrading', 0] as const, ['open', 2] as const, ['draining', 0] as const],
    ])
    expect(read(collector, 'koaws.rooms.active')).to.deep.equal([['', 1]])
    expect(read(collector, 'koaws.users.active')).to.deep.equal([['', 1]])
    expect(read(collector, 'koaws.ready')).to.deep.equal([['', 1]])
    expect(read(collector, 'koaws.send_queue.max')).to.deep.equal([['', 0]])
    expect(read(collector, 'nodejs.eventloop.delay.p99')).to.have.length(1)
    collector.stop()
  })

  it('counts drops since the start of the hub, under the instrument of each', async () => {
    const { hub, port } = await serveMessages(messages().on('known', () => {}))
    const socket = await talk(port)
    await ask(socket, 'unknown')
    await rejected(openSocket(port, '/', { headers: { Origin: 'https://evil.example' } }))
    const collector = new Collector(hub, { http: false, runtime: false })
    collector.read()
    expect(read(collector, 'koaws.messages.refused')).to.deep.equal([['unknownType', 1]])
    expect(read(collector, 'koaws.upgrades.limited')).to.deep.equal([['origin', 1]])
    expect(read(collector, 'koaws.slow_consumers')).to.deep.equal([['', 0]])
    collector.stop()
  })

  it('counts the drops of streams', async () => {
    const chat = messages().on('wait', async function* ({ signal }) {
      yield 1
      await once(signal, 'abort')
    })
    const { hub, port } = await serveMessages(chat, {}, { streams: { perConnection: 1 } })
    const socket = await talk(port)
    const wait = { type: 'wait', credit: 65_536 }
    socket.send(JSON.stringify({ ...wait, id: 1 }))
    expect(await hear(socket)).to.include({ type: 'koaws:item' })
    socket.send(JSON.stringify({ ...wait, id: 2 }))
    expect(await hear(socket)).to.have.nested.property('error.code', 'ERR_KOAWS_STREAM_LIMIT')
    socket.send(JSON.stringify({ type: 'koaws:item', id: 1 }))
    expect(await hear(socket)).to.have.nested.property('error.code', 'ERR_KOAWS_STREAM')
    await eventually(() => hub.status().drops['streamCredit'] === 1)
    const collector = new Collector(hub, { http: false, runtime: false })
    collector.read()
    expect(read(collector, 'koaws.messages.refused')).to.deep.include(['streamCredit', 1])
    expect(read(collector, 'koaws.connections.throttled')).to.deep.include(['streamLimit', 1])
    collector.stop()
  })

  it('reads the backplane, where there is one', async () => {
    const alone = await serve(() => {})
    const { hub } = await serve(() => {}, { adapter: memoryAdapter() })
    await eventually(() => hub.status().backplane.state === 'ready')
    const collector = new Collector(hub, { http: false, runtime: false })
    const without = new Collector(alone.hub, { http: false, runtime: false })
    collector.read()
    without.read()
    expect(read(collector, 'koaws.backplane.state')).to.deep.include(['ready', 1])
    expect(read(collector, 'koaws.backplane.queue.messages')).to.deep.equal([['', 0]])
    expect(read(without, 'koaws.backplane.state')).to.deep.include(['none', 1])
    expect(read(without, 'koaws.backplane.queue.messages')).to.deep.equal([])
    collector.stop()
    without.stop()
  })

  it('leaves out what is not included', async () => {
    const { hub } = await serve(() => {})
    const collector = new Collector(hub, { http: false, runtime: false })
    collector.read()
    expect(collector.includes('http.server.request.duration')).to.equal(false)
    expect(collector.includes('nodejs.eventloop.utilization')).to.equal(false)
    expect(collector.includes('koaws.ready')).to.equal(true)
    expect(read(collector, 'nodejs.eventloop.utilization')).to.deep.equal([])
    collector.stop()
  })

  it('reads a closed hub once more, and then no more', async () => {
    const { hub, port } = await serve((app) => app.use(accept(() => {})))
    const collector = new Collector(hub, { http: false, runtime: false })
    await openSocket(port)
    collector.read()
    expect(collector.isFinal).to.equal(false)
    await hub.close()
    expect(collector.isFinal).to.equal(false)
    collector.read()
    expect(collector.isFinal).to.equal(true)
    expect(collector.observer.endings.size).to.equal(0)
    expect(read(collector, 'koaws.ready')).to.deep.equal([['', 0]])
    expect(read(collector, 'koaws.connections.active')).to.deep.include(['open', 0])
    collector.stop()
  })
})

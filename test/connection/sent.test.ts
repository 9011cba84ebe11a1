import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { expect } from 'chai'
import { accept, memoryAdapter, messages, type SentEvent } from '../../lib/index.ts'
import { cleanUp, openSocket, serve, soon } from '../support/server.ts'
import { ask, hear, serveMessages, talk } from '../support/talk.ts'

describe('the channel koaws:sent', () => {
  let events: SentEvent[]
  const note = (event: unknown): void => {
    events.push(event as SentEvent)
  }
  beforeEach(() => {
    events = []
    subscribe('koaws:sent', note)
  })
  afterEach(async () => {
    unsubscribe('koaws:sent', note)
    await cleanUp()
  })

  /** The events of one hub and its connections. */
  const of = (hub: { status(): { id: string } }, connections: readonly unknown[]): SentEvent[] =>
    events.filter(
      ({ instance, connection }) =>
        instance === hub.status().id || connections.includes(connection),
    )

  it('has the size of each message of one connection, and no type outside of koaws.v1', async () => {
    const { port, hub } = await serve((app) =>
      app.use(
        accept((connection) => {
          connection.send('{"type":"said"}')
          connection.send(Buffer.from('äb'))
          connection.json({ a: 1 })
        }),
      ),
    )
    const socket = await openSocket(port)
    for (let i = 0; i < 3; i++) await socket.next()
    const connections = [...hub.localConnections.values()]
    expect(of(hub, connections)).to.deep.equal(
      (['{"type":"said"}', Buffer.from('äb'), '{"a":1}'] as const).map((data) => ({
        instance: undefined,
        connection: connections[0],
        type: undefined,
        size: Buffer.byteLength(data),
        count: 1,
        audience: undefined,
      })),
    )
  })

  it('counts the receivers of a send to many once, with the type of a push', async () => {
    const odd = 'sa"id\\'
    const chat = messages().onOpen((connection) => connection.join('lobby'))
    const { port, hub } = await serveMessages(chat)
    const sockets = [await talk(port), await talk(port), await talk(port)]
    events = []
    hub.room('lobby').push(odd, 'ä')
    hub.room('lobby').send('text')
    hub.room('nobody').send('text')
    const audience = { kind: 'rooms', names: ['lobby'], except: [], exceptUsers: [] }
    const common = { instance: hub.status().id, connection: undefined, count: 3, audience }
    const [pushed, sent, ...more] = events.filter(({ instance }) => instance === common.instance)
    const text = JSON.stringify({ type: odd, data: 'ä' })
    expect(pushed).to.deep.equal({ ...common, type: odd, size: 31 })
    expect(sent).to.deep.equal({ ...common, type: undefined, size: 4 })
    expect([pushed, sent].map((event) => String(event?.data))).to.deep.equal([text, 'text'])
    expect(JSON.stringify({ ...sent, connection: null })).to.not.include('data')
    expect(more).to.deep.equal([])
    for (const socket of sockets) expect((await hear(socket)).type).to.equal(odd)
  })

  it('has the type of each push, also after a push of another type', async () => {
    const chat = messages().onOpen((connection) => connection.join('lobby'))
    const { port, hub } = await serveMessages(chat)
    await talk(port)
    events = []
    const types = ['said', 'said', 'sai', 'said2', 'sa"id', 'sa"id', 'sä', 'said', 'said']
    for (const type of types) hub.room('lobby').push(type, 1)
    expect(of(hub, []).map(({ type }) => type)).to.deep.equal(types)
  })

  it('has replies and the welcome, with their types', async () => {
    const { port, hub } = await serveMessages(messages().on('add', () => 3))
    const socket = await talk(port)
    await ask(socket, 'add')
    const connections = [...hub.localConnections.values()]
    expect(of(hub, connections).map(({ type }) => type)).to.deep.equal([
      'koaws:welcome',
      'koaws:reply',
    ])
  })

  it('has recorded messages too, on the instance that delivers them', async () => {
    const chat = messages().onOpen((connection) => connection.join('lobby'))
    const { port, hub } = await serveMessages(
      chat,
      {},
      { adapter: memoryAdapter(), history: { rooms: 'lobby' } },
    )
    const socket = await talk(port)
    hub.room('lobby').push('said', 1)
    expect((await hear(socket)).type).to.equal('said')
    await soon(() => {
      const sent = events.filter(({ instance }) => instance === hub.status().id)
      expect(sent.map(({ type, count }) => [type, count])).to.deep.equal([['said', 1]])
    })
  })
})

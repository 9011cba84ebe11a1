import { expect } from 'chai'
import Koa from 'koa'
import { type ConnectOptions, connect } from '../../lib/client/index.ts'
import { accept, type Hub, messages } from '../../lib/index.ts'
import { testApp } from '../../lib/testing/index.ts'
import { cleanUp, eventually, makeHub } from '../support/server.ts'

interface Page {
  readonly client: ReturnType<typeof connect>
  readonly got: unknown[]
  readonly verdicts: unknown[]
  /** Ends its connections without a close frame. */
  cut(): void
}

describe('koaws/client with a server that records', () => {
  let hub: Hub
  let app: Koa
  let clients: { close(): void }[] = []

  beforeEach(() => {
    hub = makeHub({ history: { rooms: 'chat:*', messages: 5 } })
    app = new Koa()
    app.use(hub)
    app.use(accept(messages(), { rooms: ['chat:1'] }))
  })

  afterEach(async () => {
    for (const client of clients) client.close()
    clients = []
    await cleanUp()
  })

  function open(options: ConnectOptions = {}): Page {
    const client = connect('ws://app/', {
      WebSocket: testApp(app).webSocket(),
      minDelay: 1,
      ...options,
    })
    clients.push(client)
    const got: unknown[] = []
    const verdicts: unknown[] = []
    client.on('said', (data) => got.push(data))
    client.on('koaws:recovered', ({ recovered, missed, reason }) => {
      verdicts.push({ recovered, missed, reason })
    })
    const cut = (): void => {
      for (const connection of hub.localConnections.values()) connection.terminate()
    }
    return { client, got, verdicts, cut }
  }

  const push = (...data: unknown[]): void => {
    for (const one of data) hub.room('chat:1').push('said', one)
  }

  const isPlaced = ({ client }: Page): Promise<void> =>
    eventually(() => 'chat:1' in client.positions, 'a position')

  it('misses nothing over a cut, and is told how much it was', async () => {
    const page = open()
    await isPlaced(page)
    push(1)
    await eventually(() => page.got.length === 1)
    page.cut() // messages that are sent now find no member
    push(2, 3)
    await eventually(() => page.got.length === 3)
    push(4)
    await eventually(() => page.got.length === 4)
    expect(page.got).to.deep.equal([1, 2, 3, 4])
    expect(page.verdicts).to.deep.equal([{ recovered: true, missed: 2, reason: undefined }])
  })

  it('goes on from the position of a snapshot', async () => {
    push(1)
    const { messages: snapshot, position } = await hub.room('chat:1').history()
    expect(snapshot).to.have.length(1)
    push(2)
    const page = open({ positions: { 'chat:1': position } })
    await eventually(() => page.got.length === 1)
    expect(page.got).to.deep.equal([2])
  })

  it('keeps its positions over a reload of the page', async () => {
    const first = open()
    await isPlaced(first)
    push(1)
    await eventually(() => first.got.length === 1)
    const kept = JSON.parse(JSON.stringify(first.client.positions))
    first.client.close()
    push(2)
    const second = open({ positions: kept })
    await eventually(() => second.got.length === 1)
    expect(second.got).to.deep.equal([2])
  })

  it('loads the state when too much was missed, and then gets the messages that arrived meanwhile', async () => {
    const shown: unknown[] = []
    const page = open({
      reload: async (room) => {
        const { messages: all, position } = await hub.room(room).history({ limit: 2 })
        push('during the reload')
        shown.push(...all.map(({ data }) => data))
        return position
      },
    })
    await isPlaced(page)
    page.cut() // messages that are sent now find no member
    push(1, 2, 3, 4, 5, 6, 7)
    await eventually(() => page.got.length === 1)
    expect(shown).to.deep.equal([6, 7])
    expect(page.got).to.deep.equal(['during the reload'])
    expect(page.verdicts).to.deep.equal([{ recovered: false, missed: null, reason: 'trimmed' }])
  })
})

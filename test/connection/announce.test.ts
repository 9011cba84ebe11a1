import { expect } from 'chai'
import { accept, messages } from '../../lib/index.ts'
import { cleanUp, openSocket, serve } from '../support/server.ts'
import { hear, talk } from '../support/talk.ts'

describe('a large message of koaws.v1', () => {
  afterEach(cleanUp)

  const LARGE = 'x'.repeat(72 * 1024)
  const chat = messages({ maxMessage: 200_000 })
    .on('more', ({ connection, data }) => connection.push('file', data))
    .on('fetch', ({ data }) => data)
    .on('ask', ({ connection, data }) => void connection.request('take', data))

  async function start() {
    const { hub, port } = await serve((app) => app.use(accept(chat)))
    return { hub, port, socket: await talk(port) }
  }

  it('is announced with its size in bytes: a push, a reply, a request and a broadcast', async () => {
    const { hub, socket } = await start()
    const [connection] = [...hub.localConnections.values()]
    const sends: (() => unknown)[] = [
      () => connection?.push('file', LARGE),
      () => connection?.push('file', '€'.repeat(25 * 1024)),
      () => connection?.request('take', LARGE),
      () => socket.json({ type: 'fetch', id: 1, data: LARGE }),
      () => hub.all().push('file', LARGE),
      () => hub.connection(connection?.id as string).push('file', LARGE),
    ]
    for (const send of sends) {
      send()
      const announced = await hear(socket)
      expect(announced.type).to.equal('koaws:incoming')
      const message = await hear(socket)
      expect(message.type).to.not.equal('koaws:incoming')
      const { bytes } = announced.data as { bytes: number }
      expect(bytes).to.equal(Buffer.byteLength(JSON.stringify(message)))
    }
  })

  it('is announced only above 72 KiB, and only in koaws.v1: smaller pushes and raw sends are not', async () => {
    const { hub, socket } = await start()
    const most = 'x'.repeat(72 * 1024 - '{"type":"file","data":""}'.length)
    hub.all().push('file', most)
    hub.all().send(JSON.stringify({ type: 'raw', data: LARGE }))
    const [connection] = [...hub.localConnections.values()]
    connection?.push('file', most)
    expect((await hear(socket)).type).to.equal('file')
    expect((await hear(socket)).type).to.equal('raw')
    expect((await hear(socket)).type).to.equal('file')
  })

  it('is skipped, with its announcement, for a client of another subprotocol', async () => {
    const { hub, port } = await serve((app) => app.use(accept(() => {})))
    const other = await openSocket(port)
    expect(hub.all().push('file', LARGE)).to.include({ local: 0, skipped: 1 })
    hub.all().send('end')
    expect(await other.next()).to.equal('end')
  })
})

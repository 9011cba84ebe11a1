import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { expect } from 'chai'
import { accept, koaWs, OptionsError } from '../../lib/index.ts'
import { handshake, rawClient } from '../support/raw.ts'
import {
  cleanUp,
  deferred,
  eventually,
  listen,
  makeApp,
  makeHub,
  openSocket,
  rejected,
  serve,
} from '../support/server.ts'

describe('a full instance', () => {
  afterEach(cleanUp)

  const FULL = ['maxConnections: all 2 places are taken']

  it('is not ready with ready: { capacity: true } until a place is free', async () => {
    const { port, hub } = await serve((app) => app.use(accept(() => {})), {
      maxConnections: 2,
      ready: { capacity: true },
    })
    await openSocket(port)
    expect(hub.status()).to.deep.include({ ready: true, reasons: [] })
    const last = await openSocket(port)
    expect(hub.status()).to.deep.include({ ready: false, reasons: FULL })
    await rejected(openSocket(port))
    expect(hub.status().drops['maxConnections']).to.equal(1)
    expect(hub.status().reasons).to.deep.equal(FULL)
    last.close()
    await last.closed
    await eventually(() => hub.status().ready)
    expect(hub.status().reasons).to.deep.equal([])
  })

  it('counts pending upgrades', async () => {
    const gate = deferred()
    const { port, hub } = await serve((app) => app.use(() => gate.promise).use(accept(() => {})), {
      maxConnections: 1,
      ready: { capacity: true },
    })
    const client = await rawClient(port)
    client.write(handshake('/'))
    await eventually(() => !hub.status().ready)
    expect(hub.status().reasons).to.deep.equal(['maxConnections: all 1 places are taken'])
    gate.resolve()
    expect((await client.answer()).status).to.equal(404)
    await eventually(() => hub.status().ready)
    await client.end()
  })

  it('stays ready without ready.capacity', async () => {
    const { port, hub } = await serve((app) => app.use(accept(() => {})), {
      maxConnections: 1,
      ready: { backplane: true, capacity: false },
    })
    await openSocket(port)
    expect(hub.status()).to.deep.include({ ready: true, reasons: [] })
  })

  it('needs maxConnections for ready.capacity', () => {
    expect(() => koaWs({ ready: { capacity: true } })).to.throw(OptionsError, '"maxConnections"')
    expect(() => koaWs({ ready: { capacity: 1 } as never })).to.throw(OptionsError, '"capacity"')
  })

  it('counts a client that server.maxConnections of Node drops, for each attached hub', async () => {
    const { app } = makeApp()
    const [hub, other, left] = [makeHub(), makeHub({ property: 'two' }), makeHub()]
    const server = createServer(app.callback())
    for (const one of [hub, other, left]) one.attach(server)
    left.detach(server)
    server.maxConnections = 1
    const port = await listen(server)
    const first = connect(port, '127.0.0.1')
    await once(first, 'connect')
    for (let i = 1; i <= 3; i++) {
      const refused = connect(port, '127.0.0.1').on('error', () => {})
      await once(refused.resume(), 'close')
      await eventually(() => hub.status().drops['serverMaxConnections'] === i)
    }
    first.destroy()
    expect(other.status().drops).to.deep.equal({ serverMaxConnections: 3 })
    expect(left.status().drops).to.deep.equal({})
  })
})

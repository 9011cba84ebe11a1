import { channel } from 'node:diagnostics_channel'
import { expect } from 'chai'
import { accept, messages } from '../../lib/index.ts'
import { inspector } from '../../lib/inspector/index.ts'
import { Members } from '../../lib/inspector/members.ts'
import { Recorders, readSubject } from '../../lib/inspector/recorders.ts'
import { cleanUp, makeHub, openSocket, serve } from '../support/server.ts'
import { PageSocket } from './support/page.ts'

describe('the recorders', () => {
  afterEach(cleanUp)

  const handled = channel('koaws:handled')

  it('listen to nothing until somebody looks, and at most at 20 subjects', () => {
    const recorders = new Recorders(new Members(makeHub()), false)
    expect(handled.hasSubscribers).to.equal(false)
    for (let i = 0; i < 30; i++) {
      expect(recorders.look({ kind: 'room', name: `r${i}` })).to.deep.equal([])
    }
    expect(recorders.size).to.equal(20)
    expect(handled.hasSubscribers).to.equal(true)
    recorders.stop()
    expect(recorders.size).to.equal(0)
    expect(handled.hasSubscribers).to.equal(false)
  })

  it('keep the last 50 messages', () => {
    const hub = makeHub()
    const members = new Members(hub)
    const recorders = new Recorders(members, true)
    const room = { kind: 'room', name: 'r' } as const
    recorders.look(room)
    const audience = { kind: 'rooms', names: ['r'], except: [], exceptUsers: [] }
    for (let i = 0; i < 60; i++) {
      const event = { instance: members.instance, size: i, count: 2, audience, data: `${i}` }
      channel('koaws:sent').publish({ ...event, connection: undefined, type: 't'.repeat(300) })
      channel('koaws:sent').publish({ ...event, instance: 'another hub of the process' })
    }
    const recorded = recorders.look(room)
    recorders.stop()
    expect(recorded.map(({ size }) => size)).to.deep.equal(
      Array.from({ length: 50 }, (_, i) => i + 10),
    )
    expect(recorded[0]).to.include({ direction: 'out', receivers: 2, body: '10' })
    expect(recorded[0]?.type).to.have.length(100)
  })

  it('name the type of a message, its time and its error once it is handled', async () => {
    const chat = messages()
      .on('good', () => 1)
      .on('bad', (message) => message.throw(409))
    const { port, hub } = await serve((app, hub) => {
      app.use(inspector(hub))
      app.use(accept(chat))
    })
    const socket = await openSocket(port, '/', { protocols: ['koaws.v1'] })
    await socket.next()
    const page = await PageSocket.open(port)
    const [connection] = hub.localConnections.values()
    const look = async () => (await page.ask('connection', { id: connection?.id })).messages
    await look()
    for (const [i, type] of ['good', 'bad'].entries()) {
      socket.send(JSON.stringify({ type, id: i + 1 }))
      await socket.next()
    }
    const recorded = await look()
    expect(
      recorded.map((m: { direction: string; type: string }) => `${m.direction} ${m.type}`),
    ).to.deep.equal(['in good', 'out koaws:reply', 'in bad', 'out koaws:error'])
    expect(recorded[0].duration).to.be.at.least(0)
    expect(recorded[0].code).to.equal(null)
    expect(recorded[2].code).to.equal('conflict')
  })

  it('read subjects, and refuse wrong ones', () => {
    expect(readSubject({ kind: 'user', name: 'ann' })).to.deep.equal({ kind: 'user', name: 'ann' })
    for (const wrong of [null, 7, {}, { kind: 'room' }, { kind: 'room', name: '' }]) {
      expect(readSubject(wrong)).to.equal(null)
    }
  })
})

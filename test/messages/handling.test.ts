import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { expect } from 'chai'
import { type HandledEvent, messages } from '../../lib/index.ts'
import { cleanUp, soon } from '../support/server.ts'
import { ask, serveMessages, talk } from '../support/talk.ts'

describe('the channel koaws:handled', () => {
  let events: HandledEvent[]
  const note = (event: unknown): void => {
    events.push(event as HandledEvent)
  }
  beforeEach(() => {
    events = []
    subscribe('koaws:handled', note)
  })
  afterEach(async () => {
    unsubscribe('koaws:handled', note)
    await cleanUp()
  })

  it('has one event for each message, with the code of its error', async () => {
    const chat = messages()
      .on('sync', () => 1)
      .on('async', async () => 2)
      .on('note', () => {})
      .on('conflict', async () => {
        throw Object.assign(new Error('no'), { status: 409, expose: true })
      })
      .on('broken', () => {
        throw new Error('of the server')
      })
      .on('noJson', async () => 1n)
    const { port, hub } = await serveMessages(chat)
    const socket = await talk(port)
    const [connection] = hub.localConnections.values()
    for (const type of ['sync', 'async', 'conflict', 'broken', 'noJson']) await ask(socket, type)
    const text = '{"type":"note","data":"ä"}'
    socket.send(text)
    await soon(() => expect(events).to.have.length(6))
    for (const event of events) {
      expect(event.connection).to.equal(connection)
      expect(event.duration).to.be.at.least(0)
    }
    expect(events.map(({ type, isRequest, code }) => [type, isRequest, code])).to.deep.equal([
      ['sync', true, undefined],
      ['async', true, undefined],
      ['conflict', true, 'conflict'],
      ['broken', true, 'internal'],
      ['noJson', true, 'internal'],
      ['note', false, undefined],
    ])
    expect(events.at(-1)?.size).to.equal(Buffer.byteLength(text))
  })
})

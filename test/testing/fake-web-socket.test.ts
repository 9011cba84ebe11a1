import { expect } from 'chai'
import * as testing from '../../lib/testing/index.ts'
import { settle } from '../client/support/client.ts'

const { fakeServer } = testing

describe('fakeServer()', () => {
  it('has WebSockets that behave like those of a page', async () => {
    const { WebSocket } = fakeServer()
    const socket = new WebSocket('ws://test/', ['koaws.v1']) as InstanceType<typeof WebSocket> &
      EventTarget
    const events: string[] = []
    for (const type of ['open', 'message', 'close', 'error']) {
      socket.addEventListener(type, () => events.push(type))
    }
    expect(socket.readyState).to.equal(0)
    expect(() => socket.send('early')).to.throw(DOMException)
    expect(() => socket.close(1001)).to.throw(DOMException)
    expect(() => socket.close(1000, 'x'.repeat(124))).to.throw(DOMException)
    await settle()
    expect([socket.readyState, socket.protocol]).to.deep.equal([1, 'koaws.v1'])
    socket.close()
    expect(socket.readyState).to.equal(2)
    await settle()
    expect(socket.readyState).to.equal(3)
    expect(events).to.deep.equal(['open', 'message', 'close'])
  })

  it('fails the handshake of a client that does not offer koaws.v1', async () => {
    const { WebSocket } = fakeServer()
    const socket = new WebSocket('ws://test/', ['other'])
    const codes: unknown[] = []
    socket.onclose = ({ code }: { code: number }) => codes.push(code)
    await settle()
    expect(codes).to.deep.equal([1006])
  })
})

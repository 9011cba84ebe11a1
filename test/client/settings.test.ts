import { expect } from 'chai'
import { connect } from '../../lib/client/index.ts'
import { onPage, openClient, settle } from './support/client.ts'
import { scriptedSockets } from './support/scripted-socket.ts'

describe('the options of connect()', () => {
  it('throw for a wrong value and for an unknown name', () => {
    for (const wrong of [
      { minDelay: 0 },
      { timeout: -1 },
      { maxMessage: Number.NaN },
      { maxDelay: 'x' },
    ]) {
      const [name] = Object.keys(wrong)
      const text = `"${name}" must be a number above 0`
      expect(() => connect('ws://test/', wrong as object), name).to.throw(TypeError, text)
    }
    const tokenIn = 'mesage' as 'message'
    expect(() => connect('ws://test/', { tokenIn })).to.throw(TypeError, '"handshake" or "message"')
    const options = { tokens: 'x' } as object
    expect(() => connect('ws://test/', options)).to.throw(TypeError, 'no option "tokens"')
    expect(() => connect('ws://test/', { toString: 1 } as object)).to.throw(TypeError, 'toString')
  })

  it('take their default for undefined', async () => {
    const { client, last } = await openClient({ queue: undefined, timeout: undefined })
    expect(last.url).to.equal('ws://test/chat')
    client.close()
  })

  it('throw ERR_KOAWS_NO_WEBSOCKET with instructions when the host has no WebSocket', () => {
    const attempt = (): unknown =>
      onPage({ WebSocket: undefined }, () => connect('ws://test/', { WebSocket: undefined }))
    expect(attempt)
      .to.throw(Error, "{ WebSocket } from 'ws'")
      .with.property('code', 'ERR_KOAWS_NO_WEBSOCKET')
  })

  it('default to the global WebSocket', async () => {
    const made = scriptedSockets()
    const client = onPage({ WebSocket: made.WebSocket }, () => connect('ws://test/'))
    client.open()
    await settle()
    expect(made.sockets).to.have.length(1)
    client.close()
  })
})

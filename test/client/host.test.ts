import { fileURLToPath } from 'node:url'
import { createContext, runInContext } from 'node:vm'
import { expect } from 'chai'
import { build } from 'esbuild'
import type { connect } from '../../lib/client/index.ts'
import { openClient, pass, scriptedClient, settle, useFakeClock } from './support/client.ts'
import { scriptedSockets } from './support/scripted-socket.ts'

type Connect = typeof connect

/** Waits for a condition that depends on microtasks and on timers of the real clock. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await settle()
}

describe('a host that has only WebSocket and setTimeout', () => {
  let script = ''

  before(async () => {
    const { outputFiles } = await build({
      entryPoints: [fileURLToPath(new URL('../../lib/client/index.ts', import.meta.url))],
      bundle: true,
      write: false,
      format: 'iife',
      globalName: 'koaws',
      platform: 'browser',
    })
    script = outputFiles[0]?.text as string
  })

  /** Starts a client in a separate realm with the globals of the language and the given ones. */
  function startOn(globals: object, url = 'ws://test/chat', options: object = {}) {
    const made = scriptedSockets()
    const realm = createContext({ WebSocket: made.WebSocket, setTimeout, ...globals })
    const { connect } = runInContext(`${script};koaws`, realm) as { connect: Connect }
    return { made, client: connect(url, options) }
  }

  it('is enough to open, send, request, reconnect and close', async () => {
    const { made, client } = startOn({}, 'http://test/chat?a=b', {
      token: () => 'hé€ ,',
      minDelay: 1,
      maxDelay: 2,
    })
    const heard: unknown[] = []
    client.on('said', (data) => heard.push(data))
    expect(client.push('typing')).to.equal('queued')
    await settle()
    expect(made.last.url).to.equal('ws://test/chat?a=b')
    expect(Buffer.from(made.last.offered[1]?.slice(15) ?? '', 'base64url').toString()).to.equal(
      'hé€ ,',
    )
    made.last.welcome({ heartbeat: 25_000, maxMessage: 100 }).push('said', 'hi')
    const asked = client.request('say', 'é€😀')
    made.last.json({ type: 'koaws:reply', id: made.last.last.id, data: 1 })
    expect(await asked).to.equal(1)
    expect(heard).to.deep.equal(['hi'])
    expect(() => client.push('x', '€'.repeat(30))).to.throw('more than 100 bytes')
    expect(() => client.close(1000, '€'.repeat(42))).to.throw('123 bytes')
    made.last.end(1006)
    await until(() => made.sockets.length === 2)
    made.last.welcome()
    expect(client.state.status).to.equal('open')
    client.close()
    expect(client.state).to.deep.include({ status: 'stopped', code: 1000 })
  })

  it('without clearTimeout ignores timers that fire after close()', async () => {
    const timers: (() => void)[] = []
    const { made, client } = startOn({ setTimeout: (fn: () => void) => timers.push(fn) })
    client.open()
    await settle()
    made.last.welcome({ heartbeat: 1000 })
    const asked = client.request('say').catch((error: { code: string }) => error.code)
    client.close()
    const { state } = client
    for (const fire of timers) fire()
    expect(await asked).to.equal('ERR_KOAWS_CLOSED')
    expect(client.state).to.equal(state)
    expect(made.sockets).to.have.length(1)
    expect(made.last.sent.map(({ type }) => type)).to.deep.equal(['say'])
  })

  it('may have the incomplete URL class of React Native 0.72 to 0.79', async () => {
    class URL {
      readonly href: string
      constructor(url: string) {
        this.href = url.endsWith('/') ? url : `${url}/`
      }
      get username(): string {
        throw new Error('URL.username is not implemented')
      }
    }
    const { made, client } = startOn({ URL, window: {} }, 'https://example.com/chat?room=1')
    client.open()
    await settle()
    expect(made.last.url).to.equal('wss://example.com/chat?room=1')
    client.close()
    for (const url of ['/chat', 'ws://ann@host/', 'ws://host/#a', 'ftp://host/', 'ws://']) {
      expect(() => startOn({ URL }, url), url).to.throw('connect() needs a URL')
    }
  })
})

describe('an attempt on an unusual WebSocket', () => {
  useFakeClock()

  it('fails at once when the handshake emits error without close, as in Node 22', async () => {
    const { client, last } = scriptedClientOpen()
    await settle()
    last().onerror?.({} as never)
    await pass(100)
    expect(client.state).to.deep.include({
      status: 'waiting',
      code: 1006,
      reason: 'the handshake failed',
    })
    client.close()
  })

  it('ends with the code of a close that follows the error of the handshake', async () => {
    const { client, last } = scriptedClientOpen()
    await settle()
    last().onerror?.({} as never)
    last().end(4403, 'no')
    await pass(100)
    expect(client.state).to.deep.equal({ status: 'stopped', code: 4403, reason: 'no' })
  })

  it('ends with 1006 when the close has the code 0 and no reason', async () => {
    const { client, last } = scriptedClientOpen()
    await settle()
    last().onclose?.({ code: 0 } as never)
    expect(client.state).to.deep.include({ status: 'waiting', code: 1006 })
    expect(client.state).to.not.have.property('reason')
    client.close()
  })

  it('stays open when the WebSocket emits error after the welcome', async () => {
    const { client, last } = await openClient()
    last.onerror?.({} as never)
    await pass(60_000)
    expect(client.state.status).to.equal('open')
    client.close()
  })

  function scriptedClientOpen() {
    const scripted = scriptedClient()
    scripted.client.open()
    return { client: scripted.client, last: () => scripted.last }
  }
})

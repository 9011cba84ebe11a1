import { expect } from 'chai'
import {
  openClient,
  pass,
  scriptedClient,
  setRandom,
  settle,
  useFakeClock,
} from './support/client.ts'

/** The time for the bytes of `koaws:resume` on the slowest link, in milliseconds. */
const RESUME = 8

/** The part of a page that the client uses. */
class Page extends EventTarget {
  visibilityState = 'visible'
  readonly listening = new Set<string>()
  override addEventListener(type: string, listener: EventListenerOrEventListenerObject): void {
    this.listening.add(type)
    super.addEventListener(type, listener)
  }
  override removeEventListener(type: string, listener: EventListenerOrEventListenerObject): void {
    this.listening.delete(type)
    super.removeEventListener(type, listener)
  }
  fire(type: string): void {
    this.dispatchEvent(new Event(type))
  }
  show(visibilityState: 'visible' | 'hidden'): void {
    this.visibilityState = visibilityState
    this.fire('visibilitychange')
  }
}

type EventListenerOrEventListenerObject = Parameters<EventTarget['addEventListener']>[1]

describe('a client on a page', () => {
  useFakeClock()
  let window: Page
  let document: Page
  beforeEach(() => {
    window = new Page()
    document = new Page()
    Object.assign(globalThis, { window, document })
  })
  afterEach(() => {
    Reflect.deleteProperty(globalThis, 'window')
    Reflect.deleteProperty(globalThis, 'document')
  })

  const wakes: Record<string, () => void> = {
    'the network comes back': () => window.fire('online'),
    'the page is shown again': () => window.fire('pageshow'),
    'the page becomes visible': () => document.show('visible'),
  }

  for (const [what, wake] of Object.entries(wakes)) {
    it(`reconnects within 200 ms when ${what}`, async () => {
      setRandom(1)
      const scripted = await openClient()
      scripted.last.end(1006)
      wake()
      expect(scripted.client.state).to.deep.equal({
        status: 'waiting',
        retryAt: Date.now() + 200,
        code: 1006,
      })
      wake()
      await pass(200)
      expect(scripted.sockets).to.have.length(2)
      await pass(1000)
      expect(scripted.sockets).to.have.length(2)
      scripted.client.close()
    })

    it(`pings the server once when ${what}`, async () => {
      const { client, last } = await openClient()
      wake()
      wake()
      expect(last.sent).to.deep.equal([{ type: 'koaws:ping', id: 1 }])
      last.push('unknown')
      await pass(5000)
      expect(client.state.status).to.equal('open')
      client.close()
    })

    it(`keeps the delay of a bye when ${what}`, async () => {
      const scripted = await openClient()
      scripted.last.push('koaws:bye', { after: 3000 }).end(1012)
      const { state } = scripted.client
      wake()
      expect(scripted.client.state).to.equal(state)
      await pass(2999)
      expect(scripted.sockets).to.have.length(1)
      scripted.client.close()
    })
  }

  it('ignores a page that becomes hidden', async () => {
    const { client, last } = await openClient()
    document.show('hidden')
    expect(last.sent).to.deep.equal([])
    client.close()
  })

  it('gives up a connection that leaves a ping unanswered, and does not wait for its close event', async () => {
    const scripted = await openClient()
    const [dead] = scripted.sockets
    window.fire('online')
    await pass(4999)
    expect(scripted.client.state.status).to.equal('open')
    await pass(1 + RESUME)
    expect(scripted.client.state).to.deep.equal({
      status: 'waiting',
      retryAt: Date.now() + 500,
      code: 1006,
      reason: 'no answer to a ping',
    })
    expect(dead?.closes).to.have.length(1)
    dead?.end(1006)
    await pass(500)
    expect(scripted.sockets).to.have.length(2)
    scripted.client.close()
  })

  it('pings on an offline event, and waits 2 s for the answer', async () => {
    const scripted = await openClient()
    window.fire('offline')
    expect(scripted.last.sent).to.deep.equal([{ type: 'koaws:ping', id: 1 }])
    await pass(1999)
    expect(scripted.client.state.status).to.equal('open')
    await pass(1 + RESUME)
    expect(scripted.client.state).to.deep.include({
      status: 'waiting',
      code: 1006,
      reason: 'no answer to a ping',
    })
    scripted.client.close()
  })

  it('stays open on an offline event when the server answers', async () => {
    const { client, last } = await openClient()
    window.fire('offline')
    last.json({ type: 'koaws:reply', id: 1, data: null })
    await pass(60_000)
    expect(client.state.status).to.equal('open')
    client.close()
  })

  it('sends one ping for several events, and the shortest wait applies', async () => {
    const { client, last } = await openClient()
    document.show('visible')
    await pass(1000)
    window.fire('offline')
    await pass(1000)
    window.fire('online')
    document.show('visible')
    expect(last.sent).to.have.length(1)
    await pass(999)
    expect(client.state.status).to.equal('open')
    await pass(1)
    expect(client.state.status).to.equal('waiting')
    client.close()
  })

  it('ignores an offline event before the welcome', async () => {
    const scripted = scriptedClient()
    scripted.client.open()
    await settle()
    scripted.last.open()
    window.fire('offline')
    expect(scripted.last.sent).to.deep.equal([])
    scripted.last.push('koaws:welcome', {})
    expect(scripted.client.state.status).to.equal('open')
    scripted.client.close()
  })

  it('listens to the page while it is started, and not after close()', async () => {
    const { client } = await openClient()
    expect([...window.listening, ...document.listening]).to.deep.equal([
      'online',
      'offline',
      'pageshow',
      'visibilitychange',
    ])
    client.close()
    expect([...window.listening, ...document.listening]).to.deep.equal([])
    client.open()
    expect(window.listening.size).to.equal(3)
    client.close()
  })

  it('stops listening to the page after a close with 4403', async () => {
    const { last } = await openClient()
    last.end(4403)
    expect([...window.listening, ...document.listening]).to.deep.equal([])
  })

  it('sends no ping to a silent server while the page is hidden', async () => {
    const { client, last } = await openClient({}, { heartbeat: 10_000 })
    document.visibilityState = 'hidden'
    await pass(14_000)
    await pass(14_000)
    expect(last.sent).to.deep.equal([])
    document.visibilityState = 'visible'
    await pass(14_000)
    expect(last.sent.map(({ type }) => type)).to.deep.equal(['koaws:ping'])
    client.close()
  })
})

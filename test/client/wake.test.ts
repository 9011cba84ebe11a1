import { expect } from 'chai'
import { openClient, pass, setRandom, useFakeClock } from './support/client.ts'

/** A page, as far as the client looks at it. */
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
    'somebody looks': () => document.show('visible'),
  }

  for (const [what, wake] of Object.entries(wakes)) {
    it(`that waits tries within 200 ms when ${what}`, async () => {
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

    it(`that is open asks whether it is alive when ${what}`, async () => {
      const { client, last } = await openClient()
      wake()
      wake()
      expect(last.sent).to.deep.equal([{ type: 'koaws:ping', id: 1 }])
      last.push('unknown')
      await pass(5000)
      expect(client.state.status).to.equal('open')
      client.close()
    })

    it(`that the server sent away does not come sooner when ${what}`, async () => {
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

  it('does nothing when nobody looks any more', async () => {
    const { client, last } = await openClient()
    document.show('hidden')
    expect(last.sent).to.deep.equal([])
    client.close()
  })

  it('drops a connection that does not answer, and does not wait for its close', async () => {
    const scripted = await openClient()
    const [dead] = scripted.sockets
    window.fire('online')
    await pass(4999)
    expect(scripted.client.state.status).to.equal('open')
    await pass(1)
    expect(scripted.client.state).to.deep.equal({
      status: 'waiting',
      retryAt: Date.now() + 500,
      code: 1006,
      reason: 'no answer to a ping',
    })
    expect(dead?.closes).to.have.length(1)
    dead?.end(1006) // much later
    await pass(500)
    expect(scripted.sockets).to.have.length(2)
    scripted.client.close()
  })

  it('hears the page while it runs, and not after close()', async () => {
    const { client } = await openClient()
    expect([...window.listening, ...document.listening]).to.deep.equal([
      'online',
      'pageshow',
      'visibilitychange',
    ])
    client.close()
    expect([...window.listening, ...document.listening]).to.deep.equal([])
    client.open()
    expect(window.listening.size).to.equal(2)
    client.close()
  })

  it('hears the page no more after the server stopped it', async () => {
    const { last } = await openClient()
    last.end(4403)
    expect([...window.listening, ...document.listening]).to.deep.equal([])
  })

  it('asks no silent server while nobody looks', async () => {
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

describe('silence', () => {
  useFakeClock()

  it('of 1.4 heartbeats makes the client ask, each time', async () => {
    const { client, last } = await openClient({}, { heartbeat: 10_000 })
    await pass(13_999)
    expect(last.sent).to.have.length(0)
    await pass(1)
    expect(last.sent).to.deep.equal([{ type: 'koaws:ping', id: 1 }])
    last.json({ type: 'koaws:reply', id: 1, data: null })
    await pass(14_000)
    expect(last.sent).to.have.length(2)
    expect(last.last.id).to.equal(2)
    await pass(5000)
    expect(client.state).to.deep.include({ status: 'waiting', code: 1006 })
    client.close()
  })

  it('is ended by any message', async () => {
    const { client, last } = await openClient({}, { heartbeat: 10_000 })
    for (const message of ['{"type":"said"}', 'no JSON', '[]']) {
      await pass(10_000)
      last.receive(message)
    }
    expect(last.sent).to.have.length(0)
    client.close()
  })

  for (const heartbeat of [null, undefined, 0, -1, 'soon', {}, []]) {
    it(`is not looked for when the heartbeat is ${JSON.stringify(heartbeat)}`, async () => {
      const { client, last } = await openClient({}, { heartbeat })
      await pass(1_000_000)
      expect(last.sent).to.have.length(0)
      client.close()
    })
  }

  it('is looked for once a second at most', async () => {
    const { client, last } = await openClient({}, { heartbeat: 1e-9 })
    await pass(999)
    expect(last.sent).to.have.length(0)
    await pass(1)
    expect(last.sent).to.have.length(1)
    client.close()
  })

  it('of longer than a timer runs is no reason to ask', async () => {
    const { client, last } = await openClient({}, { heartbeat: 1e300 })
    await pass(1000)
    expect(last.sent).to.have.length(0)
    client.close()
  })
})

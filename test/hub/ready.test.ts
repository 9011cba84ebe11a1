import { channel } from 'node:diagnostics_channel'
import { expect } from 'chai'
import type { Adapter, AdapterEvents } from '../../lib/backplane/adapter.ts'
import { AdapterError, type BackplaneEvent, koaWs, OptionsError } from '../../lib/index.ts'
import { forgetWarnings } from '../../lib/warn.ts'
import { cleanUp, eventually, makeHub } from '../support/server.ts'

/** An adapter with an engine that the test scripts. */
function scripted(): { adapter: Adapter; events: AdapterEvents; refuse: { publish: boolean } } {
  const refuse = { publish: false }
  const script = { events: null as unknown as AdapterEvents, refuse }
  const adapter: Adapter = {
    heartbeat: 100,
    connect(_id, events) {
      script.events = events
      return {
        subscribe: async () => {},
        unsubscribe() {},
        publish: async () => {
          if (refuse.publish) throw new AdapterError('ERR_KOAWS_BACKPLANE_REFUSED', 'NOPERM')
        },
        close: async () => {},
      }
    },
  }
  return Object.assign(script, { adapter })
}

const wrong = new AdapterError('ERR_KOAWS_BACKPLANE', 'WRONGPASS invalid password.')

describe('hub.status() with a backplane', () => {
  afterEach(cleanUp)

  it('is ready regardless of the backplane, unless the option "ready" says otherwise', () => {
    const script = scripted()
    const hub = makeHub({ adapter: script.adapter })
    script.events.failed?.(wrong)
    expect(hub.status()).to.include({ ready: true })
    expect(hub.status().reasons).to.deep.equal([])
  })

  it('is ready once the backplane was ready, regardless of later outages', async () => {
    const script = scripted()
    const hub = makeHub({ adapter: script.adapter, ready: { backplane: true } })
    expect(hub.status().ready).to.equal(false)
    script.events.failed?.(wrong)
    expect(hub.status().reasons).to.deep.equal([
      'backplane connecting: WRONGPASS invalid password.',
    ])
    script.events.up()
    await eventually(() => hub.status().ready)
    script.events.down(new Error('cut'))
    expect(hub.status().backplane.state).to.equal('degraded')
    expect(hub.status().ready).to.equal(true)
    const closed = hub.close()
    expect(hub.status().reasons).to.deep.equal(['draining'])
    await closed
  })

  it('is ready once the engine accepts publishes, not only subscriptions', async () => {
    const script = scripted()
    script.refuse.publish = true
    const hub = makeHub({ adapter: script.adapter, ready: { backplane: true } })
    script.events.up()
    await eventually(() => hub.status().backplane.state === 'degraded')
    expect(hub.status().reasons).to.deep.equal(['backplane degraded: NOPERM'])
    script.refuse.publish = false
    await eventually(() => hub.status().ready)
    expect(hub.status().backplane.state).to.equal('ready')
  })

  it('is ready at once without an adapter', () => {
    const hub = makeHub({ ready: { backplane: true } })
    expect(hub.status().ready).to.equal(true)
    expect(hub.status().backplane).to.include({
      state: 'none',
      why: 'the option "adapter" is not set',
    })
  })

  it('needs valid options in "ready"', () => {
    expect(() => koaWs({ ready: true as never })).to.throw(OptionsError, 'ready')
    expect(() => koaWs({ ready: { backplan: true } as never })).to.throw(
      OptionsError,
      'Did you mean "backplane"?',
    )
  })

  it('has its reasons on the channel koaws:backplane, and the first failure in one warning', async () => {
    const heard: BackplaneEvent[] = []
    const warnings: Error[] = []
    const hear = (event: unknown): void => void heard.push(event as BackplaneEvent)
    const warn = (warning: Error): void => {
      if ((warning as { code?: unknown }).code === 'KOAWS_BACKPLANE') warnings.push(warning)
    }
    channel('koaws:backplane').subscribe(hear)
    process.on('warning', warn)
    forgetWarnings() // an earlier test of this process may have caused the warning, which is given once
    try {
      const script = scripted()
      const hub = makeHub({ adapter: script.adapter })
      script.events.failed?.(wrong)
      script.events.failed?.(wrong)
      script.events.failed?.(new AdapterError('ERR_KOAWS_BACKPLANE', 'ECONNREFUSED'))
      script.events.up()
      script.events.impaired?.(new AdapterError('ERR_KOAWS_BACKPLANE_REFUSED', 'one channel'))
      script.events.impaired?.(null)
      await eventually(() => warnings.length > 0)
      const { id } = hub.status()
      const mine = heard.filter(({ instance }) => instance === id)
      expect(mine.map(({ state, why }) => `${state}: ${why}`)).to.deep.equal([
        'connecting: WRONGPASS invalid password.',
        'connecting: ECONNREFUSED',
        'ready: connected',
        'degraded: one channel',
        'ready: connected',
      ])
      expect(warnings.map(({ message }) => message)).to.have.lengthOf(1)
      expect(warnings[0]?.message).to.match(/does not work: WRONGPASS invalid password\. The hub/)
    } finally {
      channel('koaws:backplane').unsubscribe(hear)
      process.off('warning', warn)
    }
  })

  it('counts each send that resolved "queued" as queued, and each that resolved "failed" as dropped', async () => {
    const script = scripted()
    const adapter = { ...script.adapter, maxQueued: { messages: 10_000 } }
    const hub = makeHub({ adapter })
    script.events.failed?.(wrong)
    const verdicts: Promise<string>[] = []
    for (let i = 0; i < 12_000; i++) {
      verdicts.push(hub.room(`r${i % 5}`).send(String(i)).backplane)
      if (i % 100 === 99) await new Promise(setImmediate)
    }
    const all = await Promise.all(verdicts)
    const count = (verdict: string): number => all.filter((one) => one === verdict).length
    expect(count('queued') + count('failed')).to.equal(12_000)
    expect(count('queued')).to.be.within(10_000, 10_100) // messages of one turn stay together
    expect(hub.status().backplane.queued.messages).to.equal(count('queued'))
    expect(hub.status().drops['backplane']).to.equal(count('failed'))
  })
})

import { expect } from 'chai'
import { type BreakableAdapter, breakableAdapter } from '../support/breakable-adapter.ts'
import { type House, house } from '../support/order.ts'
import { cleanUp, soon, turn } from '../support/server.ts'

const HEARTBEAT = 60

describe('subscriptions', () => {
  afterEach(cleanUp)

  /** Starts a hub with a member that joins the room `r`, while the engine is not reached. */
  async function starting(
    adapter: BreakableAdapter,
  ): Promise<House & { id: string; isJoined: () => boolean }> {
    const site = await house({ adapter })
    const { connection } = await site.enter()
    let isJoined = false
    void connection.join('r').then(() => {
      isJoined = true
    })
    await turn()
    expect(isJoined, 'it waits').to.equal(false)
    return { ...site, id: site.hub.status().id, isJoined: () => isJoined }
  }

  it('hold when a join resolves, also of a hub that starts', async () => {
    const adapter = breakableAdapter({ heartbeat: 60_000, connects: false })
    const other = await house({ adapter })
    const one = await house({ adapter })
    const guest = await one.enter()
    const joined = guest.connection.join('r')
    adapter.heal(other.hub.status().id)
    await turn()
    void joined.then(() => other.hub.room('r').send('after the join'))
    for (let i = 0; i < 6; i++) await turn() // so long would a message take
    adapter.heal(one.hub.status().id)
    expect(await guest.socket.next()).to.equal('after the join')
  })

  it('wait for the first connection, and no longer when an attempt fails', async () => {
    const adapter = breakableAdapter({ heartbeat: 60_000, connects: false })
    const { id, isJoined } = await starting(adapter)
    adapter.fail(id)
    await soon(() => expect(isJoined()).to.equal(true))
  })

  it('wait no longer when the hub closes', async () => {
    const { hub, isJoined } = await starting(
      breakableAdapter({ heartbeat: 60_000, connects: false }),
    )
    await hub.close({ timeout: 0 })
    await soon(() => expect(isJoined()).to.equal(true))
  })

  it('wait a few heartbeats for an engine that reports nothing', async () => {
    const { isJoined } = await starting(breakableAdapter({ heartbeat: HEARTBEAT, connects: false }))
    await soon(() => expect(isJoined()).to.equal(true))
  })

  it('are waited for by each connection that joins, and in each call', async () => {
    const adapter = breakableAdapter({ heartbeat: 60_000 })
    const site = await house({ adapter })
    const guests = [await site.enter(), await site.enter()]
    const confirm = adapter.slow('room:r')
    let joined = 0
    for (const { connection } of [...guests, ...guests])
      void connection.join('r').then(() => joined++)
    await turn()
    expect(joined).to.equal(0)
    confirm()
    await soon(() => expect(joined).to.equal(4))
    await guests[0]?.connection.join('r')
  })
})

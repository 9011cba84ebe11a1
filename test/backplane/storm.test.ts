import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { clusterAdapter } from '../../lib/adapters/cluster/index.ts'
import { enterAndHold, type House, house } from '../support/order.ts'
import { cleanUp, soon, turn } from '../support/server.ts'

describe('an instance that has published to 90,000 rooms', () => {
  let folder = ''
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'koaws-'))
  })
  afterEach(async () => {
    await cleanUp()
    rmSync(folder, { recursive: true, force: true })
  })

  const start = (): Promise<House> =>
    house({ adapter: clusterAdapter({ name: 'storm', folder, heartbeat: 200 }) })

  it('stays connected to an instance that starts, and all its messages arrive', async () => {
    const one = await start()
    await soon(() => expect(one.hub.status().backplane.state).to.equal('ready'))
    const name = 'x'.repeat(240)
    for (let i = 0; i < 90_000; i++) {
      one.hub.room(`${i}${name}`).send('')
      if (i % 2_000 === 0) await turn()
    }
    const other = await start()
    await soon(() => expect(one.hub.status().backplane.instances).to.equal(1))
    const guest = await enterAndHold(other, { rooms: ['r'] })
    const verdicts = new Set<string>()
    for (let i = 0; i < 200; i++) {
      verdicts.add(await one.hub.room('r').send(String(i)).backplane)
      await turn()
    }
    const messages: unknown[] = []
    while (messages.at(-1) !== '199') messages.push(await guest.socket.next())
    expect(messages).to.deep.equal(Array.from({ length: 200 }, (_, i) => `${i}`))
    expect([...verdicts]).to.deep.equal(['sent'])
    for (const { hub } of [one, other]) {
      const { state, lost, instances } = hub.status().backplane
      expect({ state, lost, instances }).to.deep.equal({ state: 'ready', lost: 0, instances: 1 })
    }
  })
})

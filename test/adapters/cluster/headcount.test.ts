import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { Headcount } from '../../../lib/adapters/cluster/headcount.ts'
import { clusterAdapter } from '../../../lib/adapters/cluster/index.ts'
import type { Hub } from '../../../lib/index.ts'
import { enterAndHold, house } from '../../support/order.ts'
import { cleanUp, makeHub, turn } from '../../support/server.ts'
import { closeMesh, meshFolder, pause, RecordedLink, Sockets, until } from './support/mesh.ts'
import { endProcesses, start } from './support/process.ts'

describe('the option expected of clusterAdapter()', function () {
  this.timeout(180_000) // beyond that of each `until`, which names what it waits for
  let folder: string

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'koaws-'))
  })

  afterEach(async () => {
    await cleanUp()
    await closeMesh()
    await endProcesses()
    rmSync(folder, { recursive: true, force: true })
  })

  const adapter = (expected: number, at = folder) =>
    clusterAdapter({ name: 'app', folder: at, expected })
  const stateOf = (hub: Hub): string => hub.status().backplane.state

  it('reports ready, with the folder and the number, when all instances are present', async () => {
    const [one, two] = [adapter(2), adapter(2)].map((each) => makeHub({ adapter: each })) as [
      Hub,
      Hub,
    ]
    await until('they know each other', () => {
      return [one, two].every((hub) => hub.status().backplane.instances === 1)
    })
    const { state, expected, folder: shown } = one.status().backplane
    expect([state, expected]).to.deep.equal(['ready', 2])
    expect(shown).to.equal(two.status().backplane.folder)
    expect(shown?.startsWith(`${folder}/`)).to.equal(true)
  })

  it('reports degraded with the folder on both sides when instances use different folders', async () => {
    const other = mkdtempSync(join(tmpdir(), 'koaws-'))
    try {
      const one = await house({ adapter: adapter(2) })
      const lost = makeHub({ adapter: adapter(2, other) })
      await until('both are degraded', () =>
        [one.hub, lost].every((hub) => stateOf(hub) === 'degraded'),
      )
      for (const [hub, at] of [
        [one.hub, folder],
        [lost, other],
      ] as const) {
        const { why, instances } = hub.status().backplane
        expect(instances).to.equal(0)
        expect(why).to.include('1 of 2 expected instances').and.to.include(at)
      }
      await lost.close()
      const two = await house({ adapter: adapter(2) })
      await until('both are ready', () =>
        [one.hub, two.hub].every((hub) => stateOf(hub) === 'ready'),
      )
      const guest = await enterAndHold(two, { rooms: ['r'] })
      expect(await one.hub.room('r').send('hello').backplane).to.equal('sent')
      await until('they know each other', () => one.hub.status().backplane.instances === 1)
      expect(await guest.socket.next()).to.equal('hello')
    } finally {
      rmSync(other, { recursive: true, force: true })
    }
  })

  it('reports how many instances are present while some are missing, and messages still arrive', async () => {
    const houses = [await house({ adapter: adapter(3) }), await house({ adapter: adapter(3) })]
    const [one, two] = houses as [(typeof houses)[0], (typeof houses)[0]]
    await until('both are degraded', () => houses.every(({ hub }) => stateOf(hub) === 'degraded'))
    expect(one.hub.status().backplane.why).to.include('2 of 3 expected instances')
    const guest = await enterAndHold(two, { rooms: ['r'] })
    expect(await one.hub.room('r').send('still').backplane).to.equal('sent')
    await until('it has come', () => two.hub.status().backplane.instances === 1)
    expect(await guest.socket.next()).to.equal('still')
    await two.hub.close()
    await until('it is told', () =>
      one.hub.status().backplane.why.includes('1 of 3 expected instances'),
    )
  })

  it('ignores a shortage that is shorter than the patience', async () => {
    const told: (number | null)[] = []
    const headcount = new Headcount(2, 60_000, (there) => told.push(there))
    headcount.count(1)
    headcount.count(2)
    headcount.count(1)
    headcount.count(3)
    headcount.repeat()
    await turn()
    headcount.stop()
    expect(told).to.deep.equal([])
  })

  it('reports a shortage again after a stream broke', async () => {
    const sockets = new Sockets()
    const links = ['a', 'b'].map((id) => new RecordedLink(id, { expected: 3, patience: 100 }))
    await until('it is told', () => links.every(({ impaired }) => impaired.at(-1) !== undefined))
    for (const link of links) link.impaired.length = 0
    const [socket] = sockets.open
    socket?.destroy()
    sockets.stop()
    await until('they are up again', () =>
      links.every(({ events }) => events.join() === 'up,down,up'),
    )
    await until('it is told', () => links.every(({ impaired }) => impaired.length > 0))
    for (const { impaired } of links) {
      expect(impaired.at(-1)).to.include('expected instances').and.include(meshFolder())
    }
  })

  it('is undefined by default, and a single instance is ready', async () => {
    const hub = makeHub({ adapter: clusterAdapter({ name: 'app', folder }) })
    await until('it is ready', () => stateOf(hub) === 'ready')
    expect(hub.status().backplane.expected).to.equal(undefined)
    await pause(50)
    expect(stateOf(hub)).to.equal('ready')
  })

  it('puts the folder into errors and into the debug line of the start', async () => {
    const link = new RecordedLink('a')
    const away = await link.say('too early').catch((error: Error) => error.message)
    expect(away).to.include(meshFolder())
    await until('it is up', () => link.isUp)
    const large = await link
      .say(Buffer.alloc(64 * 1024 * 1024))
      .catch((error: Error) => error.message)
    expect(large).to.include(meshFolder())
    let printed = ''
    const child = start('./child.ts', ['b'.padEnd(20, '_'), meshFolder(), '100', '1000000'], {
      env: { ...process.env, NODE_DEBUG: 'koaws:backplane' },
      silent: true,
    })
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      printed += text
    })
    await until('it is printed', () =>
      printed.includes(`folder ${meshFolder()}, expected instances: unknown`),
    )
  })
})

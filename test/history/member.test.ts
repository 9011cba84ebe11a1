import { mock } from 'node:test'
import { expect } from 'chai'
import { house } from '../support/order.ts'
import { comeBack, type Placed, type Returning, recoverySite } from '../support/recovery.ts'
import { cleanUp, eventually, type Site, soon, turn } from '../support/server.ts'

const large = { maxBufferedAmount: 64 * 1024 * 1024 }

/** Connects a client with a socket that takes nothing: the kernel is full. */
async function clogged({ hub, port }: Site, rooms: string[]): Promise<Returning> {
  const ann = await comeBack(port, `rooms=${['news', ...rooms].join()}`, null)
  ann.socket.pause()
  for (let i = 0; i < 60; i++) hub.room('news').push('said', 'x'.repeat(200_000))
  const [connection] = hub.localConnections.values()
  await eventually(() => (connection?.bufferedAmount ?? 0) > 0)
  return ann
}

describe('a replay to a client that takes nothing', () => {
  afterEach(cleanUp)

  it('of many rooms adds no listeners for each of them', async () => {
    const warnings: string[] = []
    const heard = (warning: Error): void => void warnings.push(warning.message)
    process.on('warning', heard)
    const site = await recoverySite(large)
    const positions: Record<string, string> = {}
    for (let i = 0; i < 20; i++) {
      positions[`chat:${i}`] = await site.hub.room(`chat:${i}`).position()
      site.hub.room(`chat:${i}`).push('said', 'x'.repeat(i % 2 === 0 ? 100 : 70_000))
    }
    const ann = await clogged(site, Object.keys(positions))
    ann.socket.json({ type: 'koaws:resume', data: { positions } })
    await eventually(() => (site.hub.status().history?.replaying ?? 0) > 700_000)
    ann.socket.resume()
    const got: Placed[] = []
    while (got.length < 20) {
      const message = await ann.next()
      if (message.room) got.push(message)
    }
    await soon(() => expect(site.hub.status().history?.replaying).to.equal(0))
    process.off('warning', heard)
    expect(warnings).to.deep.equal([])
  })

  it('counts what was recorded meanwhile, and ends above the limit', async () => {
    const history = { rooms: 'chat:*', bytes: 8 * 1024 * 1024 }
    const site = await recoverySite({ ...large, history })
    const room = site.hub.room('chat:1')
    const positions = { 'chat:1': await room.position() }
    for (let i = 0; i < 9; i++) room.push('said', 'x'.repeat(100_000))
    const ann = await clogged(site, ['chat:1'])
    ann.socket.json({ type: 'koaws:resume', data: { positions } })
    await eventually(() => (site.hub.status().history?.replaying ?? 0) > 0)
    for (let i = 0; i < 20; i++) room.push('said', 'x'.repeat(100_000))
    ann.socket.resume()
    const got: Placed[] = []
    while (got.filter(({ type }) => type === 'koaws:recovered').length < 2) {
      got.push(await ann.next())
    }
    expect(got.filter((one) => one.room)).to.have.length(9)
    expect(got.at(-1)?.data).to.include({ recovered: false, reason: 'limit' })
    await soon(() => expect(site.hub.status().history?.replaying).to.equal(0))
    room.push('said', 'later')
    expect(await ann.next()).to.include({ room: 'chat:1', data: 'later' })
  })

  it('ends after 30 seconds for 64 KiB, so that others can recover', async () => {
    const site = await recoverySite(large)
    const room = site.hub.room('chat:1')
    const positions = { 'chat:1': await room.position() }
    for (let i = 0; i < 9; i++) room.push('said', 'x'.repeat(100_000))
    const ann = await clogged(site, ['chat:1'])
    mock.timers.enable({ apis: ['setTimeout'] })
    try {
      ann.socket.json({ type: 'koaws:resume', data: { positions } })
      while (site.hub.status().history?.replaying === 0) await turn()
      await turn()
      await turn()
      mock.timers.tick(60_000) // 30 s for each 64 KiB, and a part has 100 KB
      expect(site.hub.status().history?.replaying).to.equal(0)
    } finally {
      mock.timers.reset()
    }
    ann.socket.resume()
    const verdicts: unknown[] = []
    while (verdicts.length < 2) {
      const { type, data } = await ann.next()
      if (type === 'koaws:recovered') verdicts.push((data as { reason?: string }).reason)
    }
    expect(verdicts).to.deep.equal([undefined, 'slow'])
  })

  it('closes a connection of connection.replay() when messages are gone meanwhile', async () => {
    const { hub, enter } = await house({ ...large, history: { rooms: 'chat:*', messages: 10 } })
    const room = hub.room('chat:1')
    const since = await room.position()
    for (let i = 0; i < 10; i++) room.send('x'.repeat(90_000))
    const { socket, connection } = await enter({ rooms: ['news'] })
    socket.pause()
    for (let i = 0; i < 60; i++) hub.room('news').send('y'.repeat(200_000))
    await eventually(() => connection.bufferedAmount > 0)
    expect(await connection.replay('chat:1', since)).to.include({ recovered: true, missed: 10 })
    for (let i = 0; i < 15; i++) room.send('late')
    await turn()
    socket.resume()
    const got: string[] = []
    socket.on('message', (data) => got.push(String(data).slice(0, 4)))
    expect((await socket.closed).code).to.equal(4610)
    expect(got).to.not.include('late')
    expect(hub.status().drops).to.include({ slowConsumer: 1 })
  })

  it('reserves nothing for a client that has not taken what it has', async () => {
    const { hub, port } = await recoverySite({ slowConsumer: 'drop', maxBufferedAmount: 64 * 1024 })
    const ann = await comeBack(port, 'rooms=chat:1')
    await ann.rest()
    ann.socket.pause()
    const push = (): void => void hub.room('chat:1').push('said', 'x'.repeat(20_000))
    mock.timers.enable({ apis: ['setTimeout'] })
    try {
      while ((hub.status().drops['dropped'] ?? 0) === 0) {
        for (let i = 0; i < 10; i++) push()
        await turn()
      }
      for (let i = 0; i < 3; i++) {
        mock.timers.tick(30_000)
        await turn()
        expect(hub.status().history?.replaying).to.equal(0)
      }
    } finally {
      mock.timers.reset()
    }
  })

  it('closes a client that cannot be told the verdict', async () => {
    const site = await recoverySite({ slowConsumer: 'drop', maxBufferedAmount: 64 * 1024 })
    const room = site.hub.room('chat:1')
    const positions = { 'chat:1': await room.position() }
    room.push('said', 1)
    const ann = await clogged(site, ['chat:1'])
    await eventually(() => {
      site.hub.room('news').push('said', 1)
      return (site.hub.status().drops['dropped'] ?? 0) > 0
    })
    ann.socket.json({ type: 'koaws:resume', data: { positions } })
    await eventually(() => site.hub.status().drops['slowConsumer'] === 1)
    ann.socket.resume()
    expect((await ann.socket.closed).code).to.equal(4610)
  })
})

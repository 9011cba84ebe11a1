import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { expect } from 'chai'
import { memoryAdapter } from '../../lib/index.ts'
import type { AuditEvent, InspectorOptions } from '../../lib/inspector/index.ts'
import type { House } from '../support/order.ts'
import { cleanUp, eventually } from '../support/server.ts'
import { inspectedHouse, PageSocket } from './support/page.ts'

describe('the socket of the inspector', () => {
  afterEach(cleanUp)

  async function two(options?: InspectorOptions): Promise<[House, House]> {
    const adapter = memoryAdapter()
    const history = { rooms: 'recorded' }
    const both = [
      await inspectedHouse(options, { adapter, history }),
      await inspectedHouse(options, { adapter, history }),
    ] as [House, House]
    await eventually(() => both.every(({ hub }) => hub.status().backplane.instances === 1))
    return both
  }

  it('says what the page may do', async () => {
    const { port, hub } = await inspectedHouse({ actions: ['push'], bodies: true })
    expect(await (await PageSocket.open(port)).ask('hello')).to.deep.equal({
      instance: hub.status().id,
      actions: ['push'],
      bodies: true,
      state: false,
    })
  })

  it('has the samples and the state of all instances, and of each only what is new', async () => {
    const [one, other] = await two()
    await other.enter()
    const page = await PageSocket.open(one.port)
    const samples = async (since?: object): Promise<{ n: number; sent: number }[]> => {
      const { instances } = await page.ask('overview', { since })
      return instances.find(
        ({ instance }: { instance: string }) => instance === other.hub.status().id,
      ).samples
    }
    let all = await samples()
    while (all.length < 2) {
      other.hub.all().send('to the one guest')
      all = await samples()
    }
    expect(all.reduce((sum, { sent }) => sum + sent, 0)).to.be.above(0)
    const last = all.at(-1)?.n as number
    const later = await samples({ [other.hub.status().id]: last })
    expect(later.every(({ n }) => n > last)).to.equal(true)
    const { instances, missing } = await page.ask('overview')
    expect(missing).to.deep.equal([])
    const told = instances.map((i: { instance: string }) => i.instance)
    expect(told).to.have.members([one.hub.status().id, other.hub.status().id])
    const { status } = instances.find((i: { instance: string }) => i.instance === told[0])
    expect(status.backplane.state).to.equal('ready')
  })

  it('names an instance without an inspector as missing', async () => {
    const adapter = memoryAdapter()
    const one = await inspectedHouse({}, { adapter })
    const { house } = await import('../support/order.ts')
    const bare = await house({ adapter })
    await eventually(() => one.hub.status().backplane.instances === 1)
    const page = await PageSocket.open(one.port)
    expect((await page.ask('overview')).missing).to.deep.equal([bare.hub.status().id])
  })

  it('finds and sorts connections of all instances, and returns one page at a time', async () => {
    const [one, other] = await two()
    const ids: string[] = []
    for (let i = 0; i < 60; i++) {
      const { connection } = await (i % 2 ? one : other).enter({
        user: `user-${i}`,
        rooms: i < 3 ? ['few'] : [],
      })
      ids.push(connection.id)
    }
    const page = await PageSocket.open(one.port)
    const first = await page.ask('connections', { field: 'path', text: '/', sort: 'age' })
    expect(first).to.include({ matched: 61, hasMore: true, isWhole: true }) // with that of the page
    expect(first.rows).to.have.length(50)
    const ages = first.rows.map(({ openedAt }: { openedAt: number }) => openedAt)
    expect(ages).to.deep.equal(ages.toSorted())
    const { key, id } = first.rows.at(-1)
    const rest = await page.ask('connections', {
      ...{ field: 'path', text: '/', sort: 'age', after: { key, id } },
    })
    expect(rest.rows).to.have.length(11)
    const seen = [...first.rows, ...rest.rows].map((row: { id: string }) => row.id)
    expect(new Set(seen).size).to.equal(61)
    expect(seen).to.include.members(ids)

    const found = async (field: string, text: string): Promise<number> =>
      (await page.ask('connections', { field, text })).matched
    expect(await found('room', 'few')).to.equal(3)
    expect(await found('user', 'user-59')).to.equal(1)
    expect(await found('user', 'user-1')).to.equal(11)
    expect(await found('id', String(ids[0]))).to.equal(1)
    expect(await found('ip', '127.')).to.equal(61)
    expect(await found('any', 'user-7')).to.equal(1)
    expect(await found('path', '/none')).to.equal(0)
  })

  it('shows one connection with its rooms, its chain, its messages, and how it ended', async () => {
    const [one, other] = await two({
      redact: (state) => ({ role: (state as { role?: string }).role }),
    })
    const { connection, socket } = await other.enter({
      user: 'ann',
      rooms: ['b', 'a'],
      path: '/v1',
    })
    Object.assign(connection.state as object, { role: 'admin', password: 'hidden' })
    const page = await PageSocket.open(one.port)
    const look = () => page.ask('connection', { id: connection.id })
    const { details, timeline, instance, messages } = await look()
    expect(instance).to.equal(other.hub.status().id)
    expect(details).to.include({
      id: connection.id,
      user: 'ann',
      path: '/v1',
      subprotocol: 'koaws.v1',
    })
    expect(details.rooms).to.deep.equal(['b', 'a'])
    expect(JSON.parse(details.state)).to.deep.equal({ role: 'admin' })
    const names = timeline.steps.map(({ name }: { name: string }) => name)
    expect(names).to.deep.equal(['koaWs()', '2 route /v1'])
    expect(timeline.steps.map(({ threw }: { threw: unknown }) => threw)).to.deep.equal([null, null])
    expect(messages).to.deep.equal([])

    one.hub.room('a').push('said', 1)
    other.hub.room('b').except(connection.id).push('not to it')
    other.hub.user('ann').send('four')
    connection.send(Buffer.from('12345'))
    for (let i = 0; i < 3; i++) await socket.next()
    socket.send('from the client')
    await eventually(() => connection.bytesRead > details.bytesIn)
    const recorded = (await look()).messages.map(
      ({ direction, type, size, body }: Record<string, unknown>) => [direction, type, size, body],
    )
    expect(recorded).to.deep.equal([
      ['out', null, 4, null],
      ['out', null, 5, null],
      ['out', 'said', 24, null],
      ['in', null, 15, null],
    ])

    socket.close(4001, 'had enough')
    await connection.closed
    const { closed, details: gone } = await look()
    expect(gone).to.equal(null)
    expect(closed).to.include({ code: 4001, reason: 'had enough', clean: true, user: 'ann' })
    expect((await page.ask('closes')).all[0].id).to.equal(connection.id)
    const none = await page.ask('connection', { id: 'unknown' })
    expect(none).to.deep.equal({ instance: null, missing: [] })
  })

  it('shows the beginning of messages with the option bodies, and the handler of each', async () => {
    const { port, hub, enter } = await inspectedHouse({ bodies: true })
    const { connection, socket } = await enter({ rooms: ['r'] })
    const page = await PageSocket.open(port)
    const look = async () => (await page.ask('connection', { id: connection.id })).messages
    await look()
    hub.room('r').send('é'.repeat(600))
    hub.room('r').send(Buffer.from([0, 1]))
    await socket.next()
    await socket.next()
    const [long, binary] = await look()
    expect(long.body).to.equal(`${'é'.repeat(499)}…`)
    expect(long).to.include({ size: 1_200, receivers: 1, duration: null })
    expect(binary.body).to.equal('(binary)')
  })

  it('counts rooms and users, and shows the position and the messages of one', async () => {
    const [one, other] = await two()
    for (const site of [one, other, other])
      await site.enter({ user: 'ann', rooms: ['recorded', 'x'] })
    await other.enter({ user: 'bob', rooms: ['x'] })
    const page = await PageSocket.open(one.port)
    expect(await page.ask('groups', { kind: 'room' })).to.deep.equal({
      ...{
        names: [
          ['x', 4],
          ['recorded', 3],
        ],
        matched: 2,
        isWhole: true,
        missing: [],
      },
    })
    expect((await page.ask('groups', { kind: 'user', text: 'an' })).names).to.deep.equal([
      ['ann', 3],
    ])
    const look = (kind: string, name: string) => page.ask('group', { kind, name })
    await look('room', 'recorded')
    await one.hub.room('recorded').send('1').recorded
    const room = await look('room', 'recorded')
    expect(room).to.include({ count: 3 })
    expect(room.position).to.equal(await one.hub.room('recorded').position())
    expect((await look('room', 'x')).position).to.equal(null)
    expect(room.messages[0]).to.include({ direction: 'out', size: 1 })
    expect((await look('user', 'ann')).count).to.equal(3)
  })

  describe('carries out', () => {
    const audits: AuditEvent[] = []
    const heard = (event: unknown): void => {
      audits.push(event as AuditEvent)
    }
    beforeEach(() => {
      audits.length = 0
      subscribe('koaws:audit', heard)
    })
    afterEach(() => {
      unsubscribe('koaws:audit', heard)
    })

    async function failure(asking: Promise<unknown>): Promise<string> {
      return asking.then(
        () => 'done',
        (error: Error) => error.message,
      )
    }

    it('no action unless the option allows it, and reports what was refused', async () => {
      const { port, enter, hub } = await inspectedHouse({ actions: ['push'] })
      const { connection } = await enter()
      const page = await PageSocket.open(port)
      const close = { action: 'close', kind: 'connection', name: connection.id, reason: 'why' }
      expect(await failure(page.ask('act', close))).to.equal(
        'The option "actions" does not allow "close".',
      )
      expect(connection.readyState).to.equal(connection.OPEN)
      expect(audits).to.have.length(1)
      expect(audits[0]).to.include({ ...close, outcome: 'refused', instance: hub.status().id })
      expect(await failure(page.ask('act', { action: 'drop', kind: 'room', name: 'r' }))).to.equal(
        'The action is wrong.',
      )
    })

    it('close, leave and push on any instance', async () => {
      const told: AuditEvent[] = []
      const [one, other] = await two({
        actions: ['close', 'leave', 'push'],
        onAction: (event) => told.push(event),
      })
      const { connection, socket } = await other.enter({ user: 'ann', rooms: ['r'], path: '/v1' })
      const page = await PageSocket.open(one.port)
      const act = (action: string, more: object) =>
        page.ask('act', { action, kind: 'user', name: 'ann', ...more })
      expect(await act('push', { type: 'test', data: { secret: 1 } })).to.equal(0) // none is here
      expect(await socket.nextJson()).to.deep.equal({ type: 'test', data: { secret: 1 } })
      await act('leave', { room: 'r' })
      await eventually(() => connection.rooms.size === 0)
      await act('close', { code: 4005, reason: 'bye' })
      expect(await connection.closed).to.include({ code: 4005, reason: 'bye' })
      expect(await failure(act('close', { code: 7 }))).to.include('7')
      expect(audits.map(({ action, outcome }) => `${action} ${outcome}`)).to.deep.equal([
        'push done',
        'leave done',
        'close done',
        'close failed',
      ])
      expect(told).to.deep.equal(audits)
      expect(JSON.stringify(audits)).to.not.include('secret')
    })

    it('what a function allows, and asks authorize again', async () => {
      let isAllowed = true
      const asked: unknown[] = []
      const { port, enter } = await inspectedHouse({
        authorize: (_ctx, action) => {
          asked.push(action?.action)
          return isAllowed
        },
        actions: (_ctx, { name }) => name === 'mine',
      })
      await enter({ rooms: ['mine', 'yours'] })
      const page = await PageSocket.open(port)
      const leave = (name: string) =>
        page.ask('act', { action: 'leave', kind: 'room', name, room: name })
      expect(await failure(leave('yours'))).to.include('does not allow')
      expect(await failure(leave('mine'))).to.equal('done')
      isAllowed = false
      expect(await failure(leave('mine'))).to.include('no longer allowed')
      expect(asked).to.deep.equal([undefined, 'leave', 'leave', 'leave'])
    })
  })
})

import { expect } from 'chai'
import { accept, messages } from '../../lib/index.ts'
import { comeBack, type Placed, recoverySite } from '../support/recovery.ts'
import { cleanUp, eventually, openSocket, serve, turn } from '../support/server.ts'

const texts = (all: Placed[]): unknown[] =>
  all.filter(({ type }) => type === 'said').map(({ data }) => data)

const positionIn = (message?: Placed): string =>
  (message?.data as Placed | undefined)?.position ?? ''

describe('recovery of a client that returns', () => {
  afterEach(cleanUp)

  it('tells the position of each recorded room at the join', async () => {
    const { hub, port } = await recoverySite()
    const ann = await comeBack(port, 'rooms=chat:1,news&user=7')
    const all = await ann.rest()
    expect(all.map(({ type, data }) => [type, (data as Placed).room])).to.have.deep.members([
      ['koaws:position', 'chat:1'],
      ['koaws:position', ''],
    ])
    hub.room('chat:1').push('said', 1)
    const first = await ann.next()
    expect(first).to.include({ type: 'said', room: 'chat:1', data: 1 })
    expect(first.position).to.equal(await hub.room('chat:1').position())
    hub.user(7).push('said', 2)
    expect(await ann.next()).to.include({ type: 'said', room: '', data: 2 })
    hub.room('news').push('said', 3)
    expect(await ann.next()).to.deep.equal({ type: 'said', data: 3 })
  })

  it('sends what was missed, in order, after the verdict and before all later messages', async () => {
    const { hub, port } = await recoverySite()
    const room = hub.room('chat:1')
    const ann = await comeBack(port, 'rooms=chat:1')
    await ann.rest()
    room.push('said', 1)
    const { position = '' } = await ann.next()
    await ann.leave()
    for (const n of [2, 3, 4]) room.push('said', n)
    const again = await comeBack(port, 'rooms=chat:1', { positions: { 'chat:1': position } })
    const [verdict, ...rest] = await again.rest()
    room.push('said', 5)
    rest.push(await again.next())
    expect(verdict).to.deep.equal({
      type: 'koaws:recovered',
      data: { room: 'chat:1', recovered: true, missed: 3, position: rest[2]?.position },
    })
    expect(texts(rest)).to.deep.equal([2, 3, 4, 5])
  })

  it('sends messages of all kinds in the order in which they were recorded', async () => {
    const { hub, port } = await recoverySite()
    const room = hub.room('chat:1')
    const ann = await comeBack(port, 'rooms=chat:1')
    const [told] = await ann.rest()
    await ann.leave()
    const large = 'x'.repeat(40_000)
    room.push('said', 1)
    room.push('said', 2)
    room.send('"plain"')
    room.push('said', 3)
    room.push('said', large)
    room.push('said', 4)
    hub.room('chat:1', 'chat:2').push('said', 5)
    room.except(ann.id).push('said', 'not for ann')
    room.push('said', 6)
    const presented = { previous: [ann.id], positions: { 'chat:1': positionIn(told) } }
    const again = await comeBack(port, 'rooms=chat:1', presented)
    const [verdict, ...rest] = await again.rest()
    expect(verdict?.data).to.include({ recovered: true, missed: 8 })
    const [plain, at] = [rest[2], rest[3]]
    expect([plain, at?.type]).to.deep.equal(['plain', 'koaws:at'])
    expect(texts(rest)).to.deep.equal([1, 2, 3, large, 4, 5, 6])
    const places = rest.map((one) => one.position ?? (one.type ? positionIn(one) : ''))
    const offsets = places.map((position) => Number(position.split('.')[1]))
    expect(offsets).to.deep.equal([1, 2, Number.NaN, 3, 4, 5, 6, 7, 8, 9])
  })

  it('recovers a room without messages, also when the first one came meanwhile', async () => {
    const { hub, port } = await recoverySite()
    const ann = await comeBack(port, 'rooms=chat:1')
    const [told] = await ann.rest()
    const positions = { 'chat:1': positionIn(told) }
    await ann.leave()
    const silent = await comeBack(port, 'rooms=chat:1', { positions })
    const [nothing, ...none] = await silent.rest()
    expect(nothing?.data).to.include({ recovered: true, missed: 0 })
    expect(none).to.deep.equal([])
    await silent.leave()
    hub.room('chat:1').push('said', 1)
    const later = await comeBack(port, 'rooms=chat:1', { positions })
    const [one, ...rest] = await later.rest()
    expect(one?.data).to.include({ recovered: true, missed: 1 })
    expect(texts(rest)).to.deep.equal([1])
  })

  it('gives a user the messages of the time without a connection', async () => {
    const { hub, port } = await recoverySite()
    const ann = await comeBack(port, 'user=7')
    const [told] = await ann.rest()
    await ann.leave()
    await eventually(() => hub.status().connections === 0)
    hub.user(7).push('said', 'order 1 is paid')
    hub.user(8).push('said', 'for somebody else')
    const positions = { '': positionIn(told) }
    const again = await comeBack(port, 'user=7', { positions })
    const [verdict, ...rest] = await again.rest()
    expect(verdict?.data).to.include({ room: '', recovered: true, missed: 1 })
    expect(texts(rest)).to.deep.equal(['order 1 is paid'])
  })

  describe('refuses with the reason, and then sends nothing of the gap:', () => {
    const cases: Record<string, (first: string, top: string) => [position: string, why: string]> = {
      'a position whose messages were trimmed': (first) => [first, 'trimmed'],
      'one that the room has not reached': (_, top) => [
        top.replace(/\.(\d+)\./, (_whole, offset) => `.${Number(offset) + 1}.`),
        'ahead',
      ],
      'one of an earlier epoch': (_, top) => [`0${top.slice(1)}`.replace(/^0./, '00'), 'epoch'],
      'one with the key of another message': (_, top) => [
        top.replace(/[^.]+$/, 'xxxxxxxx'),
        'epoch',
      ],
      'a text that is no position': () => ['yesterday', 'epoch'],
    }
    for (const [what, of] of Object.entries(cases)) {
      it(what, async () => {
        const { hub, port } = await recoverySite({ history: { rooms: 'chat:*', messages: 2 } })
        const room = hub.room('chat:1')
        const first = await room.push('said', 1).recorded
        if (typeof first === 'string') throw new Error(first)
        for (const n of [2, 3, 4]) room.push('said', n)
        const top = await room.position()
        const [position, reason] = of(first.position, top)
        const ann = await comeBack(port, 'rooms=chat:1', { positions: { 'chat:1': position } })
        expect(await ann.rest()).to.deep.equal([
          {
            type: 'koaws:recovered',
            data: { room: 'chat:1', recovered: false, missed: null, reason, position: top },
          },
        ])
        room.push('said', 5)
        expect(await ann.next()).to.include({ type: 'said', data: 5 })
      })
    }
  })

  it('replays only the rooms that this connection joins', async () => {
    const { hub, port } = await recoverySite()
    const positions = {
      'chat:1': await hub.room('chat:1').position(),
      'chat:2': await hub.room('chat:2').position(),
    }
    hub.room('chat:1').push('said', 'public')
    hub.room('chat:2').push('said', 'secret')
    const ann = await comeBack(port, 'rooms=chat:1', { positions })
    expect(texts(await ann.rest())).to.deep.equal(['public'])
  })

  it('keeps its own message from a sender that returns with another connection id', async () => {
    const { hub, port } = await recoverySite()
    const positions = { 'chat:1': await hub.room('chat:1').position() }
    const ann = await comeBack(port, 'rooms=chat:1')
    await ann.rest()
    hub.localConnections.get(ann.id)?.to('chat:1').push('said', 'by ann')
    const [moved] = await ann.rest()
    expect(moved).to.deep.equal({
      type: 'koaws:at',
      data: { room: 'chat:1', position: await hub.room('chat:1').position() },
    })
    await ann.leave()
    const again = await comeBack(port, 'rooms=chat:1', { positions, previous: [ann.id] })
    const [verdict, ...rest] = await again.rest()
    expect(verdict?.data).to.include({ recovered: true, missed: 0 })
    expect(rest.map(({ type }) => type)).to.deep.equal(['koaws:at'])
    const bob = await comeBack(port, 'rooms=chat:1', { positions })
    expect(texts(await bob.rest())).to.deep.equal(['by ann'])
  })

  it('gives a message to several rooms one id, and sends it once to a client without history', async () => {
    const { hub, port } = await recoverySite()
    const old = await openSocket(port, '/?rooms=chat:1,chat:2,news', { protocols: ['koaws.v1'] })
    await old.nextJson()
    const ann = await comeBack(port, 'rooms=chat:1,chat:2')
    await ann.rest()
    hub.room('chat:1', 'chat:2').push('said', 1)
    const [one, two] = await ann.take(2)
    expect(one?.once).to.be.a('string')
    expect(two?.once).to.equal(one?.once)
    expect([one?.room, two?.room]).to.deep.equal(['chat:1', 'chat:2'])
    hub.room('chat:1', 'news').push('said', 2)
    hub.room('news').push('said', 3)
    expect(await old.nextJson()).to.deep.equal({ type: 'said', data: 1 })
    expect(await old.nextJson()).to.deep.equal({ type: 'said', data: 2 })
    expect(await old.nextJson()).to.deep.equal({ type: 'said', data: 3 })
  })

  it('does not record volatile and local messages', async () => {
    const { hub, port } = await recoverySite()
    const room = hub.room('chat:1')
    const ann = await comeBack(port, 'rooms=chat:1')
    await ann.rest()
    expect(await room.volatile().push('said', 1).recorded).to.equal('none')
    expect(await room.local().push('said', 2).recorded).to.equal('none')
    expect(await ann.take(2)).to.deep.equal([
      { type: 'said', data: 1 },
      { type: 'said', data: 2 },
    ])
    expect((await room.history()).messages).to.deep.equal([])
  })

  it('tells when the connection leaves the room', async () => {
    const { hub, port } = await recoverySite()
    const ann = await comeBack(port, 'rooms=chat:1')
    await ann.rest()
    hub.localConnections.get(ann.id)?.leave('chat:1')
    expect(await ann.next()).to.deep.equal({ type: 'koaws:left', data: { room: 'chat:1' } })
  })

  it('holds messages until the positions have arrived', async () => {
    const { hub, port } = await recoverySite()
    const positions = { 'chat:1': await hub.room('chat:1').position() }
    hub.room('chat:1').push('said', 1)
    const ann = await comeBack(port, 'rooms=chat:1', null)
    hub.room('chat:1').push('said', 2)
    expect(await ann.rest()).to.deep.equal([])
    ann.socket.json({ type: 'koaws:resume', data: { positions } })
    const [verdict, ...rest] = await ann.rest()
    expect(verdict?.data).to.include({ recovered: true, missed: 2 })
    expect(texts(rest)).to.deep.equal([1, 2])
  })

  it('is no different for a client that does not know history', async () => {
    const { hub, port } = await recoverySite()
    const old = await openSocket(port, '/?rooms=chat:1&user=7', { protocols: ['koaws.v1'] })
    await old.nextJson()
    const { local, recorded } = hub.room('chat:1').push('said', { text: 'é' })
    expect(local).to.equal(1)
    expect(await recorded).to.have.keys('position', 'positions')
    expect(await old.nextJson()).to.deep.equal({ type: 'said', data: { text: 'é' } })
    hub.room('chat:1').send('raw')
    expect(await old.next()).to.equal('raw')
    await turn()
  })

  describe('bounds', () => {
    const presented: Record<string, unknown> = {
      'more than 128 positions': {
        positions: Object.fromEntries(Array.from({ length: 129 }, (_, i) => [`chat:${i}`, 'x'])),
      },
      'more than 8 former connections': { previous: Array(9).fill('id') },
      'more than 16 KiB': { positions: { [`chat:${'x'.repeat(17_000)}`]: 'x' } },
      'positions that are no object': { positions: ['x'] },
      'a position that is no string': { positions: { 'chat:1': { toString: 1 } } },
      'ids that are no strings': { previous: [7] },
      'no object': 'x',
    }
    for (const [what, data] of Object.entries(presented)) {
      it(`reports ${what}, and keeps the connection`, async () => {
        const { hub, port } = await recoverySite()
        const ann = await comeBack(port, 'rooms=chat:1', null)
        ann.socket.json({ type: 'koaws:resume', data })
        const [position, problem] = await ann.rest()
        expect(position?.type).to.equal('koaws:position')
        expect(problem).to.include({ type: 'koaws:error', about: 'koaws:resume' })
        expect(problem?.error?.code).to.equal('ERR_KOAWS_MALFORMED')
        expect(hub.status().drops).to.include({ malformed: 1 })
        hub.room('chat:1').push('said', 1)
        expect((await ann.next()).data).to.equal(1)
      })
    }

    it('are the same where messages() take smaller messages', async () => {
      const chat = messages({ maxMessage: 200 })
      const { hub, port } = await serve((app) => app.use(accept(chat, { rooms: ['chat:1'] })), {
        history: { rooms: 'chat:*' },
      })
      const positions = { 'chat:1': await hub.room('chat:1').position(), other: 'x'.repeat(300) }
      const ann = await comeBack(port, '', { positions })
      expect((await ann.rest())[0]?.data).to.include({ recovered: true })
      ann.socket.json({ type: 'say', data: 'x'.repeat(300) })
      ann.socket.json({ type: 'say', data: { about: 'koaws:resume', text: 'x'.repeat(300) } })
      const codes = (await ann.rest()).map(({ error }) => error?.code)
      expect(codes).to.deep.equal(['ERR_KOAWS_TOO_LARGE', 'ERR_KOAWS_TOO_LARGE'])
    })

    it('reports a second message', async () => {
      const { port } = await recoverySite()
      const ann = await comeBack(port, 'rooms=chat:1')
      await ann.rest()
      ann.socket.json({ type: 'koaws:resume', data: {} })
      expect((await ann.rest()).map(({ type }) => type)).to.deep.equal(['koaws:error'])
    })

    it('refuse the 61st recovery of a user within a minute', async () => {
      const { hub, port } = await recoverySite()
      const positions = { 'chat:1': await hub.room('chat:1').position() }
      const verdicts: unknown[] = []
      for (let i = 0; i < 61; i++) {
        const ann = await comeBack(port, 'rooms=chat:1&user=7', { positions })
        const all = await ann.rest()
        verdicts.push(all.find(({ type }) => type === 'koaws:recovered')?.data)
        await ann.leave()
      }
      const last = verdicts.pop()
      for (const verdict of verdicts) expect(verdict).to.include({ recovered: true })
      expect(last).to.include({ recovered: false, reason: 'limit' })
      expect(hub.status().drops).to.include({ recoveries: 1 })
      const bob = await comeBack(port, 'rooms=chat:1&user=8', { positions })
      const verdict = (await bob.rest()).find(({ type }) => type === 'koaws:recovered')
      expect(verdict?.data).to.include({ recovered: true })
    })

    it('refuse a replay of more than 1 MiB to one connection', async () => {
      const { hub, port } = await recoverySite({
        history: { rooms: 'chat:*', bytes: 4 * 1024 * 1024 },
      })
      const positions: Record<string, string> = {}
      for (const name of ['chat:1', 'chat:2']) {
        positions[name] = await hub.room(name).position()
        for (let i = 0; i < 9; i++) hub.room(name).push('said', 'x'.repeat(64 * 1024))
      }
      const ann = await comeBack(port, 'rooms=chat:1,chat:2', { positions })
      const all = await ann.rest()
      const verdicts = all.filter(({ type }) => type === 'koaws:recovered').map(({ data }) => data)
      expect(verdicts.map((data) => (data as { recovered: boolean }).recovered)).to.deep.equal([
        true,
        false,
      ])
      expect(verdicts[1]).to.include({ reason: 'limit' })
    })
  })

  it('hands a large gap over as the client takes it, with later messages behind it', async () => {
    const { hub, port } = await recoverySite({ maxBufferedAmount: 16 * 1024 * 1024 })
    const room = hub.room('chat:1')
    const positions = { 'chat:1': await room.position() }
    for (let n = 0; n < 200; n++) room.push('said', `${n} ${'x'.repeat(5_000)}`)
    const ann = await comeBack(port, 'rooms=chat:1', null)
    ann.socket.pause()
    ann.socket.json({ type: 'koaws:resume', data: { positions } })
    await turn()
    for (let n = 200; n < 210; n++) {
      room.push('said', `${n} x`)
      await turn()
    }
    ann.socket.resume()
    const verdict = await ann.next()
    expect(verdict.data).to.include({ recovered: true })
    const numbers: number[] = []
    while (numbers.at(-1) !== 209) {
      const { data } = await ann.next()
      numbers.push(Number.parseInt(String(data), 10))
    }
    expect(numbers).to.deep.equal(Array.from({ length: 210 }, (_, n) => n))
  })

  it('ends with the connection in the middle of a replay', async () => {
    const { hub, port, errors } = await recoverySite()
    const room = hub.room('chat:1')
    const positions = { 'chat:1': await room.position() }
    for (let n = 0; n < 200; n++) room.push('said', 'x'.repeat(5_000))
    for (let round = 0; round < 5; round++) {
      const ann = await comeBack(port, 'rooms=chat:1', null)
      ann.socket.pause()
      ann.socket.json({ type: 'koaws:resume', data: { positions } })
      await turn()
      ann.socket.terminate()
    }
    await eventually(() => hub.status().connections === 0)
    expect(errors).to.deep.equal([])
    await eventually(() => hub.status().history?.replaying === 0)
    const again = await comeBack(port, 'rooms=chat:1', { positions })
    expect((await again.next()).data).to.include({ recovered: true, missed: 200 })
    expect(hub.status().history).to.deep.include({ followed: 1, queued: { messages: 0, bytes: 0 } })
  })

  it('gives a client that is too slow, and is not closed, what it did not take', async () => {
    const { hub, port } = await recoverySite({
      slowConsumer: 'drop',
      maxBufferedAmount: 64 * 1024,
      history: { rooms: 'chat:*', bytes: 64 * 1024 * 1024, messages: 10_000 },
    })
    const room = hub.room('chat:1')
    const ann = await comeBack(port, 'rooms=chat:1')
    await ann.rest()
    ann.socket.pause()
    let sent = 0
    await eventually(() => {
      for (let i = 0; i < 10; i++) room.push('said', `${sent++} ${'x'.repeat(20_000)}`)
      return (hub.status().drops['dropped'] ?? 0) > 0
    })
    room.push('said', `${sent++} and more`)
    ann.socket.resume()
    const numbers: number[] = []
    let missed = 0
    while (numbers.length < sent) {
      const { type, data } = await ann.next()
      if (type === 'said') numbers.push(Number.parseInt(String(data), 10))
      else if (type === 'koaws:recovered') missed += (data as { missed: number }).missed
    }
    expect(numbers).to.deep.equal(Array.from({ length: sent }, (_, n) => n))
    expect(missed).to.be.above(0)
  })
})

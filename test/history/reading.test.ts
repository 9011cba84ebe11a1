import { expect } from 'chai'
import { comeBack, recoverySite } from '../support/recovery.ts'
import { cleanUp, makeHub } from '../support/server.ts'

const failure = (promise: Promise<unknown>): Promise<Error & { code?: string }> =>
  promise.then(
    () => {
      throw new Error('it did not reject')
    },
    (error) => error as Error,
  )

describe('audience.position() and history()', () => {
  afterEach(cleanUp)

  it('return pushes, texts and binary messages with their positions, oldest first', async () => {
    const hub = makeHub({ history: { rooms: 'chat:*' } })
    const room = hub.room('chat:1')
    const before = await room.position()
    room.push('said', { text: 'hi' })
    room.push('pinged')
    room.send('raw')
    room.json([1])
    room.send(Buffer.from([1, 2]))
    const { messages, position, complete } = await room.history()
    expect(messages.map(({ type, data }) => [type, data])).to.deep.equal([
      ['said', { text: 'hi' }],
      ['pinged', undefined],
      [undefined, 'raw'],
      [undefined, '[1]'],
      [undefined, Buffer.from([1, 2])],
    ])
    expect(complete).to.equal(true)
    expect(position).to.equal(await room.position())
    expect(messages.at(-1)?.position).to.equal(position)
    expect((await room.history({ since: before })).messages).to.have.length(5)
  })

  it('read on from a position, part by part', async () => {
    const hub = makeHub({ history: { rooms: 'chat:*' } })
    const room = hub.room('chat:1')
    let since = await room.position()
    for (let n = 0; n < 7; n++) room.push('said', n)
    const parts: unknown[][] = []
    for (let i = 0; i < 4; i++) {
      const { messages, position, complete } = await room.history({ since, limit: 3 })
      parts.push(messages.map(({ data }) => data))
      expect(complete).to.equal(true)
      since = position
    }
    expect(parts).to.deep.equal([[0, 1, 2], [3, 4, 5], [6], []])
  })

  it('return the latest messages without a position, and say that others are missing', async () => {
    const hub = makeHub({ history: { rooms: 'chat:*', messages: 3 } })
    const room = hub.room('chat:1')
    const start = await room.position()
    for (let n = 0; n < 5; n++) room.push('said', n)
    const latest = await room.history({ limit: 2 })
    expect(latest.messages.map(({ data }) => data)).to.deep.equal([3, 4])
    expect(latest.complete).to.equal(false)
    expect((await room.history()).messages).to.have.length(3)
    const gap = await room.history({ since: start })
    expect(gap).to.deep.include({ messages: [], complete: false })
    expect(gap.position).to.equal(await room.position())
  })

  it('read the messages to a user', async () => {
    const hub = makeHub({ history: { users: true } })
    hub.user(7).push('paid', 1)
    const { messages } = await hub.user('7').history()
    expect(messages.map(({ data }) => data)).to.deep.equal([1])
  })

  it('reject for what has no history', async () => {
    const hub = makeHub({ history: { rooms: 'chat:*' } })
    for (const audience of [hub.room('news'), hub.user(7), makeHub().room('chat:1')]) {
      for (const promise of [audience.position(), audience.history()]) {
        expect((await failure(promise)).code).to.equal('ERR_KOAWS_NO_HISTORY')
      }
    }
    for (const audience of [hub.all(), hub.connection('x'), hub.room('chat:1', 'chat:2')]) {
      expect(await failure(audience.position())).to.be.instanceOf(TypeError)
    }
  })

  it('reject a query that is wrong', async () => {
    const hub = makeHub({ history: { rooms: 'chat:*' } })
    const wrong = [
      { since: 'yesterday' },
      { since: 7 },
      { limit: 0 },
      { limit: 1.5 },
      { limit: '2' },
    ]
    for (const query of wrong) {
      const error = await failure(hub.room('chat:1').history(query as never))
      expect(error).to.be.instanceOf(TypeError)
    }
  })

  it('reject a query with an unknown member, and a query that is no object', async () => {
    const hub = makeHub({ history: { rooms: 'chat:*' } })
    for (const query of [{ after: 'x' }, { limt: 1 }, null, 7, 'x', []]) {
      const error = await failure(hub.room('chat:1').history(query as never))
      expect(error.code).to.equal('ERR_KOAWS_OPTIONS')
    }
    const { messages } = await hub.room('chat:1').history({ since: undefined, limit: undefined })
    expect(messages).to.deep.equal([])
  })

  it('give the position of a room with the name of a prototype', async () => {
    const hub = makeHub({ history: { rooms: '*' } })
    const names = ['__proto__', 'constructor', 'chat:1']
    const recorded = await hub.room(...names).push('said', 1).recorded
    if (typeof recorded === 'string') throw new Error(recorded)
    expect(Object.keys(recorded.positions)).to.deep.equal(names)
    expect(recorded.position).to.equal(await hub.room('__proto__').position())
  })

  it('give a page that connects with the position of its snapshot all later messages', async () => {
    const { hub, port } = await recoverySite()
    const room = hub.room('chat:1')
    room.push('said', 1)
    const { messages, position } = await room.history()
    expect(messages).to.have.length(1)
    room.push('said', 2)
    const ann = await comeBack(port, 'rooms=chat:1', { positions: { 'chat:1': position } })
    const [verdict, two] = await ann.rest()
    expect(verdict?.data).to.include({ recovered: true, missed: 1 })
    expect(two?.data).to.equal(2)
  })
})

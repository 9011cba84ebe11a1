import { expect } from 'chai'
import { connect } from '../../lib/client/index.ts'
import { fakeServer } from '../../lib/testing/index.ts'
import { eventually } from '../support/server.ts'
import {
  openClient,
  type Scripted,
  scriptedClient,
  settle,
  useFakeClock,
} from './support/client.ts'

/** Returns the position of the message with this offset. */
function at(offset: number, epoch = 'e1'): string {
  return `${epoch}.${offset}.${offset === 0 ? '' : `k${offset}`}`
}

interface Recording extends Scripted {
  /** The data of the messages `said`, and the data of `koaws:recovered`, in order. */
  readonly heard: unknown[]
}

async function listening(options: Parameters<typeof openClient>[0] = {}): Promise<Recording> {
  const scripted = await openClient({ minDelay: 1, ...options })
  const heard: unknown[] = []
  scripted.client.on('said', (data) => heard.push(data))
  scripted.client.on('koaws:recovered', (data) => heard.push(data))
  return Object.assign(Object.create(scripted) as Scripted, { heard })
}

/** Plays a push with a place in a room; its data are the offset. */
function say({ last }: Scripted, offset: number, place: object = {}): void {
  last.json({ type: 'said', data: offset, room: 'a', position: at(offset), ...place })
}

function refuse({ last }: Scripted, position: string, reason = 'epoch', room = 'a'): void {
  last.push('koaws:recovered', { room, recovered: false, missed: null, reason, position })
}

/** Breaks the connection, and opens the next one. */
async function reconnect(scripted: Scripted, connection = 'c2'): Promise<void> {
  scripted.last.end(1006)
  scripted.client.open()
  await settle()
  scripted.last.welcome({ connection })
}

/** Makes a function for the option `reload`. A test settles its calls. */
function reloads() {
  const calls: { room: string; done(position?: unknown): void; fail(error: unknown): void }[] = []
  const reload = (room: string): Promise<string | undefined> =>
    new Promise((resolve, reject) => {
      calls.push({ room, done: (position) => resolve(position as string), fail: reject })
    })
  return { calls, reload }
}

describe('koaws:resume', () => {
  useFakeClock()

  it('is the first message of each connection, before the welcome, and the offer is beside koaws.v1', async () => {
    const scripted = scriptedClient()
    scripted.client.open()
    await settle()
    expect(scripted.last.offered).to.deep.equal(['koaws.v1', 'koaws.resume'])
    expect(scripted.last.resumed).to.equal(undefined)
    scripted.last.open()
    expect(scripted.last.resumed).to.deep.equal({ previous: [], positions: {} })
    expect(scripted.last.sent).to.deep.equal([])
    scripted.client.close()
  })

  it('is not sent when the server selects another subprotocol', async () => {
    const scripted = scriptedClient()
    scripted.client.open()
    await settle()
    scripted.last.open('koaws.resume')
    expect(scripted.last.resumed).to.equal(undefined)
    expect(scripted.client.state).to.include({ status: 'stopped', code: 4613 })
  })

  it('presents the positions, and the ids of the last 8 connections, newest last', async () => {
    const scripted = await listening()
    say(scripted, 1)
    for (let i = 2; i <= 10; i++) await reconnect(scripted, `c${i}`)
    expect(scripted.last.resumed).to.deep.equal({
      previous: ['c2', 'c3', 'c4', 'c5', 'c6', 'c7', 'c8', 'c9'],
      positions: { a: at(1) },
    })
    scripted.client.close()
  })

  it('presents what the option positions and an earlier open() of the client have', async () => {
    const scripted = await listening({ positions: { a: at(3), '': at(9) } })
    expect(scripted.last.resumed).to.deep.equal({
      previous: [],
      positions: { a: at(3), '': at(9) },
    })
    say(scripted, 4)
    scripted.client.close()
    scripted.client.open()
    await settle()
    scripted.last.open()
    expect(scripted.last.resumed).to.deep.equal({
      previous: ['c1'],
      positions: { a: at(4), '': at(9) },
    })
    scripted.client.close()
  })

  it('has the 128 rooms that were used last', async () => {
    const scripted = await listening()
    for (let i = 0; i < 200; i++) say(scripted, 1, { room: `room ${i}` })
    say(scripted, 2, { room: 'room 0' })
    await reconnect(scripted)
    const rooms = Object.keys(scripted.last.resumed?.positions ?? {})
    expect(rooms).to.have.length(128)
    expect(rooms).to.include.members(['room 0', 'room 199', 'room 73'])
    expect(rooms).to.not.include('room 72')
    scripted.client.close()
  })

  it('has at most 16 KiB, of the rooms that were used last', async () => {
    const scripted = await listening()
    const name = (i: number): string => `${i} ${'é'.repeat(250)}`
    for (let i = 0; i < 128; i++) say(scripted, 1, { room: name(i) })
    await reconnect(scripted)
    const rooms = Object.keys(scripted.last.resumed?.positions ?? {})
    expect(rooms).to.have.length.within(20, 40)
    expect(rooms).to.include(name(127))
    const size = Buffer.byteLength(
      JSON.stringify({ type: 'koaws:resume', data: scripted.last.resumed }),
    )
    expect(size).to.be.within(15_000, 16_384)
    scripted.client.close()
  })

  it('leaves out a room that a server rejects as a name of a property', async () => {
    const scripted = await listening()
    for (const room of ['__proto__', 'constructor', 'toString']) say(scripted, 1, { room })
    expect(scripted.heard).to.deep.equal([1, 1, 1])
    await reconnect(scripted)
    expect(Object.keys(scripted.last.resumed?.positions ?? {})).to.deep.equal([
      'constructor',
      'toString',
    ])
    say(scripted, 2, { room: 'constructor' })
    expect(Object.getPrototypeOf(scripted.client.positions)).to.equal(Object.prototype)
    expect(scripted.client.positions).to.have.own.property('constructor', at(2))
    scripted.client.close()
  })
})

describe('client.positions', () => {
  useFakeClock()

  it('follows the messages of the server, and is a copy', async () => {
    const scripted = await listening()
    const { client, last } = scripted
    last.push('koaws:position', { room: 'a', position: at(0) })
    last.push('koaws:position', { room: 'b', position: at(7) })
    say(scripted, 1)
    last.push('koaws:at', { room: 'b', position: at(8) })
    say(scripted, 4, { room: '' })
    const { positions } = client
    expect(positions).to.deep.equal({ a: at(1), b: at(8), '': at(4) })
    positions['a'] = 'changed'
    last.push('koaws:left', { room: 'b' })
    expect(client.positions).to.deep.equal({ a: at(1), '': at(4) })
    client.close()
  })

  it('has the position of a message only when all its listeners have been called', async () => {
    const scripted = await openClient()
    const { client } = scripted
    const stored: unknown[] = []
    client.on('said', () => stored.push(client.positions['a']))
    client.on('said', () => {
      throw new Error('mine')
    })
    client.on('said', () => stored.push(client.positions['a']))
    say(scripted, 1)
    say(scripted, 2)
    await settle()
    expect(stored).to.deep.equal([undefined, undefined, at(1), at(1)])
    expect(client.positions).to.deep.equal({ a: at(2) })
    expect(scripted.errors.map(String)).to.deep.equal(['Error: mine', 'Error: mine'])
    client.close()
  })

  it('stays when a server sends messages without positions', async () => {
    const scripted = await listening({ positions: { a: at(3) } })
    scripted.last.push('said', 'plain')
    scripted.last.json({ type: 'said', data: 'with a room', room: 'a' })
    await reconnect(scripted)
    expect(scripted.heard).to.deep.equal(['plain', 'with a room'])
    expect(scripted.last.resumed?.positions).to.deep.equal({ a: at(3) })
    scripted.client.close()
  })

  it('has at most 1,024 rooms', async () => {
    const scripted = await listening()
    for (let i = 0; i < 1_100; i++) say(scripted, 1, { room: `room ${i}` })
    expect(Object.keys(scripted.client.positions)).to.have.length(1_024)
    expect(scripted.client.positions).to.have.property('room 1099')
    scripted.client.close()
  })
})

describe('a message with a position', () => {
  useFakeClock()

  it('is delivered once, also when it arrives again at or before the position of the room', async () => {
    const scripted = await listening()
    for (const offset of [1, 2, 2, 1, 3]) say(scripted, offset)
    say(scripted, 1, { room: 'b' })
    expect(scripted.heard).to.deep.equal([1, 2, 3, 1])
    expect(scripted.client.positions).to.deep.equal({ a: at(3), b: at(1) })
    scripted.client.close()
  })

  it('is delivered when the history began anew, and the room goes on from it', async () => {
    const scripted = await listening()
    say(scripted, 9)
    say(scripted, 1, { position: at(1, 'e2') })
    expect(scripted.heard).to.deep.equal([9, 1])
    expect(scripted.client.positions).to.deep.equal({ a: at(1, 'e2') })
    scripted.client.close()
  })

  it('with the same `once` is delivered once over rooms and connections, and moves each room', async () => {
    const scripted = await listening()
    say(scripted, 1, { once: 'x' })
    say(scripted, 5, { room: 'b', once: 'x' })
    scripted.last.json({ type: 'said', data: 'plain', once: 'x' })
    await reconnect(scripted)
    say(scripted, 7, { room: 'c', once: 'x' })
    say(scripted, 8, { room: 'c', once: 'y' })
    expect(scripted.heard).to.deep.equal([1, 8])
    expect(scripted.client.positions).to.deep.equal({ a: at(1), b: at(5), c: at(8) })
    scripted.client.close()
  })

  it('is known by its `once` while it is among the last 1,024', async () => {
    const scripted = await listening()
    for (let i = 1; i <= 1_025; i++) say(scripted, i, { once: `id ${i}` })
    say(scripted, 3_000, { once: 'id 2' })
    say(scripted, 3_001, { once: 'id 1' })
    expect(scripted.heard).to.have.length(1_026)
    expect(scripted.heard.at(-1)).to.equal(3_001)
    scripted.client.close()
  })
})

describe('koaws:recovered', () => {
  useFakeClock()

  it('tells the application that all missed messages follow, and they move the position', async () => {
    const scripted = await listening({ positions: { a: at(3) } })
    const verdict = { room: 'a', recovered: true, missed: 2, position: at(5) }
    scripted.last.push('koaws:recovered', verdict)
    expect(scripted.client.positions).to.deep.equal({ a: at(3) })
    say(scripted, 4)
    say(scripted, 5)
    expect(scripted.heard).to.deep.equal([verdict, 4, 5])
    expect(scripted.client.positions).to.deep.equal({ a: at(5) })
    scripted.client.close()
  })

  it('moves the position at once when nothing was missed', async () => {
    const scripted = await listening({ positions: { a: at(0) } })
    const position = at(0, 'e2')
    scripted.last.push('koaws:recovered', { room: 'a', recovered: true, missed: 0, position })
    expect(scripted.client.positions).to.deep.equal({ a: position })
    scripted.client.close()
  })

  it('goes on from the position of the server after a refusal without the option reload', async () => {
    const scripted = await listening({ positions: { a: at(9) } })
    refuse(scripted, at(5), 'ahead')
    say(scripted, 6)
    expect(scripted.heard).to.deep.equal([
      { room: 'a', recovered: false, missed: null, reason: 'ahead', position: at(5) },
      6,
    ])
    expect(scripted.client.positions).to.deep.equal({ a: at(6) })
    scripted.client.close()
  })

  it('is told with the reason limit when the server sends another position in place of a verdict', async () => {
    const scripted = await listening({ positions: { a: at(3), b: at(3) } })
    scripted.last.push('koaws:position', { room: 'a', position: at(3) })
    scripted.last.push('koaws:position', { room: 'b', position: at(8) })
    expect(scripted.heard).to.deep.equal([
      { room: 'b', recovered: false, missed: null, reason: 'limit', position: at(8) },
    ])
    expect(scripted.client.positions).to.deep.equal({ a: at(3), b: at(8) })
    scripted.client.close()
  })

  it('is not told for a room that the client has left', async () => {
    const scripted = await listening({ positions: { a: at(3) } })
    scripted.last.push('koaws:left', { room: 'a' })
    scripted.last.push('koaws:position', { room: 'a', position: at(8) })
    expect(scripted.heard).to.deep.equal([])
    expect(scripted.client.positions).to.deep.equal({ a: at(8) })
    scripted.client.close()
  })
})

describe('the option reload', () => {
  useFakeClock()

  it('is called after a refusal; then messages up to its position are dropped, and the others delivered', async () => {
    const { calls, reload } = reloads()
    const scripted = await listening({ positions: { a: at(1, 'e0') }, reload })
    refuse(scripted, at(5))
    for (const offset of [6, 7, 8]) say(scripted, offset)
    say(scripted, 1, { room: 'b' })
    expect(calls.map(({ room }) => room)).to.deep.equal(['a'])
    expect(scripted.heard.slice(1)).to.deep.equal([1])
    expect(scripted.client.positions).to.deep.equal({ a: at(1, 'e0'), b: at(1) })
    calls[0]?.done(at(7))
    await settle()
    say(scripted, 7)
    say(scripted, 9)
    expect(scripted.heard.slice(2)).to.deep.equal([8, 9])
    expect(scripted.client.positions).to.deep.equal({ a: at(9), b: at(1) })
    expect(scripted.errors).to.deep.equal([])
    scripted.client.close()
  })

  it('moves the position beyond messages that have not arrived yet', async () => {
    const { calls, reload } = reloads()
    const scripted = await listening({ positions: { a: at(1, 'e0') }, reload })
    refuse(scripted, at(5))
    calls[0]?.done(at(8))
    await settle()
    for (const offset of [6, 7, 8, 9]) say(scripted, offset)
    scripted.last.push('koaws:at', { room: 'a', position: at(7) })
    expect(scripted.heard.slice(1)).to.deep.equal([9])
    expect(scripted.client.positions).to.deep.equal({ a: at(9) })
    scripted.client.close()
  })

  it('keeps the order of messages and koaws:at while it runs', async () => {
    const { calls, reload } = reloads()
    const scripted = await listening({ positions: { a: at(1, 'e0') }, reload })
    refuse(scripted, at(5))
    say(scripted, 6)
    scripted.last.push('koaws:at', { room: 'a', position: at(7) })
    expect(scripted.client.positions).to.deep.equal({ a: at(1, 'e0') })
    calls[0]?.done()
    await settle()
    expect(scripted.heard.slice(1)).to.deep.equal([6])
    expect(scripted.client.positions).to.deep.equal({ a: at(7) })
    scripted.client.close()
  })

  const failures: Record<
    string,
    [end: (call: ReturnType<typeof reloads>['calls'][0]) => void, error: RegExp]
  > = {
    rejects: [(call) => call.fail(new Error('mine')), /mine/],
    'resolves with something else': [(call) => call.done(7), /Not a position.*: 7/],
    'resolves with a position before that of the server': [
      (call) => call.done(at(4)),
      /an old one: e1\.4\.k4/,
    ],
  }
  for (const [what, [end, error]] of Object.entries(failures)) {
    it(`delivers all messages from the position of the server when it ${what}`, async () => {
      const { calls, reload } = reloads()
      const scripted = await listening({ positions: { a: at(1, 'e0') }, reload })
      refuse(scripted, at(5))
      say(scripted, 6)
      end(calls[0] as never)
      await settle()
      expect(scripted.heard.slice(1)).to.deep.equal([6])
      expect(scripted.client.positions).to.deep.equal({ a: at(6) })
      expect(scripted.errors.map(String)).to.have.length(1)
      expect(String(scripted.errors[0])).to.match(error)
      scripted.client.close()
    })
  }

  it('may throw or return at once', async () => {
    const scripted = await listening({
      positions: { a: at(1, 'e0'), b: at(1, 'e0') },
      reload: (room) => {
        if (room === 'a') throw new Error('mine')
        return at(9)
      },
    })
    refuse(scripted, at(5))
    refuse(scripted, at(5), 'epoch', 'b')
    await settle()
    expect(scripted.errors.map(String)).to.deep.equal(['Error: mine'])
    expect(scripted.client.positions).to.deep.equal({ a: at(5), b: at(9) })
    scripted.client.close()
  })

  it('is called again after it has settled when the room is refused again, and only then', async () => {
    const { calls, reload } = reloads()
    const scripted = await listening({ positions: { a: at(1, 'e0') }, reload })
    refuse(scripted, at(5))
    say(scripted, 6)
    for (const epoch of ['e2', 'e3']) refuse(scripted, at(0, epoch))
    say(scripted, 1, { position: at(1, 'e3') })
    say(scripted, 2, { position: at(2, 'e3') })
    expect(calls).to.have.length(1)
    calls[0]?.done(at(6))
    await settle()
    expect(calls).to.have.length(2)
    expect(scripted.heard.filter(Number.isInteger)).to.deep.equal([])
    expect(scripted.client.positions).to.deep.equal({ a: at(1, 'e0') })
    calls[1]?.done(at(1, 'e3'))
    await settle()
    expect(scripted.heard.filter(Number.isInteger)).to.deep.equal([2])
    expect(scripted.client.positions).to.deep.equal({ a: at(2, 'e3') })
    refuse(scripted, at(0, 'e4'))
    expect(calls).to.have.length(3)
    scripted.client.close()
  })

  it('is not called again while it runs for a room that the client has left and entered again', async () => {
    const { calls, reload } = reloads()
    const scripted = await listening({ positions: { a: at(1, 'e0') }, reload })
    refuse(scripted, at(5))
    scripted.last.push('koaws:left', { room: 'a' })
    scripted.last.push('koaws:position', { room: 'a', position: at(6) })
    say(scripted, 7)
    expect(scripted.heard.filter(Number.isInteger)).to.deep.equal([7])
    refuse(scripted, at(8))
    expect(calls).to.have.length(1)
    calls[0]?.fail(new Error('mine'))
    await settle()
    expect(calls).to.have.length(2)
    calls[1]?.done()
    await settle()
    expect(scripted.client.positions).to.deep.equal({ a: at(8) })
    expect(scripted.errors.map(String)).to.deep.equal(['Error: mine'])
    scripted.client.close()
  })

  it('is forgotten with its messages when the client leaves the room', async () => {
    const { calls, reload } = reloads()
    const scripted = await listening({ positions: { a: at(1, 'e0') }, reload })
    refuse(scripted, at(5))
    say(scripted, 6)
    scripted.last.push('koaws:left', { room: 'a' })
    calls[0]?.done(at(5))
    await settle()
    expect(scripted.heard).to.have.length(1)
    expect(scripted.client.positions).to.deep.equal({})
    scripted.client.close()
  })

  it('outlives the connection: the next one presents the old position, and repeats what was held', async () => {
    const { calls, reload } = reloads()
    const scripted = await listening({ positions: { a: at(1) }, reload })
    refuse(scripted, at(5), 'limit')
    say(scripted, 6)
    await reconnect(scripted)
    expect(scripted.last.resumed?.positions).to.deep.equal({ a: at(1) })
    scripted.last.push('koaws:recovered', {
      room: 'a',
      recovered: true,
      missed: 6,
      position: at(7),
    })
    for (const offset of [2, 3, 4, 5, 6, 7]) say(scripted, offset)
    calls[0]?.done(at(6))
    await settle()
    expect(scripted.heard.filter(Number.isInteger)).to.deep.equal([7])
    expect(calls).to.have.length(1)
    scripted.client.close()
  })

  it('moves the position that the next connection presents when it ends in between', async () => {
    const { calls, reload } = reloads()
    const scripted = await listening({ positions: { a: at(1, 'e0') }, reload })
    refuse(scripted, at(5))
    say(scripted, 6)
    scripted.last.end(1006)
    calls[0]?.done(at(5))
    await settle()
    expect(scripted.heard).to.have.length(1)
    scripted.client.open()
    await settle()
    scripted.last.open()
    expect(scripted.last.resumed?.positions).to.deep.equal({ a: at(5) })
    scripted.client.close()
  })

  const sizes: [what: string, size: number, fits: number, more: number][] = [
    ['large messages up to 1 MiB', 100_000, 10, 3],
    ['about a thousand small messages', 10, 900, 200],
  ]
  for (const [what, size, fits, more] of sizes) {
    it(`holds ${what}; beyond that it drops what it holds, and calls onError`, async () => {
      const { calls, reload } = reloads()
      const scripted = await listening({ positions: { a: at(1, 'e0') }, reload })
      refuse(scripted, at(0))
      const text = 'x'.repeat(size)
      const push = (offset: number) => say(scripted, offset, { data: { offset, text } })
      for (let i = 1; i <= fits; i++) push(i)
      expect(scripted.errors).to.deep.equal([])
      for (let i = fits + 1; i <= fits + more; i++) push(i)
      expect(scripted.errors.map(String)).to.have.length(1)
      expect(String(scripted.errors[0])).to.match(/messages were lost/)
      calls[0]?.done()
      await settle()
      expect(scripted.heard.length - 1).to.be.within(1, more - 1)
      expect(scripted.heard.at(-1)).to.have.property('offset', fits + more)
      expect(scripted.client.positions).to.deep.equal({ a: at(fits + more) })
      scripted.client.close()
    })
  }

  it('frees the space of its messages for other rooms', async () => {
    const { calls, reload } = reloads()
    const scripted = await listening({ reload })
    for (let i = 0; i < 10; i++) {
      const room = `room ${i}`
      refuse(scripted, at(0), 'epoch', room)
      for (let offset = 1; offset <= 500; offset++) say(scripted, offset, { room })
      if (i % 2 === 0) calls.at(-1)?.done()
      else scripted.last.push('koaws:left', { room })
      await settle()
    }
    expect(scripted.errors).to.deep.equal([])
    expect(scripted.heard.filter(Number.isInteger)).to.have.length(2_500)
    scripted.client.close()
  })

  it('runs for at most 128 rooms at once; the application is told of the others', async () => {
    const { calls, reload } = reloads()
    const scripted = await listening({ reload })
    for (let i = 0; i < 200; i++) refuse(scripted, at(5), 'epoch', `room ${i}`)
    expect(calls).to.have.length(128)
    expect(scripted.heard).to.have.length(200)
    say(scripted, 6, { room: 'room 199' })
    expect(scripted.heard.at(-1)).to.equal(6)
    for (let i = 0; i < 128; i++) scripted.last.push('koaws:left', { room: `room ${i}` })
    refuse(scripted, at(5), 'epoch', 'another')
    expect(calls).to.have.length(128)
    calls[0]?.done()
    await settle()
    refuse(scripted, at(6), 'epoch', 'another')
    expect(calls).to.have.length(129)
    scripted.client.close()
  })
})

describe('a client of a server that sends wrong messages about history', () => {
  useFakeClock()
  const long = 'x'.repeat(256)
  const good = at(1)

  const messages: Record<string, object> = {
    'a position that is a number': { type: 'said', room: 'a', position: 7 },
    'a position in an array': { type: 'said', room: 'a', position: [good] },
    'the position null': { type: 'said', room: 'a', position: null },
    'a position of 256 units': { type: 'said', room: 'a', position: long },
    'a room that is a number': { type: 'said', room: 7, position: good },
    'a room that is an object': { type: 'said', room: { toString: 1 }, position: good },
    'a room of 256 units': { type: 'said', room: long, position: good },
    'an id `once` that is a number': { type: 'said', room: 'a', position: good, once: 1 },
    'an id `once` of 256 units': { type: 'said', room: 'a', position: good, once: long },
    'koaws:at without data': { type: 'koaws:at' },
    'koaws:at with null': { type: 'koaws:at', data: null },
    'koaws:at without a room': { type: 'koaws:at', data: { position: good } },
    'koaws:at without a position': { type: 'koaws:at', data: { room: 'a' } },
    'koaws:at with an empty position': { type: 'koaws:at', data: { room: 'a', position: '' } },
    'koaws:position with an object': { type: 'koaws:position', data: { room: 'a', position: {} } },
    'koaws:left without a room': { type: 'koaws:left', data: {} },
    'koaws:left with a long room': { type: 'koaws:left', data: { room: long } },
    'a verdict without recovered': verdict({ recovered: undefined }),
    'a verdict with a string': verdict({ recovered: 'true' }),
    'a verdict with a number': verdict({ recovered: 1 }),
    'missed as a string': verdict({ missed: '3' }),
    'missed that is no integer': verdict({ missed: 1.5 }),
    'missed absent': verdict({ missed: undefined }),
    'missed with a refusal': verdict({ recovered: false, reason: 'epoch' }),
    'a reason that is an object': verdict({ recovered: false, missed: null, reason: {} }),
    'a reason of 256 units': verdict({ recovered: false, missed: null, reason: long }),
    'a verdict without a position': verdict({ position: undefined }),
  }
  function verdict(fields: object): object {
    const data = { room: 'a', recovered: true, missed: 3, position: good, ...fields }
    return { type: 'koaws:recovered', data }
  }

  for (const [what, message] of Object.entries(messages)) {
    it(`ignores and reports ${what}`, async () => {
      const { calls, reload } = reloads()
      const scripted = await listening({ reload, positions: { b: at(1) } })
      scripted.last.json(message)
      await settle()
      expect(scripted.errors).to.have.length(1)
      expect(scripted.errors[0]).to.include({ code: 'ERR_KOAWS_MALFORMED' })
      expect(scripted.heard).to.deep.equal([])
      expect(calls).to.deep.equal([])
      expect(scripted.client.positions).to.deep.equal({ b: at(1) })
      expect(scripted.client.state.status).to.equal('open')
      scripted.client.close()
    })
  }

  it('takes a position that it cannot compare as it is, and delivers the message', async () => {
    const scripted = await listening()
    for (const position of ['x', 'e1', 'e1.x.k', 'e1.y.k', '__proto__.1.k', 'e1.4']) {
      say(scripted, 1, { position })
    }
    expect(scripted.heard).to.have.length(6)
    await reconnect(scripted)
    expect(scripted.last.resumed?.positions).to.deep.equal({ a: 'e1.4' })
    scripted.client.close()
  })

  it('ignores unknown fields', async () => {
    const scripted = await listening({ positions: { a: at(1) } })
    scripted.last.json({
      type: 'said',
      data: 2,
      room: 'a',
      position: at(2),
      reason: 7,
      missed: 'x',
    })
    scripted.last.push('koaws:at', { room: 'a', position: at(3), recovered: false, missed: 9 })
    scripted.last.json({ type: 'koaws:left', data: { room: 'b', missed: 7 }, epoch: 1 })
    expect(scripted.heard).to.deep.equal([2])
    expect(scripted.client.positions).to.deep.equal({ a: at(3) })
    expect(scripted.errors).to.deep.equal([])
    scripted.client.close()
  })

  it('answers a request with the type of such a message as unknown', async () => {
    const scripted = await listening({ positions: { a: at(1) } })
    scripted.last.json({ type: 'koaws:left', id: 3, data: { room: 'a' } })
    await settle()
    expect(scripted.last.last).to.deep.include({ type: 'koaws:error', id: 3 })
    expect(scripted.client.positions).to.deep.equal({ a: at(1) })
    scripted.client.close()
  })

  it('ignores an id of a connection that is not a short string', async () => {
    const scripted = await listening()
    for (const connection of [7, null, {}, long]) await reconnect(scripted, connection as string)
    await reconnect(scripted)
    expect(scripted.last.resumed?.previous).to.deep.equal(['c1'])
    scripted.client.close()
  })

  it('takes ids of connections that JSON makes longer', async () => {
    const scripted = await listening()
    for (let i = 0; i < 9; i++) await reconnect(scripted, `${i}${'\u0000'.repeat(254)}`)
    for (let i = 0; i < 128; i++) say(scripted, 1, { room: `${i}` })
    await reconnect(scripted)
    expect(scripted.last.resumed?.previous).to.have.length(8)
    expect(JSON.stringify(scripted.last.resumed).length).to.be.below(16_384)
    scripted.client.close()
  })

  it('holds a message that is nested too deep for JSON.stringify()', async () => {
    const { calls, reload } = reloads()
    const scripted = await listening({ reload })
    refuse(scripted, at(0))
    const nested = `${'['.repeat(100_000)}${']'.repeat(100_000)}`
    scripted.last.receive(`{"type":"said","room":"a","position":"${good}","data":${nested}}`)
    expect(scripted.errors).to.deep.equal([])
    calls[0]?.done()
    await settle()
    expect(scripted.heard).to.have.length(2)
    scripted.client.close()
  })
})

describe('the options positions and reload', () => {
  it('throw for wrong values', () => {
    const make = (options: object) => () =>
      connect('ws://test/', { WebSocket: class {} as never, ...options })
    expect(make({ positions: 'x' })).to.throw(TypeError, '"positions" must be a')
    expect(make({ positions: 7 })).to.throw(TypeError, '"positions" must be a')
    for (const wrong of [7, null, undefined, { a: 1 }, 'x'.repeat(256)]) {
      expect(make({ positions: { a: wrong } }), JSON.stringify(wrong)).to.throw(
        TypeError,
        'Not a position',
      )
    }
    expect(make({ positions: [1] })).to.throw(TypeError, 'Not a position')
    expect(make({ reload: 'x' })).to.throw(TypeError, '"reload" must be a function')
    expect(make({ positions: null, reload: undefined })).to.not.throw()
  })
})

describe('a recovery against fakeServer()', () => {
  it('presents positions, delivers what was missed, and reloads after a refusal', async () => {
    const server = fakeServer()
    const heard: unknown[] = []
    const client = connect('ws://test/', {
      WebSocket: server.WebSocket,
      minDelay: 1,
      positions: { chat: at(1) },
      reload: async (room) => {
        heard.push(`reload ${room}`)
        return at(2, 'e2')
      },
    })
    client.on('said', (data) => heard.push(data))
    client.on('koaws:recovered', ({ missed, reason }) => heard.push(missed ?? reason))
    await server.connected()
    server.tell('koaws:recovered', { room: 'chat', recovered: true, missed: 1, position: at(2) })
    server.push('said', 'two', { room: 'chat', position: at(2) })
    await settle()
    server.close(1006)
    await eventually(() => server.attempts === 2 && server.connections === 1, 'a reconnect')
    const { previous, positions } = server.resumes.at(-1) ?? {}
    expect([previous, positions]).to.deep.equal([['fake-1'], { chat: at(2) }])
    const refusal = { room: 'chat', recovered: false, missed: null, position: at(1, 'e2') } as const
    server.tell('koaws:recovered', { ...refusal, reason: 'epoch' })
    server.push('said', 'two again', { room: 'chat', position: at(2, 'e2') })
    server.push('said', 'three', { room: 'chat', position: at(3, 'e2'), once: 'x' })
    server.push('said', 'three', { room: 'news', position: at(1), once: 'x' })
    await settle()
    expect(heard).to.deep.equal([1, 'two', 'epoch', 'reload chat', 'three'])
    expect(client.positions).to.deep.equal({ chat: at(3, 'e2'), news: at(1) })
    client.close()
  })
})

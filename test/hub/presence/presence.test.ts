import { expect } from 'chai'
import { decode, encode } from '../../../lib/backplane/wire.ts'
import type { Connection, KoaWsOptions, PresenceData, PresenceOptions } from '../../../lib/index.ts'
import { koaWs } from '../../../lib/index.ts'
import { type BreakableAdapter, breakableAdapter } from '../../support/breakable-adapter.ts'
import { LibTimers } from '../../support/limits.ts'
import { type Guest, type House, house } from '../../support/order.ts'
import { cleanUp, eventually, soon } from '../../support/server.ts'

const info = (connection: Connection): unknown => ({ name: connection.userId ?? 'anonymous' })

/** The state of a room as messages tell it to a client, checked for gaps in the versions. */
class View {
  readonly members = new Map<string, { connections: number; info: unknown }>()
  readonly told: PresenceData[] = []
  count = 0
  version = -1

  /** The error that ended the listening, if any. */
  fault: unknown = null

  constructor(guest: Guest) {
    void this.#listen(guest)
  }

  get names(): string[] {
    return [...this.members.values()].map((one) => (one.info as { name: string }).name).sort()
  }

  async #listen({ socket }: Guest): Promise<void> {
    for (;;) {
      const message = await socket.next().catch(() => null)
      if (message === null) return
      const { type, data } = JSON.parse(String(message))
      try {
        if (type === 'koaws:presence') this.#hear(data)
      } catch (error) {
        this.fault = error
        return
      }
    }
  }

  #hear(data: PresenceData): void {
    this.told.push(data)
    if (data.members) {
      this.members.clear()
      for (const { key, connections, info } of data.members)
        this.members.set(key, { connections, info })
    } else if (data.members === undefined) {
      expect(data.version, 'no hole').to.equal(this.version + 1)
    }
    for (const { key, connections, info } of data.set ?? [])
      this.members.set(key, { connections, info })
    for (const key of data.left ?? [])
      expect(this.members.delete(key), `${key} was there`).to.equal(true)
    this.version = data.version
    this.count = data.count
  }
}

describe('presence', () => {
  let timers: LibTimers | undefined
  afterEach(async () => {
    timers?.stop()
    timers = undefined
    await cleanUp()
  })

  let adapter: BreakableAdapter

  /** Resolves when no hub that was made since has anything to send again. */
  const allSentAgain = (): Promise<void> =>
    eventually(() => timers?.of('hub/presence/presence') === 0, 'all is sent again')

  async function houses(
    count: number,
    given: PresenceOptions = {},
    more: KoaWsOptions = {},
  ): Promise<House[]> {
    adapter = breakableAdapter({ heartbeat: 60 })
    const presence = { rooms: ['chat:*', /^team-\d+$/], info, linger: 0, ...given }
    const all = await Promise.all(
      Array.from({ length: count }, () => house({ adapter, presence, ...more })),
    )
    await soon(() => {
      for (const { hub } of all) expect(hub.status().backplane.instances).to.equal(count - 1)
    })
    return all
  }

  async function enter(
    where: House,
    user: string | undefined,
    ...rooms: string[]
  ): Promise<Guest & { view: View }> {
    const guest = await where.enter({ path: '/v1', rooms, ...(user === undefined ? {} : { user }) })
    return { ...guest, view: new View(guest) }
  }

  const sees = (view: View, ...names: string[]): Promise<void> =>
    soon(() => {
      expect(view.fault).to.equal(null)
      expect(view.names).to.deep.equal(names)
      expect(view.count).to.equal(names.length)
    })

  it('sends a snapshot on joining, and then each change, from all instances', async () => {
    const [one, two, three] = (await houses(3)) as [House, House, House]
    const ann = await enter(one, 'ann', 'chat:x')
    await sees(ann.view, 'ann')
    const bob = await enter(two, 'bob', 'chat:x')
    await sees(ann.view, 'ann', 'bob')
    await sees(bob.view, 'ann', 'bob')
    const cat = await enter(three, undefined, 'chat:x')
    for (const { view } of [ann, bob, cat]) await sees(view, 'ann', 'anonymous', 'bob')
    bob.socket.close()
    for (const { view } of [ann, cat]) await sees(view, 'ann', 'anonymous')
    cat.connection.leave('chat:x')
    await sees(ann.view, 'ann')
    expect(ann.view.told[0]?.members, 'a snapshot comes first').to.be.an('array')
    const versions = ann.view.told.map(({ version }) => version)
    expect(versions).to.deep.equal(versions.map((_, i) => (versions[0] as number) + i))
  })

  it('gives a person one key per room, unrelated to the connection id', async () => {
    const [one] = (await houses(1)) as [House]
    const ann = await enter(one, 'ann', 'chat:x')
    await sees(ann.view, 'ann')
    ann.connection.leave('chat:x')
    await ann.connection.join('chat:y')
    await ann.connection.join('chat:x')
    await soon(() => {
      const snapshots = ann.view.told.filter(({ members }) => members)
      expect(snapshots.map(({ room }) => room)).to.have.members(['chat:x', 'chat:y', 'chat:x'])
    })
    const keys = new Map<string, Set<unknown>>()
    for (const { room, members } of ann.view.told) {
      for (const { key } of members ?? []) keys.set(room, (keys.get(room) ?? new Set()).add(key))
    }
    const [x, y] = [[...(keys.get('chat:x') ?? [])], [...(keys.get('chat:y') ?? [])]]
    expect([x.length, y.length]).to.deep.equal([1, 1])
    expect(new Set([...x, ...y, ann.connection.id]).size).to.equal(3)
  })

  it('lists a user once, with the number of connections and without the user id', async () => {
    const [one, two] = (await houses(2, { info: () => 'public' })) as [House, House]
    const first = await enter(one, 'secret-id', 'chat:x')
    const second = await enter(two, 'secret-id', 'chat:x')
    await enter(two, 'secret-id', 'chat:x')
    for (const { view } of [first, second]) {
      await soon(() => {
        expect([...view.members.values()]).to.deep.equal([{ connections: 3, info: 'public' }])
      })
      expect(JSON.stringify(view.told)).not.to.contain('secret-id')
    }
    second.socket.close()
    await soon(() => expect([...first.view.members.values()][0]?.connections).to.equal(2))
  })

  it('covers only the rooms of the option, and clients that speak koaws.v1', async () => {
    const [one] = (await houses(1)) as [House]
    const ann = await enter(one, 'ann', 'other', 'team-7', 'team-x', 'chat', 'chat:')
    await soon(() => expect(ann.view.told).to.have.lengthOf(2))
    expect(ann.view.told.map(({ room }) => room).sort()).to.deep.equal(['chat:', 'team-7'])
    const plain = await one.enter({ user: 'bob', rooms: ['team-7'] })
    await soon(() => expect(ann.view.told).to.have.lengthOf(3))
    plain.connection.send('mark')
    expect(await plain.socket.next()).to.equal('mark')
  })

  it('hides a reconnect and a deployment', async () => {
    const [one, two, three] = (await houses(3, { linger: 600 })) as [House, House, House]
    const ann = await enter(one, 'ann', 'chat:x')
    const bob = await enter(two, 'bob', 'chat:x')
    await sees(ann.view, 'ann', 'bob')
    const told = ann.view.told.length
    bob.socket.terminate()
    await bob.connection.closed
    const again = await enter(two, 'bob', 'chat:x')
    await sees(again.view, 'ann', 'bob')
    await two.hub.close({ timeout: 200 })
    await soon(() => expect(one.hub.status().backplane.instances).to.equal(1))
    const elsewhere = await enter(three, 'bob', 'chat:x')
    await sees(elsewhere.view, 'ann', 'bob')
    // The cat lingers as long as bob: when the cat has left, the linger of bob is over, too.
    const cat = await enter(three, 'cat', 'chat:x')
    await sees(ann.view, 'ann', 'bob', 'cat')
    cat.socket.terminate()
    await sees(ann.view, 'ann', 'bob')
    const left = ann.view.told.slice(told).flatMap((data) => data.left ?? [])
    expect(left, 'the cat alone').to.have.lengthOf(1)
    elsewhere.socket.terminate()
    await sees(ann.view, 'ann')
  })

  it('removes the members of an instance that died', async () => {
    const [one, two] = (await houses(2)) as [House, House]
    const ann = await enter(one, 'ann', 'chat:x')
    await enter(two, 'bob', 'chat:x')
    await enter(two, undefined, 'chat:x')
    await sees(ann.view, 'ann', 'anonymous', 'bob')
    adapter.kill(two.hub.status().id)
    await sees(ann.view, 'ann')
  })

  it('is complete again after an instance was cut off', async () => {
    const [one, two] = (await houses(2)) as [House, House]
    const ann = await enter(one, 'ann', 'chat:x')
    const bob = await enter(two, 'bob', 'chat:x')
    await sees(ann.view, 'ann', 'bob')
    adapter.cut(two.hub.status().id)
    await enter(one, 'cat', 'chat:x')
    bob.connection.leave('chat:x')
    const dan = await enter(two, 'dan', 'chat:x')
    // Meanwhile the first instance takes the second for dead.
    await sees(ann.view, 'ann', 'cat')
    adapter.heal(two.hub.status().id)
    await sees(ann.view, 'ann', 'cat', 'dan')
    await sees(dan.view, 'ann', 'cat', 'dan')
  })

  it('is published again in parts that fit the queue of the backplane', async () => {
    timers = new LibTimers()
    adapter = breakableAdapter({ heartbeat: 200, maxQueued: { messages: 300 } })
    const presence = { rooms: 'chat:*', info, linger: 0 }
    const make = (): Promise<House> => house({ adapter, presence, maxRooms: 2_000 })
    const [one, two] = [await make(), await make()]
    const rooms = Array.from({ length: 1_500 }, (_, i) => `chat:${i}`)
    const many = await one.enter({ user: 'ann' })
    for (const name of rooms) {
      void many.connection.join(name)
      if (name.endsWith('00')) await new Promise(setImmediate)
    }
    const bob = await enter(two, 'bob', 'chat:1499')
    await sees(bob.view, 'ann', 'bob')
    adapter.cut(one.hub.status().id)
    await sees(bob.view, 'bob')
    adapter.heal(one.hub.status().id)
    await sees(bob.view, 'ann', 'bob')
    await allSentAgain()
    expect(one.hub.status().drops['backplane']).to.equal(undefined)
  })

  it('is complete again after a change was lost', async () => {
    timers = new LibTimers()
    const [one, two] = (await houses(2)) as [House, House]
    await allSentAgain()
    const last = new Map<string, string>()
    adapter.watch((id, topics, payload) => {
      if (topics.includes('room:chat:x')) last.set(id, decode(payload).message.kind)
    })
    const ann = await enter(one, 'ann', 'chat:x')
    await enter(two, 'bob', 'chat:x')
    await sees(ann.view, 'ann', 'bob')
    // Both instances have published that the room is quiet, so the dropped message is the change.
    await soon(() => expect([...last.values()]).to.deep.equal(['tops', 'tops']))
    adapter.drop(1, 'room:')
    await enter(two, 'cat', 'chat:x')
    await sees(ann.view, 'ann', 'bob', 'cat')
    expect(one.hub.status().backplane.lost).to.equal(1)
  })

  it('sends only the count of a large room, and the members when it is small again', async () => {
    const [one, two] = (await houses(2, { maxMembers: 3 })) as [House, House]
    const ann = await enter(one, 'ann', 'chat:x')
    const others = await Promise.all(['b', 'c'].map((name) => enter(two, name, 'chat:x')))
    await sees(ann.view, 'ann', 'b', 'c')
    const fourth = await enter(two, 'd', 'chat:x')
    await soon(() => expect(ann.view.count).to.equal(4))
    expect(ann.view.told.at(-1)?.members).to.equal(null)
    await soon(() => expect(fourth.view.told[0]).to.include({ members: null, count: 4 }))
    others[0]?.socket.close()
    await soon(() => expect(ann.view.count).to.equal(3))
    expect(ann.view.told.at(-1)?.set).to.equal(undefined)
    others[1]?.socket.close()
    await sees(ann.view, 'ann', 'd')
    await sees(fourth.view, 'ann', 'd')
  })

  it('sends nothing about a person that joins and leaves at once', async () => {
    const [one] = (await houses(1)) as [House]
    const ann = await enter(one, 'ann', 'chat:x')
    await sees(ann.view, 'ann')
    const bob = await enter(one, 'bob')
    const told = ann.view.told.length
    await bob.connection.join('chat:x')
    bob.connection.leave('chat:x')
    await bob.connection.join('chat:x')
    bob.connection.leave('chat:x')
    await enter(one, 'cat', 'chat:x')
    await sees(ann.view, 'ann', 'cat')
    expect(
      ann.view.told.slice(told).flatMap(({ set = [], left = [] }) => [...set, ...left]),
    ).to.have.lengthOf(1)
  })

  it('gives members() the public info of each connection', async () => {
    const [one, two] = (await houses(2)) as [House, House]
    await enter(one, 'ann', 'other')
    await enter(two, 'bob', 'other')
    const members = await one.hub.room('other').members()
    expect(members.map((member) => member.info)).to.have.deep.members([
      { name: 'ann' },
      { name: 'bob' },
    ])
  })

  it('survives an info function that throws or returns a value without a JSON form', async () => {
    const wrong: ((connection: Connection) => unknown)[] = [
      () => {
        throw new Error('no info')
      },
      () => 1n,
      () => undefined,
    ]
    const [one] = (await houses(1, {
      info: (connection) => wrong[Number(connection.userId)]?.(connection),
    })) as [House]
    const errors: unknown[] = []
    one.app.on('error', (error: Error, where: unknown) => errors.push([error.name, where]))
    const first = await enter(one, '0', 'chat:x')
    await enter(one, '1', 'chat:x')
    await enter(one, '2', 'chat:x')
    await soon(() => expect(first.view.count).to.equal(3))
    expect([...first.view.members.values()].map((member) => member.info)).to.deep.equal([
      null,
      null,
      null,
    ])
    expect(errors).to.deep.equal([
      ['Error', 'presence.info'],
      ['TypeError', 'presence.info'],
    ])
  })

  it('ignores malformed orders and notes', async () => {
    const [one] = (await houses(1)) as [House]
    const ann = await enter(one, 'ann', 'chat:x')
    await sees(ann.view, 'ann')
    const target = { kind: 'rooms' as const, names: ['chat:x'], except: [], exceptUsers: [] }
    const texts = [
      '',
      'null',
      '7',
      '{}',
      '[]',
      '["chat:x"]',
      '["chat:x",1,1,1,1]',
      '["chat:x","u:a",-1,0,"k"]',
      '["chat:x","u:a",1.5,0,"k"]',
      '["chat:x","u:a",1,0]',
    ]
    for (const [i, text] of texts.entries()) {
      const positions = [{ topic: 'room:chat:x', epoch: 1, next: i + 1, after: null }]
      const orders = [{ type: 'presence' as const, target, text }]
      adapter.inject('room:chat:x', encode('stranger', { kind: 'orders', positions, orders }))
      adapter.inject('all', encode('stranger', { kind: 'note', text }))
    }
    const bob = await enter(one, 'bob', 'chat:x')
    await sees(ann.view, 'ann', 'bob')
    await sees(bob.view, 'ann', 'bob')
  })

  it('keeps no state of empty rooms, not even during linger', async () => {
    const [one, two] = (await houses(2, { linger: 50_000 })) as [House, House]
    for (let i = 0; i < 30; i++) {
      const guest = await enter(i % 2 ? one : two, `u${i}`, `chat:${i % 3}`)
      guest.socket.terminate()
      await guest.connection.closed
    }
    const ann = await enter(one, 'ann', 'chat:1')
    await sees(ann.view, 'ann')
  })

  it('throws for invalid options', () => {
    const make = (presence: unknown) => () => koaWs({ presence: presence as PresenceOptions })
    expect(make({ rooms: 'a' })).to.throw(/"presence" has "rooms" and needs "info"/)
    expect(make({})).to.throw(/has no effect without/)
    expect(make({ rooms: 'a*b', info })).to.throw(/a \* is allowed only at the end/)
    expect(make({ rooms: /a/, info })).to.throw(/begin it with \^/)
    expect(make({ rooms: [7], info })).to.throw(/must be a name/)
    expect(make({ info, lingr: 1 })).to.throw(/Did you mean "linger"/)
    expect(make({ info, maxMembers: 0 })).to.throw(/maxMembers/)
    expect(make({ info, linger: 15 })).to.throw(/Are these seconds/)
    expect(make({ info, linger: 0 })).not.to.throw()
  })
})

import { expect } from 'chai'
import { Core } from '../../../../lib/adapters/cluster/history/core.ts'
import type { Message } from '../../../../lib/adapters/cluster/history/messages.ts'
import { rank } from '../../../../lib/adapters/cluster/history/rendezvous.ts'
import type { Entry, HistoryLimits, Place, Reading } from '../../../../lib/history/store.ts'

const LIMITS: HistoryLimits = { messages: 1_000, bytes: 1e6, ttl: 1e6, maxTotal: 1e6 }

/** Several cores. The test decides when a message arrives. */
class Mesh {
  readonly cores = new Map<string, Core>()
  readonly recorded: { id: string; log: string; entry: Entry }[] = []
  readonly missed: string[] = []
  readonly #queues = new Map<string, Message[]>()
  readonly #limits: HistoryLimits
  now = 1_800_000_000_000

  readonly #remembered: number | undefined

  constructor(limits: Partial<HistoryLimits> = {}, remembered?: number) {
    this.#limits = { ...LIMITS, ...limits }
    this.#remembered = remembered
  }

  start(id: string, publisher = id): Core {
    const core = new Core({
      id,
      publisher,
      limits: this.#limits,
      remembered: this.#remembered,
      now: () => this.now++,
      random: () => 'random',
      send: (to, message) => void this.#queue(id, to).push(message),
      isFull: () => false,
      recorded: (log, _epoch, entries) => {
        for (const entry of entries) this.recorded.push({ id, log, entry })
      },
      up: () => {},
      missed: (reason) => void this.missed.push(`${id}: ${reason}`),
    })
    const there = [...this.cores.keys()]
    this.cores.set(id, core)
    core.start(there)
    return core
  }

  /** Starts cores, one after another. */
  startAll(...ids: string[]): Core[] {
    return ids.map((id) => {
      const core = this.start(id)
      this.settle()
      return core
    })
  }

  /** Delivers the messages from one to another. @returns their kinds */
  pass(from: string, to: string): string[] {
    const messages = this.#queue(from, to).splice(0)
    this.cores.get(to)?.receive(from, messages)
    return messages.map(({ kind }) => kind)
  }

  /** Delivers everything until nothing is left. */
  settle(): void {
    for (let passed = true; passed; ) {
      passed = false
      for (const name of [...this.#queues.keys()]) {
        const [from = '', to = ''] = name.split('>')
        if (this.pass(from, to).length > 0) passed = true
      }
    }
  }

  kill(id: string): void {
    this.cores.delete(id)
    for (const name of this.#queues.keys()) {
      if (name.startsWith(`${id}>`)) this.#queues.delete(name)
    }
    for (const core of this.cores.values()) core.ended(id)
  }

  append(id: string, log: string, text: string): Place[] {
    const places: Place[] = []
    const entry = { key: text.padEnd(8, '_'), count: 1, payload: Buffer.from(text) }
    this.cores.get(id)?.append(log, entry, {
      settle: (place) => void places.push(place),
      fail: (error) => {
        throw error
      },
    })
    return places
  }

  read(id: string, log: string, since: Place | null = null): string[] {
    let found: Reading | null = null
    const settle = (reading: Reading): void => {
      found = reading
    }
    this.cores.get(id)?.ask(log, { want: 'read', since }, { settle, fail: () => {} })
    this.settle()
    return textsOf(found)
  }

  follow(id: string, log: string): void {
    this.cores.get(id)?.ask(log, { want: 'follow' }, { settle: () => {}, fail: () => {} })
  }

  /** Lets time pass in steps, and delivers everything after each. */
  tick(milliseconds: number, times: number): void {
    for (let i = 0; i < times; i++) {
      this.now += milliseconds
      for (const core of this.cores.values()) core.tick()
      this.settle()
    }
  }

  roles(log: string): string[] {
    return [...this.cores].map(([id, core]) => `${id} ${core.roleOf(log)}`)
  }

  #queue(from: string, to: string): Message[] {
    const name = `${from}>${to}`
    const queue = this.#queues.get(name) ?? []
    this.#queues.set(name, queue)
    return queue
  }
}

function textsOf(reading: Reading | null): string[] {
  if (!reading) return ['no answer']
  return 'entries' in reading
    ? reading.entries.map(({ payload }) => String(payload))
    : [reading.missing]
}

/** Returns a log for which these ids come first. */
function logFor(ids: string[], ...first: string[]): string {
  for (let i = 0; ; i++) {
    const log = `room:${i}`
    const ranked = rank(log, ids)
    if (first.every((id, at) => ranked[at] === id)) return log
  }
}

describe('the core of the history between processes', () => {
  it('has an owner and a replica, by rendezvous hashing, and acknowledges when both have the entry', () => {
    const mesh = new Mesh()
    mesh.startAll('a', 'b', 'c')
    const log = logFor(['a', 'b', 'c'], 'c', 'a')
    const places = mesh.append('b', log, 'x')
    mesh.settle()
    expect(mesh.roles(log)).to.deep.equal(['a replica', 'b none', 'c owner'])
    expect(places.map(({ offset }) => offset)).to.deep.equal([1])
    const second = mesh.append('b', log, 'y')
    mesh.pass('b', 'c')
    expect(mesh.pass('c', 'b')).to.deep.equal([])
    expect(mesh.pass('c', 'a')).to.deep.equal(['replicate'])
    expect(second).to.deep.equal([])
    mesh.pass('a', 'c')
    expect(mesh.pass('c', 'b')).to.deep.equal(['done'])
    expect(second.map(({ offset }) => offset)).to.deep.equal([2])
  })

  it('tells a follower that is the replica a number in place of the entries, of several at once', () => {
    const mesh = new Mesh()
    mesh.startAll('a', 'b')
    const log = logFor(['a', 'b'], 'a', 'b')
    const b = mesh.cores.get('b') as Core
    mesh.append('a', log, '0')
    mesh.settle()
    b.ask(log, { want: 'follow' }, { settle: () => {}, fail: () => {} })
    mesh.settle()
    for (const text of ['1', '2', '3']) mesh.append('a', log, text)
    expect(mesh.pass('a', 'b')).to.deep.equal(['replicate', 'replicate', 'replicate'])
    expect(mesh.pass('b', 'a')).to.deep.equal(['replicated'])
    expect(mesh.recorded).to.deep.equal([])
    expect(mesh.pass('a', 'b')).to.deep.equal(['committed'])
    const texts = mesh.recorded.map(({ id, entry }) => `${id} ${entry.payload}`)
    expect(texts).to.deep.equal(['b 1', 'b 2', 'b 3'])

    b.unfollow(log)
    mesh.append('a', log, '4')
    mesh.pass('a', 'b')
    mesh.settle()
    expect(mesh.recorded).to.have.length(3)
    expect(mesh.read('b', log)).to.deep.equal(['0', '1', '2', '3', '4'])
  })

  it('reports that entries are missed when a follower has lost its copy before it was told of them', () => {
    const mesh = new Mesh()
    mesh.startAll('a', 'b')
    const log = logFor(['a', 'b'], 'a', 'b')
    const b = mesh.cores.get('b') as Core
    b.receive('a', [{ kind: 'committed', log, ballot: 'another', seq: 1 }])
    expect(mesh.missed).to.deep.equal([])
    b.ask(log, { want: 'follow' }, { settle: () => {}, fail: () => {} })
    b.receive('a', [{ kind: 'committed', log, ballot: 'another', seq: 1 }])
    expect(mesh.missed).to.have.length(1)
  })

  it('acknowledges alone when no other instance is there, and copies to the first that comes', () => {
    const mesh = new Mesh()
    mesh.startAll('a')
    expect(mesh.append('a', 'room:x', '1')).to.have.length(1)
    mesh.startAll('b')
    mesh.kill('a')
    mesh.settle()
    expect(mesh.read('b', 'room:x')).to.deep.equal(['1'])
    expect(mesh.roles('room:x')).to.deep.equal(['b owner'])
  })

  it('hands a log to an instance that comes first for it', () => {
    const mesh = new Mesh()
    mesh.startAll('a', 'b')
    const log = logFor(['a', 'b', 'c'], 'c')
    mesh.append('a', log, '1')
    mesh.settle()
    const [c] = mesh.startAll('c') as [Core]
    for (const core of mesh.cores.values()) core.tick()
    mesh.settle()
    expect(c.roleOf(log)).to.equal('owner')
    expect(mesh.read('a', log)).to.deep.equal(['1'])
  })

  it('asks a replica again that answered busy, when its owner has given way', () => {
    const mesh = new Mesh()
    const [a] = mesh.startAll('a', 'b') as [Core]
    const log = logFor(['a', 'b', 'c'], 'c', 'a', 'b')
    mesh.append('a', log, '1')
    mesh.settle()
    expect(mesh.roles(log)).to.deep.equal(['a owner', 'b replica'])
    a.leave() // asks b to take the log
    mesh.start('c')
    for (const [from, to] of ['ca', 'cb', 'ac', 'bc', 'ca', 'cb'].map((pair) => pair.split(''))) {
      mesh.pass(from as string, to as string)
    }
    expect(mesh.pass('a', 'b')).to.deep.equal(['leaving', 'take'])
    mesh.pass('b', 'c') // c promises to follow the claim of b
    mesh.append('c', log, '2') // c knows of no owner, and claims the log too
    mesh.pass('c', 'b') // the promise; and the claim: b is busy as the replica of a
    mesh.pass('b', 'a') // a gives way to b
    mesh.pass('c', 'a') // and then to c
    mesh.pass('a', 'c')
    mesh.pass('b', 'c')
    mesh.pass('a', 'b') // now b owns the log
    expect(mesh.pass('c', 'b')).to.deep.equal(['gather'])
    expect(mesh.pass('b', 'c')).to.include('busy')
    mesh.settle()
    expect(mesh.roles(log)).to.deep.equal(['a none', 'b owner', 'c replica'])
    mesh.tick(100, 20)
    expect(mesh.read('c', log)).to.deep.equal(['1', '2'])
    expect(mesh.roles(log).filter((role) => role.endsWith(' owner'))).to.have.length(1)
  })

  it('keeps all logs together within maxTotal, and trims the least recently used', () => {
    const mesh = new Mesh({ maxTotal: 50_000 })
    mesh.startAll('a')
    const text = 'x'.repeat(1_000)
    const first = mesh.append('a', 'room:0', `${text}0`)
    for (let i = 1; i < 40; i++) mesh.append('a', `room:${i}`, `${text}${i}`)
    mesh.append('a', 'room:39', `${text}last`)
    const kept = Array.from({ length: 40 }, (_, i) => mesh.read('a', `room:${i}`).length)
    expect(kept[39]).to.equal(2)
    expect(kept.reduce((sum, count) => sum + count)).to.be.within(10, 30)
    expect(kept).to.deep.equal(kept.toSorted((a, b) => a - b))
    const start = { epoch: first[0]?.epoch ?? '', offset: 0, key: '' }
    expect(mesh.read('a', 'room:0', start)).to.deep.equal(['trimmed'])
  })

  it('forgets logs without entries when their number is too large, and says so to earlier positions', () => {
    const mesh = new Mesh({ maxTotal: 10_000, messages: 0 })
    mesh.startAll('a')
    const asked = { epoch: (mesh.now + 1).toString(36).padStart(9, '0'), offset: 0, key: '' }
    mesh.now += 10
    for (let i = 0; i < 40; i++) mesh.append('a', `room:${i}`, 'x')
    const copies =
      mesh.cores
        .get('a')
        ?.logs.all()
        .filter(({ copy }) => copy) ?? []
    expect(copies.length).to.be.within(2, 5)
    for (const log of ['room:0', 'room:39', 'room:none']) {
      expect(mesh.read('a', log, asked), log).to.deep.equal(['epoch'])
    }
  })

  it('forgets an idle log after 24 h, and what it knows of others after a minute', () => {
    const mesh = new Mesh()
    const [a, b] = mesh.startAll('a', 'b') as [Core, Core]
    mesh.append('a', 'room:x', '1')
    mesh.settle()
    mesh.read('a', 'room:none')
    const count = (core: Core): number => core.logs.all().length
    expect(count(a)).to.equal(2)
    const pass = (ms: number): void => {
      mesh.now += ms
      for (const core of [a, b]) core.tick()
      mesh.settle()
    }
    pass(61_000)
    expect([count(a), count(b)]).to.deep.equal([1, 1])
    pass(12 * 60 * 60 * 1000)
    expect(mesh.read('a', 'room:x')).to.deep.equal([])
    expect(mesh.roles('room:x').toSorted()).to.deep.equal(mesh.roles('room:x'))
    expect(a.roleOf('room:x') === 'owner' || b.roleOf('room:x') === 'owner').to.equal(true)
    pass(13 * 60 * 60 * 1000)
    pass(61_000)
    expect([count(a), count(b)]).to.deep.equal([0, 0])
  })

  it('forgets a log sooner if it is told to, and then still knows that it was there', () => {
    const mesh = new Mesh({ ttl: 1_000 }, 1_000)
    const all = mesh.startAll('a', 'b') as [Core, Core]
    mesh.now += 1_000
    const asked = { epoch: mesh.now.toString(36).padStart(9, '0'), offset: 0, key: '' }
    mesh.append('a', 'room:x', '1')
    mesh.settle()
    for (let seconds = 0; seconds < 72; seconds += 12) {
      mesh.now += 12_000
      for (const core of all) core.tick()
      mesh.settle()
    }
    for (const core of all) expect(core.logs.all()).to.deep.equal([])
    expect(mesh.read('a', 'room:x', asked)).to.deep.equal(['epoch'])
    const later = { ...asked, epoch: (mesh.now - 1_000).toString(36).padStart(9, '0') }
    expect(mesh.read('a', 'room:x', later)).to.deep.equal([])
  })

  it('refuses positions from before a log existed when an instance with the only copy was killed', () => {
    const mesh = new Mesh()
    mesh.startAll('a', 'b', 'c')
    const asked = { epoch: mesh.now.toString(36).padStart(9, '0'), offset: 0, key: '' }
    mesh.now += 10
    expect(mesh.read('c', 'room:none', asked)).to.deep.equal([])
    mesh.kill('a')
    mesh.settle()
    for (const core of mesh.cores.values()) core.tick()
    mesh.settle()
    expect(mesh.read('c', 'room:none', asked), 'one end loses nothing').to.deep.equal([])
    const other = new Mesh()
    other.startAll('a', 'b', 'c')
    other.now += 10
    other.kill('a')
    other.kill('b')
    other.settle()
    expect(other.read('c', 'room:none', asked), 'two at once may').to.deep.equal(['epoch'])
  })

  it('records again under its numbers after other instances took it for ended', () => {
    const mesh = new Mesh()
    mesh.startAll('a', 'b')
    const log = logFor(['a', 'b'], 'b')
    mesh.append('a', log, '1')
    mesh.settle()
    const places = mesh.append('a', log, '2')
    mesh.pass('a', 'b')
    mesh.pass('b', 'a')
    const former = mesh.cores.get('a') as Core
    mesh.kill('a') // b has the entry, and a does not know
    const successor = mesh.start('a2', 'a')
    successor.adopt(former)
    mesh.settle()
    mesh.tick(100, 20)
    expect(mesh.read('b', log)).to.deep.equal(['1', '2'])
    expect(places).to.have.length(1)
  })

  it('records for a publisher that was cast out, silent for 10 minutes, and gets another owner', () => {
    const mesh = new Mesh()
    mesh.startAll('a', 'b', 'p')
    const log = logFor(['a', 'b', 'p', 'p2'], 'a', 'b')
    for (const text of ['1', '2', '3']) mesh.append('p', log, text)
    mesh.follow('p', log)
    mesh.tick(200, 3)
    const former = mesh.cores.get('p') as Core
    mesh.kill('p')
    mesh.start('p2', 'p').adopt(former)
    mesh.tick(200, 10)
    mesh.tick(60_100, 10)
    mesh.kill('a')
    mesh.tick(200, 20)
    const places = mesh.append('p2', log, '4')
    mesh.tick(1_100, 10)
    expect(places).to.have.length(1)
    expect(mesh.read('b', log)).to.deep.equal(['1', '2', '3', '4'])
  })

  it('begins a later epoch than a publisher knows, also when the clock went back', () => {
    const mesh = new Mesh()
    mesh.startAll('a', 'b')
    const log = logFor(['a', 'b', 'c', 'p'], 'a', 'b', 'c')
    mesh.append('a', log, '1')
    mesh.startAll('c', 'p')
    mesh.tick(200, 5)
    expect(mesh.append('p', log, '2')).to.have.length(0)
    mesh.tick(200, 3)
    mesh.now -= 3_600_000
    mesh.kill('a')
    mesh.kill('b')
    mesh.tick(200, 10)
    const places = mesh.append('p', log, '3')
    mesh.tick(1_100, 10)
    expect(places).to.have.length(1)
  })
})

import { expect } from 'chai'
import { decodeFrame, encodeFrame } from '../../../../lib/adapters/cluster/history/frames.ts'
import type { Message } from '../../../../lib/adapters/cluster/history/messages.ts'
import { Session } from '../../../../lib/adapters/cluster/history/session.ts'

/** One end of a session. What it writes is kept until the test passes it on. */
class End {
  readonly session: Session
  readonly received: Message[] = []
  readonly written: Buffer[] = []

  constructor(id: string, most = 1e9) {
    this.session = new Session(
      'peer',
      {
        write: (_session, frame) =>
          void this.written.push(encodeFrame({ ...frame, from: id, pid: 1 })),
        received: (_session, messages) => void this.received.push(...messages),
      },
      most,
    )
  }

  send(...messages: Message[]): void {
    for (const message of messages) this.session.send(message)
    this.session.flush()
  }

  /** The numbers of the entries that were received. */
  get numbers(): number[] {
    return this.received.map((message) => ('seq' in message ? message.seq : -1))
  }
}

const numbered = (seq: number): Message => ({ kind: 'replicated', log: 'room:a', ballot: 'b', seq })

/** Passes on what both ends have written, until nothing is left. @param isLost decides on each frame */
function exchange(one: End, other: End, isLost = (): boolean => false): void {
  while (one.written.length + other.written.length > 0) {
    for (const [from, to] of [
      [one, other],
      [other, one],
    ] as const) {
      for (const bytes of from.written.splice(0)) {
        const frame = decodeFrame(bytes)
        if (frame && !isLost()) to.session.arrived(frame)
      }
      to.session.flush()
      if (to.session.owes) to.session.acknowledge()
    }
  }
}

/** Passes on what one end has written. @returns the frames */
function pass(from: End, to: End): Buffer[] {
  const frames = from.written.splice(0)
  for (const bytes of frames) {
    const frame = decodeFrame(bytes)
    if (frame) to.session.arrived(frame)
  }
  to.session.flush()
  return frames
}

describe('a session between two processes', () => {
  it('passes messages in order, and knows when all have arrived', () => {
    const [one, other] = [new End('one'), new End('other')]
    one.send(numbered(1), numbered(2))
    one.send(numbered(3))
    expect(one.session.isDrained).to.equal(false)
    exchange(one, other)
    expect(other.numbers).to.deep.equal([1, 2, 3])
    expect(one.session.isDrained).to.equal(true)
  })

  it('passes each message once and in order, though any frame may be lost', () => {
    let state = 1
    const isLost = (): boolean => {
      state = (state * 48_271) % 2_147_483_647
      return state % 3 === 0
    }
    const [one, other] = [new End('one'), new End('other')]
    for (let i = 1; i <= 300; i++) {
      one.send(numbered(i))
      other.send(numbered(i))
      if (i % 5 === 0) exchange(one, other, isLost)
      if (i % 7 === 0) one.session.repeat()
      if (i % 11 === 0) other.session.repeat()
    }
    for (let i = 0; i < 300 && !(one.session.isDrained && other.session.isDrained); i++) {
      one.session.repeat()
      other.session.repeat()
      exchange(one, other, isLost)
    }
    const all = Array.from({ length: 300 }, (_, i) => i + 1)
    expect(other.numbers).to.deep.equal(all)
    expect(one.numbers).to.deep.equal(all)
  })

  it('sends again what is not acknowledged for long, and less often each time', () => {
    const [one, other] = [new End('one'), new End('other')]
    one.send(numbered(1))
    one.written.length = 0 // lost, and the link did not say so
    const repeats: number[] = []
    for (let tick = 1; tick <= 100; tick++) {
      one.session.tick()
      if (one.written.length > 0) repeats.push(tick)
      if (tick < 100) one.written.length = 0
    }
    expect(repeats).to.deep.equal([5, 15, 35, 75])
    one.session.repeat()
    exchange(one, other)
    expect(other.numbers).to.deep.equal([1])
    for (let tick = 0; tick < 20; tick++) one.session.tick()
    expect(one.written).to.deep.equal([])
  })

  it('acknowledges with the next message, and by itself what is large or came again', () => {
    const [one, other] = [new End('one'), new End('other')]
    one.send(numbered(1))
    const first = pass(one, other)
    expect(other.session.owes).to.equal(true)
    expect(other.written).to.deep.equal([])
    other.send(numbered(7))
    expect(other.session.owes).to.equal(false)
    pass(other, one)
    expect(one.session.isDrained).to.equal(true)

    one.written.push(...first)
    pass(one, other)
    expect(other.written).to.have.length(1)
    other.written.length = 0

    const payload = Buffer.alloc(300_000)
    const entry = { key: 'k', count: 1, payload, offset: 1, previous: '' }
    one.send({ kind: 'recorded', log: 'room:a', epoch: 'e', entries: [entry] })
    pass(one, other)
    expect(other.written).to.have.length(1)
    pass(other, one)
    expect(one.session.isDrained).to.equal(true)
  })

  it('splits long messages, and sends a window of them ahead', () => {
    const [one, other] = [new End('one'), new End('other')]
    const payload = Buffer.alloc(3 * 1024 * 1024, 7)
    const entry = { key: 'k', count: 1, payload, offset: 1, previous: '' }
    const long: Message = { kind: 'recorded', log: 'room:a', epoch: 'e', entries: [entry] }
    one.send(long, long, long, numbered(1))
    const ahead = one.written.reduce((sum, { length }) => sum + length, 0)
    expect(ahead).to.be.within(4e6, 8e6)
    for (const bytes of one.written) expect(bytes.length).to.be.below(1_100_000)
    exchange(one, other)
    expect(other.received).to.deep.equal([long, long, long, numbered(1)])
  })

  it('discards what is repeated when too much waits, and says that entries were missed', () => {
    const [one, other] = [new End('one', 10_000), new End('other')]
    const payload = Buffer.alloc(1_000)
    const entry = { key: 'k', count: 1, payload, offset: 1, previous: '' }
    const recorded: Message = { kind: 'recorded', log: 'room:a', epoch: 'e', entries: [entry] }
    for (let i = 0; i < 100; i++) one.session.send(recorded)
    expect(one.session.isFull).to.equal(true)
    one.send(numbered(1))
    exchange(one, other)
    expect(one.session.isFull).to.equal(false)
    expect(other.received.length).to.be.within(5, 20)
    expect(other.received.slice(-2)).to.deep.equal([numbered(1), { kind: 'missed' }])
    one.send(recorded)
    exchange(one, other)
    expect(other.received.at(-1)).to.deep.equal(recorded)
  })

  it('acknowledges at once a quarter of what may wait, so that a small bound discards nothing', () => {
    const [one, other] = [new End('one', 16_000), new End('other', 16_000)]
    const entry = { key: 'k', count: 1, payload: Buffer.alloc(3_000), offset: 1, previous: '' }
    const recorded: Message = { kind: 'recorded', log: 'room:a', epoch: 'e', entries: [entry] }
    for (let i = 0; i < 100; i++) {
      one.send(recorded)
      pass(one, other)
      pass(other, one) // without the acknowledgment that waits
    }
    expect(other.received).to.deep.equal(Array.from({ length: 100 }, () => recorded))
  })
})

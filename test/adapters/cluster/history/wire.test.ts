import { expect } from 'chai'
import type { Kept, Snapshot } from '../../../../lib/adapters/cluster/history/copy.ts'
import type { Message } from '../../../../lib/adapters/cluster/history/messages.ts'
import { decode, encode } from '../../../../lib/adapters/cluster/history/wire.ts'

const every = Buffer.from(Array.from({ length: 256 }, (_, i) => i))
const entry = { key: 'k', count: 1, payload: every, offset: 3, previous: 'j' }
const kept: Kept = { ...entry, seq: 2, at: 5.5, from: 'p', via: 'i', series: 1, n: 2, known: 1 }
const mark = { seq: 2, offset: 3, key: 'k' }
const copy: Snapshot = {
  epoch: 'e',
  ballot: 'b',
  zero: 0,
  at: 5.5,
  entries: [kept, { ...kept, payload: Buffer.alloc(0) }],
  last: mark,
  done: mark,
  cut: { offset: 1, key: 'j' },
  trimmed: 1,
  sources: [['p', { series: 1, n: 2, via: 'i', at: 5.5, spots: [{ n: 2, seq: 2, offset: 3 }] }]],
}
const log = 'room:é"$'
const about = { log, ballot: 'b' }
const place = { epoch: 'e', offset: 3, key: 'k' }
const published = { from: 'p', series: 1, n: 2, known: 1 }

const MESSAGES: readonly Message[] = [
  { kind: 'hello' },
  { kind: 'welcome', isUp: true, isLeaving: false, peers: ['a'], ends: [''], forgotten: 1 },
  { kind: 'up' },
  { kind: 'leaving' },
  { kind: 'empty' },
  { kind: 'secure', ends: ['', 'a'] },
  { kind: 'missed' },
  { kind: 'publish', log, epoch: 'e', ...published, key: 'k', count: 1, payload: every },
  { kind: 'done', log, epoch: 'e', series: 1, n: 2, offsets: [3, 4] },
  { kind: 'reset', log, epoch: 'e' },
  { kind: 'redirect', ...about, id: 'i' },
  { kind: 'gather', ...about, handFrom: '', has: '', seq: 0 },
  { kind: 'promised', ...about, holds: true, copy, follows: true, newest: 'e', forgotten: 0 },
  { kind: 'promised', ...about, holds: false, copy: null, follows: true, newest: '', forgotten: 0 },
  { kind: 'busy', ...about, owner: 'i', owned: 'b' },
  { kind: 'refused', ...about, promised: 'c' },
  { kind: 'take', log },
  { kind: 'install', log, copy },
  { kind: 'installed', ...about, seq: 2 },
  { kind: 'stale', ...about, promised: 'c' },
  { kind: 'replicate', ...about, entry: kept, done: 1 },
  { kind: 'replicated', ...about, seq: 2 },
  { kind: 'drop', ...about },
  { kind: 'dropped', ...about },
  { kind: 'owns', ...about, epoch: 'e' },
  { kind: 'committed', ...about, seq: 2 },
  { kind: 'recorded', log, epoch: 'e', entries: [entry, entry] },
  { kind: 'unfollow', log },
  { kind: 'ask', log, number: 1, question: { want: 'read', since: place } },
  { kind: 'ask', log, number: 1, question: { want: 'read', since: null } },
  { kind: 'ask', log, number: 1, question: { want: 'follow' } },
  { kind: 'ask', log, number: 1, question: { want: 'renew', seen: place } },
  { kind: 'answer', log, number: 1, reading: { top: place, entries: [entry] } },
  { kind: 'answer', log, number: 1, reading: { top: place, missing: 'trimmed' } },
  { kind: 'none', log, number: 1, at: 5.5, newest: '', forgotten: 0 },
]

describe('messages between processes about the history', () => {
  it('are read as they were written', () => {
    expect(decode(encode(MESSAGES))).to.deep.equal(MESSAGES)
    for (const message of MESSAGES) expect(decode(encode([message]))).to.deep.equal([message])
  })

  it('have payloads with memory of their own', () => {
    const bytes = encode(MESSAGES)
    const [read] = decode(encode([{ kind: 'recorded', log, epoch: 'e', entries: [entry] }]))
    bytes.fill(0)
    expect(read).to.deep.include({ entries: [entry] })
  })

  it('are refused without one of their members, or with a member of another type', () => {
    for (const message of MESSAGES) {
      for (const [name, value] of Object.entries(message)) {
        for (const wrong of [undefined, typeof value === 'string' ? 5 : 'text']) {
          const bytes = encode([{ ...message, [name]: wrong }])
          expect(() => decode(bytes), `${message.kind}.${name}`).to.throw(RangeError)
        }
      }
    }
  })

  it('are refused when they are truncated or changed, and throw nothing else', () => {
    const bytes = encode([MESSAGES[7] as Message, MESSAGES[17] as Message])
    for (let length = 0; length < bytes.length; length++) {
      expect(() => decode(bytes.subarray(0, length)), `${length} bytes`).to.throw(RangeError)
    }
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes)
      changed[at] = (changed[at] ?? 0) ^ 0x11
      try {
        decode(changed)
      } catch (error) {
        expect(error).to.be.instanceOf(RangeError)
      }
    }
  })
})

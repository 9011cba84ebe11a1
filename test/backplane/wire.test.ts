import { expect } from 'chai'
import { Garbage } from '../../lib/backplane/bytes.ts'
import type { Order, Target } from '../../lib/backplane/order.ts'
import { aged, decode, encode, type Message } from '../../lib/backplane/wire.ts'
import { Frame } from '../../lib/connection/frame.ts'
import { mulberry32 } from '../support/order.ts'

const rooms = (...names: string[]): Target => ({
  kind: 'rooms',
  names,
  except: [],
  exceptUsers: [],
})
const all: Target = { kind: 'all', names: [], except: [], exceptUsers: [] }
const frame = (data: string | Buffer): Buffer => Frame.encode(data, null).plain
const send = (target: Target, data: string | Buffer): Order => ({
  type: 'send',
  target,
  frame: frame(data),
  pushed: false,
  volatile: false,
})

const MESSAGES: Record<string, Message> = {
  'orders for rooms': {
    kind: 'orders',
    positions: [
      { topic: 'room:a', epoch: 1, next: 1, after: null },
      { topic: 'room:é😀', epoch: 300, next: 2 ** 40, after: 0 },
    ],
    orders: [
      send(rooms('a', 'é😀'), ''),
      send(rooms('a', 'é😀'), 'x'.repeat(126)),
      {
        ...send(rooms('a', 'é😀'), Buffer.alloc(70_000, 7)),
        pushed: true,
        volatile: true,
      } as Order,
      { type: 'join', target: { ...rooms('a', 'é😀'), except: ['c1', 'c2'] }, rooms: ['x', 'y'] },
      { type: 'leave', target: { ...rooms('a', 'é😀'), exceptUsers: ['u'] }, rooms: [] },
      { type: 'close', target: rooms('a', 'é😀'), code: 4999, reason: 'é' },
      { type: 'presence', target: rooms('a', 'é😀'), text: '["a",1]' },
    ],
  },
  'orders for users': {
    kind: 'orders',
    positions: [{ topic: 'user:7', epoch: 2, next: 127, after: 600_000 }],
    orders: [send({ kind: 'users', names: ['7'], except: [], exceptUsers: [] }, 'hi')],
  },
  'orders for all and for connections': {
    kind: 'orders',
    positions: [{ topic: 'all', epoch: 1, next: 128, after: 1 }],
    orders: [
      send({ kind: 'connections', names: ['c'], except: ['d'], exceptUsers: ['e'] }, 'hi'),
      send(all, 'hi'),
      { type: 'close', target: rooms('a', 'é😀'), code: 4999, reason: 'é' },
      { type: 'close', target: rooms('a', 'é😀'), id: 'i', code: 4999, reason: 'é' },
      { type: 'leave', target: { ...rooms('é😀'), except: ['c'] }, id: 'é', rooms: ['x'] },
      {
        type: 'leave',
        target: { kind: 'users', names: ['7'], except: ['c'], exceptUsers: [] },
        rooms: ['x'],
      },
    ],
  },
  'orders that waited': {
    kind: 'orders',
    positions: [
      { topic: 'room:a', epoch: 1, next: 1, after: null },
      { topic: 'room:b', epoch: 2, next: 1, after: 599_999 },
    ],
    orders: [send(rooms('a', 'b'), 'hi')],
    age: 2 ** 31 - 1,
  },
  'a beat': { kind: 'beat', number: 9, period: 2_000 },
  'a question': { kind: 'question', id: 3, question: { type: 'members', target: rooms('a') } },
  'an answer': {
    kind: 'answer',
    id: 3,
    count: 2,
    members: [
      { id: 'c', userId: 'u', info: { name: 'é' } },
      { id: 'd', userId: undefined, info: undefined },
    ],
    more: true,
  },
  'an answer without members': { kind: 'answer', id: 2 ** 33, count: 0, members: [], more: false },
  tops: {
    kind: 'tops',
    tops: [
      { topic: 'all', epoch: 1, next: 5, age: 0 },
      { topic: 'user:é', epoch: 2, next: 6, age: 600_000 },
    ],
  },
  'a note': { kind: 'note', text: '{"here":["é"]}' },
}

describe('the wire format between instances', () => {
  for (const [name, message] of Object.entries(MESSAGES)) {
    it(`carries ${name}`, () => {
      expect(decode(encode('origin-é', message))).to.deep.equal({ origin: 'origin-é', message })
    })
  }

  it('carries how long orders waited', () => {
    const { kind, ...orders } = MESSAGES['orders for rooms'] as Extract<Message, { kind: 'orders' }>
    const payload = encode('o', { kind, ...orders })
    expect(decode(aged(payload, 12.7)).message).to.deep.equal({ kind, ...orders, age: 12 })
    expect(decode(aged(aged(payload, 12), 40)).message).to.include({ age: 40 })
    expect(decode(aged(payload, 2 ** 40)).message).to.include({ age: 2 ** 31 - 1 })
    const note = encode('o', { kind: 'note', text: '{}' })
    expect(aged(note, 1)).to.equal(note)
  })

  it('shares the memory of the payload with frames on arrival', () => {
    const payload = encode('o', MESSAGES['orders for rooms'] as Message)
    const { message } = decode(payload)
    if (message.kind !== 'orders') throw new Error('not orders')
    for (const order of message.orders) {
      if (order.type === 'send') expect(order.frame.buffer).to.equal(payload.buffer)
    }
  })

  it('rejects another version, and names it', () => {
    const payload = encode('o', { kind: 'beat', number: 1, period: 1 })
    payload[2] = 1
    expect(() => decode(payload)).to.throw(Garbage, 'its version is 1, not 2')
  })

  it('rejects an invalid frame with a correct checksum', () => {
    const good = frame('hello')
    const masked = Buffer.from(good)
    masked[1] = 0x80 | (masked[1] as number)
    const compressed = Buffer.from(good)
    compressed[0] = 0xc1
    const close = Buffer.from([0x88, 2, 3, 232])
    const part = Buffer.from([0x01, 1, 65])
    const wrong = [masked, compressed, close, part, good.subarray(1), Buffer.alloc(0)]
    const long = frame('x'.repeat(200))
    wrong.push(long.subarray(0, 3), long.subarray(0, 100), Buffer.concat([long, long]))
    const huge = frame('x'.repeat(70_000))
    wrong.push(huge.subarray(0, 9), huge.subarray(0, 60_000))
    for (const bytes of wrong) {
      const order = { ...send(all, ''), frame: bytes } as Order
      const positions = [{ topic: 'all', epoch: 1, next: 1, after: null }]
      const payload = encode('o', { kind: 'orders', positions, orders: [order] })
      expect(() => decode(payload)).to.throw(Garbage, 'its frame is malformed')
    }
  })

  it('rejects every changed, truncated or extended payload', () => {
    const random = mulberry32(20261124)
    const payloads = Object.values(MESSAGES).map((message) => encode('origin', message))
    for (let round = 0; round < 20_000; round++) {
      const payload = Buffer.from(payloads[round % payloads.length] as Buffer)
      const at = Math.floor(random() * payload.length)
      const change = round % 3
      let bad = payload
      if (change === 0) payload[at] = (payload[at] as number) ^ (1 << Math.floor(random() * 8))
      else if (change === 1) bad = payload.subarray(0, at)
      else bad = Buffer.concat([payload, Buffer.alloc(1 + (at % 9), at)])
      expect(() => decode(bad)).to.throw(Garbage)
    }
  })

  it('rejects random bytes after a valid header', () => {
    const random = mulberry32(7)
    const header = encode('o', { kind: 'beat', number: 1, period: 1 })
    for (let round = 0; round < 5_000; round++) {
      const bytes = Buffer.from(
        Array.from({ length: Math.floor(random() * 60) }, () => random() * 256),
      )
      expect(() => decode(Buffer.concat([header.subarray(0, 8), bytes]))).to.throw(Garbage)
    }
  })
})

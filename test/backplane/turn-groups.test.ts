import { expect } from 'chai'
import type { Order, Target } from '../../lib/backplane/order.ts'
import { TurnGroups } from '../../lib/backplane/turn-groups.ts'

const room = (name: string): Target => ({
  kind: 'rooms',
  names: [name],
  except: [],
  exceptUsers: [],
})
const send = (target: Target): Order => {
  return { type: 'send', target, frame: Buffer.from([0x81, 0]), pushed: false, volatile: false }
}
const seen = (target: Target, text = '[]'): Order => ({ type: 'presence', target, text })

describe('the orders of one turn', () => {
  it('form one group per room, even with 1,000 presence changes', () => {
    const groups = new TurnGroups()
    for (let i = 0; i < 1_000; i++) groups.add(seen(room(i % 2 ? 'r' : 's')))
    groups.add(send(room('r')))
    const sizes = groups.take().map(({ topics, orders }) => [...topics, orders.length])
    expect(sizes).to.deep.equal([
      ['room:s', 500],
      ['room:r', 501],
    ])
  })

  it('keep a join between the sends before and after it', () => {
    const groups = new TurnGroups()
    groups.add(send(room('r')))
    groups.add({ type: 'join', target: room('s'), rooms: ['r'] })
    groups.add(send(room('r')))
    expect(groups.take().map(({ topics }) => topics[0])).to.deep.equal([
      'room:r',
      'room:s',
      'room:r',
    ])
  })

  it('are split into groups of limited size', () => {
    const groups = new TurnGroups()
    for (let i = 0; i < 10; i++) groups.add(seen(room('r'), 'x'.repeat(100_000)))
    expect(groups.take().map(({ orders }) => orders.length)).to.deep.equal([3, 3, 3, 1])
  })
})

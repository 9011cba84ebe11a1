import { expect } from 'chai'
import { MOST_LOOKED_AT, type Queued, SendQueues } from '../../lib/metrics/send-queues.ts'

describe('SendQueues', () => {
  it('reads the largest queue, and the share of connections that are behind', () => {
    const sizes = [0, 5, 0, 70]
    const connections = new Map(sizes.map((bufferedAmount, i) => [String(i), { bufferedAmount }]))
    expect(new SendQueues(connections).read()).to.deep.equal({ max: 70, behind: 0.5 })
    expect(new SendQueues(new Map()).read()).to.deep.equal({ max: 0, behind: 0 })
  })

  it('looks at a bounded number in each reading, and at all in turn', () => {
    const looks = new Map<string, number>()
    const many = 2 * MOST_LOOKED_AT + 1
    const connections = new Map<string, Queued>()
    for (let i = 0; i < many; i++) {
      const id = String(i)
      connections.set(id, {
        get bufferedAmount() {
          looks.set(id, (looks.get(id) ?? 0) + 1)
          return 0
        },
      })
    }
    const queues = new SendQueues(connections)
    queues.read()
    expect(looks.size).to.equal(MOST_LOOKED_AT)
    queues.read()
    expect(looks.size).to.equal(2 * MOST_LOOKED_AT)
    connections.delete('0')
    queues.read()
    expect(looks.size).to.equal(many)
    expect(Math.max(...looks.values())).to.equal(2)
  })
})

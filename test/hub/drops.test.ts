import { channel } from 'node:diagnostics_channel'
import { expect } from 'chai'
import { Drops } from '../../lib/hub/drops.ts'

describe('drops', () => {
  it('are counted by reason, in a copy that does not change', () => {
    const drops = new Drops('i1')
    drops.add('flood')
    drops.add('unheard', 3)
    const before = drops.snapshot()
    drops.add('flood')
    expect(before).to.deep.equal({ flood: 1, unheard: 3 })
    expect(drops.snapshot()).to.deep.equal({ flood: 2, unheard: 3 })
  })

  it('are published on koaws:drop, with the connection and the instance', () => {
    const heard: unknown[] = []
    const hear = (event: unknown): void => void heard.push(event)
    const connection = {}
    channel('koaws:drop').subscribe(hear)
    try {
      new Drops('i1').add('flood', 2, connection)
    } finally {
      channel('koaws:drop').unsubscribe(hear)
    }
    expect(heard).to.deep.equal([{ reason: 'flood', count: 2, connection, instance: 'i1' }])
  })
})

import { expect } from 'chai'
import { keepersOf } from '../../../lib/hub/presence/keepers.ts'

describe('the keepers of users', () => {
  const instances = Array.from({ length: 10 }, (_, i) => `instance-${i}`)
  const users = Array.from({ length: 10_000 }, (_, i) => `user-${i}`)

  it('are two instances per user, evenly spread', () => {
    const counts = new Map<string, number>()
    for (const user of users) {
      const keepers = keepersOf(user, instances)
      expect(new Set(keepers).size).to.equal(2)
      for (const id of keepers) counts.set(id, (counts.get(id) ?? 0) + 1)
    }
    for (const count of counts.values()) expect(count).to.be.within(1_700, 2_300)
    expect(keepersOf('ann', ['alone'])).to.deep.equal(['alone'])
  })

  it('stay the same when an instance joins, unless the new instance becomes one of them', () => {
    for (const user of users.slice(0, 1_000)) {
      const before = keepersOf(user, instances)
      const after = keepersOf(user, [...instances, 'new'])
      if (!after.includes('new')) expect(after).to.deep.equal(before)
      else expect(before).to.include(after.find((id) => id !== 'new'))
    }
  })
})

import { expect } from 'chai'
import { checkPrefix } from '../../../lib/adapters/redis/prefix.ts'

describe('the option prefix', () => {
  for (const prefix of [
    'koaws:',
    'app:',
    'app',
    'bedroom:',
    'chatroom:x:',
    'rooms:',
    'room',
    'a{b}:',
    'a{',
    'catalog:',
  ]) {
    it(`may be ${JSON.stringify(prefix)}`, () => {
      expect(checkPrefix(prefix)).to.equal(null)
    })
  }

  for (const prefix of [
    'room:',
    'koaws:room:',
    'koaws:user:x',
    'a-instance:',
    'x/room:y',
    'app:log:',
  ]) {
    it(`may not be ${JSON.stringify(prefix)}, which begins channels of another application`, () => {
      expect(checkPrefix(prefix)).to.be.a('string').that.includes(JSON.stringify(prefix))
    })
  }

  it('may not have empty braces, which separate the keys of a log in a Redis Cluster', () => {
    for (const prefix of ['{}', 'koaws{}:', 'a}{}{b}']) {
      expect(checkPrefix(prefix)).to.match(/Redis Cluster/)
    }
    for (const prefix of ['{a}{}', '{{}', 'a}{b}']) expect(checkPrefix(prefix)).to.equal(null)
  })

  it('must be a non-empty string', () => {
    for (const wrong of ['', 7, null, {}]) expect(checkPrefix(wrong)).to.be.a('string')
  })
})

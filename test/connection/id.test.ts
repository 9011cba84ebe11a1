import { expect } from 'chai'
import { newId } from '../../lib/connection/id.ts'

describe('newId()', () => {
  it('returns 20 characters of base64url, unique for each call', () => {
    const ids = Array.from({ length: 10_000 }, newId)
    for (const id of ids) expect(id).to.match(/^[\w-]{20}$/)
    expect(new Set(ids).size).to.equal(ids.length)
  })
})

import { expect } from 'chai'
import { decode } from '../../lib/client/envelope.ts'

describe('decode()', () => {
  it('accepts objects with a type of 1 to 255 characters and an optional positive integer as id', () => {
    for (const text of ['{"type":"a"}', '{"type":"a","id":1}', `{"type":"${'x'.repeat(255)}"}`])
      expect(decode(text), text).to.have.property('type')
    for (const text of [
      '',
      'null',
      '7',
      '[]',
      '{}',
      '{"type":""}',
      '{"type":7}',
      `{"type":"${'x'.repeat(256)}"}`,
      '{"type":"a","id":0}',
      '{"type":"a","id":"1"}',
      '{"type":"a","id":1.5}',
      '{"type":"a","id":9007199254740992}',
    ])
      expect(decode(text), text).to.equal(undefined)
  })
})

import { expect } from 'chai'
import { z } from 'zod'
import { pushCheck } from '../../lib/messages/push-check.ts'
import { protocol } from '../../lib/protocol/definition.ts'

describe('the check of a push', () => {
  const { types } = protocol({
    said: { push: z.object({ text: z.string() }) },
    tick: { push: true },
    say: {},
  })

  for (const validatesData of [true, false]) {
    it(`throws for a type that is no push of the protocol, ${validatesData ? 'with' : 'without'} a check of the data`, () => {
      const check = pushCheck(types, validatesData)
      for (const type of ['say', 'sayd', 'toString', '__proto__']) {
        expect(() => check(type, undefined), type).to.throw(TypeError)
      }
      expect(() => check('said', { text: 'hi' })).not.to.throw()
      expect(() => check('tick', undefined)).not.to.throw()
    })
  }

  it('throws for data that do not match, only when it validates them', () => {
    for (const [type, data] of [
      ['said', { text: 7 }],
      ['said', undefined],
      ['tick', 1],
    ] as const) {
      expect(() => pushCheck(types, true)(type, data), type).to.throw()
      expect(() => pushCheck(types, false)(type, data), type).not.to.throw()
    }
  })
})

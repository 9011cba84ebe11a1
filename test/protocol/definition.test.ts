import { expect } from 'chai'
import { z } from 'zod'
import { protocol } from '../../lib/protocol/definition.ts'

describe('protocol()', () => {
  it('keeps its types, and freezes them', () => {
    const say = { data: z.string(), reply: z.null() }
    const { types } = protocol({
      say,
      said: { push: z.string() },
      tick: { push: true },
      typing: {},
    })
    expect(types.say).to.equal(say)
    expect(Object.isFrozen(types)).to.equal(true)
  })

  it('takes schemas that are functions, and types named like inherited properties', () => {
    const schema = Object.assign(() => {}, { '~standard': z.string()['~standard'] })
    const { types } = protocol({ toString: { data: schema }, ['__proto__']: {} })
    expect(Object.keys(types)).to.deep.equal(['toString', '__proto__'])
  })

  it('throws for a wrong definition, and says what to do', () => {
    const wrong: [object, RegExp][] = [
      [{ '': {} }, /"" is empty/],
      [{ 'koaws:ping': {} }, /begins with "koaws:"/],
      [{ ['x'.repeat(256)]: {} }, /longer than 255 bytes/],
      [{ ['é'.repeat(128)]: {} }, /longer than 255 bytes/],
      [{ say: null }, /"say" needs an object/],
      [{ say: z.string }, /"say" needs an object/],
      [{ say: { date: z.string() } }, /"date": the parts are data, push, reply, stream and upload/],
      [{ say: { data: { type: 'string' } } }, /needs a Standard Schema as "data"/],
      [{ say: { data: true } }, /needs a Standard Schema as "data"/],
      [{ say: { push: false } }, /needs a Standard Schema as "push"/],
      [{ say: { data: z.string(), push: z.string() } }, /both "data" and "push"/],
    ]
    for (const [definition, message] of wrong) {
      expect(() => protocol(definition as never), String(message)).to.throw(TypeError, message)
    }
  })
})

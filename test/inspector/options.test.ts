import { expect } from 'chai'
import Koa from 'koa'
import { OptionsError } from '../../lib/index.ts'
import { resolveOptions } from '../../lib/inspector/options.ts'

describe('the options of inspector()', () => {
  it('have defaults that show and allow nothing', () => {
    expect(resolveOptions({})).to.deep.equal({
      path: '/inspector',
      authorize: undefined,
      actions: [],
      redact: undefined,
      bodies: false,
      app: undefined,
      onAction: undefined,
    })
    expect(resolveOptions({ bodies: undefined, app: new Koa() }).bodies).to.equal(false)
  })

  it('are refused with advice when they are unknown or wrong', () => {
    const wrong: [object, string][] = [
      [{ autorize: () => true }, 'has no option "autorize". It has: path, authorize'],
      [{ path: 'inspector' }, 'a path such as "/inspector"'],
      [{ path: '/inspector/' }, 'without a slash at its end'],
      [{ authorize: true }, 'a function of the ctx'],
      [{ actions: ['close', 'drop'] }, 'a list of "close", "leave", "push"'],
      [{ redact: ['password'] }, 'a function of the state'],
      [{ bodies: 1 }, 'true or false'],
      [{ app: {} }, 'the Koa app'],
      [{ onAction: null }, 'a function of the event'],
      [[], 'takes a hub and an object of options'],
    ]
    for (const [options, text] of wrong) {
      expect(() => resolveOptions(options as never)).to.throw(OptionsError, text)
    }
  })
})

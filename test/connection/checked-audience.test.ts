import { expect } from 'chai'
import { z } from 'zod'
import { type Audience, koaWs, messages, protocol } from '../../lib/index.ts'

const chat = protocol({
  said: { push: z.object({ text: z.string() }) },
  tick: { push: true },
  say: {},
})
const other = protocol({ moved: { push: z.number() } })

const audiences = (hub: unknown): Audience[] => {
  const { room, user, all, connection } = hub as ReturnType<typeof koaWs>
  return [room('x'), user('ann').except('id').local(), all().volatile(), connection('id')]
}

describe('a hub with a protocol', () => {
  const given = process.env['NODE_ENV']

  afterEach(() => {
    if (given === undefined) delete process.env['NODE_ENV']
    else process.env['NODE_ENV'] = given
  })

  it('rejects a push of an unknown type, in production too', () => {
    for (const mode of ['development', 'production']) {
      process.env['NODE_ENV'] = mode
      for (const audience of audiences(koaWs({ protocol: chat }))) {
        expect(() => audience.push('sayd')).to.throw(
          TypeError,
          'The protocol has no push "sayd". It has: said, tick.',
        )
        expect(() => audience.push('say')).to.throw(TypeError, 'clients send this type')
        expect(() => audience.push('toString')).to.throw(TypeError, 'no push')
        expect(() => audience.push('said', { text: 'hi' })).to.not.throw()
      }
    }
  })

  it('rejects push data that do not match the schema, except in production', () => {
    process.env['NODE_ENV'] = 'development'
    for (const audience of audiences(koaWs({ protocol: chat }))) {
      expect(() => audience.push('said', { text: 7 })).to.throw(/^push "said": text: /)
      expect(() => audience.push('tick', 1)).to.throw(
        TypeError,
        'The push "tick" has no data in the protocol',
      )
    }
    process.env['NODE_ENV'] = 'production'
    for (const audience of audiences(koaWs({ protocol: chat })))
      expect(() => audience.push('said', { text: 7 })).to.not.throw()
  })

  it('leaves the rooms of messages() to their own protocol', () => {
    const hub = koaWs({ protocol: chat })
    const moves = messages(other, { validateOut: true })
    expect(() => moves.room(hub, 'x').push('moved', 1)).to.not.throw()
    expect(() => moves.audience(hub.all()).push('moved', 1)).to.not.throw()
    expect(() => moves.room(hub, 'x').push('moved', 'far' as never)).to.throw(/^push "moved": /)
    expect(() => messages().room(hub, 'x').push('moved', 1)).to.throw(TypeError, 'no push "moved"')
  })

  it('takes only a result of protocol() as the option, and checks nothing without it', () => {
    expect(() => koaWs().all().push('anything', [1])).to.not.throw()
    for (const wrong of [{}, 7, null])
      expect(() => koaWs({ protocol: wrong as never })).to.throw('must be the result of protocol()')
  })
})

import { expect } from 'chai'
import { fieldsOfContext, parseTraceparent } from '../../lib/otel/traceparent.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const SPAN = 'b7ad6b7169203331'

describe('traceparent', () => {
  it('is read as W3C Trace Context says', () => {
    expect(parseTraceparent(`00-${TRACE}-${SPAN}-01`)).to.deep.equal({
      traceId: TRACE,
      spanId: SPAN,
      traceFlags: 1,
      isRemote: true,
    })
    expect(parseTraceparent(`00-${TRACE}-${SPAN}-02`)?.traceFlags).to.equal(0)
    expect(parseTraceparent(`cc-${TRACE}-${SPAN}-01-later`)?.spanId).to.equal(SPAN)
  })

  it('is ignored when it is wrong', () => {
    for (const wrong of [
      '',
      'x',
      `ff-${TRACE}-${SPAN}-01`,
      `00-${TRACE}-${SPAN}-01-more`,
      `00-${TRACE.toUpperCase()}-${SPAN}-01`,
      `00-${'0'.repeat(32)}-${SPAN}-01`,
      `00-${TRACE}-${'0'.repeat(16)}-01`,
      `00-${TRACE}-${SPAN}`,
      ` 00-${TRACE}-${SPAN}-01`,
    ]) {
      expect(parseTraceparent(wrong), wrong).to.equal(undefined)
    }
  })

  it('is written for a sampled context only', () => {
    const context = { traceId: TRACE, spanId: SPAN, traceFlags: 1 }
    expect(fieldsOfContext(context)).to.deep.equal({ trace: `00-${TRACE}-${SPAN}-01` })
    expect(fieldsOfContext({ ...context, traceFlags: 0 })).to.equal(undefined)
    expect(fieldsOfContext({ ...context, spanId: '0'.repeat(16) })).to.equal(undefined)
    expect(fieldsOfContext(undefined)).to.equal(undefined)
  })
})

describe('tracestate', () => {
  const read = (state: string) => parseTraceparent(`00-${TRACE}-${SPAN}-01`, state)

  it('is read and written beside traceparent', () => {
    const context = read('vendor=a1,other@tenant=b')
    expect(context?.traceState?.get('vendor')).to.equal('a1')
    expect(fieldsOfContext(context)).to.deep.equal({
      trace: `00-${TRACE}-${SPAN}-01`,
      tracestate: 'vendor=a1,other@tenant=b',
    })
  })

  it('is left out where it is malformed or longer than 512 characters', () => {
    for (const wrong of ['', 'x', 'UPPER=1', 'a=\u0001', `a=${'x'.repeat(600)}`, '=,=,']) {
      expect(read(wrong), wrong).to.deep.equal(parseTraceparent(`00-${TRACE}-${SPAN}-01`))
    }
    expect(read('wrong,a=1')?.traceState?.serialize()).to.equal('a=1')
  })

  it('is left out where a sampler has made it malformed or too long', () => {
    const written = (text: string) => {
      const traceState = { get: () => undefined, set: none, unset: none, serialize: () => text }
      return fieldsOfContext({ traceId: TRACE, spanId: SPAN, traceFlags: 1, traceState })
    }
    const none = (): never => {
      throw new Error('not called')
    }
    expect(written('a=1')).to.include({ tracestate: 'a=1' })
    for (const wrong of ['', 'a="\n"', `a=${'x'.repeat(600)}`]) {
      expect(written(wrong), wrong).to.not.have.property('tracestate')
    }
  })
})

import { expect } from 'chai'
import { formatTraceparent, parseTraceparent } from '../../lib/otel/traceparent.ts'

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
    expect(formatTraceparent(context)).to.equal(`00-${TRACE}-${SPAN}-01`)
    expect(formatTraceparent({ ...context, traceFlags: 0 })).to.equal(undefined)
    expect(formatTraceparent({ ...context, spanId: '0'.repeat(16) })).to.equal(undefined)
    expect(formatTraceparent(undefined)).to.equal(undefined)
  })
})

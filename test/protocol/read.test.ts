import { expect } from 'chai'
import { Fault, readEnvelope } from '../../lib/protocol/read.ts'

const nested = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels)

/** The code of the fault; null for a message that can be handled. */
function faultOf(text: string): string | null {
  const read = readEnvelope(text)
  return read instanceof Fault ? read.code : null
}

describe('reading a message', () => {
  it('takes what the protocol has', () => {
    for (const text of [
      '{"type":"a"}',
      '{"type":"a","id":1}',
      '{"type":"a","id":9007199254740991,"data":null}',
      ' {"data":[1],"unknown":{"x":1},"type":"a"} ',
      '{"type":"first","type":"last"}',
      `{"type":"${'x'.repeat(255)}"}`,
      `{"type":"${'é'.repeat(127)}"}`,
      '{"type":"koaws:anything"}',
    ]) {
      expect(faultOf(text), text).to.equal(null)
    }
    expect(readEnvelope('{"type":"a","type":"b","data":{"x":1}}')).to.deep.equal({
      type: 'b',
      data: { x: 1 },
    })
  })

  it('says of anything else that it is malformed', () => {
    for (const text of [
      '',
      ' ',
      '{',
      'null',
      '7',
      '"text"',
      '[]',
      '[{"type":"a"}]',
      '{}',
      '{"type":""}',
      '{"type":7}',
      '{"type":null}',
      `{"type":"${'x'.repeat(256)}"}`,
      `{"type":"${'é'.repeat(128)}"}`,
      '{"type":"a","id":0}',
      '{"type":"a","id":-1}',
      '{"type":"a","id":1.5}',
      '{"type":"a","id":"1"}',
      '{"type":"a","id":null}',
      '{"type":"a","id":9007199254740992}',
      '{"type":"a","id":1e999}',
      '\ufeff{"type":"a"}',
      '{"type":"a"}{"type":"b"}',
      "{'type':'a'}",
    ]) {
      expect(faultOf(text), text).to.equal('ERR_KOAWS_MALFORMED')
    }
  })

  it('counts levels from the envelope on, whatever they are made of', () => {
    expect(faultOf(`{"type":"a","data":${nested(31)}}`)).to.equal(null)
    expect(faultOf(`{"type":"a","data":${nested(32)}}`)).to.equal('ERR_KOAWS_TOO_DEEP')
    const objects = (levels: number): string => '{"a":'.repeat(levels) + 0 + '}'.repeat(levels)
    expect(faultOf(`{"type":"a","data":${objects(31)}}`)).to.equal(null)
    expect(faultOf(`{"type":"a","data":${objects(32)}}`)).to.equal('ERR_KOAWS_TOO_DEEP')
    expect(faultOf(`{"type":"a","other":${nested(32)}}`)).to.equal('ERR_KOAWS_TOO_DEEP')
    expect(faultOf(`{"type":"a","data":[${'[],'.repeat(100)}1]}`)).to.equal(null)
    expect(faultOf(`{"type":"a","data":"${'['.repeat(100)}"}`)).to.equal(null)
    expect(faultOf(`{"type":"a","data":${nested(30_000)}}`)).to.equal('ERR_KOAWS_TOO_DEEP')
  })

  it('finds names that reach a prototype, however they are spelt', () => {
    for (const data of [
      '{"__proto__":1}',
      '{"__proto__":{"polluted":true}}',
      '{"\\u005f\\u005fproto__":{}}',
      '{"__pr\\u006fto__":{}}',
      '[[{"a":[{"__proto__":null}]}]]',
      '{"constructor":{"prototype":{"polluted":true}}}',
      '{"c\\u006fnstructor":{"prototype":1}}',
    ]) {
      expect(faultOf(`{"type":"a","data":${data}}`), data).to.equal('ERR_KOAWS_PROTOTYPE_KEY')
    }
    expect(faultOf('{"type":"a","__proto__":{}}')).to.equal('ERR_KOAWS_PROTOTYPE_KEY')
  })

  it('leaves names and texts alone that only look like it', () => {
    for (const data of [
      '"__proto__"',
      '["__proto__"]',
      '{"constructor":"Ferrari"}',
      '{"constructor":{"name":"Ferrari"}}',
      '{"prototype":{}}',
      '{"proto":1,"__proto":1,"_proto_":1}',
      '"\\u005f"',
    ]) {
      expect(faultOf(`{"type":"a","data":${data}}`), data).to.equal(null)
    }
  })

  it('keeps what can be used to answer', () => {
    const read = (text: string): Fault => readEnvelope(text) as Fault
    expect(read('{"type":"a","id":7,"data":{"__proto__":1}}')).to.include({ id: 7, about: 'a' })
    expect(read('{"type":7,"id":8}')).to.include({ id: 8, about: undefined })
    expect(read('{"type":"a","id":"8"}')).to.include({ id: undefined, about: 'a' })
    expect(read('{')).to.include({ id: undefined, about: undefined })
  })

  it('pollutes nothing', () => {
    readEnvelope('{"type":"a","data":{"__proto__":{"polluted":true}}}')
    readEnvelope('{"type":"a","data":{"constructor":{"prototype":{"polluted":true}}}}')
    expect(({} as { polluted?: boolean }).polluted).to.equal(undefined)
  })
})

import { expect } from 'chai'
import { Fault, readEnvelope } from '../../lib/protocol/read.ts'

const nested = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels)

/** The code of the fault, or null for a message that can be handled. */
function faultOf(text: string): string | null {
  const read = readEnvelope(text)
  return read instanceof Fault ? read.code : null
}

describe('reading a message', () => {
  it('accepts valid envelopes', () => {
    for (const text of [
      '{"type":"a"}',
      '{"type":"a","id":1}',
      '{"type":"a","id":9007199254740991,"data":null}',
      ' {"data":[1],"unknown":{"x":1},"type":"a"} ',
      '{"type":"first","type":"last"}',
      `{"type":"${'x'.repeat(255)}"}`,
      `{"type":"${'é'.repeat(127)}"}`,
      '{"type":"koaws:anything"}',
      `{"type":"a","id":1,"key":"${'x'.repeat(16)}"}`,
      `{"type":"a","id":1,"key":"${'_-9'.repeat(21)}","again":true}`,
      '{"type":"a","key":7,"again":"not a request"}',
      '{"type":"a","id":1,"again":"without a key"}',
    ]) {
      expect(faultOf(text), text).to.equal(null)
    }
    expect(readEnvelope('{"type":"a","type":"b","data":{"x":1}}')).to.deep.equal({
      type: 'b',
      data: { x: 1 },
    })
  })

  it('rejects all other texts as malformed', () => {
    for (const text of [
      ...['"short"', `"${'x'.repeat(65)}"`, `"${'é'.repeat(20)}"`, '7', 'null', '{}'].map(
        (key) => `{"type":"a","id":1,"key":${key}}`,
      ),
      ...['1', 'null', '"true"'].map(
        (again) => `{"type":"a","id":1,"key":"${'x'.repeat(22)}","again":${again}}`,
      ),
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

  it('counts levels of arrays and objects from the envelope on', () => {
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

  it('finds names that reach a prototype, in any spelling', () => {
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

  it('accepts names and texts that only resemble them', () => {
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

  it('keeps the id and the type of a faulty message for the answer', () => {
    const read = (text: string): Fault => readEnvelope(text) as Fault
    expect(read('{"type":"a","id":7,"data":{"__proto__":1}}')).to.include({ id: 7, about: 'a' })
    expect(read('{"type":7,"id":8}')).to.include({ id: 8, about: undefined })
    expect(read('{"type":"a","id":"8"}')).to.include({ id: undefined, about: 'a' })
    expect(read('{')).to.include({ id: undefined, about: undefined })
  })

  it('pollutes no prototype', () => {
    readEnvelope('{"type":"a","data":{"__proto__":{"polluted":true}}}')
    readEnvelope('{"type":"a","data":{"constructor":{"prototype":{"polluted":true}}}}')
    expect(({} as { polluted?: boolean }).polluted).to.equal(undefined)
  })
})

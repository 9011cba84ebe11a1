import { expect } from 'chai'
import { Garbage } from '../../lib/backplane/bytes.ts'
import { Frame } from '../../lib/connection/frame.ts'
import { decodeRecords, encodeRecords, type HistoryRecord } from '../../lib/history/record.ts'

const frame = (text: string): Buffer => Frame.encode(text, null).plain
const plain = { pushed: false, except: [], exceptUsers: [], once: null, isChange: false }

/** A copy, so that what was encoded is not known by its identity. */
const read = (payload: Buffer): readonly HistoryRecord[] => decodeRecords(Buffer.from(payload))

describe('the payload of an entry', () => {
  it('holds all that a message has', () => {
    const records: HistoryRecord[] = [
      { ...plain, frame: frame('é') },
      { ...plain, frame: frame('{"type":"x"}'), pushed: true, once: 'id' },
      { ...plain, frame: frame('x'.repeat(70_000)), except: ['a', 'b'], exceptUsers: ['7'] },
      { ...plain, frame: Frame.encode(Buffer.from([0, 255]), null).plain },
      { ...plain, frame: Buffer.from('{}'), isChange: true },
    ]
    expect(read(encodeRecords(records))).to.deep.equal(records)
    expect(decodeRecords(encodeRecords(records))).to.deep.equal(records)
  })

  it('keeps no memory beyond itself', () => {
    const payload = encodeRecords([{ ...plain, frame: frame('x') }])
    for (const record of decodeRecords(payload)) {
      expect(record.frame.buffer).to.equal(payload.buffer)
    }
  })

  it('is refused when it is cut, extended or changed', () => {
    const payload = encodeRecords([{ ...plain, frame: frame('hello'), except: ['a'], once: 'id' }])
    for (let length = 0; length < payload.length; length++) {
      expect(() => read(payload.subarray(0, length)), `${length} bytes`).to.throw(Garbage)
    }
    expect(() => read(Buffer.concat([payload, Buffer.alloc(1)]))).to.throw(Garbage)
    const version = Buffer.from(payload)
    version[0] = 9
    expect(() => read(version)).to.throw(Garbage)
    for (let i = 0; i < 2_000; i++) {
      const noise = Buffer.from(payload)
      noise[Math.floor(Math.random() * noise.length)] = Math.floor(Math.random() * 256)
      try {
        read(noise)
      } catch (error) {
        expect(error).to.be.instanceOf(Garbage)
      }
    }
  })
})

import { expect } from 'chai'
import {
  header,
  introduction,
  RecordKind,
  RecordReader,
} from '../../../lib/adapters/cluster/records.ts'

const KIB = 1024

const MIB = 1024 * KIB

describe('the records of a stream', () => {
  it('reads whole records from chunks of any size', () => {
    for (let round = 0; round < 300; round++) {
      const sizes = Array.from({ length: 1 + (round % 9) }, () =>
        Math.floor(Math.random() ** 4 * (round % 50 === 0 ? 3 * MIB : 3_000)),
      )
      const bodies = sizes.map((size, i) => Buffer.alloc(size, i + 1))
      const bytes = Buffer.concat([
        introduction(RecordKind.hello, 'x'),
        ...bodies.flatMap((body) => [header(RecordKind.payload, body.length), body]),
      ])
      const got: Buffer[] = []
      const reader = new RecordReader((_kind, body) => got.push(body))
      for (let at = 0; at < bytes.length; ) {
        const end = at + 1 + Math.floor(Math.random() ** 6 * bytes.length)
        reader.push(bytes.subarray(at, end))
        at = end
      }
      expect(reader.isPartial).to.equal(false)
      expect(got.length).to.equal(bodies.length + 1)
      for (const [i, body] of bodies.entries()) {
        expect(got[i + 1]?.equals(body), `record ${i} of round ${round}`).to.equal(true)
      }
    }
  })
})

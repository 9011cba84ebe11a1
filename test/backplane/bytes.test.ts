import { expect } from 'chai'
import { ByteReader, ByteWriter, Garbage } from '../../lib/backplane/bytes.ts'

describe('bytes between instances', () => {
  const integers = [0, 1, 127, 128, 300, 2 ** 31, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER]
  const texts = ['', 'a', 'ä€😀', 'x'.repeat(100_000)]

  function written(): Buffer {
    const writer = new ByteWriter()
    writer.byte(7)
    for (const value of integers) writer.integer(value)
    writer.strings(texts)
    writer.buffer(Buffer.from([1, 2, 3]))
    return writer.take()
  }

  it('are read as they were written', () => {
    const reader = new ByteReader(written(), 0)
    expect(reader.byte()).to.equal(7)
    expect(integers.map(() => reader.integer())).to.deep.equal(integers)
    expect(reader.strings()).to.deep.equal(texts)
    expect(reader.done).to.equal(false)
    expect(reader.buffer()).to.deep.equal(Buffer.from([1, 2, 3]))
    expect(reader.done).to.equal(true)
  })

  it('are empty again after reset(), and take() returns a copy', () => {
    const writer = new ByteWriter()
    writer.string('first')
    const first = writer.take()
    writer.reset()
    expect(writer.length).to.equal(0)
    writer.string('other')
    expect(new ByteReader(first, 0).string()).to.equal('first')
  })

  it('count as garbage when they are truncated', () => {
    expect(() => new ByteReader(Buffer.alloc(0), 0).byte()).to.throw(Garbage)
    expect(() => new ByteReader(Buffer.from([0x80]), 0).integer()).to.throw(Garbage)
    expect(() => new ByteReader(Buffer.from([5, 1]), 0).string()).to.throw(Garbage)
    expect(() => new ByteReader(Buffer.from([5, 1]), 0).buffer()).to.throw(Garbage)
  })

  it('count as garbage when an integer or a list exceeds its bounds', () => {
    const huge = Buffer.alloc(12, 0xff)
    expect(() => new ByteReader(huge, 0).integer()).to.throw(Garbage)
    expect(() => new ByteReader(Buffer.from([100, 0, 0]), 0).strings()).to.throw(Garbage)
  })
})

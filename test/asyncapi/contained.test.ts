import { Ajv } from 'ajv'
import { expect } from 'chai'
import { gapsBetween } from '../../lib/asyncapi/contained.ts'
import type { Gap, Side } from '../../lib/asyncapi/gaps.ts'
import { mulberry32 } from '../support/order.ts'
import { changed, randomDocument, type SchemaDocument, sample } from '../support/random-schema.ts'

function gapsOf(sub: SchemaDocument, sup: SchemaDocument, side: Side): Gap[] {
  const root = (document: SchemaDocument) => ({
    schema: { $ref: '#/components/schemas/root' },
    at: '/root',
    root: document,
  })
  return gapsBetween(root(sub), root(sup), side)
}

const ajv = new Ajv({
  strict: false,
  validateFormats: false,
  validateSchema: false,
  logger: false,
})

/** Returns a function that checks values with another implementation of JSON Schema. */
function validator(document: SchemaDocument): (value: unknown) => boolean {
  ajv.removeSchema()
  ajv.addSchema({ $id: 'document', ...document })
  const validate = ajv.compile({ $ref: 'document#/components/schemas/root' })
  return (value) => validate(value) === true
}

describe('the comparison of two schemas', () => {
  it('finds no gap only if each value that is sent is accepted, for random schemas', () => {
    const seed = Number(process.env['SEED'] ?? 20_261_130)
    const pairs = Number(process.env['PAIRS'] ?? 400)
    const random = mulberry32(seed)
    let clean = 0
    let values = 0
    let broken = 0
    for (let i = 0; i < pairs; i++) {
      const one = randomDocument(random)
      const other = changed(random, one)
      const [sub, sup] = random() < 0.5 ? [one, other] : [other, one]
      const side = random() < 0.5 ? 'input' : 'output'
      const found = gapsOf(sub, sup, side)
      if (found.length > 0) {
        broken++
        continue
      }
      const [sent, accepted] = [validator(sub), validator(sup)]
      clean++
      for (let n = 0; n < 60; n++) {
        const value = sample(random, sub, sub.components.schemas['root'])
        if (!sent(value)) continue
        values++
        if (accepted(value)) continue
        const text = JSON.stringify({ seed, pair: i, side, value, sub, sup }, null, 1)
        throw new Error(`A value is sent, and not accepted: ${text}`)
      }
    }
    expect(clean).to.be.above(pairs / 4)
    expect(broken).to.be.above(pairs / 8)
    expect(values).to.be.above(pairs * 5)
  }).timeout(120_000)

  it('finds no gap between a schema and itself, for random schemas', () => {
    const random = mulberry32(7)
    for (let i = 0; i < 500; i++) {
      const document = randomDocument(random)
      for (const side of ['input', 'output'] as const) {
        const found = gapsOf(document, structuredClone(document), side)
        expect(found, JSON.stringify(document)).to.deep.equal([])
      }
    }
  })
})

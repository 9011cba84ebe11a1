import { existsSync, readFileSync } from 'node:fs'
import { expect } from 'chai'
import { judge } from '../../bench/lib/goals.mjs'

const bench = new URL('../../bench/', import.meta.url)

function read(file: string): unknown {
  return JSON.parse(readFileSync(new URL(file, bench), 'utf8'))
}

describe('the goals of the benchmarks', () => {
  const goals = read('goals.json') as Record<string, { what: string }[]>

  for (const name of Object.keys(goals)) {
    it(`of ${name} name values that its results have`, () => {
      expect(existsSync(new URL(`${name}.mjs`, bench))).to.equal(true)
      const missing = judge(name, read(`results/${name}.json`)).filter(
        // This contestant is newer than the file.
        ({ ratio, what }) => ratio === null && !what.endsWith('that keeps the same facts'),
      )
      expect(missing).to.deep.equal([])
    })
  }

  it('hold up to the goal, and are short by the part above it', () => {
    const results = (after: number, ws: number): object => ({
      contestants: {
        'koaws-after': { heapUsed: { min: after } },
        'ws-plain': { heapUsed: { min: ws } },
      },
    })
    const verdict = (after: number): string | undefined =>
      judge('memory', results(after, 1000))[0]?.verdict
    expect(verdict(1240)).to.equal('holds')
    expect(verdict(1241)).to.equal('short by 1 %')
    expect(verdict(1364)).to.equal('short by 10 %')
    expect(judge('memory', {})[0]).to.include({ verdict: 'not measured', ratio: null })
    expect(judge('no such benchmark', {})).to.deep.equal([])
  })
})

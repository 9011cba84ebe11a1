import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { FINDINGS, type FindingId, finding } from '../../../lib/cli/doctor/findings.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const ids = Object.keys(FINDINGS)

describe('the findings of the doctor', () => {
  it('have one section each in docs/troubleshooting.md, in the order of the table', () => {
    const page = readFileSync(`${root}docs/troubleshooting.md`, 'utf8')
    const [, part = ''] = page.split('\n## Findings of the doctor\n')
    const sections = [...part.matchAll(/^### `([a-z0-9-]+)`\n\n(.+)$/gm)]
    expect(sections.map(([, id]) => id)).to.deep.equal(ids)
    for (const [, id, text] of sections) expect(text, id).to.match(/^[A-Z].{40}/)
  })

  it('point to their section', () => {
    for (const id of ids) {
      const { page, fix, level } = finding(id as FindingId, 'text')
      expect(page).to.equal(`docs/troubleshooting.md#${id}`)
      expect(fix, id).to.match(/^[A-Z].*[.;]$/)
      expect(['error', 'warning']).to.include(level)
    }
  })

  it('are all found somewhere in the code, and in a test', () => {
    const textOf = (folder: string): string =>
      readdirSync(`${root}${folder}`, { recursive: true, encoding: 'utf8' })
        .filter((name) => /\.ts$/.test(name) && !/findings/.test(name))
        .map((name) => readFileSync(`${root}${folder}/${name}`, 'utf8'))
        .join('\n')
    const code = textOf('lib/cli/doctor')
    const tests = textOf('test/cli') + readFileSync(`${root}test/deploys/doctor.test.ts`, 'utf8')
    expect(ids.filter((id) => !code.includes(`'${id}'`))).to.deep.equal([])
    expect(ids.filter((id) => !tests.includes(`'${id}'`))).to.deep.equal([])
  })
})

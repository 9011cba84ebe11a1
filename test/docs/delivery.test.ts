// docs/concepts/delivery.md names a test for each guarantee of rooms with history, and of requests with `retry`.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'

const root = fileURLToPath(new URL('../..', import.meta.url))
const page = readFileSync(join(root, 'docs/concepts/delivery.md'), 'utf8')
const [, history = ''] = /^## Rooms with history\n(.*?)^\*\*Limits/ms.exec(page) ?? []
const [, retry = ''] = /^## Requests with `retry`\n(.*?)^## /ms.exec(page) ?? []

describeRows('the guarantees of rooms with history', history, 10)
describeRows('the guarantees of requests with `retry`', retry, 4)

function describeRows(name: string, section: string, least: number): void {
  const rows = section.split('\n').filter((line) => line.startsWith('| '))
  describe(name, () => testRows(rows, least))
}

function testRows(rows: readonly string[], least: number): void {
  it('name a test in each row', () => {
    expect(rows).to.have.length.above(least)
    for (const row of rows.slice(1)) expect(row).to.match(/\| `(?:test|lib)\/[\w/.-]+\.ts`: .+ \|$/)
  })

  for (const row of rows.slice(1)) {
    const [, file = '', title = ''] = /`((?:test|lib)\/[^`]+)`: (.+) \|$/.exec(row) ?? []
    it(`have the test "${title}"`, () => {
      expect(readFileSync(join(root, file), 'utf8')).to.match(new RegExp(`['\`]${title}`))
    })
  }
}

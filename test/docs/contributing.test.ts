// CONTRIBUTING.md names commands, files and helpers. Each is looked up where it is defined.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import * as suite from '../support/server.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const page = readFileSync(join(root, 'CONTRIBUTING.md'), 'utf8')
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

describe('CONTRIBUTING.md', () => {
  it('has at most 400 words', () => {
    expect(page.split(/\s+/).filter(Boolean).length).to.be.at.most(400)
  })

  it('names only scripts of package.json', () => {
    const named = [...page.matchAll(/^npm (?:run )?([a-z][\w:]*)/gm)].map(([, name]) => name)
    expect(named).to.include.members(['test', 'dev', 'setup', 'coverage', 'lint', 'start'])
    const unknown = named.filter((name) => name !== 'ci' && !(String(name) in manifest.scripts))
    expect(unknown).to.deep.equal([])
  })

  it('names only files that exist', () => {
    const named = [...page.matchAll(/(?:test|lib|docs|scripts|\.ci)\/[\w./-]*\w/g)].map(String)
    expect(named).to.include('test/upgrade/accept.test.ts')
    expect(named.filter((name) => !existsSync(join(root, name)))).to.deep.equal([])
  })

  it('names only helpers that test/support exports', () => {
    const named = [...page.matchAll(/`(eventually|soon|until|cleanUp)`/g)].map(([, name]) => name)
    expect(named).to.have.lengthOf.at.least(3)
    expect(Object.keys(suite)).to.include.members(named)
  })
})

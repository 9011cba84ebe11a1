import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'

const root = fileURLToPath(new URL('..', import.meta.url))

interface Row {
  /** Path from lib/, without its ending. */
  readonly file: string
  /** Paths from test/, without their ending. */
  readonly tests: readonly string[]
  readonly why: string
}

/** Returns the rows of the table in test/README.md. */
function rowsOf(text: string): Row[] {
  const rows = text.matchAll(/^\| `([^`]+)\.ts` \| (.*?) \| (.*?) \|$/gm)
  return [...rows].map(([, file, tests, why]) => ({
    file: file as string,
    tests: [...(tests as string).matchAll(/`([^`]+)`/g)].map(([, test]) => test as string),
    why: why as string,
  }))
}

/** Returns the paths of the files of lib/, without their ending. */
function libFiles(): string[] {
  return readdirSync(`${root}lib`, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => name.replaceAll('\\', '/').replace(/\.ts$/, ''))
    .sort()
}

const hasTest = (path: string): boolean => existsSync(`${root}test/${path}.test.ts`)

describe('test/ mirrors lib/', () => {
  const rows = rowsOf(readFileSync(`${root}test/README.md`, 'utf8'))
  const files = libFiles()
  const listed = rows.map(({ file }) => file)

  it('with a test at the same path, or a row in test/README.md, for each file', () => {
    const inNeither = files.filter((file) => !hasTest(file) && !listed.includes(file))
    expect(inNeither).to.deep.equal([])
    const inBoth = files.filter((file) => hasTest(file) && listed.includes(file))
    expect(inBoth).to.deep.equal([])
  })

  it('with one row per file that exists, and tests in it that exist', () => {
    expect(listed.filter((file) => !files.includes(file))).to.deep.equal([])
    expect(listed).to.deep.equal([...new Set(listed)].sort())
    for (const { file, tests, why } of rows) {
      expect(tests, file).to.have.length.above(0)
      expect(
        tests.filter((test) => !hasTest(test)),
        file,
      ).to.deep.equal([])
      expect(why, file).to.match(/\w/)
    }
  })

  it('with a test at the same path for at least 120 files', () => {
    expect(files.filter(hasTest)).to.have.length.above(119)
  })
})

import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'

const root = fileURLToPath(new URL('..', import.meta.url))

/** Runs this code with `warnOnce` in a process, and returns its stderr. */
function stderrOf(text: string, env: NodeJS.ProcessEnv = {}): Promise<string> {
  const script = `import { warnOnce } from './lib/warn.ts'\n${text}`
  const args = ['--import=tsx', '--input-type=module', '--eval', script]
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      args,
      { cwd: root, env: { ...process.env, NODE_ENV: '', ...env } },
      (error, _stdout, stderr) => (error ? reject(error) : resolve(stderr)),
    )
  })
}

describe('a warning', () => {
  it('is printed once for each cause, with its code', async () => {
    const said = await stderrOf(`
      for (const cause of ['a', 'a', 'b']) warnOnce('KOAWS_KILL_TIMEOUT', 'cause ' + cause, { cause })
    `)
    const lines = said.split('\n').filter((line) => line.includes('KoaWsWarning'))
    expect(lines.map((line) => line.replace(/^\(node:\d+\) /, ''))).to.deep.equal([
      '[KOAWS_KILL_TIMEOUT] KoaWsWarning: cause a',
      '[KOAWS_KILL_TIMEOUT] KoaWsWarning: cause b',
    ])
  })

  it('is silent in production, unless inProduction is set', async () => {
    const text = `
      warnOnce('KOAWS_KILL_TIMEOUT', 'for developers')
      warnOnce('KOAWS_KILL_TIMEOUT', 'for operators', { inProduction: true })
    `
    const said = await stderrOf(text, { NODE_ENV: 'production' })
    expect(said).to.contain('for operators').and.not.contain('for developers')
  })

  it('has a row in docs/troubleshooting.md, and each row has a warning', () => {
    const lib = join(root, 'lib')
    const sources = readdirSync(lib, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => readFileSync(join(lib, name), 'utf8'))
      .join('\n')
    const used = new Set(sources.match(/'KOAWS_[A-Z_]+'/g)?.map((code) => code.slice(1, -1)))
    const docs = readFileSync(join(root, 'docs/troubleshooting.md'), 'utf8')
    const rows = new Set([...docs.matchAll(/^\| `(KOAWS_[A-Z_]+)` \|/gm)].map(([, code]) => code))
    expect(rows).to.deep.equal(used)
  })
})

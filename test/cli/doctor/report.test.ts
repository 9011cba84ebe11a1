import { expect } from 'chai'
import { accept } from '../../../lib/index.ts'
import { cleanUp, serve } from '../../support/server.ts'
import { diagnose, run } from '../support/run.ts'

describe('the report of koaws doctor', () => {
  afterEach(cleanUp)

  async function start(origin: 'any' | 'same' = 'same'): Promise<string> {
    const { port } = await serve((app) => app.use(accept(() => {})), { origin })
    return `ws://127.0.0.1:${port}/`
  }

  it('has one aligned line per check, and ends with one sentence', async () => {
    const url = await start()
    const { code, out, err } = await run(['doctor', url])
    expect([code, err]).to.deep.equal([0, ''])
    const lines = out.split('\n')
    expect(lines[1]).to.equal(url)
    const checks = lines.filter((line) => /^ {2}[✓·–!✗] /.test(line))
    expect(checks.map((line) => line.slice(4, 18).trim())).to.deep.equal([
      'DNS',
      'TCP',
      'TLS',
      'Upgrade',
      'Subprotocol',
      'Compression',
      'Ping',
      'Close',
      'Origin',
      'Message size',
      'Idle',
      'Restart',
    ])
    expect(out).to.match(/\nNo problem found in \d+\.\d s\.\n/)
    expect(Math.max(...lines.map((line) => line.length))).to.be.at.most(110)
    expect(out).to.not.include('\x1b')
  })

  it('lists each finding with its change and its page', async () => {
    const { code, out } = await run(['doctor', await start('any')])
    expect(code).to.equal(1)
    expect(out).to.match(/\n! origin-any\n {2}\S.*\n/)
    expect(out).to.include('\n  docs/troubleshooting.md#origin-any\n')
    expect(out).to.match(/\n1 warning in /)
  })

  it('leaves out findings that are ignored', async () => {
    const url = await start('any')
    expect((await run(['doctor', url, '--ignore', 'origin-any'])).code).to.equal(0)
    expect((await diagnose(url, '--ignore', 'origin-any')).ok).to.equal(true)
    const wrong = await run(['doctor', url, '--ignore', 'origin'])
    expect(wrong.code).to.equal(2)
    expect(wrong.err).to.include('origin-any')
  })

  it('is colored where colors are shown, and shows what it waits for', async () => {
    const { out, err } = await run(['doctor', await start('any'), '--idle', '0.1'], {
      color: true,
      progress: true,
    })
    expect(out).to.include('\x1b[33m!\x1b[39m \x1b[1morigin-any\x1b[22m')
    expect(out).to.include('\x1b[32m✓\x1b[39m TCP')
    expect(err).to.match(/Waiting 0\.1 s in silence/)
  })

  it('is one JSON object with --json', async () => {
    const url = await start('any')
    const { out } = await run(['doctor', '--json', `${url}?token=abcdefgh`], { color: true })
    const result = JSON.parse(out)
    expect(Object.keys(result)).to.deep.equal([
      'version',
      'url',
      'ok',
      'seconds',
      'findings',
      'checks',
    ])
    expect(result).to.include({ version: 1, ok: false, url: `${url}?…` })
    expect(result.findings).to.have.lengthOf(1)
    expect(Object.keys(result.findings[0])).to.deep.equal(['id', 'level', 'text', 'fix', 'page'])
    for (const check of result.checks)
      expect(Object.keys(check)).to.deep.equal(['check', 'state', 'text', 'data'])
  })
})

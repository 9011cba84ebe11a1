import { execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { accept } from '../../lib/index.ts'
import { cleanUp, serve } from '../support/server.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const bin = join(root, 'dist/cli/bin.js')

describe('the built program koaws', () => {
  before(() => {
    if (!existsSync(bin)) throw new Error('npm run build comes first')
  })

  afterEach(cleanUp)

  /** The environment without the loader of the tests. */
  function environment(more: Record<string, string> = {}): NodeJS.ProcessEnv {
    const { NODE_OPTIONS: _, ...env } = process.env
    return { ...env, ...more }
  }

  function run(words: string[]): Promise<{ code: number | null; out: string; err: string }> {
    return new Promise((resolve) => {
      const child = execFile(
        process.execPath,
        [bin, ...words],
        { env: environment() },
        (_, out, err) => resolve({ code: child.exitCode, out, err }),
      )
    })
  }

  const start = async (): Promise<string> => {
    const { port } = await serve((app) => app.use(accept(() => {})))
    return `ws://127.0.0.1:${port}/`
  }

  it('exits with 0, 1 or 2', async () => {
    const url = await start()
    const good = await run(['doctor', url])
    expect(good.err).to.equal('')
    expect(good.code).to.equal(0)
    expect(good.out).to.match(/No problem found/)
    expect((await run(['doctor', 'ws://127.0.0.1:1/'])).code).to.equal(1)
    expect((await run(['doctor'])).code).to.equal(2)
  })

  it('closes its clients at SIGINT, and exits by itself', async () => {
    const codes: number[] = []
    let child: ReturnType<typeof spawn> | null = null
    const { port } = await serve((app) =>
      app.use(
        accept((connection) => {
          connection.on('close', (code) => codes.push(code))
          connection.once('ping', () => child?.kill('SIGINT'))
        }),
      ),
    )
    const words = ['bench', `ws://127.0.0.1:${port}/`, '--clients=3', '--seconds=600', '--ping']
    child = spawn(process.execPath, [bin, ...words], {
      env: environment(),
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let out = ''
    child.stdout?.on('data', (chunk) => {
      out += chunk
    })
    expect((await once(child, 'close'))[0]).to.equal(0)
    expect(out).to.include('by Ctrl+C')
    expect(codes).to.deep.equal([1000, 1000, 1000])
  })

  it('is executable in the packed package', () => {
    const folder = mkdtempSync(join(tmpdir(), 'koaws-pack-'))
    try {
      const args = ['pack', '--ignore-scripts', '--json', '--pack-destination', folder]
      const [{ filename }] = JSON.parse(
        execFileSync('npm', args, { cwd: root, env: environment(), encoding: 'utf8' }),
      )
      execFileSync('tar', ['-xzf', join(folder, filename), '-C', folder])
      const packed = join(folder, 'package/dist/cli/bin.js')
      expect(statSync(packed).mode & 0o111).to.equal(0o111)
      expect(readFileSync(packed, 'utf8')).to.match(/^#!\/usr\/bin\/env node\n/)
      const { bin: bins } = JSON.parse(readFileSync(join(folder, 'package/package.json'), 'utf8'))
      expect(bins).to.deep.equal({ koaws: 'dist/cli/bin.js' })
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})

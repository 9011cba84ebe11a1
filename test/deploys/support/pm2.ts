import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const PEERS = fileURLToPath(new URL('../../peers/', import.meta.url))

/** A daemon of PM2, as npm has it, with a home of its own. */
export class Pm2 {
  /** Short: it holds Unix sockets. */
  readonly home = mkdtempSync(join(tmpdir(), 'koaws-pm2-'))
  readonly #bin = createRequire(PEERS).resolve('pm2/bin/pm2')

  constructor() {
    mkdirSync(join(this.home, 'logs'))
    // Without it the first call asks for the newest version.
    writeFileSync(join(this.home, 'touch'), String(Date.now()))
  }

  /** Run one command; rejects when it fails. */
  run(
    args: readonly string[],
    folder = this.home,
    env: Record<string, string> = {},
  ): Promise<string> {
    const options = {
      cwd: folder,
      env: {
        ...process.env,
        NODE_OPTIONS: '',
        PM2_HOME: this.home,
        PM2_DISABLE_VERSION_CHECK: 'true',
        PM2_PROGRAMMATIC: 'true',
        ...env,
      },
    }
    return new Promise((resolve, reject) => {
      execFile(process.execPath, [this.#bin, ...args], options, (error, stdout, stderr) => {
        if (error) reject(new Error(`pm2 ${args.join(' ')}: ${stdout}${stderr}`))
        else resolve(stdout)
      })
    })
  }

  /** What the daemon says of its processes. */
  get log(): string {
    return readFileSync(join(this.home, 'pm2.log'), 'utf8')
  }

  /** What the workers of an application have printed: `out` or `error`. */
  printed(name: string, stream: 'out' | 'error'): string {
    const folder = join(this.home, 'logs')
    const files = readdirSync(folder).filter((file) => file.startsWith(`${name}-${stream}`))
    return files.map((file) => readFileSync(join(folder, file), 'utf8')).join('')
  }

  /** End the daemon and all that it runs. */
  async kill(): Promise<void> {
    await this.run(['kill'])
    rmSync(this.home, { recursive: true, force: true })
  }
}

import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const PEERS = fileURLToPath(new URL('../../peers/', import.meta.url))

/** A PM2 daemon with its own home folder. */
export class Pm2 {
  /** Short, because it holds Unix sockets. */
  readonly home = mkdtempSync(join(tmpdir(), 'koaws-pm2-'))
  readonly #bin = createRequire(PEERS).resolve('pm2/bin/pm2')

  constructor() {
    mkdirSync(join(this.home, 'logs'))
    // Without this file, the first command looks up the newest version.
    writeFileSync(join(this.home, 'touch'), String(Date.now()))
  }

  /** Runs one command; rejects when it fails. */
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

  /** Starts three workers with the name `mesh`, and a folder of their own for the sockets of `clusterAdapter()`. */
  async startMesh(script: string, env: Record<string, string>): Promise<void> {
    const folder = join(this.home, 'run')
    mkdirSync(folder, { mode: 0o700 })
    const app = {
      name: 'mesh',
      script,
      exec_mode: 'cluster',
      instances: 3,
      wait_ready: true,
      listen_timeout: 20_000,
      kill_timeout: 6_000,
      vizion: false,
    }
    writeFileSync(join(this.home, 'apps.json'), JSON.stringify({ apps: [app] }))
    await this.run(['start', 'apps.json'], this.home, { ...env, XDG_RUNTIME_DIR: folder })
  }

  /** The log of the daemon. */
  get log(): string {
    return readFileSync(join(this.home, 'pm2.log'), 'utf8')
  }

  /** Returns the output of the workers of an application: `out` or `error`. */
  printed(name: string, stream: 'out' | 'error'): string {
    const folder = join(this.home, 'logs')
    const files = readdirSync(folder).filter((file) => file.startsWith(`${name}-${stream}`))
    return files.map((file) => readFileSync(join(folder, file), 'utf8')).join('')
  }

  /** Ends the daemon and all of its processes. */
  async kill(): Promise<void> {
    await this.run(['kill'])
    rmSync(this.home, { recursive: true, force: true })
  }
}

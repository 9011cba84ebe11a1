import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const PM2 = fileURLToPath(new URL('../../peers/node_modules/pm2/bin/pm2', import.meta.url))
const WORKER = fileURLToPath(new URL('./redis-pm2-worker.mjs', import.meta.url))
const NAME = 'reload'
const daemons = new Set<Pm2>()

/** A worker, as `pm2 jlist` prints it. */
interface Listed {
  readonly pid: number
  readonly pm2_env: { readonly status: string }
}

/** A PM2 daemon with one application in cluster mode. */
export class Pm2 {
  readonly #home: string = mkdtempSync(join(tmpdir(), 'koaws-pm2-'))

  readonly #ends: string = join(this.#home, 'ends')

  constructor() {
    daemons.add(this)
  }

  async start(workers: number, env: Record<string, string>): Promise<void> {
    const file = join(this.#home, 'reload.config.json')
    const app = {
      name: NAME,
      script: WORKER,
      exec_mode: 'cluster',
      instances: workers,
      wait_ready: true,
      listen_timeout: 20_000,
      kill_timeout: 8_000,
      env: { ...env, ENDS: this.#ends, NODE_ENV: 'production' },
    }
    writeFileSync(file, JSON.stringify({ apps: [app] }))
    await this.#run('start', file)
  }

  /** Resolves when all workers are replaced. */
  async reload(): Promise<void> {
    await this.#run('reload', NAME)
  }

  /** Kills one of the workers. Resolves when another one is online in its place. */
  async kill(random: () => number): Promise<void> {
    const before = await this.online()
    const victim = before[Math.floor(random() * before.length)] as number
    appendFileSync(this.#ends, `${victim} ${Date.now()}\n`)
    process.kill(victim, 'SIGKILL')
    for (;;) {
      const now = await this.online()
      if (!now.includes(victim) && now.length >= before.length) return
    }
  }

  /** Returns the process ids of the workers that are online. */
  async online(): Promise<number[]> {
    const text = await this.#run('jlist')
    const list = JSON.parse(text.slice(text.indexOf('[{'))) as Listed[]
    return list.filter(({ pm2_env }) => pm2_env.status === 'online').map(({ pid }) => pid)
  }

  /** The times at which each worker was told to stop in epoch milliseconds, by pid. */
  get ends(): ReadonlyMap<number, number> {
    if (!existsSync(this.#ends)) return new Map()
    const lines = readFileSync(this.#ends, 'utf8').trim().split('\n')
    return new Map(lines.map((line) => line.split(' ').map(Number) as [number, number]))
  }

  /** The lines on the stderr of the workers. */
  get errors(): string[] {
    const folder = join(this.#home, 'logs')
    return readdirSync(folder)
      .filter((name) => name.includes('error'))
      .flatMap((name) => readFileSync(join(folder, name), 'utf8').split('\n'))
      .filter((line) => line.trim() !== '')
  }

  /** Ends the daemon and all its processes. */
  end(): void {
    if (!daemons.delete(this)) return
    const file = join(this.#home, 'pm2.pid')
    if (existsSync(file)) {
      // All processes at once: `pm2 kill` takes longer than an exit handler may.
      const pid = readFileSync(file, 'utf8').trim()
      const { stdout } = spawnSync('pgrep', ['-P', pid], { encoding: 'utf8' })
      for (const one of [pid, ...stdout.split('\n').filter(Boolean)]) kill(Number(one))
    }
    rmSync(this.#home, { recursive: true, force: true })
  }

  get #env(): NodeJS.ProcessEnv {
    return { ...process.env, PM2_HOME: this.#home }
  }

  async #run(...words: string[]): Promise<string> {
    const child = spawn(process.execPath, [PM2, ...words], {
      env: this.#env,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    let errors = ''
    child.stdout.setEncoding('utf8').on('data', (text) => {
      output += text
    })
    child.stderr.setEncoding('utf8').on('data', (text) => {
      errors += text
    })
    const [code] = await once(child, 'close')
    if (code !== 0) throw new Error(`pm2 ${words[0]}: ${(errors || output).slice(-500)}`)
    return output
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {} // already gone
}

/** Ends the remaining daemons. */
export function endPm2(): void {
  for (const daemon of [...daemons]) daemon.end()
}

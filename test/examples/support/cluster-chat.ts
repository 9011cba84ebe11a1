/// <reference lib="dom" />
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type { Browser, Page } from 'playwright-core'
import { connected, enterIn, type Site } from './chat.ts'

const running = new Set<ClusterChat>()

/** The chat on several instances, started like `npm run example:<script>`. */
export class ClusterChat {
  readonly child: ChildProcess
  /** The complete output. */
  output = ''
  url = ''
  port = 0

  private constructor(script: string, env: NodeJS.ProcessEnv) {
    const path = fileURLToPath(new URL(`../../../examples/cluster/${script}.mjs`, import.meta.url))
    this.child = spawn(process.execPath, [path], {
      env: { ...process.env, PORT: '0', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.child.stderr?.on('data', (chunk) => {
      this.output += chunk
    })
    running.add(this)
  }

  /** Resolves when the last line of the start was printed. */
  static async start(script: 'pm2' | 'redis', env: NodeJS.ProcessEnv = {}): Promise<ClusterChat> {
    const chat = new ClusterChat(script, env)
    const last = script === 'pm2' ? /reload chat$/ : /Ctrl-C/
    await new Promise<void>((resolve, reject) => {
      createInterface({ input: chat.child.stdout as NodeJS.ReadableStream })
        .on('line', (line) => {
          chat.output += `${line}\n`
          if (last.test(line)) resolve()
        })
        .on('close', () => reject(new Error(`the example has ended: ${chat.output}`)))
    })
    chat.url = /http:\S+/.exec(chat.output)?.[0] ?? ''
    chat.port = Number(new URL(chat.url).port)
    return chat
  }

  /** The folder of the PM2 daemon. */
  get home(): string | undefined {
    return /PM2_HOME=(\S+)/.exec(this.output)?.[1]
  }

  /** The process ids of the running programs that the example has started. */
  get pids(): number[] {
    const printed = [...this.output.matchAll(/pid (\d+)$/gm)].map(([, pid]) => Number(pid))
    const { home } = this
    if (home === undefined) return printed.filter(lives)
    const files = readdirSync(join(home, 'pids')).map((name) => join(home, 'pids', name))
    const written = [...files, join(home, 'pm2.pid')].map((file) => readFileSync(file, 'utf8'))
    return [...new Set([...printed, ...written.map(Number)])].filter(lives)
  }

  /** Reloads in another terminal, as the example says. Resolves when all workers are replaced. */
  async reload(): Promise<void> {
    const program = /(\S+) reload chat/.exec(this.output)?.[1] ?? ''
    const child = spawn(program, ['reload', 'chat'], {
      env: { ...process.env, PM2_HOME: this.home },
    })
    const [output, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')])
    if (code !== 0) throw new Error(`pm2 reload: ${output}`)
  }

  /** Sends Ctrl-C. Resolves with the exit code. */
  async stop(): Promise<number | null> {
    running.delete(this)
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const exit = once(this.child, 'exit')
      this.child.kill('SIGINT')
      await exit
    }
    return this.child.exitCode
  }
}

/** Stops the examples of a test with all their processes. Called in `after`. */
export async function stopClusters(): Promise<void> {
  for (const chat of [...running]) await chat.stop()
}

/** Whether a process is running. */
export function lives(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** Returns the instance that a page is connected to. */
export async function instanceOf(page: Page): Promise<string> {
  const line = page.locator('#instance:not(:empty)')
  return (await line.textContent()) ?? ''
}

/** Opens a page with its own context, on an instance other than those of these pages. */
export async function enterElsewhere(
  browser: Browser,
  chat: Site,
  name: string,
  ...others: Page[]
): Promise<Page> {
  const context = await browser.newContext({ viewport: { width: 420, height: 600 } })
  const page = await context.newPage()
  await enterIn(page, chat, name, 'lobby')
  await moveElsewhere(page, ...others)
  return page
}

/** Reloads a page until its instance differs from those of these pages. */
export async function moveElsewhere(page: Page, ...others: Page[]): Promise<void> {
  const taken = await Promise.all(others.map(instanceOf))
  while (taken.includes(await instanceOf(page))) {
    await page.reload()
    await connected(page)
  }
}

/** Waits until a page is connected to another process than these. */
export async function onOther(page: Page, pids: readonly number[]): Promise<void> {
  await page.waitForFunction((pids) => {
    const [pid] = /\d+$/.exec(document.querySelector('#instance')?.textContent ?? '') ?? []
    return pid !== undefined && !pids.includes(Number(pid))
  }, pids)
  await connected(page)
}

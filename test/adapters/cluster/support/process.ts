import { type ChildProcess, type ForkOptions, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { meshFolder, until } from './mesh.ts'

const started = new Set<ChildProcess>()

/** Starts a module of this folder in a separate process. */
export function start(file: string, args: string[], options: ForkOptions = {}): ChildProcess {
  const path = fileURLToPath(new URL(file, import.meta.url))
  const child = fork(path, args, {
    execArgv: file.endsWith('.ts') ? ['--import=tsx'] : [],
    ...options,
  })
  started.add(child)
  return child
}

/** A link in a separate process. */
export class LinkProcess {
  readonly id: string
  readonly child: ChildProcess
  readonly events: string[] = []
  readonly gone: unknown[] = []
  readonly texts: unknown[] = []
  counted: [number, number] | null = null

  constructor(id: string, { interval = 100, most = 16 * 1024 * 1024, files = 0 } = {}) {
    this.id = id.padEnd(20, '_')
    const args = [this.id, meshFolder(), String(interval), String(most)]
    this.child = start('./child.ts', args, files > 0 ? limited(files) : {})
    this.child.on('message', ([event, about]: [string, unknown]) => {
      if (event === 'received') this.texts.push(about)
      else if (event === 'gone') this.gone.push(about)
      else if (event === 'count') this.counted = about as [number, number]
      else this.events.push(event)
    })
  }

  tell(command: string, about = ''): void {
    this.child.send([command, about])
  }

  async up(): Promise<void> {
    await until('the process is up', () => this.events.at(-1) === 'up', 15_000)
  }

  async kill(): Promise<void> {
    const gone = once(this.child, 'exit')
    this.child.kill('SIGKILL')
    await gone
  }
}

/** Returns options that limit the open files of a process. */
function limited(files: number): ForkOptions {
  return {
    execPath: fileURLToPath(new URL('./few-files.sh', import.meta.url)),
    env: { ...process.env, FILES: String(files), NODE: process.execPath },
  }
}

/** Ends the processes of a test. Called in `afterEach`. */
export async function endProcesses(): Promise<void> {
  const ends = [...started]
    .filter((child) => child.exitCode === null && child.signalCode === null)
    .map((child) => {
      const end = once(child, 'exit')
      child.kill('SIGKILL')
      return end
    })
  started.clear()
  await Promise.all(ends)
}

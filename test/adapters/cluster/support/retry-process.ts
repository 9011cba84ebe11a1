import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { RetryStore } from '../../../../lib/retry/store.ts'
import { meshFolder } from './mesh.ts'
import { start } from './process.ts'

/** The record of an instance in a separate process. */
export class RetryProcess {
  readonly child: ChildProcess
  readonly #calls = new Map<number, (result: unknown) => void>()
  #number = 0

  constructor(kept = 150_000) {
    this.child = start('./retry-child.ts', [meshFolder(), String(kept)])
    this.child.on('message', ([n, result]: [number, unknown]) => this.#settle(n, result))
    this.child.on('exit', () => {
      for (const n of this.#calls.keys()) this.#settle(n, { rejected: 'the process has ended' })
    })
  }

  call(method: keyof RetryStore, ...args: unknown[]): Promise<unknown> {
    const n = ++this.#number
    const result = new Promise((resolve) => this.#calls.set(n, resolve))
    if (this.child.connected) this.child.send([n, method, ...args], () => {})
    else this.#settle(n, { rejected: 'the process has ended' })
    return result
  }

  /** Waits until it answers. */
  async answers(): Promise<void> {
    while (isRejected(await this.call('look', 'nothing'))) {}
  }

  /** Looks until the answer of an instance that runs the request is another. */
  async outcome(id: string): Promise<unknown> {
    for (;;) {
      const known = (await this.call('look', id)) as { state?: string }
      if (!isRejected(known) && known.state !== 'running') return known
    }
  }

  async kill(): Promise<void> {
    const exit = once(this.child, 'exit')
    this.child.kill('SIGKILL')
    await exit
  }

  /** Closes the record, and ends the process. */
  async close(): Promise<void> {
    const exit = once(this.child, 'exit')
    await this.call('close')
    await exit
  }

  #settle(n: number, result: unknown): void {
    this.#calls.get(n)?.(result)
    this.#calls.delete(n)
  }
}

export function isRejected(result: unknown): boolean {
  return (result as { rejected?: string }).rejected !== undefined
}

/** Opens records, and waits until each answers. */
export async function openProcesses(count: number, kept?: number): Promise<RetryProcess[]> {
  const all = Array.from({ length: count }, () => new RetryProcess(kept))
  for (const one of all) await one.answers()
  return all
}

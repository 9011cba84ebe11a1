import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** What a child answers to an order. */
interface Answer {
  readonly id: number
  readonly result?: unknown
  readonly error?: string
}

const children = new Set<ChildProcess>()

/** A program of this folder in a process of its own, which carries out orders. See `serve()`. */
export class Child {
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, { resolve(result: never): void; reject(e: Error): void }>()
  #lastId = 0
  #stderr = ''
  #ended: string | null = null

  /** @param program the name of the file */
  constructor(program: string) {
    const path = fileURLToPath(new URL(program, import.meta.url))
    this.#child = spawn(process.execPath, ['--import=tsx', path], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      env: { ...process.env, NODE_ENV: 'production' },
    })
    children.add(this.#child)
    this.#child.stderr?.setEncoding('utf8').on('data', (text) => {
      this.#stderr = (this.#stderr + text).slice(-2_000)
    })
    this.#child.on('message', ({ id, result, error }: Answer) => {
      const waiting = this.#waiting.get(id)
      this.#waiting.delete(id)
      if (error === undefined) waiting?.resolve(result as never)
      else waiting?.reject(new Error(error))
    })
    this.#child.on('error', () => {})
    this.#child.on('close', (code, signal) => {
      children.delete(this.#child)
      this.#ended = `${program} ended with ${signal ?? code} ${this.#stderr}`
      for (const { reject } of this.#waiting.values()) reject(new Error(this.#ended))
      this.#waiting.clear()
    })
  }

  /** Has an order carried out. Rejects with the error of the child, or when it ends. */
  ask<T>(order: string, given?: unknown): Promise<T> {
    if (this.#ended !== null) return Promise.reject(new Error(this.#ended))
    const id = ++this.#lastId
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      this.#child.send({ id, order, given })
    })
  }

  /** Sends SIGKILL. */
  kill(): void {
    this.#child.kill('SIGKILL')
  }
}

/** Kills the remaining children. */
export function killChildren(): void {
  for (const child of children) child.kill('SIGKILL')
}

/** Carries out orders, in a child. */
export function serve(acts: Record<string, (given: never) => unknown>): void {
  process.on('disconnect', () => process.exit(0))
  process.on('message', async (message: { id: number; order: string; given?: unknown }) => {
    const { id, order, given } = message
    try {
      process.send?.({ id, result: (await acts[order]?.(given as never)) ?? null })
    } catch (error) {
      process.send?.({ id, error: String((error as Error).stack) })
    }
  })
}

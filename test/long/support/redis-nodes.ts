import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Verdict } from './redis-contestants.ts'
import type { News, NodeOrder, NodeReport } from './redis-node.ts'

const PROGRAM = fileURLToPath(new URL('./redis-node.ts', import.meta.url))
const nodes = new Set<ChildProcess>()

/** An instance in a separate process. */
export class RedisNode {
  readonly host: string
  port = 0
  /** How the process ended unexpectedly; null: it is running. */
  ended: string | null = null
  /** What it has told of its messages, by number. */
  readonly told: { readonly at: number[]; readonly verdicts: Verdict[] } = { at: [], verdicts: [] }
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, { resolve(result: unknown): void; reject(e: Error): void }>()
  #lastId = 0
  #isOver = false
  #stderr = ''

  private constructor(host: string, inside: readonly string[]) {
    this.host = host
    const words = [...inside, process.execPath, '--import=tsx', PROGRAM]
    this.#child = spawn(words[0] as string, words.slice(1), {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      env: { ...process.env, NODE_ENV: 'production' },
    })
    nodes.add(this.#child)
    this.#child.stderr?.setEncoding('utf8').on('data', (text) => {
      this.#stderr = (this.#stderr + text).slice(-500)
    })
    this.#child.on('message', ({ id, result, error, news }: Answer) => {
      for (const [s, what] of news ?? []) {
        if (typeof what === 'number') this.told.at[s] = what
        else this.told.verdicts[s] = what
      }
      const waiting = this.#waiting.get(id)
      this.#waiting.delete(id)
      if (error === undefined) waiting?.resolve(result)
      else waiting?.reject(new Error(error))
    })
    this.#child.on('error', () => {})
    this.#child.on('close', (code, signal) => {
      nodes.delete(this.#child)
      if (!this.#isOver) this.ended = `ended with ${signal ?? code} ${this.#stderr}`
      for (const { reject } of this.#waiting.values()) reject(new Error(this.ended ?? 'ended'))
      this.#waiting.clear()
    })
  }

  /** @param inside a command prefix that runs the program in a namespace */
  static async start(
    given: (NodeOrder & { do: 'start' })['given'],
    inside: readonly string[] = [],
  ): Promise<RedisNode> {
    const node = new RedisNode(given.host, inside)
    const { port } = (await node.#tell({ do: 'start', given }, 60_000)) as { port: number }
    node.port = port
    return node
  }

  async publish(p: number, perSecond: number): Promise<void> {
    await this.#tell({ do: 'publish', given: { p, perSecond } })
  }

  async stopPublishing(): Promise<void> {
    await this.#tell({ do: 'stop' })
  }

  /** Returns the report; rejects when the node hangs for 15 s. */
  async report(): Promise<NodeReport> {
    return (await this.#tell({ do: 'report' })) as NodeReport
  }

  /** Sends SIGKILL. */
  async kill(): Promise<void> {
    this.#isOver = true
    if (!nodes.has(this.#child)) return
    const gone = once(this.#child, 'close')
    this.#child.kill('SIGKILL')
    await gone
  }

  #tell(order: NodeOrder, patience = 15_000): Promise<unknown> {
    if (this.ended !== null) return Promise.reject(new Error(this.ended))
    const id = ++this.#lastId
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id)
        reject(new Error(`no answer to "${order.do}" within ${patience} ms`))
      }, patience)
      const settle =
        <T>(act: (value: T) => void) =>
        (value: T): void => {
          clearTimeout(timer)
          act(value)
        }
      this.#waiting.set(id, { resolve: settle(resolve), reject: settle(reject) })
      this.#child.send({ id, ...order })
    })
  }
}

interface Answer {
  readonly id: number
  readonly result?: unknown
  readonly error?: string
  readonly news?: readonly News[]
}

/** Kills the remaining nodes. */
export function killNodes(): void {
  for (const child of nodes) child.kill('SIGKILL')
}

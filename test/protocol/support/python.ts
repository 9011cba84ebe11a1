import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { needs, pathOf } from '../../support/programs.ts'
import { cleanUp, eventually } from '../../support/server.ts'
import { type ClientStatus, type ClientUnderTest, Heard, type Outcome } from './client-run.ts'
import type { Action, App, Json } from './vectors.ts'

const DRIVER = fileURLToPath(new URL('driver.py', import.meta.url))

type Event =
  | { received: [string, Json] }
  | { result: string; outcome: Outcome }
  | { reported: string }
  | { status: ClientStatus }
  | { begun: true }
  | { ended: true }

/**
 * Call it in a `describe`: its tests have a process of their own, which prints nothing on stderr.
 *
 * @returns makes the client of a test
 */
export function pythonClients(): (url: string) => PythonClient {
  needs("Python's websockets")
  let python: PythonProcess

  beforeEach(() => {
    python = new PythonProcess(pathOf("Python's websockets"))
  })

  afterEach(async () => {
    await python.stop()
    await cleanUp()
    expect(python.complaints).to.equal('')
  })

  return (url) => python.client(url, undefined)
}

/** A process that has one client at a time. */
export class PythonProcess {
  readonly #child: ChildProcessWithoutNullStreams
  #hear: (event: Event) => void = () => {}
  #stderr = ''

  constructor(python: string) {
    this.#child = spawn(python, [DRIVER])
    this.#child.stderr.on('data', (chunk) => {
      this.#stderr += chunk
    })
    const lines = createInterface({ input: this.#child.stdout })
    lines.on('line', (line) => this.#hear(JSON.parse(line) as Event))
  }

  /** Makes a new client in place of the last. */
  client(url: string, app: App | undefined): PythonClient {
    return new PythonClient(this, url, app)
  }

  /** Replaces the listener for events. */
  tell(hear: (event: Event) => void): void {
    this.#hear = hear
  }

  order(order: object): void {
    if (this.#child.exitCode !== null) throw new Error(`Python has ended: ${this.#stderr}`)
    this.#child.stdin.write(`${JSON.stringify(order)}\n`)
  }

  /** The text on stderr. */
  get complaints(): string {
    return this.#stderr
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return
    this.#child.stdin.end()
    await once(this.#child, 'exit')
  }
}

/** The client in Python. */
class PythonClient implements ClientUnderTest {
  readonly heard = new Heard()
  readonly tellsAbsence = false
  readonly #process: PythonProcess
  #status: ClientStatus | null = null
  #hasBegun = false
  #hasEnded = false

  constructor(process: PythonProcess, url: string, app: App | undefined) {
    this.#process = process
    process.tell((event) => this.#hear(event))
    process.order({ make: url, ...(app && { app }) })
  }

  async open(): Promise<void> {
    this.#process.order({ open: true })
  }

  async do(action: Action): Promise<void> {
    this.#hasBegun = false
    this.#process.order({ do: action })
    await eventually(() => this.#hasBegun, 'the beginning')
  }

  async status(): Promise<ClientStatus> {
    this.#status = null
    this.#process.order({ status: true })
    await eventually(() => this.#status !== null, 'the status')
    return this.#status as unknown as ClientStatus
  }

  async end(): Promise<void> {
    this.#process.order({ end: true })
    await eventually(() => this.#hasEnded, 'the end of the client')
  }

  #hear(event: Event): void {
    if ('received' in event) this.heard.received.push(event.received)
    else if ('result' in event) this.heard.results.set(event.result, event.outcome)
    else if ('reported' in event) this.heard.reported.push(event.reported)
    else if ('status' in event) this.#status = event.status
    else if ('begun' in event) this.#hasBegun = true
    else this.#hasEnded = true
  }
}

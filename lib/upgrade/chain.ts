// What the middleware chain has made of an upgrade so far, and its signal.

import type { Context } from 'koa'
import type { Connection } from '../connection/connection.ts'
import type { AcceptOptions } from './accept-options.ts'
import type { RejectOption } from './reject.ts'

/** What runs with an accepted connection. */
export type AcceptHandler = (connection: Connection, ctx: Context) => unknown

/** The handler that waits for the end of the chain. */
export interface Deferred {
  readonly handler: AcceptHandler
  readonly options: AcceptOptions
  readonly subprotocol: string | false
}

/** What the application's middleware chain has made of an upgrade so far, and the signal that tells it of the end. */
export class ChainState {
  #ctx: Context | null = null
  #error: unknown = undefined
  #reject: RejectOption | undefined = undefined
  #deferred: Deferred | null = null
  #accepting: Promise<Connection> | null = null
  #connection: Connection | null = null
  #collecting = false
  #running = 0
  #controller: AbortController | null = null
  #aborted: Error | null = null

  get ctx(): Context | null {
    return this.#ctx
  }

  /** What the chain threw. */
  get error(): unknown {
    return this.#error
  }

  /** The route's own `reject`. */
  get reject(): RejectOption | undefined {
    return this.#reject
  }

  get deferred(): Deferred | null {
    return this.#deferred
  }

  /** The connection of an accept inside of the chain. */
  get accepting(): Promise<Connection> | null {
    return this.#accepting
  }

  get connection(): Connection | null {
    return this.#connection
  }

  /** Whether hooks of `writeHead` run for the 101. */
  get collecting(): boolean {
    return this.#collecting
  }

  /** Whether the chain of a plugin has not settled: later, what `ctx.ws` throws has no catcher. */
  get isRunning(): boolean {
    return this.#running > 0
  }

  /** Aborts when the client leaves, the deadline passes, or the upgrade is refused by us. */
  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController()
      if (this.#aborted) this.#controller.abort(this.#aborted)
    }
    return this.#controller.signal
  }

  /** Why nothing can be accepted any more, where that is no answer of the chain. */
  get aborted(): Error | null {
    return this.#aborted
  }

  setContext(ctx: Context): void {
    this.#ctx = ctx
  }

  /** The chain of a plugin begins. */
  enter(): void {
    this.#running++
  }

  /** The chain of a plugin has settled. */
  leave(): void {
    this.#running--
  }

  fail(error: unknown): void {
    this.#error = error
  }

  /** A route has the option `reject`. */
  rejectAs(reject: RejectOption | undefined): void {
    if (reject !== undefined) this.#reject = reject
  }

  /** Keep a handler until the chain has ended. */
  defer(deferred: Deferred): void {
    this.#deferred = deferred
  }

  /** The kept handler cannot be served: Koa answers with the error. */
  answerError(ctx: Context, error: unknown): void {
    this.#deferred = null
    this.#error = error
    ctx.onerror(error as Error)
  }

  acceptInside(accepting: Promise<Connection>): void {
    this.#accepting = accepting
  }

  connected(connection: Connection): void {
    this.#connection = connection
  }

  /** Run what makes hooks of the response write to it, and keep that off the wire. */
  collect<T>(run: () => T): T {
    this.#collecting = true
    try {
      return run()
    } finally {
      this.#collecting = false
    }
  }

  protected abort(reason: Error): void {
    this.#aborted ??= reason
    this.#controller?.abort(this.#aborted)
  }

  /** Let go of what a connection must not keep alive. */
  protected forget(): void {
    this.#ctx = null
    this.#error = undefined
    this.#deferred = null
  }
}

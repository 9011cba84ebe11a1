// Measures how long each middleware of an app takes for an upgrade.

import type { IncomingMessage } from 'node:http'
import type { Context, Middleware, Next } from 'koa'
import { membersOf, numberOf, textOf } from './reading.ts'

/** One middleware of a chain. Times are in milliseconds. */
export interface Step {
  readonly name: string
  /** When it began, since the first one began. */
  at: number
  /** How long it took until it called `next()`, or until it ended. */
  before: number
  /** How long it took after `next()` had settled; null when it did not call it. */
  after: number | null
  /** The status of the error that it threw or passed on; 0 for an error without one; null without an error. */
  threw: number | null
}

/** The chain of one upgrade, outermost first. */
export interface Timeline {
  readonly steps: readonly Step[]
}

interface Line extends Timeline {
  readonly began: number
  readonly steps: Step[]
}

/** The part of an app that is measured. A Koa app of any types fits. */
export interface MeasuredApp {
  /** The middleware, outermost first. */
  middleware: unknown[]
  /** Composes the middleware, and returns the listener of a server. */
  callback(): unknown
}

/** The most middleware of a chain, the most timelines of accepted upgrades, and the longest name. */
const MOST_STEPS = 50
const MOST_KEPT = 1_000
const LONGEST_NAME = 60

/** Measures the middleware of an app. */
export class Timelines {
  readonly #hub: unknown
  readonly #timed = new WeakSet<object>()
  readonly #byRequest = new WeakMap<IncomingMessage, Line>()
  readonly #byState = new WeakMap<object, Line>()
  /** Of connections, by id. */
  readonly #kept = new Map<string, Timeline>()

  /** @param hub the middleware that is named koaWs() */
  constructor(hub: unknown) {
    this.#hub = hub
  }

  /**
   * Measures the middleware of an app from its next `callback()` on, which `listen()` calls: Koa composes its middleware
   * then, and later changes of the list have no effect.
   */
  watch(app: MeasuredApp): void {
    const callback = app.callback.bind(app)
    app.callback = () => {
      for (const [i, middleware] of app.middleware.entries()) {
        if (!isMiddleware(middleware) || this.#timed.has(middleware)) continue
        app.middleware[i] = this.#wrap(middleware, i)
      }
      return callback()
    }
  }

  /** Returns the timeline of a request. */
  of(request: unknown): Timeline | undefined {
    return isRequest(request) ? this.#byRequest.get(request) : undefined
  }

  /** Keeps the timeline of a connection: the state is that of its handshake. */
  keep(id: string, state: unknown): void {
    const line = typeof state === 'object' && state !== null ? this.#byState.get(state) : undefined
    if (!line) return
    this.#kept.set(id, line)
    const [oldest] = this.#kept.keys()
    if (this.#kept.size > MOST_KEPT && oldest !== undefined) this.#kept.delete(oldest)
  }

  /** Returns the timeline of a connection, if it is one of the latest. */
  ofConnection(id: string): Timeline | undefined {
    return this.#kept.get(id)
  }

  #wrap(middleware: Middleware, position: number): Middleware {
    const name = middleware === this.#hub ? 'koaWs()' : nameOf(middleware, position)
    const timed: Middleware = (ctx, next) => {
      const { headers } = ctx
      if (headers.upgrade === undefined && headers[':protocol'] === undefined) {
        return middleware(ctx, next)
      }
      const run = this.#run(middleware, name, ctx, next)
      run.catch(ignore) // outer middleware may not await it
      return run
    }
    this.#timed.add(timed)
    return Object.assign(timed, middleware)
  }

  async #run(middleware: Middleware, name: string, ctx: Context, next: Next): Promise<unknown> {
    const line = this.#lineOf(ctx)
    const start = performance.now()
    const step: Step = { name, at: start - line.began, before: 0, after: null, threw: null }
    if (line.steps.length < MOST_STEPS) line.steps.push(step)
    let settled = 0
    const passOn = (): Promise<unknown> => {
      step.before = performance.now() - start
      step.after = 0
      const inner = next()
      const note = (): void => {
        settled = performance.now()
      }
      inner.then(note, note)
      return inner
    }
    try {
      return await middleware(ctx, passOn)
    } catch (error) {
      step.threw = numberOf(membersOf(error)['status'], 0)
      throw error
    } finally {
      const now = performance.now()
      if (step.after === null) step.before = now - start
      else if (settled > 0) step.after = now - settled
      this.#byState.set(ctx.state, line)
    }
  }

  #lineOf(ctx: Context): Line {
    let line = this.#byRequest.get(ctx.req)
    if (!line) {
      line = { began: performance.now(), steps: [] }
      this.#byRequest.set(ctx.req, line)
    }
    this.#byState.set(ctx.state, line)
    return line
  }
}

/** Returns a name with the position in the chain, from 1. */
function nameOf(middleware: Middleware, position: number): string {
  const name = 'router' in middleware ? 'router' : textOf(middleware.name, LONGEST_NAME)
  return `${position + 1} ${name === '' ? 'anonymous function' : name}`
}

function isMiddleware(value: unknown): value is Middleware {
  return typeof value === 'function'
}

function isRequest(value: unknown): value is IncomingMessage {
  return typeof value === 'object' && value !== null
}

function ignore(): void {}

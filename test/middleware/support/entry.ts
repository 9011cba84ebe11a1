import type Koa from 'koa'
import type { Hub } from '../../../lib/index.ts'

/** Where a middleware stands: in front of `app.use(koaWs())`, after it, or in an app without koaws. */
export type Place = 'before' | 'after' | 'without'

/** What a test sees of a running app. */
export interface Host {
  readonly port: number
  /** The output of the middleware, and `app error: …` for each error event. */
  readonly lines: readonly string[]
  /** Resolves with the first line that matches. */
  seen(pattern: RegExp): Promise<string>
  stop(): Promise<void>
}

/** The tools that an entry installs itself with. */
export interface Tools {
  log(line: string): void
  /** Registers a function that runs when the app is stopped. */
  onStop(stop: () => Promise<void>): void
}

export type Route = (ctx: Koa.Context) => unknown

/** For middleware that holds routes: it stands around the plugin, or behind it. */
export interface Routed extends Tools {
  readonly app: Koa
  /** Undefined in an app without koaws. */
  readonly hub: Hub | undefined
  readonly place: Place
  /** The routes by path. */
  readonly routes: ReadonlyMap<string, Route>
  /** All of them as one middleware. */
  readonly dispatch: Koa.Middleware
}

export type Headers = Record<string, string>

/** Expectations of an HTTP answer. */
export interface Answer {
  readonly headers?: Record<string, RegExp>
  readonly body?: RegExp
}

/** Behavior beyond the cases of every middleware. */
export interface Special {
  readonly title: string
  readonly run: (host: Host, headers: Headers, place: Place) => Promise<void>
}

/** One middleware of the matrix. */
export interface Entry {
  /** The name of its package. */
  readonly name: string
  /** Distinguishes entries of the same package, or names the other package in use. */
  readonly variant?: string
  readonly tier: 1 | 2
  /** What a user should know, for the generated page. */
  readonly note?: string
  /** Installs middleware that stands in the chain. */
  readonly use?: (app: Koa, tools: Tools) => void | Promise<void>
  /** Installs middleware that holds the routes. */
  readonly routed?: (routed: Routed) => void
  /** A prefix of every path, for middleware that mounts the routes elsewhere. */
  readonly prefix?: string
  /** Runs in the route before it decides. */
  readonly touch?: Route
  /** Headers that every request needs. */
  readonly headers?: Headers | ((host: Host) => Promise<Headers>)
  /** Headers of the 101. */
  readonly on101?: Record<string, RegExp>
  /** Lines that it prints for an accepted upgrade. */
  readonly prints?: readonly RegExp[]
  /** The answer to `ctx.throw(401, 'no entry')`, when it differs from Koa's own. */
  readonly rejected?: Answer
  /** The streamed 403, when the middleware changes it. */
  readonly streamed?: Answer
  /** The 404, when it differs from Koa's own. */
  readonly notFound?: Answer
  readonly specials?: readonly Special[]
  /** Patches modules: runs in a child process, set up by support/instrumented.mts. */
  readonly instrumented?: 'opentelemetry' | 'sentry'
}

import type Koa from 'koa'
import type { Hub } from '../../../lib/index.ts'

/** Where a middleware stands: in front of `app.use(koaWs())`, after it, or in an app without koaws. */
export type Place = 'before' | 'after' | 'without'

/** What a test sees of a running app. */
export interface Host {
  readonly port: number
  /** What the middleware printed, and `app error: …` for each error event. */
  readonly lines: readonly string[]
  /** The first line that matches, once it is there. */
  seen(pattern: RegExp): Promise<string>
  stop(): Promise<void>
}

/** What an entry is given to install itself with. */
export interface Tools {
  log(line: string): void
  /** Run when the app is stopped. */
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

/** What an HTTP answer is expected to look like. */
export interface Answer {
  readonly headers?: Record<string, RegExp>
  readonly body?: RegExp
}

/** Behaviour beyond the cases that every middleware has. */
export interface Special {
  readonly title: string
  readonly run: (host: Host, headers: Headers, place: Place) => Promise<void>
}

/** One middleware of the matrix. */
export interface Entry {
  /** The name of its package. */
  readonly name: string
  /** Told apart from another entry of the same package, or with what it is used. */
  readonly variant?: string
  readonly tier: 1 | 2
  /** What a user should know, for the generated page. */
  readonly note?: string
  /** Installs middleware that stands in the chain. */
  readonly use?: (app: Koa, tools: Tools) => void | Promise<void>
  /** Installs middleware that holds the routes. */
  readonly routed?: (routed: Routed) => void
  /** Before every path, where it mounts the routes elsewhere. */
  readonly prefix?: string
  /** Runs in the route before it decides. */
  readonly touch?: Route
  /** Headers that every request needs. */
  readonly headers?: Headers | ((host: Host) => Promise<Headers>)
  /** Headers of the 101. */
  readonly on101?: Record<string, RegExp>
  /** Lines that it prints for an accepted upgrade. */
  readonly prints?: readonly RegExp[]
  /** The answer to `ctx.throw(401, 'no entry')`, where it is not Koa's own. */
  readonly rejected?: Answer
  /** The streamed 403, where it is changed on its way. */
  readonly streamed?: Answer
  /** The 404, where it is not Koa's own. */
  readonly notFound?: Answer
  readonly specials?: readonly Special[]
  /** Patches modules: runs in a child process, set up by support/instrumented.mts. */
  readonly instrumented?: 'opentelemetry' | 'sentry'
}

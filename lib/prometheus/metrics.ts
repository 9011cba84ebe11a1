// The middleware that answers a scrape of Prometheus.

import type { DefaultContext, DefaultState, Middleware } from 'koa'
import { Registry } from 'prom-client'
import { OptionsError } from '../index.ts'
import { Collector } from '../metrics/collector.ts'
import { checkHub, type ObservedHub } from '../metrics/hub.ts'
import { type Check, checkOptions, DEFAULT_NAME, isBoolean, isName } from '../metrics/options.ts'
import { type AnyRegistry, expositionOf } from './exposition.ts'

/** The options of `metrics()`. */
export interface MetricsOptions {
  /**
   * The path that is answered; other requests go on to the next middleware. Behind a router or a
   * mount, it is the path that `ctx.path` has there.
   * @default '/metrics'
   */
  readonly path?: string | undefined
  /**
   * The registry of prom-client. Its other metrics and its default labels are in the answer as well.
   * @default a new one
   */
  readonly registry?: AnyRegistry | undefined
  /**
   * The value of the label `koaws_hub`, of letters, digits, `.`, `_` and `-`. Hubs of one registry
   * need different names.
   * @default 'default'
   */
  readonly name?: string | undefined
  /**
   * Whether upgrades are also measured as `http_server_*`. Turn it off when another library measures
   * HTTP under these names.
   * @default true
   */
  readonly http?: boolean | undefined
  /**
   * Whether the event loop is measured as `nodejs_eventloop_*`.
   * @default true
   */
  readonly runtime?: boolean | undefined
}

/** What `metrics()` returns: Koa middleware. */
export interface MetricsMiddleware extends Middleware<DefaultState, DefaultContext> {
  /** The registry with the metrics. */
  readonly registry: AnyRegistry
  /** Ends all counting, and removes the metrics from the registry. Idempotent. */
  stop(): void
}

const isRegistry: Check = (value) => {
  const { registerMetric, getSingleMetric, metrics: print } = Object(value) as Partial<AnyRegistry>
  const isOne = [registerMetric, getSingleMetric, print].every((part) => typeof part === 'function')
  return isOne ? null : 'must be a Registry of prom-client'
}

const CHECKS: Record<string, Check> = {
  path: (value) =>
    typeof value === 'string' && value.startsWith('/')
      ? null
      : 'must be a path that begins with "/"',
  registry: isRegistry,
  name: isName,
  http: isBoolean,
  runtime: isBoolean,
}

const measured = new WeakSet<ObservedHub>()

/**
 * Returns middleware that answers `GET /metrics` for Prometheus. Anyone that can reach the path can
 * read it: put it behind your own check, or on a server of your own network. Counting ends with
 * `hub.close()`; the last values stay readable.
 *
 * @example
 * ```js
 * import Koa from 'koa'
 * import koaWs from 'koaws'
 * import { metrics } from 'koaws/prometheus'
 * import { testApp } from 'koaws/testing'
 *
 * const app = new Koa()
 * const hub = koaWs()
 * app.use(hub)
 * app.use(metrics(hub))
 *
 * const test = testApp(app)
 * const { body } = await test.request('/metrics')
 * const lines = body.split('\n')
 * console.log(lines.find((line) => line.startsWith('koaws_rooms_active'))) // koaws_rooms_active{koaws_hub="default"} 0
 * await test.close()
 * await hub.close()
 * ```
 *
 * @param hub the return value of `koaWs()`
 * @param options all optional
 * @returns middleware; `stop()` ends what it began
 * @throws OptionsError when the hub is closed or has metrics already, for an option that is unknown or
 * wrong, and when the registry has a hub or a metric of the same name
 */
export function metrics(hub: ObservedHub, options: MetricsOptions = {}): MetricsMiddleware {
  checkHub('metrics()', hub)
  checkOptions('metrics()', options, CHECKS)
  if (measured.has(hub)) {
    throw new OptionsError(
      'metrics() was called twice for one hub. Use the middleware of the first call, or call its stop().',
    )
  }
  const { path = '/metrics', name = DEFAULT_NAME, http = true, runtime = true } = options
  const registry: AnyRegistry = options.registry ?? new Registry()
  const exposition = expositionOf(registry)
  const collector = new Collector(hub, { http, runtime })
  try {
    exposition.add(name, collector)
  } catch (error) {
    collector.stop()
    throw error
  }
  measured.add(hub)
  let isStopped = false
  const stop = (): void => {
    if (isStopped) return
    isStopped = true
    measured.delete(hub)
    exposition.remove(name, collector)
    collector.stop()
  }
  const middleware: Middleware<DefaultState, DefaultContext> = async (ctx, next) => {
    const isRead = ctx.method === 'GET' || ctx.method === 'HEAD'
    if (isStopped || !isRead || ctx.path !== path) return next()
    ctx.set('Cache-Control', 'no-store')
    ctx.set('Content-Type', registry.contentType)
    ctx.body = await registry.metrics()
  }
  return Object.assign(middleware, { registry, stop })
}

// Provides `inspector()`, the middleware that serves the page and its sockets.

import type { Context, Middleware, Next } from 'koa'
import { accept, type Hub, OptionsError } from '../index.ts'
import { serveFile } from './files.ts'
import { assertAllowed } from './guard.ts'
import { InstanceView } from './instance.ts'
import { type InspectorOptions, resolveOptions } from './options.ts'
import { inspectorService } from './service.ts'

const inspected = new WeakSet<object>()

/**
 * Returns middleware that serves a page about the hub: instances, connections, rooms, users, refused upgrades. Register
 * it after the hub, once for each, on every instance. Without `authorize` it serves only this machine.
 *
 * @example
 * ```js
 * import Koa from 'koa'
 * import koaWs from 'koaws'
 * import { inspector } from 'koaws/inspector'
 * import { testApp } from 'koaws/testing'
 *
 * const app = new Koa()
 * const hub = koaWs()
 * app.use(hub)
 * app.use(inspector(hub, { authorize: (ctx) => ctx.get('x-role') === 'admin' }))
 *
 * const test = testApp(app)
 * console.log((await test.request('/inspector/')).status) // 403
 * await test.close()
 * await hub.close()
 * ```
 *
 * @param hub the result of `koaWs()`
 * @param options the access, and what it shows
 * @throws OptionsError for an option that is unknown or wrong, and for a hub that has an inspector
 */
export function inspector(hub: Hub, options: InspectorOptions = {}): Middleware {
  const resolved = resolveOptions(options)
  if (typeof hub !== 'function' || typeof hub.ask !== 'function') {
    throw new OptionsError('inspector() takes the hub first: inspector(hub, { authorize }).')
  }
  if (inspected.has(hub)) {
    throw new OptionsError('This hub has an inspector already: call inspector(hub) once.')
  }
  const view = new InstanceView(hub, resolved)
  view.start()
  inspected.add(hub)
  const service = inspectorService(hub, view, resolved)
  // The application's `user` and audiences do not concern a socket of the inspector.
  const socket = accept(service, { hub: false, user: () => undefined })
  const { path, app } = resolved
  if (app) view.timelines.watch(app)
  return async function koawsInspector(ctx: Context, next: Next): Promise<unknown> {
    if (ctx.path !== path && !ctx.path.startsWith(`${path}/`)) return next()
    await assertAllowed(resolved, ctx)
    const rest = ctx.path.slice(path.length)
    // Relative, so that it works below the prefix of a proxy.
    if (rest === '') return serveFile(ctx, '', `${path.slice(path.lastIndexOf('/') + 1)}/`)
    if (rest === '/socket') {
      view.members.expectOwn(ctx.state)
      return socket(ctx, next)
    }
    return serveFile(ctx, rest.slice(1))
  }
}

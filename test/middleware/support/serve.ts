import { once } from 'node:events'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import type Koa from 'koa'
import { accept, koaWs } from '../../../lib/index.ts'
import type { Entry, Host, Place, Route } from './entry.ts'

// Required, not imported: instrumentation patches required modules.
const KoaClass = createRequire(import.meta.url)('koa') as typeof Koa

export const STREAMED_BYTES = 1024 * 1024

/** Collects lines, and lets tests wait for one. */
export class Journal {
  readonly lines: string[] = []
  readonly #waiting = new Set<(line: string) => void>()

  add(line: string): void {
    this.lines.push(line)
    for (const look of [...this.#waiting]) look(line)
  }

  seen(pattern: RegExp): Promise<string> {
    const there = this.lines.find((line) => pattern.test(line))
    if (there !== undefined) return Promise.resolve(there)
    return new Promise((resolve) => {
      const look = (line: string): void => {
        if (!pattern.test(line)) return
        this.#waiting.delete(look)
        resolve(line)
      }
      this.#waiting.add(look)
    })
  }
}

/** Starts an app with the middleware of an entry, the plugin, and the routes of the cases. */
export async function serve(entry: Entry, place: Place, journal = new Journal()): Promise<Host> {
  const app = new KoaClass()
  app.keys = ['a key of the tests']
  app.on('error', (error: Error) => journal.add(`app error: ${error.message}`))
  const hub = place === 'without' ? undefined : koaWs()
  const stops: (() => Promise<void>)[] = []
  const tools = {
    log: (line: string) => journal.add(line),
    onStop: (stop: () => Promise<void>) => {
      stops.push(stop)
    },
  }
  const routes = routesOf(entry)
  const dispatch: Koa.Middleware = (ctx, next) => routes.get(ctx.path)?.(ctx) ?? next()
  if (entry.routed) {
    entry.routed({ app, hub, place, routes, dispatch, ...tools })
  } else {
    if (hub && place === 'after') app.use(hub)
    await entry.use?.(app, tools)
    if (hub && place === 'before') app.use(hub)
    app.use(dispatch)
  }
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    lines: journal.lines,
    seen: (pattern) => journal.seen(pattern),
    stop: async () => {
      await hub?.close({ timeout: 500, server: true })
      if (server.listening) {
        server.closeAllConnections()
        await new Promise((resolve) => server.close(resolve))
      }
      for (const stop of stops) await stop()
    },
  }
}

function routesOf({ touch }: Entry): ReadonlyMap<string, Route> {
  const accepted = accept((connection) => {
    connection.on('message', (data, isBinary) =>
      connection.send(data as Buffer, { binary: isBinary }),
    )
  })
  const routes: Record<string, Route> = {
    '/accept': (ctx) => accepted(ctx as never, async () => {}),
    '/inside': async (ctx) => {
      const connection = await ctx.ws?.()
      connection?.on('message', (data) => connection.send(String(data)))
    },
    '/rejected': (ctx) => ctx.throw(401, 'no entry'),
    '/streamed': (ctx) => {
      ctx.status = 403
      ctx.type = 'text'
      ctx.body = Readable.from(sixteenths(), { objectMode: false })
    },
    '/broken': () => {
      throw new Error('a defect of the route')
    },
    '/plain': (ctx) => {
      ctx.body = { plain: true }
    },
  }
  const touched = Object.entries(routes).map(([path, route]): [string, Route] => [
    path,
    async (ctx) => {
      await touch?.(ctx)
      await route(ctx)
      return true
    },
  ])
  return new Map(touched)
}

function* sixteenths(): Generator<Buffer> {
  for (let i = 0; i < 16; i++) yield Buffer.alloc(STREAMED_BYTES / 16, 'x')
}

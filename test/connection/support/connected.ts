import { accept, type Connection, type Handler, type KoaWsOptions } from '../../../lib/index.ts'
import type { TestSocket } from '../../../lib/testing/index.ts'
import { deferred, openSocket, type Site, serve } from '../../support/server.ts'

/** Starts a site with this handler, connects, and returns the connection of the server. */
export async function connected(
  handler: Handler = () => {},
  options: Parameters<typeof accept>[1] = {},
  hubOptions: KoaWsOptions = {},
): Promise<{ site: Site; socket: TestSocket; connection: Connection }> {
  const made = deferred<Connection>()
  const site = await serve(
    (app) =>
      app.use(
        accept((connection, ctx) => (made.resolve(connection), handler(connection, ctx)), options),
      ),
    hubOptions,
  )
  const socket = await openSocket(site.port, '/path?x=1&y=a%20b')
  return { site, socket, connection: await made.promise }
}

import type { Server } from 'node:http'
import type { Connections } from './connections.ts'

/** How a hub closes. */
export interface CloseOptions {
  /** The close code that clients get. @default 1012 (service restart: come back) */
  code?: number
  /** Milliseconds until what is still open is terminated. @default 10_000 */
  timeout?: number
  /**
   * Milliseconds between turning not ready and refusing upgrades, so that a load balancer can
   * notice first. @default 0
   */
  readyDelay?: number
  /** Whether the attached servers are closed too. @default false */
  server?: boolean
}

/** What a shutdown needs of its hub. */
export interface Closing {
  readonly connections: Connections
  /** Refuse new upgrades, and answer those that wait. */
  refuseUpgrades(): void
  readonly servers: ReadonlySet<Server>
}

/** The stages of a shutdown, in order; resolves at the end of the last, at the latest `timeout` later. */
export async function shutDown(closing: Closing, options: Required<CloseOptions>): Promise<void> {
  const { code, timeout, readyDelay, server } = options
  if (readyDelay > 0) await cancellableDelay(readyDelay).promise
  closing.refuseUpgrades()
  const servers = server ? [...closing.servers].map(closeServer) : []
  const { connections } = closing
  connections.closeAll(code, code === 1012 ? 'restart' : '')
  const deadline = cancellableDelay(timeout)
  const late = await Promise.race([connections.gone().then(() => false), deadline.promise])
  deadline.cancel()
  if (late) {
    connections.terminateAll()
    // `close` events follow at once; what onDisconnect still does is beyond the deadline.
    for (const connection of connections.byId.values()) await connection.closed
  }
  if (servers.length > 0) {
    const rest = cancellableDelay(late ? 0 : timeout)
    await Promise.race([Promise.all(servers), rest.promise])
    rest.cancel()
  }
}

/** Close a server; a request that is being answered may finish. */
function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    if (!server.listening) {
      resolve()
      return
    }
    server.close(() => resolve())
    server.closeIdleConnections?.()
  })
}

function cancellableDelay(ms: number): { promise: Promise<true>; cancel: () => void } {
  let timer: NodeJS.Timeout
  const promise = new Promise<true>((resolve) => {
    timer = setTimeout(() => resolve(true), ms)
    timer.unref()
  })
  return { promise, cancel: () => clearTimeout(timer) }
}

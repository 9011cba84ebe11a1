import type { Server } from 'node:http'
import { setTimeout } from 'node:timers/promises'
import type { Connections } from './connections.ts'

/** How a hub closes. */
export interface CloseOptions {
  /** The close code that clients get. @default 1012 (service restart: come back) */
  code?: number | undefined
  /** Milliseconds until what is still open is terminated. @default 10_000 */
  timeout?: number | undefined
  /**
   * Milliseconds between turning not ready and refusing upgrades, so that a load balancer can
   * notice first. @default 0
   */
  readyDelay?: number | undefined
  /**
   * Whether the servers are closed too: those that were attached, or had a request. @default false
   */
  server?: boolean | undefined
}

/** What a shutdown needs of its hub. */
export interface Closing {
  readonly connections: Connections
  /** Refuse new upgrades, and answer those that wait. */
  refuseUpgrades(): void
  /** Resolves when none is being answered any more. */
  upgradesSettled(): Promise<void>
  /** End those that are still being answered. */
  terminateUpgrades(): void
  readonly servers: ReadonlySet<Server>
  /** Tell the HTTP/2 sessions of one of them, and those to come, that it takes nothing new. */
  closeSessions(server: Server): void
  /** End them at once. */
  endSessions(server: Server): void
  /** Let go of the other instances. */
  closeBackplane(): Promise<void>
}

/** {@link CloseOptions}, with the defaults filled in. */
export interface CloseStages {
  readonly code: number
  readonly timeout: number
  readonly readyDelay: number
  readonly server: boolean
}

/** How long upgrades are taken when nobody listens any more, in milliseconds. */
const LAST_CALL = 100

/** The stages of a shutdown, in order; resolves at the end of the last, at the latest `timeout` later. */
export async function shutDown(closing: Closing, options: CloseStages): Promise<void> {
  const { code, timeout, readyDelay, server } = options
  if (readyDelay > 0) await cancellableDelay(readyDelay).promise
  const servers = server ? [...closing.servers].map(closeServer) : []
  // What a server had taken before it stopped listening is still on its way to being read.
  // This timer keeps the process alive: whoever awaits the shutdown is not told otherwise.
  if (servers.length > 0 && timeout > LAST_CALL * 10) await setTimeout(LAST_CALL)
  closing.refuseUpgrades()
  // GOAWAY: a session ends with its last stream, and what is new goes to another instance.
  for (const one of servers) closing.closeSessions(one.server)
  const { connections } = closing
  const until = Date.now() + timeout
  // Loops work off what has arrived, for at most half of the time that there is.
  const share = cancellableDelay(timeout / 2)
  await Promise.race([connections.endLoops(), share.promise])
  share.cancel()
  connections.closeAll(code)
  const deadline = cancellableDelay(until - Date.now())
  const late = await Promise.race([
    Promise.all([connections.gone(), closing.upgradesSettled()]).then(() => false),
    deadline.promise,
  ])
  deadline.cancel()
  if (late) {
    connections.terminateAll()
    closing.terminateUpgrades()
    // `close` events follow at once; what onDisconnect still does is beyond the deadline.
    for (const connection of connections.byId.values()) await connection.closed
  }
  await closeServers(closing, servers, until - Date.now())
  await closing.closeBackplane()
}

/**
 * Wait for the servers, whose requests may finish. At the deadline what is left of HTTP goes too:
 * Node itself waits for ever for a connection that never sent a request.
 */
async function closeServers(
  closing: Closing,
  servers: readonly ClosingServer[],
  timeout: number,
): Promise<void> {
  if (servers.length === 0) return
  const deadline = cancellableDelay(timeout)
  const late = await Promise.race([Promise.all(servers.map((one) => one.closed)), deadline.promise])
  deadline.cancel()
  if (late !== true) return
  for (const { server } of servers) {
    closing.endSessions(server)
    server.closeAllConnections?.()
  }
}

interface ClosingServer {
  readonly server: Server
  readonly closed: Promise<void>
}

/** Close a server; a request that is being answered may finish. */
function closeServer(server: Server): ClosingServer {
  const closed = new Promise<void>((resolve) => {
    if (server.listening) server.close(() => resolve())
    else resolve()
  })
  server.closeIdleConnections?.() // one that speaks HTTP/2 alone has none
  return { server, closed }
}

function cancellableDelay(ms: number): { promise: Promise<true>; cancel: () => void } {
  let timer: NodeJS.Timeout
  const promise = new Promise<true>((resolve) => {
    timer = globalThis.setTimeout(() => resolve(true), Math.max(0, ms))
    timer.unref()
  })
  return { promise, cancel: () => clearTimeout(timer) }
}

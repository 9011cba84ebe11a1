// Runs the stages of `hub.close()`.

import type { Server } from 'node:http'
import { setTimeout } from 'node:timers/promises'
import { channels, type ShutdownEvent } from '../diagnostics.ts'
import type { Connections } from './connections.ts'

/** The options of `hub.close()`. */
export interface CloseOptions {
  /** The close code that clients get. @default 1012 (service restart: reconnect) */
  code?: number | undefined
  /** Milliseconds until open connections are terminated. @default 10_000 */
  timeout?: number | undefined
  /**
   * Milliseconds between `ready` turning false and the rejection of upgrades, so that a load
   * balancer can react first. @default 0
   */
  readyDelay?: number | undefined
  /**
   * Whether to close the servers too: attached servers, and servers that had a request. @default
   * false
   */
  server?: boolean | undefined
}

/** What a shutdown needs of the plugin. */
export interface Closing {
  /** The name of the instance. */
  readonly instance: string
  readonly connections: Connections
  /** Refuses new upgrades, and answers the pending ones. */
  refuseUpgrades(): void
  /** Resolves when every upgrade has been answered. */
  upgradesSettled(): Promise<void>
  /** Ends the upgrades that are still being answered. */
  terminateUpgrades(): void
  readonly servers: ReadonlySet<Server>
  /** Sends GOAWAY to the HTTP/2 sessions of a server, and to its later sessions. */
  closeSessions(server: Server): void
  /** Ends the sessions of a server at once. */
  endSessions(server: Server): void
  /** Closes the connection to the other instances. */
  closeBackplane(): Promise<void>
}

/** {@link CloseOptions}, with the defaults filled in. */
export interface CloseStages {
  readonly code: number
  readonly timeout: number
  readonly readyDelay: number
  readonly server: boolean
}

/** How long upgrades are accepted after the servers stopped listening, in milliseconds. */
const LAST_CALL = 100

/** Runs the stages of a shutdown in order. Resolves at most `timeout` milliseconds later. */
export async function shutDown(closing: Closing, options: CloseStages): Promise<void> {
  const { code, timeout, readyDelay, server } = options
  tell(closing, 'delay')
  if (readyDelay > 0) await cancellableDelay(readyDelay).promise
  const servers = server ? [...closing.servers].map(closeServer) : []
  // Connections that the kernel accepted before the server stopped listening have not been read
  // yet.
  // This timer keeps the process alive: otherwise it could exit before the shutdown resolves.
  if (servers.length > 0 && timeout > LAST_CALL * 10) await setTimeout(LAST_CALL)
  tell(closing, 'refuse')
  closing.refuseUpgrades()
  // GOAWAY: a session ends with its last stream, and new requests go to another instance.
  for (const one of servers) closing.closeSessions(one.server)
  const { connections } = closing
  const until = Date.now() + timeout
  // Loops handle the messages that have arrived, for at most half of the time.
  const share = cancellableDelay(timeout / 2)
  await Promise.race([connections.endLoops(), share.promise])
  share.cancel()
  tell(closing, 'close')
  connections.closeAll(code)
  const deadline = cancellableDelay(until - Date.now())
  const late = await Promise.race([
    Promise.all([connections.gone(), closing.upgradesSettled()]).then(() => false),
    deadline.promise,
  ])
  deadline.cancel()
  if (late) {
    tell(closing, 'terminate')
    connections.terminateAll()
    closing.terminateUpgrades()
    // `close` events follow at once. An `onDisconnect` that still runs is past the deadline.
    for (const connection of connections.byId.values()) await connection.closed
  }
  await closeServers(closing, servers, until - Date.now())
  await closing.closeBackplane()
  tell(closing, 'end')
}

/** Tells that a stage begins. */
function tell({ instance, connections }: Closing, stage: ShutdownEvent['stage']): void {
  if (!channels.shutdown.hasSubscribers) return
  channels.shutdown.publish({ instance, stage, connections: connections.byId.size })
}

/**
 * Waits for the servers and their requests in progress. After the timeout the remaining HTTP
 * connections are closed too: Node itself never closes a connection that did not send a request.
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

/** Stops listening, and closes idle connections. Requests in progress may finish. */
function closeServer(server: Server): ClosingServer {
  const closed = new Promise<void>((resolve) => {
    if (server.listening) server.close(() => resolve())
    else resolve()
  })
  server.closeIdleConnections?.() // an HTTP/2 server without HTTP/1.1 lacks this method
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

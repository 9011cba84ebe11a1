import type { AsyncResource } from 'node:async_hooks'
import type { WebSocket } from 'ws'
import type { CloseEvent } from './ending.ts'

/** A listener for `close`. */
export type LateListener = (code: number, reason: Buffer) => unknown

/** What a connection `C` does for listeners that come late. */
export interface LateHost<C> {
  /** The async context of the handshake. */
  scope(connection: C): AsyncResource | null
  /** Run something once the messages that wait are handed over or discarded. */
  afterwards(connection: C, tell: () => void): void
  /** The listener threw, or rejected. */
  failed(connection: C, error: unknown): void
}

/** A `close` listener that came too late hears of it all the same, after the messages that wait. */
export function tellLate<C extends WebSocket>(
  connection: C,
  listener: LateListener,
  { code, reason }: CloseEvent,
  host: LateHost<C>,
): void {
  const call = (): unknown => listener.call(connection, code, reason)
  const tell = (): void => {
    if (!connection.rawListeners('close').includes(listener)) return
    const scope = host.scope(connection)
    try {
      const result = scope === null ? call() : scope.runInAsyncScope(call)
      if (result instanceof Promise) {
        result.catch((error: unknown) => host.failed(connection, error))
      }
    } catch (error) {
      host.failed(connection, error)
    }
  }
  process.nextTick(() => host.afterwards(connection, tell))
}

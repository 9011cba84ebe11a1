import { encode, type Incoming } from './envelope.ts'
import { localError, remoteError } from './errors.ts'
import type { Outgoing } from './outgoing.ts'
import { createTimer } from './timer.ts'

/** How long a request is waited for. */
export interface RequestOptions {
  /** Milliseconds. @default the client's `timeout` */
  timeout?: number | undefined
  /** Rejects the request with its reason. What was sent stays sent. */
  signal?: AbortSignal | undefined
}

/** Requests without an answer so far. */
export interface Requests {
  /**
   * Ask. `transmit` sends the message, or queues it, or throws; `forget` is told when the request is
   * settled.
   */
  ask(
    type: string,
    data: unknown,
    options: { timeout: number; signal?: AbortSignal | undefined },
    transmit: (item: Outgoing) => void,
    forget?: (item: Outgoing) => void,
  ): Promise<unknown>
  /** Settle the request that a `koaws:reply` or `koaws:error` answers, if there is one. */
  answer(message: Incoming): void
  /** The connection is gone: whether what was sent on it was carried out, nobody knows. */
  fail(why: string): void
}

interface Pending {
  readonly item: Outgoing
  resolve(value: unknown): void
}

/** Ids are counted from 1, over all connections of the client. */
export function createRequests(nextId: () => number): Requests {
  const pending = new Map<unknown, Pending>()

  const ask: Requests['ask'] = (type, data, { timeout, signal }, transmit, forget) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) throw signal.reason
      const id = nextId()
      const deadline = createTimer()
      const settle =
        (finish: (value: unknown) => void) =>
        (value: unknown): void => {
          pending.delete(id)
          deadline.clear()
          signal?.removeEventListener('abort', onAbort)
          forget?.(item)
          finish(value)
        }
      const fail = settle(reject)
      const item: Outgoing = { type, text: encode(type, data, id), sent: false, fail }
      const onAbort = (): void => fail(signal?.reason)
      pending.set(id, { item, resolve: settle(resolve) })
      signal?.addEventListener('abort', onAbort)
      deadline.set(
        () => fail(localError(item, 'TIMEOUT', `no answer within ${timeout} ms`, 408)),
        timeout,
      )
      try {
        transmit(item)
      } catch (error) {
        fail(error)
      }
    })

  return {
    ask,
    answer({ type, id, data, error }) {
      const request = pending.get(id)
      if (!request) return
      if (type === 'koaws:reply') request.resolve(data === undefined ? null : data)
      else request.item.fail(remoteError(error, request.item.type))
    },
    fail(why) {
      for (const { item } of [...pending.values()]) {
        if (item.sent) item.fail(localError(item, 'CLOSED', why))
      }
    },
  }
}

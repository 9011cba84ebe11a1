// The pending requests of a client.
import { encode, type Incoming } from './envelope.ts'
import { localError, remoteError } from './errors.ts'
import type { Outgoing } from './outgoing.ts'
import { createTimer } from './timer.ts'
import { randomKey } from './token.ts'

/** The options of a request. */
export interface RequestOptions {
  /** How long to wait for the answer, in milliseconds. @default the client's `timeout` */
  timeout?: number | undefined
  /**
   * Whether the request is sent again when the connection ends before the answer, on the next
   * connection. The server runs its handler at most once: see docs/guides/retry.md. Then `timeout`
   * is 120,000 by default. @default false
   */
  retry?: boolean | undefined
  /** Rejects the request with the signal's reason. A message that was sent stays sent. */
  signal?: AbortSignal | undefined
}

/** The options of a request, with its timeout. */
interface AskOptions extends RequestOptions {
  timeout: number
}

/** The pending requests of a client. */
export interface Requests {
  /**
   * Sends a request and resolves with its answer. `transmit` sends or queues the message, or
   * throws; `forget` is called when the request has settled.
   */
  ask(
    type: string,
    data: unknown,
    options: AskOptions,
    transmit: (item: Pending) => void,
    forget?: (item: Outgoing) => void,
  ): Promise<unknown>
  /** The pending requests and streams by id, in order. */
  readonly pending: Map<unknown, Pending>
  /** Calls a function with each pending request, in order. It may settle the request. */
  each(fn: (item: Outgoing) => unknown): void
}

/** A request that waits for its answer. */
export interface Pending extends Outgoing {
  /** Receives a `koaws:` message with the id of the request. */
  answer(message: Incoming): void
}

/** Creates the pending requests. `nextId` counts from 1 over all connections of the client. */
export function createRequests(nextId: () => number): Requests {
  const pending = new Map<unknown, Pending>()

  const ask: Requests['ask'] = (type, data, { timeout, signal, retry }, transmit, forget) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) throw signal.reason
      const id = nextId()
      const deadline = createTimer(true)
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
      const text = encode(type, data, id, retry ? randomKey() : undefined)
      const since = retry ? 0 : undefined
      const succeed = settle(resolve)
      const answer: Pending['answer'] = ({ type: kind, data: value, error }) => {
        if (kind === 'koaws:reply') succeed(value ?? null)
        else if (kind === 'koaws:error') fail(remoteError(error, type))
      }
      const item: Pending = { type, text, sent: false, fail, since, answer }
      const onAbort = (): void => fail(signal?.reason)
      pending.set(id, item)
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
    pending,
    each(fn) {
      for (const item of pending.values()) fn(item)
    },
  }
}

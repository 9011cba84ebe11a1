// Tracks the requests of the server to one client until they settle.

import type { RequestOptions } from '../connection/types.ts'
import { channels } from '../diagnostics.ts'
import { KoaWsError, MessageError } from '../errors.ts'
import { check, describe, validate } from '../validate.ts'
import { codeOf } from './error-reply.ts'

/** The most open requests to one client. */
const MOST = 1024

interface Waiting {
  readonly type: string
  resolve(value: unknown): void
  reject(error: unknown): void
}

/** The requests to one client that still await an answer. */
export class Requests {
  readonly #waiting = new Map<number, Waiting>()
  readonly #connection: unknown
  readonly #onAsk: () => void
  #lastId = 0

  /**
   * @param connection the connection, for the channel `koaws:answered`
   * @param onAsk called with every request, so that the client's answers are read
   */
  constructor(connection: unknown, onAsk: () => void) {
    this.#connection = connection
    this.#onAsk = onAsk
  }

  get size(): number {
    return this.#waiting.size
  }

  /**
   * Sends a request. The promise always settles: with the answer, after `timeout`, when the signal
   * aborts, or when the connection ends.
   *
   * @param send sends the request with this id; its errors are thrown to the caller
   */
  ask(type: string, options: RequestOptions, send: (id: number) => void): Promise<unknown> {
    validate('connection.request()', options, {
      timeout: check.milliseconds,
      signal: (value) =>
        value instanceof AbortSignal ? null : `must be an AbortSignal, not ${describe(value)}.`,
    })
    const { timeout = 10_000, signal } = options
    if (signal?.aborted) return Promise.reject(signal.reason)
    if (this.#waiting.size >= MOST) {
      throw new MessageError(
        503,
        `The client has ${MOST} unanswered requests. Wait for answers before you send more.`,
      )
    }
    const id = ++this.#lastId
    const began = performance.now()
    send(id)
    return new Promise((resolve, reject) => {
      const settle =
        (finish: (outcome: unknown) => void, codeOfOutcome?: (outcome: unknown) => string) =>
        (outcome: unknown): void => {
          if (!this.#waiting.delete(id)) return
          clearTimeout(timer)
          signal?.removeEventListener('abort', onAbort)
          if (channels.answered.hasSubscribers) this.#tell(type, began, codeOfOutcome?.(outcome))
          finish(outcome)
        }
      const waiting: Waiting = {
        type,
        resolve: settle(resolve),
        reject: settle(reject, codeOrName),
      }
      const onAbort = (): void => waiting.reject(signal?.reason)
      const timer = setTimeout(() => waiting.reject(timedOut(type, timeout)), timeout)
      timer.unref()
      signal?.addEventListener('abort', onAbort)
      this.#waiting.set(id, waiting)
      this.#onAsk()
    })
  }

  /** Returns the type of an open request; undefined when the id is not open. */
  typeOf(id: number): string | undefined {
    return this.#waiting.get(id)?.type
  }

  /** Resolves an open request. An answer to any other id is ignored. */
  resolve(id: number, value: unknown): void {
    this.#waiting.get(id)?.resolve(value)
  }

  /** Rejects an open request: an error, or data that do not match. */
  reject(id: number, error: unknown): void {
    this.#waiting.get(id)?.reject(error)
  }

  /** Rejects all open requests, because the connection has ended. */
  end(error: Error): void {
    for (const { reject } of [...this.#waiting.values()]) reject(error)
  }

  #tell(type: string, began: number, code: string | undefined): void {
    const duration = performance.now() - began
    channels.answered.publish({ connection: this.#connection, type, duration, code })
  }
}

/** A signal may abort with any value, and a schema may throw any. Some of them throw when they are read. */
function codeOrName(error: unknown): string {
  try {
    const code = codeOf(error)
    if (typeof code === 'string') return code
    return error instanceof Error ? String(error.name) : 'unknown'
  } catch {
    return 'unknown'
  }
}

function timedOut(type: string, timeout: number): KoaWsError {
  return new KoaWsError(
    'ERR_KOAWS_TIMEOUT',
    `The client did not answer "${type}" within ${timeout} ms. The request may have been carried out.`,
  )
}

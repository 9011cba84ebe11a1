import type { RequestOptions } from '../connection/types.ts'
import { KoaWsError, MessageError } from '../errors.ts'
import { check, validate } from '../validate.ts'

/** So many may wait for an answer of one client. */
const MOST = 1024

interface Waiting {
  readonly type: string
  resolve(value: unknown): void
  reject(error: unknown): void
}

/** What the server has asked one client, and what it has not answered yet. */
export class Requests {
  readonly #waiting = new Map<number, Waiting>()
  readonly #onAsk: () => void
  #lastId = 0

  /** @param onAsk called with every request: the client's answers have to be read */
  constructor(onAsk: () => void) {
    this.#onAsk = onAsk
  }

  get size(): number {
    return this.#waiting.size
  }

  /**
   * Ask. The promise always settles: with the answer, or at the latest after `timeout`, or when the
   * connection ends.
   *
   * @param send puts the request with this id on its way; what it throws is thrown on
   */
  ask(type: string, options: RequestOptions, send: (id: number) => void): Promise<unknown> {
    validate('connection.request()', options, {
      timeout: check.milliseconds,
      signal: (value) => (value instanceof AbortSignal ? null : 'must be an AbortSignal.'),
    })
    const { timeout = 10_000, signal } = options
    if (signal?.aborted) return Promise.reject(signal.reason)
    if (this.#waiting.size >= MOST) {
      throw new MessageError(503, `The client has ${MOST} requests to answer already.`)
    }
    const id = ++this.#lastId
    send(id)
    return new Promise((resolve, reject) => {
      const settle =
        (finish: (outcome: unknown) => void) =>
        (outcome: unknown): void => {
          if (!this.#waiting.delete(id)) return
          clearTimeout(timer)
          signal?.removeEventListener('abort', onAbort)
          finish(outcome)
        }
      const waiting: Waiting = { type, resolve: settle(resolve), reject: settle(reject) }
      const onAbort = (): void => waiting.reject(signal?.reason)
      const timer = setTimeout(() => waiting.reject(timedOut(type, timeout)), timeout)
      timer.unref()
      signal?.addEventListener('abort', onAbort)
      this.#waiting.set(id, waiting)
      this.#onAsk()
    })
  }

  /** What the request with this id asked; undefined when nobody waits for it. */
  typeOf(id: number): string | undefined {
    return this.#waiting.get(id)?.type
  }

  /** The client has answered; an answer that nobody waits for is ignored. */
  resolve(id: number, value: unknown): void {
    this.#waiting.get(id)?.resolve(value)
  }

  /** The client has answered with an error, or with what does not fit. */
  reject(id: number, error: unknown): void {
    this.#waiting.get(id)?.reject(error)
  }

  /** The connection has ended. */
  end(error: Error): void {
    for (const { reject } of [...this.#waiting.values()]) reject(error)
  }
}

function timedOut(type: string, timeout: number): KoaWsError {
  return new KoaWsError(
    'ERR_KOAWS_TIMEOUT',
    `The client did not answer "${type}" within ${timeout} ms. It may have carried it out.`,
  )
}

// How a connection ends, and the errors and callbacks that tell of it.

import { KoaWsError } from '../errors.ts'
import type { CloseInfo } from './types.ts'

/** The arguments of ws's `close` event. */
export interface CloseEvent {
  readonly code: number
  readonly reason: Buffer
}

/** How one connection ends: our verdict, ws's event, and the promises that wait for both. */
export class Ending {
  /** The `close` event, once it has been. */
  event: CloseEvent | undefined
  /** The first code that we closed with. */
  #verdict: CloseInfo | undefined
  #controller: AbortController | undefined
  #closed: Promise<CloseInfo> | undefined
  #settle: ((info: CloseInfo) => void) | undefined

  /** Whether it was the application, or koaws, that began to close. */
  ours = false

  /** We close; only the first of several verdicts counts. */
  decide(code: number, reason: string): void {
    this.#verdict ??= { code, reason, clean: false }
  }

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController()
      if (this.event) this.#controller.abort(closedError())
    }
    return this.#controller.signal
  }

  get closed(): Promise<CloseInfo> {
    this.#closed ??= new Promise((resolve) => {
      if (this.event) resolve(this.info)
      else this.#settle = resolve
    })
    return this.#closed
  }

  /** The code of a completed closing handshake, else our verdict, else 1006. */
  get info(): CloseInfo {
    const { code, reason } = this.event as CloseEvent
    if (code !== 1006) return { code, reason: reason.toString('utf8'), clean: true }
    return this.#verdict ?? { code, reason: '', clean: false }
  }

  /** Settles the promises that wait for the end. */
  settle(): void {
    this.#controller?.abort(closedError())
    this.#settle?.(this.info)
  }
}

/** The error of what can only be done with an open connection. */
export function closedError(): KoaWsError {
  return new KoaWsError('ERR_KOAWS_CLOSED', 'The connection is closed')
}

/** Tells the callback, wherever it stands among the arguments of ws, that a frame was dropped. */
export function settleDropped(...args: readonly unknown[]): void {
  const callback = args.find((one) => typeof one === 'function')
  if (callback) process.nextTick(callback as (error: Error) => void, tooSlowError())
}

/**
 * A callback that is given an error for a write that was cut off: Node calls back without an error for
 * a write that was on its way when the socket was destroyed. A value that is not a callback stays as it is.
 */
export function toldOfCut<T>(outbox: { readonly isCutOff: boolean } | null, given: T): T {
  if (typeof given !== 'function' || outbox === null) return given
  const told = (error?: Error | null): unknown =>
    given(error ?? (outbox.isCutOff ? closedError() : error))
  return told as T
}

/** The error of a message that was dropped. */
function tooSlowError(): KoaWsError {
  return new KoaWsError(
    'ERR_KOAWS_SLOW_CONSUMER',
    'The message was dropped: the client receives more slowly than the server sends (options "maxBufferedAmount" and "slowConsumer").',
  )
}

/** The error of an operation for which `messages()` must serve the connection. */
export function notServed(): KoaWsError {
  return new KoaWsError(
    'ERR_KOAWS_NOT_NEGOTIATED',
    'push() and request() need a connection that messages() serves over koaws.v1: accept it with accept(messages(...)), or use send() or json().',
  )
}

import { KoaWsError } from '../errors.ts'
import type { CloseInfo } from './types.ts'

/** The arguments of ws's `close` event. */
export interface CloseEvent {
  readonly code: number
  readonly reason: Buffer
}

/** How one connection ends: our verdict, ws's event, and who waits for them. */
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

  /** Tell whoever waits. */
  settle(): void {
    this.#controller?.abort(closedError())
    this.#settle?.(this.info)
  }
}

/** The error of what can only be done with an open connection. */
export function closedError(): KoaWsError {
  return new KoaWsError('ERR_KOAWS_CLOSED', 'The connection is closed')
}

/** The error of a message that was dropped. */
export function tooSlowError(): KoaWsError {
  return new KoaWsError('ERR_KOAWS_SLOW_CONSUMER', 'Dropped: the client takes too little.')
}

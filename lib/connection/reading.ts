import { WebSocket } from 'ws'

/** Who has stopped reading from the client, as bits: reading goes on when nobody stops it. */
export const BY_USER = 1
export const BY_INBOX = 2
export const BY_ITERATOR = 4
export const BY_FLOOD = 8
export const BY_HANDLERS = 16

/** Reading from one client. Each of those who may stop it has to let go by itself. */
export class Reading {
  readonly #connection: WebSocket
  #stoppedBy = 0

  constructor(connection: WebSocket) {
    this.#connection = connection
  }

  stop(by: number): void {
    this.#stoppedBy |= by
    WebSocket.prototype.pause.call(this.#connection)
  }

  goOn(by: number): void {
    this.#stoppedBy &= ~by
    if (this.#stoppedBy === 0) WebSocket.prototype.resume.call(this.#connection)
  }

  /** Nobody stops it any more: whoever does not read cannot see the close frame of the client. */
  open(): void {
    if (this.#stoppedBy !== 0) this.goOn(~0)
  }
}

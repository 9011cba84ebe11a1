// Pauses reading from a client while at least one reason holds.

import { WebSocket } from 'ws'

/** The reasons that stop reading from the client, as bits. Reading continues when no bit is set. */
export const BY_USER = 1
export const BY_INBOX = 2
export const BY_ITERATOR = 4
export const BY_FLOOD = 8
export const BY_HANDLERS = 16
export const BY_TURN = 32

/** Taken at the start: a test's fake timers must not keep clients from being read. */
const later = setImmediate

/** So many of the clients that wait for a turn are read in each: what a turn may cost does not grow with them. */
const READERS = 4

const waiting: Reading[] = []

function readOn(): void {
  for (const reading of waiting.splice(0, READERS)) reading.goOn(BY_TURN)
  if (waiting.length > 0) later(readOn)
}

/** Reading from one client. Each reason that stopped it is taken back by its own code. */
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

  /** Stop until a later turn of the event loop, for the sake of other sockets. */
  nextTurn(): void {
    if ((this.#stoppedBy & BY_TURN) !== 0) return
    this.stop(BY_TURN)
    if (waiting.push(this) === 1) later(readOn)
  }

  goOn(by: number): void {
    this.#stoppedBy &= ~by
    if (this.#stoppedBy === 0) WebSocket.prototype.resume.call(this.#connection)
  }

  /** Takes back every reason: without reading, the close frame of the client is never seen. */
  open(): void {
    if (this.#stoppedBy !== 0) this.goOn(~0)
  }
}

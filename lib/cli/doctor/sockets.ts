// The sockets of one run: every one ends at the deadline, and trusts its server by one rule.
import type { Duplex } from 'node:stream'

/** The sockets of one run, and its limits of time. */
export class Sockets {
  /** Milliseconds for one step: a lookup, a handshake, an answer. */
  readonly patience: number
  /** Whether requests go to servers with a wrong certificate too. */
  readonly insecure: boolean
  readonly #open = new Set<Duplex>()
  #closed = false

  constructor(patience: number, insecure: boolean) {
    this.patience = patience
    this.insecure = insecure
  }

  /** Whether the run is over: each new socket ends at once. */
  get closed(): boolean {
    return this.#closed
  }

  /** Adds a socket, and handles its errors: the event `close` follows each. */
  add<Socket extends Duplex>(socket: Socket): Socket {
    socket.on('error', () => {})
    if (this.#closed) socket.destroy()
    else {
      this.#open.add(socket)
      socket.once('close', () => this.#open.delete(socket))
    }
    return socket
  }

  /** Ends the run: destroys all sockets, so that every wait for them settles. */
  close(): void {
    this.#closed = true
    for (const socket of this.#open) socket.destroy()
  }
}

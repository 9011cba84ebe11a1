// A pair of connected streams in memory.
import { Duplex, type DuplexOptions } from 'node:stream'

/** One end of an in-memory connection. Bytes written to one end are read from the other. */
class End extends Duplex {
  peer: End | null = null
  #waiting: (() => void) | null = null
  /** The address of a client on this machine. */
  readonly remoteAddress = '127.0.0.1'

  constructor(options?: DuplexOptions) {
    super({ ...options, allowHalfOpen: true, emitClose: true })
  }

  override _read(): void {
    const resume = this.#waiting
    this.#waiting = null
    resume?.()
  }

  override _write(
    chunk: Buffer,
    _encoding: BufferEncoding,
    done: (error?: Error | null) => void,
  ): void {
    const peer = this.peer as End
    if (peer.destroyed) done()
    else if (peer.push(chunk)) process.nextTick(done)
    else peer.#waiting = done // the reader is slow: backpressure
  }

  override _final(done: (error?: Error | null) => void): void {
    const peer = this.peer as End
    if (!peer.destroyed) peer.push(null)
    done()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const peer = this.peer as End
    this.#release()
    process.nextTick(() => {
      peer.#release()
      if (!peer.destroyed && !peer.readableEnded) peer.push(null)
      if (!peer.destroyed) peer.destroy()
    })
    done(error)
  }

  #release(): void {
    const resume = this.#waiting
    this.#waiting = null
    resume?.()
  }

  // Methods of `net.Socket` that http and ws call.
  setTimeout(): this {
    return this
  }
  setNoDelay(): this {
    return this
  }
  setKeepAlive(): this {
    return this
  }
  ref(): this {
    return this
  }
  unref(): this {
    return this
  }
}

/** Returns two connected ends, without a port. */
export function socketPair(): [client: Duplex, server: Duplex] {
  const client = new End()
  const server = new End()
  client.peer = server
  server.peer = client
  return [client, server]
}

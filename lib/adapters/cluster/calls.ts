// Connects to other instances, or asks them to connect.

import { unlink } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { codeOf, socketPath } from './folder.ts'
import { introduction, RecordKind } from './records.ts'
import { Retries } from './retries.ts'

/** How long an instance may take to answer a knock by making the stream, in milliseconds. */
const ANSWER = 1_000
/** A socket refuses between binding and listening, and also when its owner is dead. */
const GRACE = 50

/** The link that calls other instances. */
export interface Caller {
  readonly id: string
  readonly folder: string
  readonly isClosed: boolean
  /** Whether a stream to an instance is wanted still. */
  needs(id: string): boolean
  open(socket: Socket, peer: string | null): void
  /** Nothing listens on the socket of an instance. */
  dead(id: string): void
}

/** Connects to other instances, or has them connect: of two, the one with the smaller id makes the stream. */
export class Calls {
  readonly #caller: Caller
  /** Instances that are being connected to. */
  readonly #calling = new Set<string>()
  /** Instances that are called again later. */
  readonly #retries = new Retries((id) => this.call(id))

  constructor(caller: Caller) {
    this.#caller = caller
  }

  /** A call has ended: a stream is there, or has failed. */
  end(id: string): void {
    this.#calling.delete(id)
  }

  /** Notes that the stream to an instance is there. */
  connected(id: string): void {
    this.end(id)
    this.#retries.cancel(id)
  }

  /** Notes that a stream ended or was not made, and calls again later: see `Retries`. */
  failed(id: string, lasted: number, least = 0): void {
    this.end(id)
    this.#retries.failed(id, lasted, least)
  }

  /** Forgets an instance that will not come back. */
  forget(id: string): void {
    this.#retries.forget(id)
  }

  /** Stops all later calls. */
  stop(): void {
    this.#retries.clear()
  }

  call(id: string, again = true): void {
    const caller = this.#caller
    if (caller.isClosed || this.#calling.has(id) || this.#retries.isWaiting(id)) return
    this.#calling.add(id)
    const path = socketPath(caller.folder, id)
    const socket = connect(path)
    socket.unref()
    socket.once('error', (error) => {
      this.#calling.delete(id)
      if (!caller.needs(id)) return
      const code = codeOf(error)
      // Any other error, such as running out of file descriptors here, says nothing about the other side.
      if (code !== 'ECONNREFUSED' && code !== 'ENOENT') return
      if (again) setTimeout(() => this.call(id, false), GRACE).unref()
      else
        void unlink(path)
          .catch(ignore)
          .then(() => caller.dead(id))
    })
    // A socket that is destroyed while it connects has no error.
    const closed = (): void => this.end(id)
    socket.once('close', closed)
    socket.once('connect', () => {
      socket.off('close', closed)
      socket.removeAllListeners('error')
      socket.on('error', ignore)
      if (!caller.needs(id)) {
        this.#calling.delete(id)
        socket.destroy()
      } else if (caller.id < id) caller.open(socket, id)
      else this.#knock(socket, id)
    })
  }

  #knock(socket: Socket, id: string): void {
    socket.end(introduction(RecordKind.knock, this.#caller.id))
    socket.resume()
    socket.setTimeout(ANSWER, () => socket.destroy()) // the other side may stand still
    socket.once('close', () => {
      // A process that was just killed still takes connections for a moment.
      if (this.#caller.needs(id)) this.failed(id, 0, ANSWER)
      else this.end(id)
    })
  }
}

function ignore(): void {}

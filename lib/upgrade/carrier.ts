import type { EventEmitter } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Accepted, Acceptor } from './acceptor.ts'
import type { Refusal } from './handshake.ts'

/** What a carrier needs of an upgrade. */
export interface Carried {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  /** The TCP connection, or the stream of an HTTP/2 session. */
  readonly socket: Duplex
  readonly head: Buffer
  /** Whether Node had taken the request for an ordinary one. */
  readonly takenOver: boolean
}

/** A status that means an accept where nobody has accepted, and what is answered in its place. */
export interface Stray {
  readonly status: number
  readonly text: string
  readonly headers?: Readonly<Record<string, string>>
  /** Where it is a fault of the application: what it is told. */
  readonly error?: string
}

/**
 * What carries a handshake: an HTTP/1.1 request with `Upgrade` (RFC 6455, section 4), or an extended
 * CONNECT on a stream of HTTP/2 (RFC 8441). All that differs between the two is behind this.
 */
export interface Carrier {
  /** The status that accepts. */
  readonly acceptStatus: number
  /** Whether a client takes an answer with this status for an accept. */
  accepts(status: number): boolean
  readonly stray: Stray
  /** What is wrong with a handshake, or null. */
  check(req: IncomingMessage): Refusal | null
  /** What emits `finish` when an HTTP answer has been written whole. */
  answerOf(upgrade: Carried): EventEmitter
  /** It has: tell whoever waits for the end of the response. */
  answered(upgrade: Carried): void
  /** Answer a request that the application shall not see, or answers too late. */
  refuse(socket: Duplex, refusal: Refusal): void
  /**
   * Answer with the accept, and make the connection.
   *
   * @throws UpgradeError when the client has left, or an answer has begun
   */
  switch(upgrade: Carried, acceptor: Acceptor, subprotocol: string | false): Accepted
  /** The accept has left: make the response look finished. */
  finish(upgrade: Carried, onError: (error: unknown) => void): void
  /** Request and response are done with: what lives as long as the connection shall not hold them. */
  letGo(upgrade: Carried): void
}

// Defines the differences between a handshake over HTTP/1.1 and over HTTP/2.

import type { EventEmitter } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Accepted, Acceptor } from './acceptor.ts'
import type { Refusal } from './handshake.ts'

/** The parts of an upgrade that a carrier needs. */
export interface Carried {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  /** The TCP connection, or the stream of an HTTP/2 session. */
  readonly socket: Duplex
  readonly head: Buffer
  /** Whether Node first treated the upgrade as an ordinary request. */
  readonly takenOver: boolean
}

/** The answer when the chain set an accepting status without accepting. */
export interface Stray {
  readonly status: number
  readonly text: string
  readonly headers?: Readonly<Record<string, string>>
  /** The message for the application, when this is its fault. */
  readonly error?: string
}

/**
 * The HTTP version of a handshake: an HTTP/1.1 request with `Upgrade` (RFC 6455, section 4), or an
 * extended CONNECT on a stream of HTTP/2 (RFC 8441). It contains all differences between the two.
 */
export interface Carrier {
  /** The status of an accept. */
  readonly acceptStatus: number
  /** Returns whether a client treats an answer with this status as an accept. */
  accepts(status: number): boolean
  readonly stray: Stray
  /** Returns the problem with a handshake, or null. */
  check(req: IncomingMessage): Refusal | null
  /** Returns the emitter of `finish`, when an HTTP answer has been written completely. */
  answerOf(upgrade: Carried): EventEmitter
  /** Informs listeners of the response after that `finish`. */
  answered(upgrade: Carried): void
  /** Answers a request that the application must not see, or answers too late. */
  refuse(socket: Duplex, refusal: Refusal): void
  /**
   * Answers with the accept, and makes the connection.
   *
   * @throws UpgradeError when the client has left, or an answer has begun
   */
  switch(upgrade: Carried, acceptor: Acceptor, subprotocol: string | false): Accepted
  /** Makes the response look finished after the accept has been sent. */
  finish(upgrade: Carried, onError: (error: unknown) => void): void
  /** Drops references to request and response that would live as long as the connection. */
  letGo(upgrade: Carried): void
}

// The base class of `Connection`: the facts of its handshake.

import { type ParsedUrlQuery, parse } from 'node:querystring'
import type { DefaultState } from 'koa'
import { WebSocket } from 'ws'
import { bytesOf } from './ws-private.ts'

/** What is known of a connection since its handshake. */
export interface Facts {
  readonly id: string
  readonly userId: string | undefined
  readonly state: unknown
  readonly ip: string
  readonly params: Readonly<Record<string, string>>
  /** Path and query of the request. */
  readonly url: string
}

/** For applications the facts are readonly. */
type Written = { -readonly [Name in keyof Facts]: Facts[Name] }

let writeUrl: (target: WebSocketWithFacts<unknown>, url: string) => void

/** Fills in the facts of a connection, one by one: `Object.assign` took about 4 % of a handshake. */
export function writeFacts(target: WebSocketWithFacts<unknown>, facts: Facts): void {
  const written = target as Written
  written.id = facts.id
  written.userId = facts.userId
  written.state = facts.state
  written.ip = facts.ip
  written.params = facts.params
  writeUrl(target, facts.url)
}

/** Sets the user of a connection that has authenticated with a message. */
export function writeUser(target: WebSocketWithFacts<unknown>, userId: string | undefined): void {
  ;(target as Written).userId = userId
}

/** Replaces the state of a connection by that of another authorization. */
export function writeState(target: WebSocketWithFacts<unknown>, state: unknown): void {
  ;(target as Written).state = state
}

const START = Date.now()

/** Returns an epoch time as milliseconds since the start: a small whole number takes no object for each. */
export function sinceStart(time: number): number {
  const since = time - START
  // Node keeps a difference of large numbers as a large one, also when it is small.
  return since === (since | 0) ? since | 0 : since
}

export function timeOf(since: number): number {
  return START + since
}

const NO_PARAMS: Readonly<Record<string, string>> = Object.freeze({})

/** A ws WebSocket that knows the facts of its handshake. `Connection` is one. */
export class WebSocketWithFacts<State = DefaultState> extends WebSocket {
  /** Unique among all connections of all instances. */
  readonly id: string = ''
  /** The id of the user, from the option `user` at the handshake, or from the authentication. */
  readonly userId: string | undefined = undefined
  /** `ctx.state` of the handshake. */
  readonly state: State = undefined as State
  /** The address of the client: `ctx.ip` of the handshake. */
  readonly ip: string = ''
  /** The route's parameters at the handshake. */
  readonly params: Readonly<Record<string, string>> = NO_PARAMS
  #url = ''
  readonly #opened = sinceStart(Date.now())

  /** When the connection was accepted, in epoch milliseconds. */
  get openedAt(): number {
    return timeOf(this.#opened)
  }

  /** The path of the request, without the query. */
  get path(): string {
    const end = this.#url.indexOf('?')
    return end < 0 ? this.#url : this.#url.slice(0, end)
  }

  /** The query of the request, parsed on first use. */
  get query(): ParsedUrlQuery {
    const value = parse(this.#url.slice(this.path.length + 1))
    // Few ask: the property comes into being only then.
    Object.defineProperty(this, 'query', { value, configurable: true })
    return value
  }

  /**
   * Bytes that arrived on the TCP connection, with the handshake; over HTTP/2 those of the stream after it.
   * 0 after the end where Node no longer knows.
   */
  get bytesRead(): number {
    return bytesOf(this).bytesRead
  }

  /** Bytes that were written to the TCP connection, or to the stream of HTTP/2, with the bytes that still wait there. */
  get bytesWritten(): number {
    return bytesOf(this).bytesWritten
  }

  static {
    writeUrl = (target, url) => {
      target.#url = url
    }
  }
}

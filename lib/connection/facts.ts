import { type ParsedUrlQuery, parse } from 'node:querystring'
import type { DefaultState } from 'koa'
import { WebSocket } from 'ws'

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

/** Fill in the facts of a connection, or some of them; for users they are readonly. */
export let writeFacts: (target: WebSocketWithFacts<unknown>, facts: Partial<Facts>) => void

const NO_PARAMS: Readonly<Record<string, string>> = Object.freeze({})

/** A ws WebSocket that knows the facts of its handshake. `Connection` is one. */
export class WebSocketWithFacts<State = DefaultState> extends WebSocket {
  /** Unique among all connections of all instances. */
  readonly id: string = ''
  /** Who this is, as the option `user` said at the handshake, or at the authentication. */
  readonly userId: string | undefined = undefined
  /** `ctx.state` of the handshake. */
  readonly state: State = undefined as State
  /** The address of the client: `ctx.ip` of the handshake. */
  readonly ip: string = ''
  /** The route's parameters at the handshake. */
  readonly params: Readonly<Record<string, string>> = NO_PARAMS
  /** When the connection was accepted, in epoch milliseconds. */
  readonly openedAt: number = Date.now()
  #url = ''

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

  static {
    writeFacts = (target, { url, ...rest }) => {
      Object.assign(target, rest)
      if (url !== undefined) target.#url = url
    }
  }
}

// The channels of `node:diagnostics_channel`, and their payloads.
import { type Channel, channel } from 'node:diagnostics_channel'

/**
 * The channels of `node:diagnostics_channel`. A payload is created only for a channel with
 * subscribers. `docs/guides/diagnostics.md` describes each payload.
 */
export const channels: {
  /** The outcome of an upgrade is known. */
  readonly upgrade: Channel<string, UpgradeEvent>
  /** A connection was accepted; its handler has not run yet. */
  readonly connection: Channel<string, ConnectionEvent>
  /** A message arrived. */
  readonly message: Channel<string, MessageEvent>
  /** A message of `koaws.v1` was handled. */
  readonly handled: Channel<string, HandledEvent>
  /** A request of the server to a client has an outcome. */
  readonly answered: Channel<string, AnsweredEvent>
  /** A message was sent to connections of this instance. */
  readonly sent: Channel<string, SentEvent>
  /** A pong arrived. */
  readonly pong: Channel<string, PongEvent>
  /** It is known whether a client that returned to a room has missed nothing. */
  readonly recovery: Channel<string, RecoveryEvent>
  /** A rejection, a dropped message, or another event counted in `status().drops`. */
  readonly drop: Channel<string, DropEvent>
  /** A connection has ended. */
  readonly close: Channel<string, CloseEvent>
  /** The state of the backplane changed, or the reason why the engine is unreachable. */
  readonly backplane: Channel<string, BackplaneEvent>
  /** The engine has taken what this instance published. */
  readonly published: Channel<string, PublishedEvent>
  /** A stage of `hub.close()` begins. */
  readonly shutdown: Channel<string, ShutdownEvent>
  /**
   * Messages of other instances did not arrive here, or messages of this instance will not arrive
   * elsewhere.
   */
  readonly lost: Channel<string, LostEvent>
} = {
  upgrade: typedChannel<UpgradeEvent>('koaws:upgrade'),
  connection: typedChannel<ConnectionEvent>('koaws:connection'),
  message: typedChannel<MessageEvent>('koaws:message'),
  handled: typedChannel<HandledEvent>('koaws:handled'),
  answered: typedChannel<AnsweredEvent>('koaws:answered'),
  sent: typedChannel<SentEvent>('koaws:sent'),
  pong: typedChannel<PongEvent>('koaws:pong'),
  recovery: typedChannel<RecoveryEvent>('koaws:recovery'),
  drop: typedChannel<DropEvent>('koaws:drop'),
  close: typedChannel<CloseEvent>('koaws:close'),
  backplane: typedChannel<BackplaneEvent>('koaws:backplane'),
  published: typedChannel<PublishedEvent>('koaws:published'),
  shutdown: typedChannel<ShutdownEvent>('koaws:shutdown'),
  lost: typedChannel<LostEvent>('koaws:lost'),
}

/** A channel that carries one kind of payload only: `@types/node` types the payload of a store as unknown. */
function typedChannel<Payload>(name: string): Channel<string, Payload> {
  return channel(name) as unknown as Channel<string, Payload>
}

/** Payload of `koaws:upgrade`. */
export interface UpgradeEvent {
  /** The name of the instance, as in `status().id`; undefined when no plugin has decided. */
  readonly instance: string | undefined
  /** The `IncomingMessage`, which has the query and the headers of the client. Not enumerable, so that logs leave it out. */
  readonly request: unknown
  /** The path without the query, with escaped control characters, at most 200 characters. */
  readonly path: string
  /** The method of the request: GET, unless the request was malformed. GET over HTTP/2 as well. */
  readonly method: string
  /**
   * The status of the answer: 101 for an accept, 0 when the client left or the upgrade was not
   * answered.
   */
  readonly status: number
  /** The error code of a refusal by koaws; undefined when the application decided. */
  readonly code: string | undefined
  /** The reason of a rejection, in words that the client may read; undefined for an accept. */
  readonly reason: string | undefined
  /**
   * The address of the client: `ctx.ip`, which follows `app.proxy`. The address of the TCP
   * connection when the upgrade did not reach the chain and the app is not known yet.
   */
  readonly ip: string
  /**
   * The header Origin. Like the next two: escaped, at most 200 characters, undefined without the
   * header.
   */
  readonly origin: string | undefined
  /** The header User-Agent. */
  readonly userAgent: string | undefined
  /** The header X-Request-Id. */
  readonly requestId: string | undefined
  /** The time from Node's event to the decision, in milliseconds. */
  readonly duration: number
}

/** Payload of `koaws:connection`. */
export interface ConnectionEvent {
  /** The `Connection`. */
  readonly connection: unknown
}

/** Payload of `koaws:message`. */
export interface MessageEvent {
  /** The `Connection`. */
  readonly connection: unknown
  /** The size of the message in bytes. */
  readonly size: number
  /** Whether the message is binary. */
  readonly binary: boolean
  /** The message as ws received it: a Buffer, an ArrayBuffer or a list of Buffers. Not enumerable. */
  readonly data: unknown
}

/** Payload of `koaws:handled`. */
export interface HandledEvent {
  /** The `Connection`. */
  readonly connection: unknown
  /** The type of the message. */
  readonly type: string
  /** Whether the client expects a reply. */
  readonly isRequest: boolean
  /** The size of the message in bytes. */
  readonly size: number
  /** The time from the check of the data to the end of the handler, in milliseconds. */
  readonly duration: number
  /** The code of the error that the client got or would have got; undefined when the handler succeeded. */
  readonly code: string | undefined
}

/** Payload of `koaws:answered`. */
export interface AnsweredEvent {
  /** The `Connection`. */
  readonly connection: unknown
  /** The type of the request. */
  readonly type: string
  /** The time from the send to the outcome, in milliseconds. */
  readonly duration: number
  /**
   * The code of the error that `connection.request()` rejects with, or the name of an error without
   * a code, such as `AbortError`; undefined for an answer.
   */
  readonly code: string | undefined
}

/** Payload of `koaws:sent`. Messages of koaws itself outside of a handler, such as the welcome, are included where `send()` sends them. */
export interface SentEvent {
  /** The name of the instance that sends, as in `status().id`; undefined with a connection. */
  readonly instance: string | undefined
  /** The `Connection`; undefined for a send to many. */
  readonly connection: unknown
  /** The type of a message of `koaws.v1`; undefined for any other message. */
  readonly type: string | undefined
  /** The size of the message in bytes, before compression. */
  readonly size: number
  /** How many connections of this instance it was sent to. */
  readonly count: number
  /** The audience of a send to many; undefined with a connection. */
  readonly audience: SentAudience | undefined
  /** The message, in the form that is sent. Not enumerable. */
  readonly data: unknown
}

/** The audience of a `koaws:sent`. */
export interface SentAudience {
  /** What the names are. */
  readonly kind: 'all' | 'connections' | 'users' | 'rooms'
  /** The ids of connections or users, or the names of rooms; empty for all. */
  readonly names: readonly string[]
  /** The ids of excluded connections. */
  readonly except: readonly string[]
  /** The ids of excluded users. */
  readonly exceptUsers: readonly string[]
}

/** Payload of `koaws:pong`. */
export interface PongEvent {
  /** The `Connection`. */
  readonly connection: unknown
  /** The round trip of the ping, in milliseconds. */
  readonly rtt: number
}

/** Payload of `koaws:recovery`. */
export interface RecoveryEvent {
  /** The `Connection`. */
  readonly connection: unknown
  /** The name of the room; empty for the messages to a user. */
  readonly room: string
  /** Whether the client gets all that it missed. */
  readonly recovered: boolean
  /** How many messages it missed; null when that is unknown. */
  readonly missed: number | null
  /** Why not; null when it recovers. `docs/guides/recovery.md` lists the reasons. */
  readonly reason: string | null
}

/** Payload of `koaws:drop`. */
export interface DropEvent {
  /** The name of the counter in `status().drops`. */
  readonly reason: string
  /** How many messages, or rejections, this report counts. */
  readonly count: number
  /** The affected connection; undefined before an accept, and for a send to many. */
  readonly connection: unknown
  /** The name of the instance that counts it, as in `status().id`. */
  readonly instance: string
}

/** Payload of `koaws:close`. */
export interface CloseEvent {
  /** The `Connection`. */
  readonly connection: unknown
  /** The close code. */
  readonly code: number
  /** The close reason. */
  readonly reason: string
  /** Whether the closing handshake was completed. */
  readonly clean: boolean
}

/** Payload of `koaws:backplane`. */
export interface BackplaneEvent {
  /** The name of this instance. */
  readonly instance: string
  /**
   * `connecting` is also reported for each new reason why the engine is unreachable since the
   * start.
   */
  readonly state: 'connecting' | 'ready' | 'degraded'
  /** The reason for the state, with the engine's error message if there is one. */
  readonly why: string
  /** The messages and bytes that wait for the engine. */
  readonly queued: { readonly messages: number; readonly bytes: number }
}

/** Payload of `koaws:published`. */
export interface PublishedEvent {
  /** The name of this instance. */
  readonly instance: string
  /** The number of sends, joins and other orders in the payload. */
  readonly orders: number
  /** The size of the payload in bytes. */
  readonly size: number
  /** The time from the end of the turn that published to the answer of the engine, in milliseconds, with the time in the queue. */
  readonly duration: number
}

/** Payload of `koaws:shutdown`. */
export interface ShutdownEvent {
  /** The name of this instance. */
  readonly instance: string
  /**
   * `delay`: `ready` is false. `refuse`: new upgrades get 503, and loops end. `close`: clients get a closing handshake.
   * `terminate`: the rest is ended, after the deadline. `end`: nothing is left.
   */
  readonly stage: 'delay' | 'refuse' | 'close' | 'terminate' | 'end'
  /** The open connections of this instance. */
  readonly connections: number
}

/** Payload of `koaws:lost`. */
export interface LostEvent {
  /** The name of this instance. */
  readonly instance: string
  /**
   * `in`: messages of another instance did not arrive here. `out`: messages of this instance will
   * not arrive elsewhere; their `Delivery` reports it too.
   */
  readonly direction: 'in' | 'out'
  /** The topic: `all`, `room:<name>` or `user:<id>`; undefined for `out`. */
  readonly topic: string | undefined
  /** The instance that published the messages; empty when unknown. */
  readonly from: string
  /** The number of messages; 0 when unknown. */
  readonly count: number
  /** The reason, for `out`. */
  readonly why: string | undefined
}

/** A `MessageEvent`: `data` is a getter, so that a subscriber that logs events logs no bodies. */
export class Arrived implements MessageEvent {
  readonly connection: unknown
  readonly size: number
  readonly binary: boolean
  readonly #data: unknown

  constructor(connection: unknown, size: number, binary: boolean, data: unknown) {
    this.connection = connection
    this.size = size
    this.binary = binary
    this.#data = data
  }

  get data(): unknown {
    return this.#data
  }
}

/** A `SentEvent`, with `data` in the same form. */
export class Sent implements SentEvent {
  readonly instance: string | undefined
  readonly connection: unknown
  readonly type: string | undefined
  readonly size: number
  readonly count: number
  readonly audience: SentAudience | undefined
  readonly #data: unknown

  constructor(fields: Omit<SentEvent, 'data'>, data: unknown) {
    const { instance, connection, type, size, count, audience } = fields
    this.instance = instance
    this.connection = connection
    this.type = type
    this.size = size
    this.count = count
    this.audience = audience
    this.#data = data
  }

  get data(): unknown {
    return this.#data
  }
}

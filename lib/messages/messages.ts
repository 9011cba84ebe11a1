// Provides `messages()`, which handles the messages of the subprotocol `koaws.v1`.

import type { Context, DefaultContext, DefaultState } from 'koa'
import type { Audience } from '../connection/audience.ts'
import { CheckedAudience } from '../connection/checked-audience.ts'
import type { Connection } from '../connection/connection.ts'
import type { HandlerContext } from '../connection/route-context.ts'
import { setSpeaker } from '../connection/speaker.ts'
import type { CloseInfo } from '../connection/types.ts'
import { OptionsError } from '../errors.ts'
import {
  type AnyProtocol,
  type ClientType,
  type DefinitionOf,
  isSchema,
  type Protocol,
  type ProtocolDefinition,
  type ReceivedData,
  type ReplyGiven,
  type StreamGiven,
  typeProblem,
  type UploadItem,
} from '../protocol/definition.ts'
import type { SchemaOutput, StandardSchema } from '../protocol/standard-schema.ts'
import { KOAWS_V1 } from '../protocol/subprotocol.ts'
import { describe } from '../validate.ts'
import { MessageConversation } from './conversation.ts'
import type { Message, Replied } from './message.ts'
import { type MessagesOptions, resolveMessagesOptions } from './options.ts'
import { type HandlerOptions, Routes } from './routes.ts'
import { type CloseHook, type OpenHook, Service } from './service.ts'

/** Middleware around the handler of each message, composed as in Koa. */
export type MessageMiddleware<State = DefaultState, D extends AnyProtocol = ProtocolDefinition> = (
  message: Message<unknown, unknown, State, D>,
  next: () => Promise<unknown>,
) => unknown

type Nothing = ReturnType<() => void>
/**
 * What a handler may return: the reply, or the result of `message.reply()`. Returning undefined is
 * allowed only when the reply may be undefined or null.
 */
type Returned<Reply> =
  | Reply
  | Replied
  | (undefined extends Reply ? Nothing : [Reply] extends [null] ? Nothing : never)

/**
 * The stream of items that a handler returns: a generator with the reply as its return value, or any other
 * async iterable, after which the reply is null.
 */
type Streamed<Item, Reply> =
  | AsyncGenerator<Item, Returned<Reply>>
  | Generator<Item, Returned<Reply>>
  | (Nothing extends Returned<Reply> ? AsyncIterable<Item> : never)

/** What a handler returns: the reply, or with a `stream` in the protocol, the items before it. */
type Handled<Reply, Item> = [Item] extends [never]
  ? unknown extends Reply
    ? unknown
    : Returned<Reply> | Promise<Returned<Reply>>
  : Streamed<Item, Reply> | Promise<Streamed<Item, Reply>>

/**
 * Handles the messages of one type. The returned value is the reply. When the protocol defines a
 * reply, the handler must return one, or the result of `message.reply()`. Otherwise `undefined` is
 * sent as null. With a `stream` in the protocol, the handler is a generator: it yields the items, and
 * returns the reply.
 *
 * @typeParam Item the items that the handler sends; never without a stream
 * @typeParam Upload the items that the client sends
 */
export type MessageHandler<
  Data = unknown,
  Reply = unknown,
  State = DefaultState,
  D extends AnyProtocol = ProtocolDefinition,
  Item = never,
  Upload = unknown,
> = (message: Message<Data, Reply, State, D, Upload>) => Handled<Reply, Item>

/** The handler of a type of the definition `D`. */
type HandlerOf<D extends ProtocolDefinition, T extends ClientType<D>, State> = MessageHandler<
  ReceivedData<D, T>,
  ReplyGiven<D, T>,
  State,
  D,
  StreamGiven<D, T>,
  UploadItem<D, T>
>

/** An object with rooms, such as a hub. */
export interface RoomSource {
  /** Returns the audience of the rooms with these `names`. */
  room(...names: string[]): Audience
}

/** The methods of both forms of `messages()`. */
interface MessagesBase<D extends ProtocolDefinition, State> {
  /**
   * Serves a `connection` with the `ctx` of its handshake: pass the result to `accept(chat)` or `ctx.ws(chat)`, or call it with a
   * connection that speaks `koaws.v1`.
   */
  (connection: Connection<State>, ctx: Context | HandlerContext<State, DefaultContext>): void
  /** The definition of the protocol, for `connect<typeof chat>()`. */
  readonly types: D
  /**
   * Adds `middleware` around each message. The first one added is the outermost.
   * @throws OptionsError after the first connection was served
   */
  use(middleware: MessageMiddleware<State, D>): this
  /**
   * Adds a `hook` that runs when a connection opens, after its welcome. The first message waits until
   * the hook settles. An error closes the connection like an error of a handler of `accept()`.
   * @throws OptionsError after the first connection was served
   */
  onOpen(
    hook: (connection: Connection<State, D>, ctx: HandlerContext<State, DefaultContext>) => unknown,
  ): this
  /**
   * Adds a `hook` that runs when an opened connection has ended. `hub.close()` waits for it until its
   * deadline.
   * @throws OptionsError after the first connection was served
   */
  onClose(hook: (connection: Connection<State, D>, info: CloseInfo) => unknown): this
  /** Returns the audience of the rooms with these `names` of a `hub`, typed for pushes of this protocol. */
  room(hub: RoomSource, ...names: string[]): Audience<D>
  /** Returns the `audience` typed for pushes of this protocol: `chat.audience(hub.user(7))`. */
  audience(audience: Audience): Audience<D>
}

/**
 * The result of `messages(protocol)`: the handlers of the types that clients send.
 *
 * @typeParam P the protocol: `Messages<typeof chatProtocol, State>`
 */
export type Messages<P extends AnyProtocol, State = DefaultState> = MessagesOf<
  DefinitionOf<P>,
  State
>

/** {@link Messages}, parameterized by the definition of the protocol. */
export interface MessagesOf<D extends ProtocolDefinition, State> extends MessagesBase<D, State> {
  /**
   * Sets the `handler` of a `type` of the protocol. `options` say whether its stream can be resumed.
   * @throws OptionsError for a type that clients do not send, for a second handler of a type, for an
   * unknown option, and after the first connection was served
   */
  on<T extends ClientType<D>>(
    type: T,
    handler: HandlerOf<D, T, State>,
    options?: HandlerOptions,
  ): this
}

/** The part of a handler's result that is the reply. */
type OpenReply<R> = [Exclude<Awaited<R>, Replied>] extends [never]
  ? unknown
  : Exclude<Awaited<R>, Replied>

/** The answer of a handler: its reply, after the items of a generator. */
type OpenAnswer<R> =
  Awaited<R> extends AsyncGenerator<infer Item, infer Reply> | Generator<infer Item, infer Reply>
    ? { reply: StandardSchema<OpenReply<Reply>>; stream: StandardSchema<Item> }
    : Awaited<R> extends AsyncIterable<infer Item>
      ? { reply: StandardSchema<null>; stream: StandardSchema<Item> }
      : { reply: StandardSchema<OpenReply<R>> }

/** The result of `messages()` without a protocol: each `on` defines its type. */
export interface OpenMessages<D extends ProtocolDefinition, State = DefaultState>
  extends Omit<MessagesBase<D, State>, 'use' | 'onOpen' | 'onClose' | 'room' | 'audience'> {
  /**
   * Serves a `connection` with the `ctx` of its handshake: pass the result to `accept(chat)` or `ctx.ws(chat)`, or call it with a
   * connection that speaks `koaws.v1`.
   */
  (connection: Connection<State>, ctx: Context | HandlerContext<State, DefaultContext>): void
  /** Adds `middleware` around each message; see `Messages`. */
  use(middleware: MessageMiddleware<State>): this
  /** Adds a `hook` that runs when a connection opens; see `Messages`. */
  onOpen(
    hook: (connection: Connection<State>, ctx: HandlerContext<State, DefaultContext>) => unknown,
  ): this
  /** Adds a `hook` that runs when an opened connection has ended; see `Messages`. */
  onClose(hook: (connection: Connection<State>, info: CloseInfo) => unknown): this
  /** Returns the audience of the rooms with these `names` of a `hub`. */
  room(hub: RoomSource, ...names: string[]): Audience
  /** Returns the `audience`: of use with a protocol, which checks its pushes. */
  audience(audience: Audience): Audience
  /**
   * Sets the `handler` of a `type`, with the `schema` of its data. `options` say whether its stream can be resumed.
   * @throws OptionsError for a second handler of a type, and after the first connection was served
   */
  on<T extends string, S extends StandardSchema, R>(
    type: T,
    schema: S,
    handler: (message: Message<SchemaOutput<S>, unknown, State>) => R,
    options?: HandlerOptions,
  ): OpenMessages<D & Readonly<Record<T, { data: S } & OpenAnswer<R>>>, State>
  /**
   * Sets the `handler` of a `type` without a check: the handler gets unverified data. `options` as above.
   * @throws OptionsError for a second handler of a type, and after the first connection was served
   */
  on<T extends string, R>(
    type: T,
    handler: (message: Message<unknown, unknown, State>) => R,
    options?: HandlerOptions,
  ): OpenMessages<D & Readonly<Record<T, { data: StandardSchema<unknown> } & OpenAnswer<R>>>, State>
}

/**
 * Handles messages of the subprotocol `koaws.v1` (`docs/protocol.md`). The types of the messages come
 * from the `protocol`, the result of `protocol()`; without one, each `on` defines its type.
 *
 * Handlers of one connection run in order. What one throws is answered with an error and never closes
 * the connection: an error with `expose` as it is, any other as `internal`, and `app.on('error')` gets it.
 *
 * @example
 * ```js
 * import Koa from 'koa'
 * import koaWs, { accept, messages, protocol } from 'koaws'
 * import { connect } from 'koaws/client'
 * import { testApp } from 'koaws/testing'
 * import { z } from 'zod'
 *
 * const text = z.object({ text: z.string() })
 * const chatProtocol = protocol({ say: { data: text, reply: z.number() }, said: { push: text } })
 * const hub = koaWs()
 * const chat = messages(chatProtocol)
 *   .onOpen((connection) => connection.join('lobby'))
 *   .on('say', ({ data }) => {
 *     chat.room(hub, 'lobby').push('said', data)
 *     return data.text.length
 *   })
 * const app = new Koa()
 * app.use(hub)
 * app.use(accept(chat))
 *
 * const client = connect('ws://app/', { WebSocket: testApp(app).webSocket() })
 * client.on('said', (data) => console.log(data)) // { text: 'hi' }
 * console.log(await client.request('say', { text: 'hi' })) // 2
 * client.close()
 * ```
 *
 * @param options limits, and whether sent data are checked
 * @throws OptionsError for an unknown option; `on`, `use` and the other methods throw it for a type that
 * does not fit the protocol, and after the first connection was served
 */
export function messages<D extends ProtocolDefinition, State = DefaultState>(
  protocol: Protocol<D>,
  options?: MessagesOptions,
): Messages<D, State>
export function messages<P extends Protocol, State = DefaultState>(
  protocol: P,
  options?: MessagesOptions,
): Messages<DefinitionOf<P>, State>
// biome-ignore lint/complexity/noBannedTypes: no types yet
export function messages<State = DefaultState>(options?: MessagesOptions): OpenMessages<{}, State>
export function messages(
  first: Protocol | MessagesOptions = {},
  second: MessagesOptions = {},
): Messages<ProtocolDefinition> {
  const protocol = 'types' in first ? first : null
  const options = resolveMessagesOptions(protocol ? second : (first as MessagesOptions))
  const routes = new Routes(protocol?.types ?? null)
  const service = new Service(routes, options)
  const audience = (given: Audience): Audience => {
    const inner = protocol ? CheckedAudience.unchecked(given) : given
    return service.check ? new CheckedAudience(inner, service.check) : inner
  }
  const handler = Object.assign(
    (connection: Connection, ctx: Context) => {
      if (connection.protocol !== KOAWS_V1) throw notSpoken(connection.protocol)
      new MessageConversation(connection, ctx, service, null)
    },
    {
      types: routes.definition,
      use(middleware: unknown) {
        routes.use(middleware)
        return handler
      },
      on(type: string, ...rest: unknown[]) {
        const hasSchema = typeof rest[1] === 'function'
        const [schema, handle, options] = hasSchema ? rest : [undefined, ...rest]
        const problem = typeProblem(type)
        if (problem)
          throw new OptionsError(`messages().on(): the type ${describe(type)} ${problem}.`)
        if (schema !== undefined && !isSchema(schema)) {
          throw new OptionsError(
            `messages().on("${type}"): the schema must be a Standard Schema, not ${describe(schema)}.`,
          )
        }
        routes.add(type, handle, schema, options as HandlerOptions | undefined)
        return handler
      },
      onOpen(hook: OpenHook) {
        routes.assertOpen('onOpen')
        service.onOpen.push(assertHook('onOpen', hook))
        return handler
      },
      onClose(hook: CloseHook) {
        routes.assertOpen('onClose')
        service.onClose.push(assertHook('onClose', hook))
        return handler
      },
      room: (hub: RoomSource, ...names: string[]) => audience(hub.room(...names)),
      audience,
    },
  )
  setSpeaker(handler, {
    subprotocols: [KOAWS_V1],
    silent: false,
    authenticates: true,
    serve: (connection, ctx, access) => {
      new MessageConversation(connection, ctx, service, access)
    },
  })
  return handler as unknown as Messages<ProtocolDefinition>
}

function assertHook<T>(name: string, hook: T): T {
  if (typeof hook === 'function') return hook
  throw new OptionsError(`messages().${name}() takes a function, not ${describe(hook)}.`)
}

function notSpoken(subprotocol: string): OptionsError {
  return new OptionsError(
    `messages() speaks koaws.v1, and this connection speaks ${describe(subprotocol)}: accept it with accept(messages(...)), or with { subprotocol: "koaws.v1" }.`,
  )
}

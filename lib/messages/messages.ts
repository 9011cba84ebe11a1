import type { Context, DefaultContext, DefaultState } from 'koa'
import type { Audience } from '../connection/audience.ts'
import { CheckedAudience } from '../connection/checked-audience.ts'
import type { Connection } from '../connection/connection.ts'
import type { HandlerContext } from '../connection/route-context.ts'
import { setSpeaker } from '../connection/speaker.ts'
import type { CloseInfo } from '../connection/types.ts'
import { OptionsError } from '../errors.ts'
import {
  type ClientType,
  isSchema,
  type Protocol,
  type ProtocolDefinition,
  type ReceivedData,
  type ReplyGiven,
  typeProblem,
} from '../protocol/definition.ts'
import type { SchemaOutput, StandardSchema } from '../protocol/standard-schema.ts'
import { KOAWS_V1 } from '../protocol/subprotocol.ts'
import { describe } from '../validate.ts'
import { MessageConversation } from './conversation.ts'
import type { Message } from './message.ts'
import { type MessagesOptions, resolveMessagesOptions } from './options.ts'
import { Routes } from './routes.ts'
import { type CloseHook, type OpenHook, Service } from './service.ts'

/** Middleware around each message, in Koa's own shape. */
export type MessageMiddleware<
  State = DefaultState,
  D extends ProtocolDefinition = ProtocolDefinition,
> = (message: Message<unknown, unknown, State, D>, next: () => Promise<unknown>) => unknown

/**
 * Handles the messages of one type. What it returns is the reply; with `undefined` the reply is null,
 * unless `message.reply()` has sent one.
 */
export type MessageHandler<
  Data = unknown,
  Reply = unknown,
  State = DefaultState,
  D extends ProtocolDefinition = ProtocolDefinition,
> = (
  message: Message<Data, Reply, State, D>,
  // biome-ignore lint/suspicious/noConfusingVoidType: a handler that returns nothing
) => Reply | void | Promise<Reply | void>

/** Something that has rooms: a hub. */
export interface RoomSource {
  room(...names: string[]): Audience
}

/** What both forms of `messages()` can do. */
interface MessagesBase<D extends ProtocolDefinition, State> {
  /** The handler form: `accept(chat)`, `ctx.ws(chat)`, or called with a connection that speaks `koaws.v1`. */
  (connection: Connection<State>, ctx: Context | HandlerContext<State, DefaultContext>): void
  /** The types of messages, for `connect<typeof chat>()`. */
  readonly types: D
  /** Add middleware around each message; the first that is added is the outermost. */
  use(middleware: MessageMiddleware<State, D>): this
  /**
   * Runs when a connection is open, after its welcome and before its first message is handled, which
   * waits for it. An error closes the connection as one of a handler of `accept()` would.
   */
  onOpen(
    hook: (connection: Connection<State, D>, ctx: HandlerContext<State, DefaultContext>) => unknown,
  ): this
  /** Runs when a connection that was open has ended. `hub.close()` waits for it until its deadline. */
  onClose(hook: (connection: Connection<State, D>, info: CloseInfo) => unknown): this
  /** Rooms of a hub, for pushes of this protocol. */
  room(hub: RoomSource, ...names: string[]): Audience<D>
  /** Any audience, for pushes of this protocol: `chat.audience(hub.user(7))`. */
  audience(audience: Audience): Audience<D>
}

/** `messages(protocol)`: the handlers of the types that clients send. */
export interface Messages<D extends ProtocolDefinition, State = DefaultState>
  extends MessagesBase<D, State> {
  /** Handle a type of the protocol. */
  on<T extends ClientType<D>>(
    type: T,
    handler: MessageHandler<ReceivedData<D, T>, ReplyGiven<D, T>, State, D>,
  ): this
}

/** `messages()` without a protocol: each `on` says what its type is. */
export interface OpenMessages<D extends ProtocolDefinition, State = DefaultState>
  extends Omit<MessagesBase<D, State>, 'use' | 'onOpen' | 'onClose' | 'room' | 'audience'> {
  (connection: Connection<State>, ctx: Context | HandlerContext<State, DefaultContext>): void
  use(middleware: MessageMiddleware<State>): this
  onOpen(
    hook: (connection: Connection<State>, ctx: HandlerContext<State, DefaultContext>) => unknown,
  ): this
  onClose(hook: (connection: Connection<State>, info: CloseInfo) => unknown): this
  room(hub: RoomSource, ...names: string[]): Audience
  audience(audience: Audience): Audience
  /** Handle a type whose data are checked by a schema. */
  on<T extends string, S extends StandardSchema, R>(
    type: T,
    schema: S,
    handler: (message: Message<SchemaOutput<S>, unknown, State>) => R,
  ): OpenMessages<D & Readonly<Record<T, { data: S; reply: StandardSchema<Awaited<R>> }>>, State>
  /** Handle a type whose data are not checked: they are whatever the client sent. */
  on<T extends string, R>(
    type: T,
    handler: (message: Message<unknown, unknown, State>) => R,
  ): OpenMessages<
    D & Readonly<Record<T, { data: StandardSchema<unknown>; reply: StandardSchema<Awaited<R>> }>>,
    State
  >
}

/**
 * Handle messages of the subprotocol `koaws.v1` (`docs/protocol.md`).
 *
 * ```ts
 * const chat = messages(chatProtocol)
 *   .onOpen((connection, ctx) => connection.join(ctx.params.room))
 *   .on('say', (message) => {
 *     chat.room(hub, 'lobby').push('said', message.data)
 *     return { ok: true }
 *   })
 * router.get('/chat/:room', accept(chat))
 * ```
 *
 * Handlers of one connection run in order. What one throws is answered with an error and never closes
 * the connection: an error with `expose` as it is, any other as `internal`, and `app.on('error')` gets it.
 *
 * @throws OptionsError for an option that it does not know; `on`, `use` and the others throw it for what
 * does not fit the protocol, and when they come after the first connection was served
 */
export function messages<D extends ProtocolDefinition, State = DefaultState>(
  protocol: Protocol<D>,
  options?: MessagesOptions,
): Messages<D, State>
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
  const audience = (inner: Audience): Audience =>
    service.check ? new CheckedAudience(inner, service.check) : inner
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
        const [schema, handle] = rest.length > 1 ? rest : [undefined, rest[0]]
        const problem = typeProblem(type)
        if (problem)
          throw new OptionsError(`messages().on(): the type ${describe(type)} ${problem}.`)
        if (schema !== undefined && !isSchema(schema)) {
          throw new OptionsError(
            `messages().on("${type}"): the schema is no Standard Schema, but ${describe(schema)}.`,
          )
        }
        routes.add(type, handle, schema)
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
    `messages() speak koaws.v1, and this connection speaks ${describe(subprotocol)}: accept it with accept(messages(...)), or with { subprotocol: "koaws.v1" }.`,
  )
}

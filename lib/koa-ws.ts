// Provides `koaWs()` and the type `Hub`.

import type { Server } from 'node:http'
import type { Http2SecureServer, Http2Server } from 'node:http2'
import type { Server as HttpsServer } from 'node:https'
import type { Context, DefaultContext, DefaultState, Middleware, Next } from 'koa'
import { memoryHistory } from './adapters/memory-history.ts'
import type { Audience } from './connection/audience.ts'
import { CheckedAudience } from './connection/checked-audience.ts'
import type { Connection } from './connection/connection.ts'
import type { AskOptions, HubStatus, InstanceAnswers, InstanceHandler } from './hub/hub.ts'
import type { CloseOptions } from './hub/shutdown.ts'
import type { SignalOptions } from './hub/signals.ts'
import { watchFirstUpgrades } from './listener/first-upgrade.ts'
import { pushCheck } from './messages/push-check.ts'
import type { ContextWs } from './middleware/context.ts'
import { passPlugin } from './middleware/middleware.ts'
import { type RouteMiddleware, route } from './middleware/route.ts'
import { type KoaWsOptions, resolveOptions } from './options.ts'
import { type AttachOptions, Plugin } from './plugin.ts'
import type {
  AnyProtocol,
  DefinitionOf,
  Protocol,
  ProtocolDefinition,
} from './protocol/definition.ts'
import { checkTracer, type Tracer } from './tracer.ts'

declare module 'koa' {
  interface ExtendableContext {
    /**
     * Accepts this WebSocket upgrade. Undefined unless the request is an upgrade that passed
     * `koaWs()`.
     */
    ws: ContextWs | undefined
    /** The hub of the plugin that this request passed last. */
    hub: Hub
  }
}

/** A server that a hub can attach to. */
export type AttachableServer = Server | HttpsServer | Http2Server | Http2SecureServer

/**
 * The plugin: Koa middleware, and the hub of all connections of this instance.
 *
 * @example
 * ```js
 * import Koa from 'koa'
 * import koaWs, { accept } from 'koaws'
 * import { testApp } from 'koaws/testing'
 *
 * const app = new Koa()
 * const hub = koaWs({ user: (ctx) => String(ctx.query['name']) })
 * app.use(hub)
 * app.use(hub.route('/chat/:room', accept((connection, ctx) => connection.join(ctx.params.room))))
 *
 * const ann = await testApp(app).connect('/chat/lobby?name=ann')
 * hub.room('lobby').send('to the room')
 * console.log(await ann.next()) // to the room
 * hub.user('ann').json({ to: 'all connections of ann' })
 * console.log(await ann.next()) // {"to":"all connections of ann"}
 * await hub.close()
 * console.log((await ann.closed).code) // 1012
 * ```
 *
 * @typeParam P the protocol given to `koaWs({ protocol })`: `Hub<typeof chatProtocol>`
 */
export interface Hub<P extends AnyProtocol = ProtocolDefinition>
  extends Middleware<DefaultState, DefaultContext> {
  /**
   * Attaches the hub to a server, so that it handles the server's upgrades. This happens
   * automatically when the first request of a server passes the plugin. Call it earlier when
   * another `upgrade` listener is on the server, or for the gate. Over HTTP/2, sessions that began
   * earlier and have made no request are unknown: they are not offered WebSockets, and get no
   * GOAWAY when the server closes. Idempotent.
   *
   * @param server a server of node:http, node:https or node:http2
   * @param options the gate
   * @returns the server
   * @throws OptionsError when `server` is not a server, or for an unknown option
   */
  attach<S extends AttachableServer>(server: S, options?: AttachOptions): S
  /**
   * Detaches the hub from a server: it ignores later upgrades. Open connections stay open.
   * @throws OptionsError when `server` is not a server
   */
  detach(server: AttachableServer): void
  /**
   * Returns middleware for upgrades to a matching path (path-to-regexp syntax). Plain HTTP requests
   * and other paths fall through.
   *
   * @param path such as `/chat/:room`: `ctx.params.room` and `connection.params.room` are its parts
   * @param middleware Koa middleware; the last is usually `accept(handler)`
   * @throws OptionsError for a path that cannot be parsed
   */
  route<const Path extends string, State = DefaultState, Custom = DefaultContext>(
    path: Path,
    ...middleware: RouteMiddleware<Path, State, Custom>[]
  ): Middleware<State, Custom>
  /**
   * Returns the audience of the connection with this id, on any instance.
   *
   * @param id `connection.id`
   * @throws TypeError when the id is not a string of 1 to 255 bytes
   */
  connection(id: string): Audience<DefinitionOf<P>>
  /**
   * Returns the audience of all connections of these users.
   *
   * @param ids what the option `user` returned; the number 7 and the string `'7'` are the same user
   * @throws TypeError when an id is neither a number nor a string of 1 to 255 bytes
   */
  user(...ids: (string | number)[]): Audience<DefinitionOf<P>>
  /**
   * Returns the audience of the members of these rooms. A member of several rooms counts once.
   *
   * @param names of 1 to 255 bytes of UTF-8
   * @throws TypeError when a name is not a string of 1 to 255 bytes
   */
  room(...names: string[]): Audience<DefinitionOf<P>>
  /** Returns the audience of all connections, except those accepted with `hub: false`. */
  all(): Audience<DefinitionOf<P>>
  /** The open connections of this instance, by id. */
  readonly localConnections: ReadonlyMap<string, Connection<DefaultState, DefinitionOf<P>>>
  /**
   * Sets what follows messages through handlers, pushes and requests to clients; null for nothing. The last one set
   * counts. `koaws/otel` sets one.
   *
   * @param tracer its methods must not throw
   * @throws OptionsError when a method is missing
   */
  trace(tracer: Tracer | null): void
  /**
   * Asks the application on all instances, with this one. Each answers with the handler that it gave to `answer()`.
   * Never rejects because of an instance: `missing` of the result names the instances without an answer.
   *
   * ```js
   * import koaWs from 'koaws'
   *
   * const hub = koaWs()
   * hub.answer('version', () => '1.2.0')
   * const answers = await hub.ask('version')
   * console.log(answers[0]?.data, answers.missing) // 1.2.0 []
   * ```
   *
   * @param name of the question, 1 to 255 bytes of UTF-8
   * @param data for the handlers, at most 16,384 characters of JSON
   * @param options how long to wait, and which instances to ask
   * @throws TypeError for another name, or data without a JSON form; OptionsError for a wrong option; KoaWsError for
   * data that are too large. The promise rejects with them
   */
  ask(name: string, data?: unknown, options?: AskOptions): Promise<InstanceAnswers>
  /**
   * Answers the questions of a name, of this instance and of others. What the handler returns is sent as JSON, at most
   * 262,144 characters. An error of the handler goes to `app.on('error')`. An answer after 10 seconds is dropped, and
   * an instance gives at most 100 answers at a time.
   *
   * @param name of the questions
   * @param handler gets the data and the name of the instance that asks; may return a promise
   * @returns a function that removes the handler
   * @throws TypeError for a name that is no string of 1 to 255 bytes; OptionsError for a second handler of a name
   */
  answer(name: string, handler: InstanceHandler): () => void
  /** Returns a snapshot for health checks and metrics. */
  status(): HubStatus
  /**
   * Shuts down in stages. `status().ready` turns false; new upgrades get 503. Loops over messages
   * end, and their handlers get half of `timeout` to finish. Clients get a closing handshake, each
   * with its own delay for the reconnect. Connections still open after `timeout` are terminated;
   * `onDisconnect` is awaited until then.
   *
   * @param options the deadline, the close code, and whether servers are closed
   * @returns a promise that resolves at the end; a second call returns the same promise
   * @throws OptionsError for an option that is unknown or wrong
   */
  close(options?: CloseOptions): Promise<void>
  /**
   * Calls `close({ server: true })` on SIGTERM, SIGINT and PM2's message `shutdown`. Then `after`
   * runs, and the process exits with 0, or with 1 when closing or `after` failed. A second signal
   * exits at once. All hubs of a process close together.
   *
   * @param options the signals, the deadline, and what runs at the end
   * @returns a function that removes the listeners
   * @throws OptionsError for an option that is unknown or wrong
   */
  closeOnSignal(options?: SignalOptions): () => void
  /** Calls `close()` with its defaults, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Creates the plugin: `app.use(koaWs())`. Every later middleware sees a WebSocket upgrade as a Koa
 * request.
 *
 * @example
 * ```js
 * import Koa from 'koa'
 * import koaWs, { accept } from 'koaws'
 *
 * const app = new Koa()
 * const hub = koaWs({ maxConnections: 10_000 })
 * app.use(hub)
 * app.use(accept((connection) => connection.send('hello')))
 *
 * hub.attach(app.listen(0))
 * console.log(hub.status().ready) // true
 * await hub.close({ server: true })
 * ```
 *
 * @param options all optional; each has a default
 * @returns middleware that is also the hub
 * @throws OptionsError for an option that is unknown, wrong, or contradicts another
 */
export function koaWs<const D extends ProtocolDefinition = ProtocolDefinition>(
  options: KoaWsOptions & { protocol?: Protocol<D> | undefined } = {},
): Hub<D> {
  const resolved = resolveOptions(options)
  const plugin = new Plugin(resolved, resolved.adapter?.history ?? memoryHistory())
  const { audiences, connections } = plugin.hub
  const checkPush = resolved.protocol
    ? pushCheck(resolved.protocol.types, process.env['NODE_ENV'] !== 'production')
    : null
  const bound = (audience: Audience): Audience =>
    checkPush ? new CheckedAudience(audience, checkPush) : audience
  watchFirstUpgrades()
  const middleware = (ctx: Context, next: Next): Promise<unknown> => {
    ctx.hub = hub as unknown as Hub
    plugin.hub.know(ctx.app)
    return passPlugin(ctx, next, plugin)
  }
  const hub = Object.assign(middleware, {
    attach: (server: AttachableServer, attachOptions?: AttachOptions) => {
      plugin.attach(server as Server, attachOptions)
      return server
    },
    detach: (server: AttachableServer) => plugin.detach(server as Server),
    route: (path: string, ...chain: Middleware<never, never>[]) => route(path, chain),
    connection: (id: string) => bound(audiences.connection(id)),
    user: (...ids: (string | number)[]) => bound(audiences.user(ids)),
    room: (...names: string[]) => bound(audiences.room(names)),
    all: () => bound(audiences.all()),
    localConnections: connections.byId,
    trace: (tracer: Tracer | null) => {
      audiences.tracer = checkTracer(tracer)
    },
    ask: (name: string, data?: unknown, askOptions?: AskOptions) =>
      plugin.hub.instances.questions.ask(name, data, askOptions),
    answer: (name: string, handler: InstanceHandler) =>
      plugin.hub.instances.questions.answer(name, handler),
    status: () => plugin.status(),
    close: (closeOptions?: CloseOptions) => plugin.close(closeOptions ?? {}),
    closeOnSignal: (signalOptions?: SignalOptions) => plugin.closeOnSignal(signalOptions ?? {}),
    [Symbol.asyncDispose]: () => plugin.close({}),
  }) as unknown as Hub<D>
  return hub
}

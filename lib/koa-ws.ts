import type { Server } from 'node:http'
import type { Http2SecureServer, Http2Server } from 'node:http2'
import type { Server as HttpsServer } from 'node:https'
import type { Context, DefaultContext, DefaultState, Middleware, Next } from 'koa'
import { Backplane, type BackplaneStatus } from './backplane/backplane.ts'
import type { Audience } from './connection/audience.ts'
import type { Connection } from './connection/connection.ts'
import type { FrameDeflate } from './connection/frame.ts'
import { newId } from './connection/id.ts'
import { RuleBook } from './connection/rules.ts'
import { debugUpgrade } from './debug.ts'
import { OptionsError } from './errors.ts'
import { type AudienceHost, Audiences } from './hub/audience.ts'
import { Connections, type ConnectionsHost, reportError } from './hub/connections.ts'
import { Drops } from './hub/drops.ts'
import { Instances } from './hub/instances.ts'
import { LocalMembers } from './hub/local-members.ts'
import { Presence, type PresenceHost, publicInfo } from './hub/presence/presence.ts'
import { Roster } from './hub/roster.ts'
import { type CloseOptions, shutDown } from './hub/shutdown.ts'
import { closeOnSignal, type SignalOptions } from './hub/signals.ts'
import {
  checkCloseOptions,
  checkSignalOptions,
  type KoaWsOptions,
  type ResolvedOptions,
  resolveOptions,
} from './options.ts'
import { Acceptors } from './upgrade/acceptor.ts'
import type { ContextWs } from './upgrade/context.ts'
import { watchFirstUpgrades } from './upgrade/first-upgrade.ts'
import type { Refusal } from './upgrade/handshake.ts'
import {
  type Admission,
  type LateAdmission,
  PendingUpgrades,
  type UpgradeHost,
} from './upgrade/host.ts'
import { Limits } from './upgrade/limits.ts'
import { listen, listenerOf } from './upgrade/listener.ts'
import { type Passing, passPlugin } from './upgrade/middleware.ts'
import { hasNeighbours } from './upgrade/neighbours.ts'
import { type RouteMiddleware, route } from './upgrade/route.ts'
import { askOption } from './validate.ts'

declare module 'koa' {
  interface ExtendableContext {
    /** There on a WebSocket upgrade that passed `koaWs()`; undefined on any other request. */
    ws: ContextWs | undefined
    /** The hub: the plugin that this request passed last. */
    hub: Hub
  }
}

/** A server whose upgrades a hub can take. */
export type AttachableServer = Server | HttpsServer | Http2Server | Http2SecureServer

/** How a hub takes a server. */
export interface AttachOptions {
  /**
   * Ask Koa first, and hand the sockets that Koa answers with 404 or abandons, untouched, to the
   * other `upgrade` listeners: for those that abort every path but their own. @default false
   */
  gate?: boolean | undefined
}

/** How a hub does. */
export interface HubStatus {
  /** The name of this instance. */
  readonly id: string
  /** Whether it takes upgrades; false as soon as `close()` is called. */
  readonly ready: boolean
  /** Why it is not ready. */
  readonly reasons: readonly string[]
  /** Open connections of this instance. */
  readonly connections: number
  /** Rooms with a member on this instance. */
  readonly rooms: number
  /** Users with a connection to this instance. */
  readonly users: number
  /** Upgrades that are not decided yet. */
  readonly pending: number
  /** Whether `close()` was called. */
  readonly draining: boolean
  /** The line to the other instances. */
  readonly backplane: BackplaneStatus
  /** How often something was refused or dropped, by its reason. */
  readonly drops: Record<string, number>
}

/** The plugin: a Koa middleware, and the hub of all connections of this instance. */
export interface Hub extends Middleware<DefaultState, DefaultContext> {
  /**
   * Take the upgrades of a server. Done by itself for a server whose first request passes the
   * plugin; needed before that when somebody else listens for `upgrade`, and for the gate. Over HTTP/2
   * a session that began before and has made no request is not known: it is offered no WebSocket, and
   * gets no GOAWAY when the server is closed. Idempotent.
   *
   * @returns the server
   */
  attach<S extends AttachableServer>(server: S, options?: AttachOptions): S
  /** Leave the upgrades of a server alone from now on. Open connections stay. */
  detach(server: AttachableServer): void
  /**
   * Middleware for upgrades whose path matches (path-to-regexp); plain HTTP falls through.
   *
   * @throws OptionsError for a path that cannot be parsed
   */
  route<const Path extends string, State = DefaultState, Custom = DefaultContext>(
    path: Path,
    ...middleware: RouteMiddleware<Path, State, Custom>[]
  ): Middleware<State, Custom>
  /**
   * The connection with this id, on whatever instance it is.
   *
   * @throws TypeError when the id is no string of 1 to 255 bytes
   */
  connection(id: string): Audience
  /**
   * All connections of these users.
   *
   * @throws TypeError when an id is no number and no string of 1 to 255 bytes
   */
  user(...ids: (string | number)[]): Audience
  /**
   * The members of any of these rooms, each once.
   *
   * @throws TypeError when a name is no string of 1 to 255 bytes
   */
  room(...names: string[]): Audience
  /** Every connection, but those that were accepted with `hub: false`. */
  all(): Audience
  /** The open connections of this instance, by id. */
  readonly localConnections: ReadonlyMap<string, Connection>
  /** A snapshot, for health checks and metrics. */
  status(): HubStatus
  /**
   * Shut down in stages: not ready; new upgrades get 503; loops over messages end, and their handlers
   * get half of the time to finish; closing handshakes, each with a time to come back; what is still
   * open after `timeout` is terminated; `onDisconnect` is awaited until then. Resolves when that is
   * done; a second call waits for the first.
   */
  close(options?: CloseOptions): Promise<void>
  /**
   * `close({ server: true })` on SIGTERM, SIGINT and PM2's message `shutdown`; then `after` runs, and
   * the process exits with 0, or with 1 when `after` failed. A second signal exits at once. Several hubs
   * of one process are closed together.
   *
   * @returns a function that takes it back
   */
  closeOnSignal(options?: SignalOptions): () => void
  /** `close()` with its defaults, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>
}

/** The answer to new upgrades while the hub shuts down. */
const DRAINING: Refusal = {
  code: 'ERR_KOAWS_DRAINING',
  status: 503,
  message: 'This server is shutting down.',
  headers: { 'Retry-After': '5' },
}

/**
 * Make the plugin: `app.use(koaWs())`. From there on a WebSocket upgrade is a Koa request.
 *
 * @throws OptionsError for an option that is unknown, wrong, or contradicts another
 */
export function koaWs(options: KoaWsOptions = {}): Hub {
  const parts = new Parts(resolveOptions(options))
  watchFirstUpgrades()
  const middleware = (ctx: Context, next: Next): Promise<unknown> => {
    ctx.hub = hub
    parts.know(ctx.app)
    return passPlugin(ctx, next, parts)
  }
  const hub = Object.assign(middleware, {
    attach: (server: AttachableServer, attachOptions?: AttachOptions) => {
      parts.attach(server as Server, attachOptions)
      return server
    },
    detach: (server: AttachableServer) => parts.detach(server as Server),
    route: (path: string, ...chain: Middleware<never, never>[]) => route(path, chain),
    connection: (id: string) => parts.audiences.connection(id),
    user: (...ids: (string | number)[]) => parts.audiences.user(ids),
    room: (...names: string[]) => parts.audiences.room(names),
    all: () => parts.audiences.all(),
    localConnections: parts.connections.byId,
    status: () => parts.status(),
    close: (closeOptions?: CloseOptions) => parts.close(closeOptions ?? {}),
    closeOnSignal: (signalOptions?: SignalOptions) => parts.closeOnSignal(signalOptions ?? {}),
    [Symbol.asyncDispose]: () => parts.close({}),
  }) as unknown as Hub
  return hub
}

/** What one plugin is made of, and how its parts are wired. */
class Parts implements UpgradeHost, Passing, ConnectionsHost, AudienceHost, PresenceHost {
  readonly roster: Roster
  readonly members: LocalMembers
  readonly audiences: Audiences
  readonly backplane: Backplane | null
  readonly presence: Presence | null
  readonly connections: Connections
  readonly rules: RuleBook
  readonly acceptors: Acceptors
  readonly limits: Limits
  readonly origin: UpgradeHost['origin']
  readonly pending = new PendingUpgrades()
  readonly detached = new WeakSet<Server>()
  readonly servers = new Set<Server>()
  /** Servers whose end is listened for, detached ones too. */
  readonly #watched = new WeakSet<Server>()
  draining: Refusal | null = null
  readonly #options: ResolvedOptions
  readonly #drops = new Drops()
  readonly #id = newId()
  readonly #since = Date.now()
  #app: Context['app'] | null = null
  /** Used in several apps that do not agree about proxies. */
  #several = false
  #closing: Promise<void> | null = null

  constructor(options: ResolvedOptions) {
    this.#options = options
    this.origin = options
    this.limits = new Limits(options)
    this.acceptors = new Acceptors(options)
    this.rules = new RuleBook(options)
    this.roster = new Roster((topic, here) => this.#topicChanged(topic, here))
    this.members = new LocalMembers(this.roster, frameDeflate(options), this)
    this.audiences = new Audiences(this)
    this.connections = new Connections({ ...options, patience: options.handshakeTimeout }, this)
    const { adapter, presence } = options
    this.presence = presence ? new Presence(presence, this) : null
    this.roster.rooms.watcher = this.presence
    const instances = new Instances(this.#id, this.members, this.#drops, this.presence)
    this.backplane = adapter ? new Backplane(adapter, this.#id, instances) : null
  }

  /** Somebody is in a room, or is here as a user, for the first time; or nobody any more. */
  #topicChanged(topic: string, here: boolean): Promise<void> | undefined {
    if (topic.startsWith('user:')) this.presence?.userChanged(topic.slice(5), here)
    if (here) return this.backplane?.subscribe(topic)
    this.backplane?.unsubscribe(topic)
    return undefined
  }

  // ---- PresenceHost

  get id(): string {
    return this.#id
  }

  failed(error: unknown, where: string): void {
    if (this.#app) reportError(this.#app, error, where)
  }

  infoOf(connection: Connection): unknown {
    const info = this.#options.presence?.info
    return info && publicInfo(info, connection, (error, where) => this.failed(error, where))
  }

  // ---- ConnectionsHost

  to(connection: Connection, rooms: readonly string[]): Audience {
    return this.audiences.room(rooms, [connection.id])
  }

  // ---- UpgradeHost

  get host(): this {
    return this
  }

  get property(): string {
    return this.#options.property
  }

  get filter(): UpgradeHost['filter'] {
    return this.#options.filter
  }

  get reject(): UpgradeHost['reject'] {
    return this.#options.reject
  }

  get handshakeTimeout(): number {
    return this.#options.handshakeTimeout
  }

  get user(): UpgradeHost['user'] {
    return this.#options.user
  }

  get proxy(): boolean | undefined {
    return this.#several ? undefined : (this.#app?.proxy as boolean | undefined)
  }

  addressOf(req: Context['req'], app: Context['app'] | null): string {
    const { address } = this.#options
    if (address) return String(askOption('address', () => address(req)))
    return clientAddress(req, app) ?? req.socket.remoteAddress ?? ''
  }

  get app(): Context['app'] | null {
    return this.#app
  }

  count(reason: string, many = 1, connection?: Connection): void {
    this.#drops.add(reason, many, connection)
  }

  admit(connection: Connection, admission: Admission): ReturnType<UpgradeHost['admit']> {
    const { seat } = admission
    if (seat) this.connections.onEnd(connection, () => this.limits.release(seat))
    return this.connections.add(connection, admission)
  }

  letIn(connection: Connection, admission: LateAdmission): Promise<Error | null> {
    return this.connections.letIn(connection, admission)
  }

  report(error: unknown, ctx: Context): void {
    reportError(ctx.app, error, ctx)
  }

  attached(server: Server): void {
    if (this.servers.has(server)) return
    this.servers.add(server)
    if (this.#watched.has(server)) return
    this.#watched.add(server)
    server.once('close', () => this.servers.delete(server))
  }

  /** An app that this plugin runs in. */
  know(app: Context['app']): void {
    if (this.#app === app) return
    if (this.#app === null) this.#app = app
    else if (this.#app.proxy !== app.proxy) this.#several = true
  }

  // ---- the hub's members

  attach(server: Server, { gate = false }: AttachOptions = {}): void {
    if (typeof (server as Partial<Server> | undefined)?.on !== 'function') {
      throw new OptionsError(
        'hub.attach() takes an http, https or http2 server, such as app.listen() returns.',
      )
    }
    this.detached.delete(server)
    const listener = listen(server)
    listener.add(this)
    this.attached(server)
    if (gate) listener.gate()
    else if (hasNeighbours(server)) {
      debugUpgrade(
        'others listen for upgrades too: for one that aborts every path but its own, use attach(server, { gate: true })',
      )
    }
  }

  detach(server: Server): void {
    this.detached.add(server)
    this.servers.delete(server)
    listenerOf(server)?.delete(this)
  }

  status(): HubStatus {
    const draining = this.#closing !== null
    return {
      id: this.#id,
      ready: !draining,
      reasons: draining ? ['draining'] : [],
      connections: this.connections.byId.size,
      rooms: this.roster.rooms.members.size,
      users: this.roster.users.size,
      pending: this.pending.size,
      draining,
      backplane: this.backplane?.status ?? {
        state: 'none',
        since: this.#since,
        queued: { messages: 0, bytes: 0 },
        instances: 0,
        lost: 0,
      },
      drops: this.#drops.snapshot(),
    }
  }

  close(options: CloseOptions): Promise<void> {
    checkCloseOptions(options)
    const { code = 1012, timeout = 10_000, readyDelay = 0, server = false } = options
    this.#closing ??= shutDown(this, { code, timeout, readyDelay, server })
    return this.#closing
  }

  closeOnSignal(options: SignalOptions): () => void {
    checkSignalOptions(options)
    const { timeout, readyDelay } = options
    const report = (error: unknown): void => this.failed(error, 'hub.closeOnSignal()')
    return closeOnSignal(() => this.close({ timeout, readyDelay, server: true }), report, options)
  }

  closeSessions(server: Server): void {
    listenerOf(server)?.sessions?.close()
  }

  endSessions(server: Server): void {
    listenerOf(server)?.sessions?.destroy()
  }

  async closeBackplane(): Promise<void> {
    this.presence?.close()
    await this.backplane?.close()
  }

  refuseUpgrades(): void {
    this.draining = DRAINING
    for (const upgrade of [...this.pending]) {
      this.count('draining')
      upgrade.refuse(DRAINING)
    }
  }

  upgradesSettled(): Promise<void> {
    return this.pending.settled()
  }

  terminateUpgrades(): void {
    for (const upgrade of [...this.pending]) upgrade.terminate()
  }
}

/** How frames for many are compressed; null when compression is off. */
function frameDeflate({ perMessageDeflate }: ResolvedOptions): FrameDeflate | null {
  if (!perMessageDeflate) return null
  const { threshold = 1024, zlibDeflateOptions } = perMessageDeflate
  return { threshold, options: zlibDeflateOptions as FrameDeflate['options'] }
}

/** The first forwarded address that the app trusts, as Koa's `ctx.ip` finds it. */
function clientAddress(req: Context['req'], app: Context['app'] | null): string | undefined {
  if (!app?.proxy) return undefined
  const { proxyIpHeader = 'X-Forwarded-For', maxIpsCount = 0 } = app as {
    proxyIpHeader?: string
    maxIpsCount?: number
  }
  const header = req.headers[proxyIpHeader.toLowerCase()]
  if (typeof header !== 'string') return undefined
  const addresses = header.split(',').map((address) => address.trim())
  return (maxIpsCount > 0 ? addresses.slice(-maxIpsCount) : addresses)[0] || undefined
}

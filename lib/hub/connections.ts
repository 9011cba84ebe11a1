import type { Context } from 'koa'
import type { Audience } from '../connection/audience.ts'
import { type Connection, internals } from '../connection/connection.ts'
import { newId } from '../connection/id.ts'
import type { ConnectionFacts, ConnectionOwner, DropReason } from '../connection/owner.ts'
import type { ConnectionRules } from '../connection/rules.ts'
import type { CloseInfo } from '../connection/types.ts'
import { debugConnection, messageOf } from '../debug.ts'
import { channels } from '../diagnostics.ts'
import { KoaWsError, toError, UpgradeError } from '../errors.ts'
import { CloseCode } from '../protocol/close-codes.ts'
import { byeText } from '../protocol/envelope.ts'
import { KOAWS_V1 } from '../protocol/subprotocol.ts'
import { isThenable } from '../thenable.ts'
import { Heartbeat } from './heartbeat.ts'
import { returnDelays } from './return-delays.ts'
import type { Roster } from './roster.ts'

/** Hooks of an application around the life of a connection. */
export interface ConnectionHooks {
  readonly onConnect: ((connection: Connection, ctx: Context) => unknown) | undefined
  /** How long an `onConnect` may go on after its client has left, in milliseconds. */
  readonly patience: number
  readonly onDisconnect: ((connection: Connection, info: CloseInfo) => unknown) | undefined
}

/** What an error listener of the app gets in place of a ctx once that is gone. */
export interface ErrorPlace {
  readonly path: string
  readonly ip: string
  readonly state: unknown
  readonly connection: Connection
  /** The type of the message whose handler failed; undefined where it was none. */
  readonly messageType: string | undefined
}

/** What `Connections` is told of a new connection. */
export interface NewConnection {
  readonly ctx: Context
  readonly userId: string | undefined
  readonly expiresAt: number | null
  readonly rooms: readonly string[]
  readonly inAudiences: boolean
  /** It authenticates with a message, and `letIn` follows then. */
  readonly letInLater: boolean
  readonly rules: ConnectionRules
  readonly compression: ConnectionFacts<Connection>['compression']
  readonly socket: ConnectionFacts<Connection>['socket']
  readonly scope: ConnectionFacts<Connection>['scope']
}

/** What `Connections` is told of one that has authenticated with a message. */
export type LateConnection = Pick<
  NewConnection,
  'ctx' | 'userId' | 'expiresAt' | 'rooms' | 'inAudiences' | 'rules'
>
type Entrant = Pick<NewConnection, 'ctx' | 'inAudiences' | 'rooms' | 'rules'>

/** What `Connections` needs of its hub. */
export interface ConnectionsHost {
  readonly roster: Roster
  /** The members of rooms, without one connection. */
  to(connection: Connection, rooms: readonly string[]): Audience
  count(reason: DropReason, many: number, connection?: Connection): void
}

/** All connections of this instance: from the 101 to the last `onDisconnect`. */
export class Connections {
  readonly #releases = new WeakMap<Connection, () => void>()
  readonly #owners = new WeakMap<Context['app'], Map<ConnectionRules, Owners>>()
  readonly #host: ConnectionsHost
  readonly #roster: Roster
  readonly #hooks: ConnectionHooks
  readonly #heartbeat: Heartbeat
  /** Calls of `onDisconnect` and `onClose` that have not settled. */
  readonly #farewells = new Set<Promise<void>>()

  constructor(hooks: ConnectionHooks, host: ConnectionsHost) {
    this.#hooks = hooks
    this.#host = host
    this.#roster = host.roster
    this.#heartbeat = new Heartbeat((connection) => {
      host.count('heartbeat', 1, connection)
      internals.closeForCause(connection, CloseCode.silent, 'heartbeat missed', true)
    })
  }

  get byId(): ReadonlyMap<string, Connection> {
    return this.#roster.byId
  }

  /**
   * Take over a connection whose handshake is done.
   *
   * @returns null when it is to be handled, or why not: `onConnect` failed, or was still not done a
   * while after the client had left. A promise where `onConnect` gave one; it never rejects.
   */
  add(connection: Connection, arrival: NewConnection): Error | null | Promise<Error | null> {
    const { ctx, userId, expiresAt, socket, scope, rules, compression } = arrival
    const owner = this.#ownersFor(ctx.app, rules)[arrival.inAudiences ? 0 : 1]
    internals.open(connection, {
      id: newId(),
      userId,
      state: ctx.state,
      ip: ctx.ip,
      // Not req.url, which koa-mount shortens inside of what it mounts.
      url: ctx.originalUrl,
      params: paramsOf(ctx),
      expiresAt,
      socket,
      compression,
      owner,
      scope,
    })
    this.#roster.add(connection)
    if (rules.heartbeat) this.#heartbeat.add(connection, rules.heartbeat)
    if (channels.connection.hasSubscribers) channels.connection.publish({ connection })
    return arrival.letInLater ? null : this.#letIn(connection, arrival)
  }

  /** Let in a connection that has authenticated with a message: as `add`. */
  async letIn(connection: Connection, arrival: LateConnection): Promise<Error | null> {
    const { ctx, userId, expiresAt } = arrival
    internals.authenticated(connection, userId, ctx.state, expiresAt)
    return this.#letIn(connection, arrival)
  }

  #letIn(connection: Connection, arrival: Entrant): Error | null | Promise<Error | null> {
    const { onConnect } = this.#hooks
    try {
      const result = onConnect?.(connection, arrival.ctx)
      if (!isThenable(result)) return this.#enter(connection, arrival)
      const settled = Promise.resolve(result)
        .then(() => this.#enter(connection, arrival))
        .catch((error: unknown) => connectFailed(connection, error))
      // Whoever leaves meanwhile must not leave anybody waiting for ever.
      return Promise.race([settled, connection.closed.then(() => gaveUp(this.#hooks.patience))])
    } catch (error) {
      return connectFailed(connection, error)
    }
  }

  /** `onConnect` has let it in: from now on it is in audiences. */
  #enter(connection: Connection, { inAudiences, rooms, rules }: Entrant): Error | null {
    if (internals.closedByUs(connection)) return turnedAway(connection)
    if (!inAudiences || !this.byId.has(connection.id)) return null
    if (rooms.length > 0) void this.#roster.rooms.join(connection, rooms, rules.maxRooms)
    this.#roster.enter(connection)
    return null
  }

  /** Run something once when a connection has ended. */
  onEnd(connection: Connection, release: () => void): void {
    this.#releases.set(connection, release)
  }

  /**
   * End the loops over messages, and wait for the handlers that they stand in: what had arrived is
   * worked off.
   */
  async endLoops(): Promise<void> {
    const handlers: Promise<unknown>[] = []
    for (const connection of this.byId.values()) {
      const handler = internals.windDown(connection)
      if (handler) handlers.push(handler)
    }
    await Promise.all(handlers)
  }

  /**
   * Close every connection. Each is told its own time to come back: in the reason of a 1012, and in
   * the message `bye` of `koaws.v1`.
   */
  closeAll(code: number): void {
    const delays = returnDelays(this.byId.size)
    for (const connection of this.byId.values()) {
      const after = delays.pop() as number
      const reason = code === CloseCode.restart ? `restart, retry in ${after} ms` : ''
      if (connection.protocol === KOAWS_V1) {
        connection.send(byeText(code, reason, code === CloseCode.normal ? undefined : after))
      }
      connection.close(code, reason)
    }
  }

  terminateAll(): void {
    for (const connection of this.byId.values()) connection.terminate()
  }

  /** Settles once nobody is left and every `onDisconnect` has settled. */
  async gone(): Promise<void> {
    for (const connection of this.byId.values()) await connection.closed
    while (this.#farewells.size > 0) await Promise.all(this.#farewells)
  }

  /**
   * The owners of an app's connections with these rules: they know where errors go. The second is for
   * those in no audience.
   */
  #ownersFor(app: Context['app'], rules: ConnectionRules): Owners {
    let ofApp = this.#owners.get(app)
    if (!ofApp) {
      ofApp = new Map()
      this.#owners.set(app, ofApp)
    }
    let owners = ofApp.get(rules)
    if (!owners) {
      const owner = this.#ownerFor(app, rules)
      owners = [owner, { ...owner, join: refuseRooms }]
      ofApp.set(rules, owners)
    }
    return owners
  }

  #ownerFor(app: Context['app'], rules: ConnectionRules): ConnectionOwner<Connection> {
    const { rooms } = this.#roster
    return {
      rules,
      tooSlow: (connection) => {
        this.#host.count('slowConsumer', 1, connection)
        internals.closeForCause(connection, CloseCode.slowConsumer, 'too slow')
      },
      unreachable: (connection) => {
        this.#heartbeat.remove(connection)
        this.#roster.delete(connection)
      },
      ended: (connection, info) => this.#ended(app, connection, info),
      failed: (connection, error, messageType) =>
        reportError(app, error, placeOf(connection, messageType)),
      awaits: (work) => this.#awaits(work),
      count: (reason, many, connection) => this.#host.count(reason, many, connection),
      join: (connection, names) => this.#join(connection, names, rules.maxRooms),
      leave: (connection, names) => rooms.leave(connection, names),
      roomsOf: (connection) => rooms.of(connection),
      to: (connection, names) => this.#host.to(connection, names),
    }
  }

  #join(connection: Connection, names: readonly string[], most: number): Promise<void> {
    if (!this.byId.has(connection.id)) return Promise.resolve()
    try {
      const joined = this.#roster.rooms.join(connection, names, most)
      return joined === undefined ? Promise.resolve() : joined.then(ignore)
    } catch (error) {
      this.#host.count(error instanceof KoaWsError ? 'maxRooms' : 'badName', 1, connection)
      throw error
    }
  }

  /** A shutdown waits for it. */
  #awaits(work: Promise<void>): void {
    this.#farewells.add(work)
    void work.then(() => this.#farewells.delete(work))
  }

  #ended(app: Context['app'], connection: Connection, info: CloseInfo): void {
    this.#releases.get(connection)?.()
    if (channels.close.hasSubscribers) channels.close.publish({ connection, ...info })
    const { onDisconnect } = this.#hooks
    if (!onDisconnect) return
    const report = (error: unknown): void => reportError(app, error, placeOf(connection))
    try {
      const result = onDisconnect(connection, info)
      if (!isThenable(result)) return
      this.#awaits(Promise.resolve(result).then(ignore, report))
    } catch (error) {
      report(error)
    }
  }
}

type Owners = readonly [ConnectionOwner<Connection>, ConnectionOwner<Connection>]

function refuseRooms(): never {
  throw new KoaWsError(
    'ERR_KOAWS_NO_AUDIENCE',
    'This connection was accepted with hub: false, and is in no audience: it cannot join rooms.',
  )
}

const NO_PARAMS: Readonly<Record<string, string>> = Object.freeze({})

/** A small copy: routers keep theirs as dictionaries. */
function paramsOf(ctx: Context): Readonly<Record<string, string>> {
  const params = ctx['params'] as Record<string, string> | undefined
  for (const _ in params) return { ...params }
  return NO_PARAMS
}

/** Nobody gets in whom `onConnect` did not let in; the error is the caller's to report. */
function connectFailed(connection: Connection, thrown: unknown): Error {
  const error = toError(thrown)
  internals.fail(connection, error, false)
  return error
}

/** `onConnect` closed it: its handler does not run, and nothing that it sends is heard. */
function turnedAway(connection: Connection): Error {
  internals.closeForCause(connection, CloseCode.normal, '')
  return Object.assign(
    new UpgradeError('ERR_KOAWS_CLIENT_GONE', 'onConnect closed the connection.'),
    { turnedAway: true },
  )
}

/** The client has left, and `onConnect` did not come to an end. */
function gaveUp(patience: number): Promise<Error> {
  return new Promise((resolve) => {
    const error = new UpgradeError('ERR_KOAWS_CLIENT_GONE', 'The client left while onConnect ran.')
    setTimeout(resolve, patience, error).unref()
  })
}

/** Where an error happened, once there is no ctx any more. */
function placeOf(connection: Connection, messageType?: string): ErrorPlace {
  const { path, ip, state } = connection
  return { path, ip, state, connection, messageType }
}

/** Report to the application, whose own handler may throw and harms nobody. */
export function reportError(app: Context['app'], thrown: unknown, where: unknown): void {
  const error = toError(thrown)
  try {
    app.emit('error', error, where)
  } catch (second) {
    debugConnection('the error handler threw: %s', messageOf(second))
  }
}

function ignore(): void {}

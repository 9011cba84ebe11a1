// Keeps the connections of this instance from the 101 to the last `onDisconnect`, with their hooks.

import type { Context } from 'koa'
import { type Connection, coreOf } from '../connection/connection.ts'
import { newId } from '../connection/id.ts'
import type { ConnectionFacts, ConnectionOwner } from '../connection/owner.ts'
import type { ConnectionRules } from '../connection/rules.ts'
import type { CloseInfo } from '../connection/types.ts'
import { channels } from '../diagnostics.ts'
import { KoaWsError } from '../errors.ts'
import { CloseCode } from '../protocol/close-codes.ts'
import { KOAWS_V1, offersResume } from '../protocol/subprotocol.ts'
import { isThenable } from '../thenable.ts'
import type { Audiences } from './audience.ts'
import type { Drops } from './drops.ts'
import { placeOf, reportError } from './error-place.ts'
import { Heartbeat } from './heartbeat.ts'
import { closeWithDelays } from './return-delays.ts'
import type { Revocations } from './revocations.ts'
import type { Roster } from './roster.ts'
import { connectFailed, gaveUp, turnedAway } from './turned-away.ts'
import type { UserConnections } from './user-limit.ts'

/** Hooks of the application for the life of a connection. */
export interface ConnectionHooks {
  readonly onConnect: ((connection: Connection, ctx: Context) => unknown) | undefined
  /** How long `onConnect` may continue after the client has left, in milliseconds. */
  readonly patience: number
  readonly onDisconnect: ((connection: Connection, info: CloseInfo) => unknown) | undefined
}

/** The data of a new connection. */
export interface NewConnection {
  readonly ctx: Context
  readonly userId: string | undefined
  readonly expiresAt: number | null
  readonly rooms: readonly string[]
  readonly inAudiences: boolean
  /** The client authenticates with a message, and `letIn` is called after that. */
  readonly letInLater: boolean
  readonly rules: ConnectionRules
  /** When the handshake, or the check of the token, began: `performance.now()`. */
  readonly since: number
  readonly compression: ConnectionFacts<Connection>['compression']
  readonly socket: ConnectionFacts<Connection>['socket']
  readonly scope: ConnectionFacts<Connection>['scope']
}

/** The data of a connection that has authenticated with a message. */
export type LateConnection = Pick<
  NewConnection,
  'ctx' | 'userId' | 'expiresAt' | 'rooms' | 'inAudiences' | 'rules' | 'since'
>
type Entrant = Pick<NewConnection, 'ctx' | 'userId' | 'inAudiences' | 'rooms' | 'rules' | 'since'>

export class Connections {
  readonly #releases = new WeakMap<Connection, () => void>()
  readonly #owners = new WeakMap<Context['app'], Map<ConnectionRules, Owners>>()
  readonly #roster: Roster
  readonly #revocations: Revocations
  readonly #perUser: UserConnections | null
  readonly #drops: Drops
  readonly #audiences: Audiences
  readonly #hooks: ConnectionHooks
  readonly #heartbeat: Heartbeat
  /** Calls of `onDisconnect` and `onClose` that have not settled. */
  readonly #farewells = new Set<Promise<void>>()

  /** @param perUser null when the number of connections per user is unlimited */
  constructor(
    hooks: ConnectionHooks,
    roster: Roster,
    revocations: Revocations,
    perUser: UserConnections | null,
    drops: Drops,
    audiences: Audiences,
  ) {
    this.#hooks = hooks
    this.#roster = roster
    this.#revocations = revocations
    this.#perUser = perUser
    this.#drops = drops
    this.#audiences = audiences
    this.#heartbeat = new Heartbeat((connection) => {
      drops.add('heartbeat', 1, connection)
      coreOf(connection).closeForCause(CloseCode.silent, 'heartbeat missed', true)
    })
  }

  get byId(): ReadonlyMap<string, Connection> {
    return this.#roster.byId
  }

  /**
   * Registers a connection after its handshake.
   *
   * @returns null when its handler should run, else the error: `onConnect` failed, or was still
   * running `patience` milliseconds after the client had left. A promise when `onConnect` returned
   * one; it never rejects.
   */
  add(connection: Connection, arrival: NewConnection): Error | null | Promise<Error | null> {
    const { ctx, userId, expiresAt, socket, scope, rules, compression } = arrival
    const owner = this.#ownersFor(ctx.app, rules)[arrival.inAudiences ? 0 : 1]
    coreOf(connection).open({
      id: newId(),
      userId,
      state: ctx.state,
      ip: ctx.ip,
      // Not `req.url`: koa-mount shortens it for the application that it mounts.
      url: ctx.originalUrl,
      params: paramsOf(ctx),
      expiresAt,
      socket,
      compression,
      owner,
      scope,
    })
    this.#roster.add(connection)
    if (connection.protocol === KOAWS_V1 && offersResume(ctx.req))
      this.#audiences.history?.arrived(connection)
    this.#perUser?.arrived(connection)
    if (rules.heartbeat) this.#heartbeat.add(connection, rules.heartbeat)
    if (channels.connection.hasSubscribers) channels.connection.publish({ connection })
    if (arrival.letInLater)
      return this.#isRevoked(connection, arrival) ? turnedAway(connection) : null
    return this.#letIn(connection, arrival)
  }

  /** Lets in a connection that has authenticated with a message. Returns the same as `add`. */
  async letIn(connection: Connection, arrival: LateConnection): Promise<Error | null> {
    const { ctx, userId, expiresAt } = arrival
    const full = this.refusal(userId)
    if (full) return full
    coreOf(connection).authenticated(userId, ctx.state, expiresAt)
    this.#perUser?.arrived(connection)
    return this.#letIn(connection, arrival)
  }

  /** Returns the error that rejects another connection of this user; null when it is allowed. */
  refusal(userId: string | undefined): Error | null {
    const full = this.#perUser?.refusal(userId) ?? null
    if (full) this.#drops.add('maxPerUser', 1)
    return full
  }

  #letIn(connection: Connection, arrival: Entrant): Error | null | Promise<Error | null> {
    const { onConnect } = this.#hooks
    if (this.#isRevoked(connection, arrival)) return turnedAway(connection)
    try {
      const result = onConnect?.(connection, arrival.ctx)
      if (!isThenable(result)) return this.#enter(connection, arrival)
      const settled = Promise.resolve(result)
        .then(() => this.#enter(connection, arrival))
        .catch((error: unknown) => connectFailed(connection, error))
      // When the client leaves first, this settles even if `onConnect` never does.
      return Promise.race([settled, connection.closed.then(() => gaveUp(this.#hooks.patience))])
    } catch (error) {
      return connectFailed(connection, error)
    }
  }

  /** Returns whether an order closed the connection after its login was checked. */
  #isRevoked(connection: Connection, arrival: Entrant): boolean {
    const { close, rooms } = this.#revocations.verdict(arrival)
    this.#roster.expect(connection, rooms)
    if (close) coreOf(connection).closeForCause(close.code, close.reason)
    return close !== null
  }

  /** Adds the connection to audiences, since `onConnect` has let it in. */
  #enter(connection: Connection, { inAudiences, rules }: Entrant): Error | null {
    if (coreOf(connection).closedByUs) return turnedAway(connection)
    const replaced = this.#perUser?.entered(connection) ?? 0
    if (replaced > 0) this.#drops.add('maxPerUser', replaced, connection)
    if (!inAudiences || !this.byId.has(connection.id)) return null
    const rooms = this.#roster.expectedRooms(connection)
    if (rooms.length > 0) void this.#roster.rooms.join(connection, rooms, rules.maxRooms)
    this.#roster.enter(connection)
    return null
  }

  /** Registers a function that is called once when the connection ends. */
  onEnd(connection: Connection, release: () => void): void {
    this.#releases.set(connection, release)
  }

  /** Ends the loops over messages, and waits for handlers of messages that have arrived. */
  async endLoops(): Promise<void> {
    const handlers: Promise<unknown>[] = []
    for (const connection of this.byId.values()) {
      const handler = coreOf(connection).windDown()
      if (handler !== null) handlers.push(handler)
    }
    await Promise.all(handlers)
  }

  /**
   * Closes every connection. Each client gets a delay of its own before it reconnects: in the
   * reason of a 1012, and in the message `bye` of `koaws.v1`.
   */
  closeAll(code: number): void {
    closeWithDelays(this.byId.values(), this.byId.size, code)
  }

  terminateAll(): void {
    for (const connection of this.byId.values()) connection.terminate()
  }

  /** Resolves when every connection has closed and every `onDisconnect` has settled. */
  async gone(): Promise<void> {
    for (const connection of this.byId.values()) await connection.closed
    while (this.#farewells.size > 0) await Promise.all(this.#farewells)
  }

  /** Returns the owners for an app and rules; the second for connections in no audience. */
  #ownersFor(app: Context['app'], rules: ConnectionRules): Owners {
    let ofApp = this.#owners.get(app)
    if (!ofApp) {
      ofApp = new Map()
      this.#owners.set(app, ofApp)
    }
    let owners = ofApp.get(rules)
    if (!owners) {
      const owner = this.#ownerFor(app, rules)
      owners = [owner, { ...owner, join: refuseRooms, replay: refuseRooms }]
      ofApp.set(rules, owners)
    }
    return owners
  }

  #ownerFor(app: Context['app'], rules: ConnectionRules): ConnectionOwner<Connection> {
    const { rooms } = this.#roster
    return {
      rules,
      tooSlow: (connection) => {
        this.#drops.add('slowConsumer', 1, connection)
        coreOf(connection).closeForCause(CloseCode.slowConsumer, 'too slow')
      },
      unreachable: (connection) => {
        this.#heartbeat.remove(connection)
        this.#roster.delete(connection)
        this.#perUser?.delete(connection)
      },
      ended: (connection, info) => this.#ended(app, connection, info),
      failed: (connection, error, messageType) =>
        reportError(app, error, placeOf(connection, messageType)),
      awaits: (work) => this.#awaits(work),
      count: (reason, many, connection) => this.#drops.add(reason, many, connection),
      join: (connection, names) => this.#join(connection, names, rules.maxRooms),
      leave: (connection, names) => rooms.leave(connection, names),
      roomsOf: (connection) => rooms.of(connection),
      resumed: (connection, data, bytes) =>
        this.#audiences.history?.resumed(connection, data, bytes) ?? null,
      replay: async (connection, room, since) => {
        const join = (): Promise<void> => this.#join(connection, [room], rules.maxRooms)
        return this.#audiences.recorded.replay(connection, room, since, join)
      },
      tracer: () => this.#audiences.tracer,
      retries: this.#audiences.retries,
      streams: this.#audiences.streams,
      to: (connection, names) => this.#audiences.room(names, [connection.id]),
    }
  }

  #join(connection: Connection, names: readonly string[], most: number): Promise<void> {
    if (connection.readyState === connection.CLOSED) return Promise.resolve()
    try {
      const joined = this.#roster.rooms.join(connection, names, most)
      return joined === undefined ? Promise.resolve() : joined.then(ignore)
    } catch (error) {
      this.#drops.add(error instanceof KoaWsError ? 'maxRooms' : 'badName', 1, connection)
      throw error
    }
  }

  /** Makes a shutdown wait for this work. */
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
    'A connection that was accepted with "hub: false" cannot join rooms. Leave that option out.',
  )
}

const NO_PARAMS: Readonly<Record<string, string>> = Object.freeze({})

/** Makes objects with room for as many members as the first ones get: a literal keeps room for four. */
const Params = function Params() {} as unknown as new () => Record<string, string>
Params.prototype = Object.prototype

/** Copies the parameters: the objects of routers are dictionaries, which take more memory. */
function paramsOf(ctx: Context): Readonly<Record<string, string>> {
  const params = ctx['params'] as Record<string, string> | undefined
  for (const _ in params) return Object.assign(new Params(), params)
  return NO_PARAMS
}

function ignore(): void {}

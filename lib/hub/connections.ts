import { randomFillSync } from 'node:crypto'
import type { Context } from 'koa'
import {
  type Connection,
  endIteration,
  failConnection,
  openConnection,
} from '../connection/connection.ts'
import type { ConnectionFacts, ConnectionOwner } from '../connection/owner.ts'
import type { CloseInfo } from '../connection/types.ts'
import { debugConnection, messageOf } from '../debug.ts'
import { KoaWsError, toError, UpgradeError } from '../errors.ts'
import { isThenable } from '../thenable.ts'
import type { Drops } from './drops.ts'
import { Rooms } from './rooms.ts'

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
}

/** What `Connections` is told of a new connection. */
export interface NewConnection {
  readonly ctx: Context
  readonly userId: string | undefined
  readonly expiresAt: number | null
  readonly rooms: readonly string[]
  readonly inAudiences: boolean
  readonly socket: ConnectionFacts<Connection>['socket']
  readonly scope: ConnectionFacts<Connection>['scope']
}

/** All connections of this instance: from the 101 to the last `onDisconnect`. */
export class Connections {
  readonly #byId = new Map<string, Connection>()
  readonly #releases = new WeakMap<Connection, () => void>()
  readonly #owners = new WeakMap<Context['app'], Owners>()
  readonly #rooms = new Rooms()
  readonly #hooks: ConnectionHooks
  readonly #drops: Drops
  /** `onDisconnect` calls that have not settled. */
  readonly #farewells = new Set<Promise<void>>()

  constructor(hooks: ConnectionHooks, drops: Drops) {
    this.#hooks = hooks
    this.#drops = drops
  }

  get byId(): ReadonlyMap<string, Connection> {
    return this.#byId
  }

  /**
   * Take over a connection whose handshake is done.
   *
   * @returns null when it is to be handled, or why not: `onConnect` failed, or was still not done a
   * while after the client had left. A promise where `onConnect` gave one; it never rejects.
   */
  add(connection: Connection, arrival: NewConnection): Error | null | Promise<Error | null> {
    const { ctx, userId, expiresAt, socket, scope } = arrival
    const owner = this.#ownersFor(ctx.app)[arrival.inAudiences ? 0 : 1]
    openConnection(connection, {
      id: newId(),
      userId,
      state: ctx.state,
      ip: ctx.ip,
      // Not req.url, which koa-mount shortens inside of what it mounts.
      url: ctx.originalUrl,
      params: paramsOf(ctx),
      expiresAt,
      socket,
      owner,
      scope,
    })
    this.#byId.set(connection.id, connection)
    try {
      if (arrival.rooms.length > 0) this.#rooms.join(connection, arrival.rooms)
      const { onConnect } = this.#hooks
      if (!onConnect) return null
      const result = onConnect(connection, ctx)
      if (!isThenable(result)) return null
      const settled = Promise.resolve(result).then(
        () => null,
        (error: unknown) => connectFailed(connection, error),
      )
      // Whoever leaves meanwhile must not leave anybody waiting for ever.
      return Promise.race([settled, connection.closed.then(() => gaveUp(this.#hooks.patience))])
    } catch (error) {
      return connectFailed(connection, error)
    }
  }

  /** Run something once when a connection has ended. */
  onEnd(connection: Connection, release: () => void): void {
    this.#releases.set(connection, release)
  }

  /** Close every connection; the reason for each is the same. */
  closeAll(code: number, reason: string): void {
    for (const connection of this.#byId.values()) {
      endIteration(connection)
      connection.close(code, reason)
    }
  }

  terminateAll(): void {
    for (const connection of this.#byId.values()) connection.terminate()
  }

  /** Settles once nobody is left and every `onDisconnect` has settled. */
  async gone(): Promise<void> {
    for (const connection of this.#byId.values()) await connection.closed
    while (this.#farewells.size > 0) await Promise.all(this.#farewells)
  }

  /** The owners of an app: they know where errors go. The second is for those in no audience. */
  #ownersFor(app: Context['app']): Owners {
    const known = this.#owners.get(app)
    if (known) return known
    const owner: ConnectionOwner<Connection> = {
      unreachable: (connection) => {
        this.#byId.delete(connection.id)
        this.#rooms.remove(connection)
      },
      ended: (connection, info) => this.#ended(app, connection, info),
      failed: (connection, error) => reportError(app, error, placeOf(connection)),
      unheard: (count) => this.#drops.add('unheard', count),
      join: (connection, rooms) => {
        if (this.#byId.has(connection.id)) this.#rooms.join(connection, rooms)
        return Promise.resolve()
      },
      leave: (connection, rooms) => this.#rooms.leave(connection, rooms),
      roomsOf: (connection) => this.#rooms.of(connection),
    }
    const owners: Owners = [owner, { ...owner, join: refuseRooms }]
    this.#owners.set(app, owners)
    return owners
  }

  #ended(app: Context['app'], connection: Connection, info: CloseInfo): void {
    this.#releases.get(connection)?.()
    const { onDisconnect } = this.#hooks
    if (!onDisconnect) return
    const report = (error: unknown): void => reportError(app, error, placeOf(connection))
    try {
      const result = onDisconnect(connection, info)
      if (!isThenable(result)) return
      const farewell = Promise.resolve(result).then(ignore, report)
      this.#farewells.add(farewell)
      void farewell.then(() => this.#farewells.delete(farewell))
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
  failConnection(connection, error, false)
  return error
}

/** The client has left, and `onConnect` did not come to an end. */
function gaveUp(patience: number): Promise<Error> {
  return new Promise((resolve) => {
    const error = new UpgradeError('ERR_KOAWS_CLIENT_GONE', 'The client left while onConnect ran.')
    setTimeout(resolve, patience, error).unref()
  })
}

/** Where an error happened, once there is no ctx any more. */
function placeOf(connection: Connection): ErrorPlace {
  return { path: connection.path, ip: connection.ip, state: connection.state, connection }
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

const ID_BYTES = 15
const pool = Buffer.alloc(ID_BYTES * 128)
let used = pool.length

/** 120 random bits in base64url; drawn in bulk. */
export function newId(): string {
  if (used === pool.length) {
    randomFillSync(pool)
    used = 0
  }
  const id = pool.toString('base64url', used, used + ID_BYTES)
  used += ID_BYTES
  return id
}

function ignore(): void {}

import { randomFillSync } from 'node:crypto'
import type { Context } from 'koa'
import type { CloseInfo, Connection, ConnectionOwner, ErrorPlace } from '../connection/connection.ts'
import { endIteration, failConnection, openConnection } from '../connection/connection.ts'
import { debugConnection, loggable } from '../debug.ts'
import { toError } from '../errors.ts'
import type { Drops } from './drops.ts'
import { Rooms } from './rooms.ts'

/** Hooks of an application around the life of a connection. */
export interface ConnectionHooks {
  readonly onConnect: ((connection: Connection, ctx: Context) => unknown) | undefined
  readonly onDisconnect: ((connection: Connection, info: CloseInfo) => unknown) | undefined
}

/** What `Connections` is told of a new connection. */
export interface NewConnection {
  readonly ctx: Context
  readonly userId: string | undefined
  readonly expiresAt: number | null
  readonly rooms: readonly string[]
  readonly inAudiences: boolean
  readonly socket: Parameters<typeof openConnection>[1]['socket']
  readonly scope: Parameters<typeof openConnection>[1]['scope']
  /** Called once, when it has ended. */
  readonly release: (() => void) | undefined
}

/** All connections of this instance: from the 101 to the last `onDisconnect`. */
export class Connections {
  readonly #byId = new Map<string, Connection>()
  readonly #releases = new WeakMap<Connection, () => void>()
  readonly #owners = new WeakMap<Context['app'], ConnectionOwner>()
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
   * @returns the promise of `onConnect`, where it gave one; it never rejects
   */
  add(connection: Connection, arrival: NewConnection): Promise<void> | undefined {
    const { ctx, userId, expiresAt, socket, scope } = arrival
    const owner = this.#ownerFor(ctx.app)
    openConnection(connection as never, {
      id: newId(),
      userId,
      state: ctx.state,
      ip: ctx.ip,
      url: ctx.req.url ?? '',
      params: (ctx['params'] as Record<string, string> | undefined) ?? NO_PARAMS,
      expiresAt,
      socket,
      owner,
      scope,
    })
    this.#byId.set(connection.id, connection)
    if (arrival.release) this.#releases.set(connection, arrival.release)
    try {
      if (arrival.rooms.length > 0) this.#rooms.join(connection, arrival.rooms)
      const { onConnect } = this.#hooks
      if (!onConnect) return undefined
      const result = onConnect(connection, ctx)
      if (!isThenable(result)) return undefined
      return Promise.resolve(result).then(ignore, (error: unknown) => {
        this.#connectFailed(connection, error, ctx)
      })
    } catch (error) {
      this.#connectFailed(connection, error, ctx)
      return undefined
    }
  }

  /** Close every connection; the reason for each is the same. */
  closeAll(code: number, reason: string): void {
    for (const connection of this.#byId.values()) {
      endIteration(connection as never)
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

  /** One owner for each app: it knows where errors go. */
  #ownerFor(app: Context['app']): ConnectionOwner {
    const known = this.#owners.get(app)
    if (known) return known
    const owner: ConnectionOwner = {
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
    this.#owners.set(app, owner)
    return owner
  }

  #connectFailed(connection: Connection, thrown: unknown, ctx: Context): void {
    const error = toError(thrown)
    failConnection(connection as never, error, false)
    reportError(ctx.app, error, ctx)
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
      farewell.then(() => this.#farewells.delete(farewell))
    } catch (error) {
      report(error)
    }
  }
}

const NO_PARAMS: Readonly<Record<string, string>> = Object.freeze({})

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
    debugConnection('the error handler threw: %s', loggable((second as Error).message))
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

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function'
}

function ignore(): void {}

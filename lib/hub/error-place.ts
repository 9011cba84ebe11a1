// Describes where an error of a connection happened, for `app.on('error')` and for Koa's output.

import type { Context } from 'koa'
import type { Connection } from '../connection/connection.ts'
import { debugConnection, loggable, loggablePath, messageOf } from '../debug.ts'
import { toError } from '../errors.ts'

/**
 * The second argument of the app's `error` event, for an error of an accepted connection. When a
 * handler, `onConnect` or the chain failed, the object also inherits from the ctx, and an `id` of
 * that ctx is kept.
 */
export interface ErrorPlace {
  /** The id of the connection. */
  readonly id: string
  /** The path of the handshake, without the query. */
  readonly path: string
  /** The address of the client. */
  readonly ip: string
  /** `connection.state`. */
  readonly state: unknown
  /** The connection. */
  readonly connection: Connection
  /**
   * The type of the message that the failed handler received; undefined when no message was
   * involved.
   */
  readonly messageType: string | undefined
}

/** Returns the place of an error when its ctx is no longer available. */
export function placeOf(connection: Connection, messageType?: string): ErrorPlace {
  const { id, path, ip, state } = connection
  return { id, path, ip, state, connection, messageType }
}

/** Returns the place of an error: an object that inherits from the ctx, with the connection. */
export function placeIn(ctx: Context | null, connection: Connection): ErrorPlace {
  if (!ctx) return placeOf(connection)
  const place = Object.assign(Object.create(ctx), { connection, messageType: undefined })
  return 'id' in ctx ? place : Object.assign(place, { id: connection.id })
}

/** Reports an error to the application. Errors of its `error` listeners go to the debug log. */
export function reportError(app: Context['app'], thrown: unknown, where: unknown): void {
  const error = toError(thrown)
  try {
    const { connection, messageType } = (where ?? {}) as Partial<ErrorPlace>
    const told = connection && isPrintedByKoa(app) ? named(error, connection, messageType) : error
    app.emit('error', told, where)
  } catch (second) {
    debugConnection('the error handler threw: %s', messageOf(second))
  }
}

/** Returns whether only Koa's `app.onerror` listens, which prints no place. */
function isPrintedByKoa(app: Context['app']): boolean {
  const [only, ...others] = app.listeners('error')
  if (only !== app.onerror || others.length > 0) return false
  return holderOf(app, 'onerror') === holderOf(app, 'callback')
}

/** Returns the object of the prototype chain that has a member. */
function holderOf(app: object, name: string): unknown {
  let holder: object | null = app
  while (holder && !Object.hasOwn(holder, name)) holder = Object.getPrototypeOf(holder)
  return holder
}

/** Returns an object that inherits from the error, which may be shared, with its place. */
function named(error: Error, { id, path, ip }: Connection, messageType?: string): Error {
  if (!(error instanceof Error)) return error
  const type = messageType === undefined ? '' : `, message ${loggable(messageType)}`
  const line = `on connection ${id}, path ${loggablePath(path)}, ip ${loggable(ip)}${type}`
  return Object.create(error, { stack: { value: `${error.stack || error}\n    ${line}` } })
}

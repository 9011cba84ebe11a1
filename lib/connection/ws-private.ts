// All uses of private members of a ws WebSocket. Where a member is missing, ws works as it always does.

import { EventEmitter } from 'node:events'
import { Socket } from 'node:net'
import { type Duplex, Writable } from 'node:stream'
import type { WebSocket } from 'ws'

/** What a socket counts; over HTTP/2 the stream. */
interface Counts {
  readonly bytesRead?: number
  readonly bytesWritten?: number
}

/** The private members. Each may be missing in another version of ws. */
interface Parts {
  /** The stream that parses what the client sends. */
  readonly _receiver?: Partial<Writable> | null
  readonly _socket?: (Partial<Duplex> & Counts) | null
  /** The extensions that were negotiated, by name. ws changes the object of a client only. */
  _extensions?: object | undefined
  /** The callback of automatic pongs, which counts the pongs that have not been written. */
  _autoPongComplete?: () => void
  _pendingAutoPongs?: number
  readonly _eventsCount?: number
  /** Of the EventEmitter: the listeners by event. */
  _events?: object | undefined
}

const CAPTURE = { captureRejections: true }
/** The member in which an EventEmitter keeps the option; undefined where it has another form. */
const kCapture = captureMember()
const NO_EXTENSIONS = Object.freeze({})

/** Makes objects without members, as Node's own `_events`, but not as a dictionary: that takes 135 bytes more. */
const Events = function Events() {} as unknown as new () => object
Events.prototype = Object.freeze(Object.create(null))

/**
 * Prepares a new WebSocket: rejections of its listeners are captured, and it takes less memory. ws calls its own
 * parent's constructor without options, so the documented `captureRejections` cannot be given there.
 */
export function prepare(connection: WebSocket): void {
  const parts = connection as unknown as Parts & Record<symbol, boolean>
  const isNew = parts._eventsCount === 0
  if (kCapture !== undefined) parts[kCapture] = true
  else {
    // An emitter with `_events` would keep the names of events without listeners.
    if (isNew) parts._events = undefined
    ;(EventEmitter as unknown as (options: object) => void).call(connection, CAPTURE)
  }
  if (isNew) parts._events = new Events()
  if (isEmpty(parts._extensions)) parts._extensions = NO_EXTENSIONS
  if (typeof parts._autoPongComplete === 'function' && parts._pendingAutoPongs === 0)
    parts._autoPongComplete = autoPongComplete
}

/** Stands for the function that ws makes for each WebSocket, although few clients ever ping. */
function autoPongComplete(): void {}

type Callback = (error: Error) => void

/** Returns the callback of a pong: for an automatic one a function that counts it as written, as that of ws does. */
export function callbackOfPong(connection: WebSocket, given?: Callback): Callback | undefined {
  if (given !== autoPongComplete) return given
  const parts: Parts = connection as object
  return () => {
    parts._pendingAutoPongs = (parts._pendingAutoPongs ?? 0) - 1
  }
}

/** Returns the one symbol with another value in emitters that have the option. */
function captureMember(): symbol | undefined {
  const [without, having] = [new EventEmitter(), new EventEmitter(CAPTURE)]
  const all = Object.getOwnPropertySymbols(having)
  const [symbol, ...more] = all.filter(
    (one) => Reflect.get(having, one) !== Reflect.get(without, one),
  )
  return more.length === 0 ? symbol : undefined
}

function isEmpty(value: object | null | undefined): boolean {
  if (typeof value !== 'object' || value === null) return false
  for (const _ in value) return false
  return true
}

/**
 * Spares a connection that closes the calls of `end()` that have no effect. ws ends its receiver again with the end of
 * the socket and with its close, and ends the socket a second time. For each call Node makes an error with a stack,
 * which it drops: together 11 to 16 % of a handshake with its close.
 */
export function endOnce(connection: WebSocket): void {
  const { _receiver: receiver, _socket: socket } = connection as unknown as Parts
  if (receiver?.end === Writable.prototype.end) receiver.end = endReceiver
  if (socket?.end === Socket.prototype.end) socket.end = endSocket
}

/** Whether `end()` without arguments would only make an error. A corked stream is uncorked by it. */
function hasNoEffect(stream: Writable): boolean {
  return stream.writableEnded && stream.writableCorked === 0
}

function endReceiver(this: Writable, ...args: unknown[]): Writable {
  if (args.length === 0 && hasNoEffect(this)) return this
  return Writable.prototype.end.apply(this, args as Parameters<Writable['end']>)
}

function endSocket(this: Socket, ...args: unknown[]): Socket {
  if (args.length === 0 && hasNoEffect(this)) return this
  return Socket.prototype.end.apply(this, args as Parameters<Socket['end']>)
}

/** Returns what the socket of a connection has counted; zeros where it counts nothing. */
export function bytesOf(connection: WebSocket): { bytesRead: number; bytesWritten: number } {
  const { _socket: socket } = connection as unknown as Parts
  return { bytesRead: socket?.bytesRead ?? 0, bytesWritten: socket?.bytesWritten ?? 0 }
}

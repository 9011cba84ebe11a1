// Adopts a WebSocketServer behind `forward()`: its options, subprotocol, `clients` and end.

import { EventEmitter } from 'node:events'
import type { IncomingMessage } from 'node:http'
import type { Context } from 'koa'
import { WebSocketServer } from 'ws'
import type { Connection } from '../connection/connection.ts'
import { OptionsError, UpgradeError } from '../errors.ts'

/** A `WebSocketServer` behind `forward()`, with the options that it sets for its connections. */
export interface Forwarded {
  readonly wss: WebSocketServer
  /** The options that differ from the defaults of ws. */
  readonly options: Readonly<Record<string, unknown>>
}

/** The options that `forward()` rejects, with the replacement in koaws. */
const REFUSED: Readonly<Record<string, string>> = {
  server: 'create it with noServer: true, since koaws listens to the server.',
  port: 'create it with noServer: true, since koaws listens to the server.',
  host: 'create it with noServer: true, since koaws listens to the server.',
  backlog: 'create it with noServer: true, since koaws listens to the server.',
  verifyClient: 'put middleware before accept() that calls ctx.throw(401).',
  path: 'mount accept() on a route with that path.',
  WebSocket: 'the connections are of the class Connection of koaws, which extends WebSocket of ws.',
}
/** The options that `forward()` implements itself. */
const OWN = new Set(['noServer', 'clientTracking', 'handleProtocols'])
const DEFAULTS = new WebSocketServer({ noServer: true }).options as Record<string, unknown>

const CLOSING = 1
const CLOSED = 2
/** The only sign that `close()` was called: ws has no public property for it. */
type Closing = WebSocketServer & { _state?: number }

const forwarded = new WeakMap<object, Forwarded>()
const choices = new WeakMap<object, (subprotocol: string) => object>()
/** Node's requests on their way to `forward()`: by then `ctx.req` is the record. */
const requests = new WeakMap<Context, IncomingMessage>()

/** Registers a handler that chooses another handler by subprotocol. */
export function setChoice(handler: object, choose: (subprotocol: string) => object): void {
  choices.set(handler, choose)
}

/** Returns the WebSocketServer of a handler of `forward()`, or of its subprotocol. */
export function forwardedTo(
  handler: object,
  subprotocol: string | false = false,
): Forwarded | undefined {
  return forwarded.get(choices.get(handler)?.(subprotocol || '') ?? handler)
}

/** Chooses a subprotocol as ws does; a falsy result of `handleProtocols` means none. */
export function chooseAsWs(
  { wss }: Forwarded,
  offered: readonly string[],
  req: IncomingMessage,
): string | false {
  if (offered.length === 0) return false
  const choose = wss.options.handleProtocols // read late: useServer may set it
  return (choose ? choose(new Set(offered), req) : offered[0]) || false
}

/** @throws UpgradeError 503 after `wss.close()`; OptionsError for an option set later */
export function assertTakes({ wss }: Forwarded): void {
  assertForwardable(wss)
  if (!isClosing(wss)) return
  throw new UpgradeError('ERR_KOAWS_DRAINING', 'This WebSocketServer is closed.', {
    headers: { 'Retry-After': '5' },
  })
}

/** Stores Node's request for a handler of `forward()`. */
export function keepRequest(ctx: Context, req: IncomingMessage): void {
  requests.set(ctx, req)
}

/** Returns Node's request once, and afterwards the record of the ctx. */
export function takeRequest(ctx: Context): IncomingMessage {
  const req = requests.get(ctx) ?? ctx.req
  requests.delete(ctx)
  return req
}

/** Registers the WebSocketServer of a handler. */
export function setForwarded(handler: object, wss: WebSocketServer): void {
  forwarded.set(handler, { wss, options: ownOptions(wss) })
}

/** Adds a connection to `clients`. Emits `close` after the last one, as ws does. */
export function track(wss: Closing, connection: Connection<unknown>): void {
  const client = connection as Connection
  wss.clients.add(client)
  connection.once('close', () => {
    wss.clients.delete(client)
    if (wss._state === CLOSING && wss.clients.size === 0) process.nextTick(closed, wss)
  })
}

function closed(wss: Closing): void {
  wss._state = CLOSED
  wss.emit('close')
}

/** Returns whether `close()` was called. */
export function isClosing(wss: Closing): boolean {
  return (wss._state ?? 0) >= CLOSING
}

/** @throws OptionsError that names an option which koaws does not apply */
export function assertForwardable({ options }: WebSocketServer): void {
  for (const name in REFUSED) {
    const value = (options as Record<string, unknown>)[name]
    // Another copy of ws has its own WebSocket class, which also extends EventEmitter directly.
    const isDefault =
      name === 'WebSocket'
        ? typeof value !== 'function' || Object.getPrototypeOf(value) === EventEmitter
        : value === null || value === undefined || value === DEFAULTS[name]
    if (!isDefault) {
      throw new OptionsError(
        `forward(): koaws does not apply "${name}" of a WebSocketServer; ${REFUSED[name]}`,
      )
    }
  }
}

function ownOptions(wss: WebSocketServer): Record<string, unknown> {
  const options = wss.options as Record<string, unknown>
  const own = Object.entries(options).filter(
    ([name, value]) =>
      Object.hasOwn(DEFAULTS, name) &&
      !Object.hasOwn(REFUSED, name) &&
      !OWN.has(name) &&
      value !== undefined &&
      value !== DEFAULTS[name],
  )
  const set = Object.fromEntries(own)
  // The plugin's `maxFragments` belongs to the plugin's `maxPayload`.
  if ('maxPayload' in set) set['maxFragments'] = options['maxFragments'] ?? DEFAULTS['maxFragments']
  return set
}

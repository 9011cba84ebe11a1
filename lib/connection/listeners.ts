// Changes the prototype of `Connection`: watches listeners, catches rejections of async ones, extends `bufferedAmount`.

import { EventEmitter } from 'node:events'
import { WebSocket } from 'ws'

/** What a class of WebSockets wants to know of its listeners. */
export interface ListenerHooks<C> {
  /** A listener was added. */
  added(target: C, event: string | symbol, listener: unknown): void
  /** An async listener rejected. */
  rejected(target: C, error: unknown): void
}

type Add = (this: WebSocket, event: never, listener: never) => unknown

/**
 * Watch the listeners that are added to the instances of a class, and what async ones reject with.
 * Put on the prototype from here, so that ws's own typed overloads stay what users see.
 */
export function watchListeners<C extends WebSocket>(prototype: C, hooks: ListenerHooks<C>): void {
  const define = (name: string | symbol, value: unknown): void => {
    Object.defineProperty(prototype, name, { configurable: true, writable: true, value })
  }
  const watched = (add: Add): unknown =>
    function (this: C, event: never, listener: never): unknown {
      add.call(this, event, listener)
      hooks.added(this, event, listener)
      return this
    }
  const rejected = (target: unknown, error: unknown): void => hooks.rejected(target as C, error)
  const { on, prependListener, addEventListener, removeEventListener } = WebSocket.prototype
  define('on', watched(on))
  define('addListener', watched(on))
  define('prependListener', watched(prependListener))
  // Node calls it for the rejection of an async listener (`captureRejections`).
  define(EventEmitter.captureRejectionSymbol, function (this: C, error: unknown) {
    hooks.rejected(this, error)
  })
  define(
    'addEventListener',
    function (this: C, type: never, listener: DomListener, options?: object) {
      addEventListener.call(this, type, guardDomListener(listener, rejected) as never, options)
    },
  )
  define('removeEventListener', function (this: C, type: never, listener: DomListener) {
    removeEventListener.call(this, type, guardedForm(listener) as never)
  })
  // `connection.onmessage = fn` registers the guarded form; reading it back gives what was assigned.
  for (const name of ['onclose', 'onerror', 'onmessage', 'onopen']) {
    const own = Object.getOwnPropertyDescriptor(WebSocket.prototype, name) as PropertyDescriptor
    Object.defineProperty(prototype, name, {
      ...own,
      get(this: C) {
        return originalForm(own.get?.call(this) as DomListener | null)
      },
    })
  }
}

/** A listener in the form of the DOM: a function, or an object with `handleEvent`. */
type DomListener = ((event: never) => unknown) | { handleEvent(event: never): unknown }

const guardedOf = new WeakMap<object, DomListener>()
const originalOf = new WeakMap<object, DomListener>()

/**
 * The listener that ws registers in place of a DOM listener. ws drops the return value of a DOM
 * listener, so the rejection of an async one would be unhandled and end the process. The guarded
 * listener hands it to `onRejected`, with the connection that it happened on.
 */
function guardDomListener(
  listener: DomListener,
  onRejected: (target: unknown, error: unknown) => void,
): DomListener {
  const known = guardedOf.get(listener)
  if (known) return known
  const guarded = function (this: unknown, event: never): void {
    const result =
      typeof listener === 'function' ? listener.call(this, event) : listener.handleEvent(event)
    if (result instanceof Promise) {
      const target = (event as { target: unknown }).target
      result.catch((error: unknown) => onRejected(target, error))
    }
  }
  guardedOf.set(listener, guarded)
  originalOf.set(guarded, listener)
  return guarded
}

/** The guarded form under which a listener was registered, to remove it. */
function guardedForm(listener: DomListener): DomListener {
  return guardedOf.get(listener) ?? listener
}

/** The listener that the application assigned, for reading `connection.onmessage` and its kin. */
function originalForm(listener: DomListener | null): DomListener | null {
  return (listener && originalOf.get(listener)) ?? listener
}

/** Counts the outbox in ws's `bufferedAmount` too. ws's types declare a field, not a getter. */
export function addToBufferedAmount<C extends WebSocket>(
  prototype: C,
  waitingOf: (connection: C) => number,
): void {
  const inWs = Object.getOwnPropertyDescriptor(WebSocket.prototype, 'bufferedAmount')
  const ofWs = inWs?.get as (this: C) => number
  Object.defineProperty(prototype, 'bufferedAmount', {
    ...inWs,
    get(this: C): number {
      return ofWs.call(this) + waitingOf(this)
    },
  })
}

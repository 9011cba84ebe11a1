import { EventEmitter } from 'node:events'
import { WebSocket } from 'ws'
import { type DomListener, guardDomListener, guardedForm, originalForm } from './event-target.ts'

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

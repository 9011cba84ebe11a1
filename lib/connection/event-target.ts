/** A listener in the form of the DOM: a function, or an object with `handleEvent`. */
export type DomListener = ((event: never) => unknown) | { handleEvent(event: never): unknown }

const guardedOf = new WeakMap<object, DomListener>()
const originalOf = new WeakMap<object, DomListener>()

/**
 * The listener that ws registers in place of a DOM listener. ws drops what a DOM listener returns,
 * so the rejection of an async one would reach nobody and end the process; this one hands it to
 * `onRejected`, with the connection that it happened on.
 */
export function guardDomListener(
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
export function guardedForm(listener: DomListener): DomListener {
  return guardedOf.get(listener) ?? listener
}

/** What the user assigned, for `connection.onmessage` and its kin. */
export function originalForm(listener: DomListener | null): DomListener | null {
  return (listener && originalOf.get(listener)) ?? listener
}

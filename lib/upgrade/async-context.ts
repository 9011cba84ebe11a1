// Captures the async context of a handshake, if it holds a store.

import { AsyncResource } from 'node:async_hooks'

/** Own symbols of an AsyncResource that are not stores. */
const BOOKKEEPING = new Set(['async_id_symbol', 'trigger_async_id_symbol', 'destroyed'])

/**
 * Returns the async context of the caller, in which the listeners of a connection run later.
 * Returns null when no `AsyncLocalStorage` holds a store: then there is nothing to restore, and
 * messages save the cost.
 *
 * Node has no public way to ask whether a store is active. A new AsyncResource has the stores as
 * own symbols. An unknown symbol with a value counts as a store: if Node renames its symbols, this
 * gets slower but loses no context.
 */
export function captureAsyncContext(): AsyncResource | null {
  const resource = new AsyncResource('koaws.connection', { requireManualDestroy: true })
  for (const symbol of Object.getOwnPropertySymbols(resource)) {
    if (BOOKKEEPING.has(symbol.description ?? '')) continue
    if (Reflect.get(resource, symbol) !== undefined) return resource
  }
  return null
}

import { AsyncResource } from 'node:async_hooks'

/** Own symbols of an AsyncResource that say nothing about a store. */
const BOOKKEEPING = new Set(['async_id_symbol', 'trigger_async_id_symbol', 'destroyed'])

/**
 * The async context of the caller, to run the listeners of a connection in later, or null when no
 * `AsyncLocalStorage` holds anything here: then there is nothing to restore, and every message is
 * spared the price.
 *
 * Node has no public question for "is any store active". A new resource answers it: the stores are
 * copied onto it under symbols. A symbol that we do not know and that holds something counts as a
 * store, so a Node that names them differently costs speed and loses nothing.
 */
export function captureAsyncContext(): AsyncResource | null {
  const resource = new AsyncResource('koaws.connection', { requireManualDestroy: true })
  for (const symbol of Object.getOwnPropertySymbols(resource)) {
    if (BOOKKEEPING.has(symbol.description ?? '')) continue
    if ((resource as unknown as Record<symbol, unknown>)[symbol] !== undefined) return resource
  }
  return null
}

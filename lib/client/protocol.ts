// Provides `protocol()` for pages without a bundler; it does not check the definition.

import type { Protocol, ProtocolDefinition } from '../protocol/definition.ts'

/**
 * Returns a protocol, like `protocol()` of koaws, for pages that load a protocol file without a
 * bundler. The `definition` is not checked: the server loads the same file and checks it.
 *
 * @example
 * ```js
 * import { protocol } from 'koaws/client'
 * import { z } from 'zod'
 *
 * export const chat = protocol({ said: { push: z.object({ text: z.string() }) } })
 * console.log(Object.keys(chat.types)) // [ 'said' ]
 * ```
 */
export function protocol<const D extends ProtocolDefinition>(definition: D): Protocol<D> {
  return Object.freeze({ types: Object.freeze({ ...definition }) })
}

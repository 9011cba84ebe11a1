import type { Protocol, ProtocolDefinition } from '../protocol/definition.ts'

/**
 * `protocol()` of koaws, for a page without a bundler that loads the file of a protocol as it is.
 * It checks nothing: the server does that, which loads the same file.
 */
export function protocol<const D extends ProtocolDefinition>(definition: D): Protocol<D> {
  return Object.freeze({ types: Object.freeze({ ...definition }) })
}

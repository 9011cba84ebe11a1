/**
 * # koaws/client
 *
 * From `koaws/client`: the client for browsers and Node.
 *
 * @module client
 */
export * from '../../../lib/client/index.ts'
export type { ClientOf } from '../../../lib/client/types.ts'

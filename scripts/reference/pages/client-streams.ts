/**
 * # koaws/client/streams
 *
 * From `koaws/client/streams`: the part of the client for `stream()` and `upload()`.
 *
 * @module client-streams
 */
export * from '../../../lib/client/streams.ts'

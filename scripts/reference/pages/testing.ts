/**
 * # koaws/testing
 *
 * From `koaws/testing`: helpers for the tests of an application. Under the condition `browser` of a bundler, only `fakeServer()` works.
 *
 * @module testing
 */
export type { FakeServerOf } from '../../../lib/testing/fake-server-types.ts'
export * from '../../../lib/testing/index.ts'

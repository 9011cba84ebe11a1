/**
 * # koaws/asyncapi
 *
 * From `koaws/asyncapi`: an AsyncAPI 3 document of a protocol, and what a new one breaks. [Contract](../../guides/contract.md) is the guide.
 *
 * @module asyncapi
 */
export * from '../../../lib/asyncapi/index.ts'

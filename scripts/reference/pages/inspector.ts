/**
 * # koaws/inspector
 *
 * From `koaws/inspector`: a page about the instances, connections and rejected upgrades of a hub. The guide is [inspector](../../guides/inspector.md).
 *
 * @module inspector
 */
export * from '../../../lib/inspector/index.ts'

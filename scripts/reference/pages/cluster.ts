/**
 * # koaws/cluster
 *
 * From `koaws/cluster`: several instances on one machine, with PM2 or node:cluster.
 *
 * @module cluster
 */
export * from '../../../lib/adapters/cluster/index.ts'

// The entry `koaws/cluster`: its public names.

export type { ClusterAdapterOptions } from './adapter.ts'
export { clusterAdapter } from './adapter.ts'

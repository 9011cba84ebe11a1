export type { ClusterAdapterOptions } from './adapter.ts'
export { clusterAdapter } from './adapter.ts'

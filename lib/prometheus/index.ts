// The entry `koaws/prometheus`: its public names.

export type { ObservedConnection, ObservedHub } from '../metrics/hub.ts'
export type { AnyRegistry } from './exposition.ts'
export type { MetricsMiddleware, MetricsOptions } from './metrics.ts'
export { metrics } from './metrics.ts'

// The entry `koaws/otel`: its public names.

export type { ObservedConnection, ObservedHub } from '../metrics/hub.ts'
export { instrument } from './instrument.ts'
export type { InstrumentOptions } from './options.ts'

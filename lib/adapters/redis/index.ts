// The entry `koaws/redis`: its public names.

export type { RedisAdapterOptions, RedisClient } from './adapter.ts'
export { redisAdapter } from './adapter.ts'
export type {
  Emission,
  Emitter,
  EmitterAudience,
  PublishingClient,
  RedisEmitterOptions,
} from './emitter.ts'
export { redisEmitter } from './emitter.ts'

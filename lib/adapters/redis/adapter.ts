import type { Adapter, MaxQueued } from '../../backplane/adapter.ts'
import { OptionsError } from '../../errors.ts'
import { check, describe, validate } from '../../validate.ts'
import { checkAdapterOptions } from '../options.ts'
import type { RedisDialect } from './connection.ts'
import { ioredis, ioredisCluster, isIoredis, isIoredisCluster } from './ioredis.ts'
import { RedisLink } from './link.ts'
import { isNodeRedis, isNodeRedisCluster, nodeRedis, nodeRedisCluster } from './node-redis.ts'

/** A client of node-redis (5 or 6) or ioredis (5.9 or 6), or a cluster client of either. */
export interface RedisClient {
  duplicate(...given: never[]): unknown
}

/** Options of `redisAdapter()`. */
export interface RedisAdapterOptions {
  /**
   * The pattern of the connections that the adapter makes: two for each hub, with the server,
   * credentials and TLS of this client. It stays yours, and need not be connected.
   */
  client: RedisClient
  /**
   * In front of every channel. Applications that share a Redis need different ones, and so do versions of
   * one application that must not hear each other. @default 'koaws:'
   */
  prefix?: string | undefined
  /** How often an instance tells the others that it lives, in milliseconds. @default 2_000 */
  heartbeat?: number | undefined
  /** What may wait while Redis is away. @default 10,000 payloads and 16 MiB */
  maxQueued?: MaxQueued | undefined
}

/**
 * Joins instances through Redis pub/sub. Each of them subscribes to the rooms and users that are
 * connected to it, and to no others. It goes on while Redis is away, and comes back by itself.
 *
 * @throws OptionsError without a client that it knows, and for an option that is unknown or wrong
 */
export function redisAdapter(options: RedisAdapterOptions): Adapter {
  validate('redisAdapter()', options, {
    client: (value) =>
      typeof (value as Partial<RedisClient> | null)?.duplicate === 'function'
        ? null
        : `must be a client of node-redis or ioredis, not ${describe(value)}.`,
    prefix: check.string,
    ...checkAdapterOptions,
  })
  const { client, prefix = 'koaws:', heartbeat, maxQueued } = options
  if (client === undefined) {
    throw new OptionsError(
      'redisAdapter() needs the option "client": a client of node-redis or ioredis.',
    )
  }
  const dialect = dialectOf(client)
  return {
    heartbeat,
    maxQueued,
    connect: (_id, events) => new RedisLink(dialect, prefix, events),
  }
}

function dialectOf(client: object): RedisDialect {
  if (isIoredisCluster(client)) return ioredisCluster(client)
  if (isIoredis(client)) return ioredis(client)
  if (isNodeRedisCluster(client)) return nodeRedisCluster(client)
  if (isNodeRedis(client)) return nodeRedis(client)
  throw new OptionsError(
    'redisAdapter(): the option "client" is of a library that it does not know. Give it what createClient() or createCluster() of "redis" returns, or a Redis or Cluster of "ioredis".',
  )
}

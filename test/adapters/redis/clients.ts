import { createRequire } from 'node:module'
import { Cluster, Redis } from 'ioredis'
import { createClient, createCluster } from 'redis'
import type { PublishingClient, RedisClient } from '../../../lib/adapters/redis/index.ts'

const peers = createRequire(new URL('../../peers/package.json', import.meta.url))
const older = {
  redis: peers('redis5') as {
    createClient: typeof createClient
    createCluster: typeof createCluster
  },
  ioredis: peers('ioredis5') as { Redis: typeof Redis; Cluster: typeof Cluster },
}

/** The connection settings of a test client. */
export interface ClientSettings {
  username?: string
  password?: string
  /** TLS with this certificate authority in addition to those of Node. */
  tls?: { ca?: string }
  keyPrefix?: string
}

/** The ways of a library to make a client: unconnected, of a cluster, and connected. */
export interface Library {
  readonly name: string
  client(port: number, settings?: ClientSettings): RedisClient
  cluster(port: number, settings?: ClientSettings): RedisClient
  connected(
    port: number,
    settings?: ClientSettings,
  ): Promise<{ client: PublishingClient; end: () => unknown }>
}

function ofNodeRedis(
  name: string,
  make: typeof createClient,
  makeCluster: typeof createCluster,
): Library {
  const optionsOf = (port: number, { tls, ...rest }: ClientSettings = {}) => ({
    socket: tls
      ? { host: '127.0.0.1', port, tls: true as const, ...tls }
      : { host: '127.0.0.1', port },
    ...rest,
  })
  const client = (port: number, settings: ClientSettings = {}) =>
    make(optionsOf(port, settings)).on('error', () => {})
  return {
    name,
    client,
    cluster: (port, settings) => makeCluster({ rootNodes: [optionsOf(port, settings)] }),
    async connected(port, settings) {
      const connected = await client(port, settings).connect()
      return { client: connected, end: () => connected.destroy() }
    },
  }
}

function ofIoredis(name: string, Client: typeof Redis, OfCluster: typeof Cluster): Library {
  const client = (port: number, settings: ClientSettings = {}) =>
    new Client({ host: '127.0.0.1', port, lazyConnect: true, ...settings })
  return {
    name,
    client,
    cluster: (port, settings = {}) =>
      new OfCluster([{ host: '127.0.0.1', port }], { lazyConnect: true, redisOptions: settings }),
    async connected(port, settings) {
      const connected = client(port, settings)
      await connected.connect()
      return { client: connected, end: () => connected.disconnect() }
    },
  }
}

export const libraries: readonly Library[] = [
  ofNodeRedis('node-redis 6', createClient, createCluster),
  ofNodeRedis('node-redis 5', older.redis.createClient, older.redis.createCluster),
  ofIoredis('ioredis 6', Redis, Cluster),
  ofIoredis('ioredis 5.9', older.ioredis.Redis, older.ioredis.Cluster),
]

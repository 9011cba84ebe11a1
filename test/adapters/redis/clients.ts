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

/** How each library makes a client that is not connected, and one that is. */
export interface Library {
  readonly name: string
  client(port: number, auth?: { username: string; password: string }): RedisClient
  cluster(port: number): RedisClient
  connected(port: number): Promise<{ client: PublishingClient; end: () => unknown }>
}

function ofNodeRedis(
  name: string,
  make: typeof createClient,
  makeCluster: typeof createCluster,
): Library {
  const client = (port: number, auth = {}) =>
    make({ socket: { host: '127.0.0.1', port }, ...auth }).on('error', () => {})
  return {
    name,
    client,
    cluster: (port) => makeCluster({ rootNodes: [{ socket: { host: '127.0.0.1', port } }] }),
    async connected(port) {
      const connected = await client(port).connect()
      return { client: connected, end: () => connected.destroy() }
    },
  }
}

function ofIoredis(name: string, Client: typeof Redis, OfCluster: typeof Cluster): Library {
  const client = (port: number, auth = {}) =>
    new Client({ host: '127.0.0.1', port, lazyConnect: true, ...auth })
  return {
    name,
    client,
    cluster: (port) => new OfCluster([{ host: '127.0.0.1', port }], { lazyConnect: true }),
    async connected(port) {
      const connected = client(port)
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
